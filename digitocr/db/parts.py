"""The numbers a part at a time, from a place on, in the order of an export.

A part is found sheet by sheet in that order, by an index, and no more than `LOOKED_AT` sheets
are looked at, so that a page costs the same with a million numbers as with a thousand; where
there may be more, it says so. Filters that few sheets pass choose these first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Unpack

from sqlalchemy import Select, and_, bindparam, func, or_, select, text
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.db.numbers import Filters, Statement, by_bytes, columns, filtered
from digitocr.db.store import is_latest_pass
from digitocr.errors import UsageError
from digitocr.types import FieldStatus, PageStatus

LOOKED_AT = 300  # sheets
FEW = 1_000  # so many that a filter chooses are looked up first
AT_ONCE = 10  # sheets, for a start
BEYOND = 2**31 - 1  # a position after all of a page
PLACE = re.compile(r"(\d{1,18})-(\d{1,9})-(\d{1,10})")


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the numbers: what comes after it is asked for by it."""

    arrival: int
    page: int
    position: int

    def __str__(self) -> str:
        return f"{self.arrival}-{self.page}-{self.position}"

    @classmethod
    def of(cls, written: str) -> Place:
        """Read a place as it is written.

        Raises
        ------
        UsageError
            If it is none.
        """
        found = PLACE.fullmatch(written)
        if found is None:
            raise UsageError("after: that is no place among these; begin with the first")
        return cls(*map(int, found.groups()))


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of the numbers; `next` is where to go on, None after the last.

    `total` counts all rows there are; where `more`, at least these. None: not from the first.
    """

    rows: tuple[dict[str, Any], ...]
    next: Place | None
    total: int | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of one arrival, and the pass over it that counts."""

    batch: str
    source: str
    arrival: int
    page: int
    reading: int

    @property
    def end(self) -> Place:
        """The place after its last row."""
        return Place(self.arrival, self.page, BEYOND)


def part(
    session: Session, count: int, after: Place | None = None, **wanted: Unpack[Filters]
) -> Part:
    """Collect `count` rows after a place; with the first ones, count as far as is soon done."""
    found = list(islice(sheets(session, wanted, after), LOOKED_AT + 1))
    cut, found = len(found) > LOOKED_AT, found[:LOOKED_AT]
    asked = _asked(wanted)
    rows: list[dict[str, Any]] = []
    at, size = 0, AT_ONCE
    with _by_index(session):
        while at < len(found) and len(rows) <= count:
            rows += _rows(session, asked, found[at : at + size], after)
            at, size = at + size, 4 * size
        total = len(rows) if at >= len(found) else _count(session, asked, found)
    goes_on: Place | None = None
    if len(rows) > count:
        goes_on = rows[count - 1]["place"]
    elif cut:
        goes_on = found[-1].end
    first = after is None
    return Part(tuple(rows[:count]), goes_on, total if first else None, cut)


@contextmanager
def _by_index(session: Session) -> Iterator[None]:
    """Have PostgreSQL look the rows of a few passes up, not read whole tables to join them."""
    if session.get_bind().dialect.name == "sqlite":
        yield
        return
    ways = ("enable_hashjoin", "enable_mergejoin")
    for way in ways:
        session.execute(text(f"SET LOCAL {way} = off"))
    yield
    for way in ways:
        session.execute(text(f"RESET {way}"))


def _rows(
    session: Session, asked: Statement, sheets: Sequence[Sheet], after: Place | None
) -> list[dict[str, Any]]:
    """Load the rows of some sheets that pass the filters, in order."""
    of: dict[int, list[Any]] = defaultdict(list)
    for row in session.execute(asked, _passes(sheets)).mappings():
        of[row["pass"]].append(row)
    made = []
    for sheet in sheets:
        same = after is not None and (sheet.arrival, sheet.page) == (after.arrival, after.page)
        for row in of[sheet.reading]:
            # A page that failed has one row, and no position.
            at = Place(sheet.arrival, sheet.page, row["position"] or 0)
            if same and after is not None and at.position <= after.position:
                continue
            where = {"batch": sheet.batch, "source": sheet.source, "page": sheet.page}
            made.append(dict(row) | where | {"place": at})
    return made


def _count(session: Session, asked: Statement, sheets: Sequence[Sheet]) -> int:
    """Count the rows of some sheets; a document that came twice has them twice."""
    found = asked.order_by(None).subquery()
    number = select(found.c["pass"], func.count()).group_by(found.c["pass"])
    counted = {pass_: count for pass_, count in session.execute(number, _passes(sheets))}
    return sum(counted.get(sheet.reading, 0) for sheet in sheets)


def _passes(sheets: Sequence[Sheet]) -> dict[str, list[int]]:
    return {"passes": sorted({sheet.reading for sheet in sheets})}


def _asked(wanted: Filters) -> Statement:
    """Select the rows of `passes` that pass the filters; their sheets did already."""
    page, reading = tables.PageReading, tables.Reading
    failed = page.status == PageStatus.FAILED
    asked = (
        select(page.id.label("pass"), reading.position.label("position"), *columns())
        .select_from(page)
        .join(tables.Model, tables.Model.id == page.model_id)
        .outerjoin(tables.Form, tables.Form.id == page.form_id)
        .outerjoin(
            reading,
            and_(reading.page_reading_id == page.id, page.status == PageStatus.READ),
        )
        .outerjoin(tables.Decision, is_deciding())
        .where(page.id.in_(bindparam("passes", expanding=True)))
        .where(or_(failed, reading.id.is_not(None)))
        .order_by(page.id, reading.position)
    )
    within = wanted.copy()
    within.pop("batch", None)
    within.pop("source", None)
    return filtered(asked, within)


def sheets(session: Session, wanted: Filters, after: Place | None) -> Iterator[Sheet]:
    """Yield the sheets that may have rows, in the order of an export, from a place on."""
    arrival = tables.Arrival
    begin = None
    if after is not None:
        begin = session.execute(
            select(tables.Batch.name, arrival.source, arrival.document_id)
            .join(tables.Batch, tables.Batch.id == arrival.batch_id)
            .where(arrival.id == after.arrival)
        ).one_or_none()
    few = _few(session, wanted)
    for id_, name in _batches(session, wanted):
        if begin is not None and name.encode() < begin[0].encode():
            continue
        asked = select(arrival.id, arrival.source, arrival.document_id).where(
            arrival.batch_id == id_
        )
        if (source := wanted.get("source")) is not None:
            asked = asked.where(arrival.source == source)
        if few is not None:
            asked = asked.where(arrival.document_id.in_(few))
        order = (by_bytes(session, arrival.source), arrival.document_id)
        if begin is not None and name == begin[0]:
            # The sheets of this arrival are looked at again.
            asked = asked.where(
                order[0] >= begin[1],
                or_(order[0] > begin[1], arrival.document_id >= begin[2]),
            )
        size = AT_ONCE if few is None else FEW
        yield from _in_order(session, name, asked.order_by(*order), order, size, after)


def _in_order(
    session: Session,
    batch: str,
    asked: Any,
    order: Sequence[Any],
    size: int,
    after: Place | None,
) -> Iterator[Sheet]:
    """Yield the sheets of the arrivals asked for; more of them at once from time to time."""
    more = asked
    while found := session.execute(more.limit(size)).all():
        for at in range(0, len(found), LOOKED_AT):
            yield from _of_arrivals(session, batch, found[at : at + LOOKED_AT], after)
        if len(found) < size:
            return
        last, size = found[-1], min(8 * size, LOOKED_AT)
        more = asked.where(
            order[0] >= last.source,
            or_(order[0] > last.source, order[1] > last.document_id),
        )


def _of_arrivals(
    session: Session, batch: str, arrivals: Sequence[Any], after: Place | None
) -> Iterator[Sheet]:
    documents: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for document, number, reading in session.execute(
        select(tables.Page.document_id, tables.Page.number, tables.PageReading.id)
        .join(tables.PageReading, tables.PageReading.page_id == tables.Page.id)
        .where(tables.Page.document_id.in_([row.document_id for row in arrivals]))
        .where(tables.PageReading.status.in_((PageStatus.READ, PageStatus.FAILED)))
        .where(is_latest_pass())
        .order_by(tables.Page.document_id, tables.Page.number)
    ):
        documents[document].append((number, reading))
    first = 0 if after is None else after.page + (after.position == BEYOND)
    for row in arrivals:
        for number, reading in documents[row.document_id]:
            here = after is not None and row.id == after.arrival
            if not here or number >= first:
                yield Sheet(batch, row.source, row.id, number, reading)


def _batches(session: Session, wanted: Filters) -> list[tuple[int, str]]:
    """List the batches that may have rows, by the bytes of their names."""
    asked = select(tables.Batch.id, tables.Batch.name)
    if (name := wanted.get("batch")) is not None:
        asked = asked.where(tables.Batch.name == name)
    if (source := wanted.get("source")) is not None:
        came = select(tables.Arrival.batch_id).where(tables.Arrival.source == source)
        asked = asked.where(tables.Batch.id.in_(came))
    found = [(id_, name) for id_, name in session.execute(asked)]
    return sorted(found, key=lambda one: one[1].encode())


def _few(session: Session, wanted: Filters) -> Any:
    """Select the documents that a filter leaves, where these are few; None: look at all."""
    page, reading, decision = tables.PageReading, tables.Reading, tables.Decision
    status = wanted.get("status")
    chosen: list[Select[Any]] = []
    if status == FieldStatus.FAILED:
        chosen.append(select(page.page_id).where(page.status == PageStatus.FAILED))
    elif status == FieldStatus.REVIEW:
        chosen.append(
            select(page.page_id)
            .join(reading, reading.page_reading_id == page.id)
            .where(~reading.accepted)
        )
    elif status in (FieldStatus.CONFIRMED, FieldStatus.CORRECTED, FieldStatus.ILLEGIBLE):
        chosen.append(
            select(page.page_id)
            .join(reading, reading.page_reading_id == page.id)
            .join(decision, decision.reading_id == reading.id)
            .where(decision.verdict == str(status), decision.glyph_id.is_(None))
        )
    if (form := wanted.get("form")) is not None:
        of = select(tables.Form.id).where(tables.Form.name == form)
        chosen.append(select(page.page_id).where(page.form_id.in_(of)))
    for pages in chosen:
        known = session.scalar(
            select(func.count()).select_from(pages.limit(FEW + 1).subquery())
        )
        if (known or 0) <= FEW:
            return select(tables.Page.document_id).where(tables.Page.id.in_(pages))
    return None
