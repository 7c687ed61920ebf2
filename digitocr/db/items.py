"""What waits for a person: made page by page from what was read, counted as it changes.

Items are made when review first looks at a page, not when the page is stored: so databases
from before there were items are no other case, and reading is not held up. A page that is read
anew closes what waited of its earlier passes; a field that someone decided waits no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from digitocr import templates
from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.db.following import RULE_BOOST, priority, waiting, waiting_checked
from digitocr.db.store import is_latest_pass
from digitocr.db.tables import ItemState, Queue
from digitocr.errors import TemplateError
from digitocr.templates import FormTemplate
from digitocr.types import Box, Field, FieldKind, FieldType, Hypothesis, PageStatus

PAGES_AT_ONCE = 100
LOOKED_UP = 500  # rows asked for at once

Key = tuple[int | None, str, str]  # batch, queue, label


@lru_cache(maxsize=64)
def form_of(source: str) -> FormTemplate | None:
    """Make the form of a stored template; None where the text is none of this version."""
    try:
        return templates.from_source(source)
    except TemplateError:
        return None


def field_of(source: str, name: str) -> Field:
    """Find a field in a stored template; one without any rule where it is not to be found."""
    form = form_of(source)
    for field in form.fields if form else ():
        if field.name == name:
            return field
    return Field(name, 1, Box(0, 0, 1, 1), FieldKind.OPEN, FieldType.INTEGER, title=name)


def fill(session: Session, *, pages: int = PAGES_AT_ONCE) -> int:
    """Make the items of pages that were read since; give how many pages were looked at."""
    wanted = session.execute(
        select(tables.PageReading.id, tables.PageReading.page_id)
        .where(~tables.PageReading.queued)
        .order_by(tables.PageReading.id)
        .limit(pages)
        .with_for_update(skip_locked=True)
    ).all()
    if not wanted:
        return 0
    passes = [id_ for id_, _ in wanted]
    _close_earlier(session, [page for _, page in wanted])
    rows = _rows(session, passes)
    if rows:
        session.execute(insert(tables.Item), rows)
    change_counts(session, Counter((r["batch_id"], r["queue"], r["label"]) for r in rows))
    session.execute(
        update(tables.PageReading).where(tables.PageReading.id.in_(passes)).values(queued=True)
    )
    return len(wanted)


def send_accepted(session: Session, readings: Iterable[int]) -> int:
    """Let accepted readings wait for a person all the same; give how many do now.

    Each of their digits waits among its like where they spell the text, else the whole field.
    Those that a person decided, that wait already, or are of an earlier pass, are left out.
    """
    waits = exists().where(
        tables.Item.reading_id == tables.Reading.id, tables.Item.state == ItemState.OPEN
    )
    sent = 0
    for wanted in parts(readings):
        found = session.execute(
            _read().where(
                tables.Reading.id.in_(wanted),
                is_latest_pass(),
                tables.Reading.accepted,
                tables.Decision.id.is_(None),
                ~waits,
            )
        ).all()
        rows = _made(session, found)
        if rows:
            session.execute(insert(tables.Item), rows)
        change_counts(session, Counter((r["batch_id"], r["queue"], r["label"]) for r in rows))
        sent += len(found)
    return sent


def recount(session: Session) -> None:
    """Count anew what waits, and give items whose batch was removed another that has them."""
    orphans = session.execute(
        select(tables.Item.id, tables.Page.document_id)
        .join(tables.Reading, tables.Reading.id == tables.Item.reading_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .where(tables.Item.batch_id.is_(None))
    ).all()
    batches = batches_of(session, {document for _, document in orphans})
    for item, document in orphans:
        session.execute(
            update(tables.Item)
            .where(tables.Item.id == item)
            .values(batch_id=batches.get(document))
        )
    session.execute(delete(tables.Count))
    counted = session.execute(
        select(tables.Item.batch_id, tables.Item.queue, tables.Item.label, func.count())
        .where(tables.Item.state == ItemState.OPEN, tables.Item.batch_id.is_not(None))
        .group_by(tables.Item.batch_id, tables.Item.queue, tables.Item.label)
    ).all()
    change_counts(session, {(b, queue, label): n for b, queue, label, n in counted})


def change_counts(session: Session, changes: Mapping[Key, int]) -> None:
    """Add to the counts; always in the same order, so that two who do wait and do not lock."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    known = sorted((key, by) for key, by in changes.items() if key[0] is not None and by)
    for (batch, queue, label), by in known:
        row = {"batch_id": batch, "queue": str(queue), "label": label, "waiting": by}
        statement = dialect.insert(tables.Count).values(row)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["batch_id", "queue", "label"],
                set_={"waiting": tables.Count.waiting + by},
            )
        )


def add(
    session: Session, like: tables.Item, queue: Queue, *, boost: float = 1.0
) -> tables.Item:
    """Make the whole field of an item wait in another queue, unless it does already."""
    there = session.scalar(
        select(tables.Item).where(
            tables.Item.reading_id == like.reading_id,
            tables.Item.queue == queue,
            tables.Item.state == ItemState.OPEN,
        )
    )
    if there is not None:
        return there
    form = session.scalar(
        select(tables.Form.name)
        .join(tables.PageReading, tables.PageReading.form_id == tables.Form.id)
        .join(tables.Reading, tables.Reading.page_reading_id == tables.PageReading.id)
        .where(tables.Reading.id == like.reading_id)
    )
    item = tables.Item(
        reading_id=like.reading_id,
        glyph_id=None,
        batch_id=like.batch_id,
        queue=queue,
        label=form or "",
        priority=like.priority * boost,
        state=ItemState.OPEN,
        keyed_by=None,
        claim_id=None,
        claimed_until=None,
    )
    session.add(item)
    session.flush()
    change_counts(session, {(item.batch_id, item.queue, item.label): 1})
    return item


def close(session: Session, items: Iterable[tables.Item], state: ItemState) -> None:
    """Close items that waited; those that did not any more stay as they are."""
    changes: Counter[Key] = Counter()
    closed = [item for item in items if item.state == ItemState.OPEN]
    if not closed:
        return
    for item in closed:
        changes[item.batch_id, item.queue, item.label] -= 1
    session.flush()
    wanted = tables.Item.id.in_([item.id for item in closed])
    session.execute(update(tables.Item).where(wanted).values(state=state))
    change_counts(session, changes)


def reopen(session: Session, items: Iterable[tables.Item]) -> None:
    """Let items wait again, for whoever comes next."""
    changes: Counter[Key] = Counter()
    for item in items:
        if item.state != ItemState.OPEN:
            changes[item.batch_id, item.queue, item.label] += 1
        item.state, item.claim_id, item.claimed_until = ItemState.OPEN, None, None
    session.flush()
    change_counts(session, changes)


def _close_earlier(session: Session, pages: Sequence[int]) -> None:
    items = session.scalars(
        select(tables.Item)
        .join(tables.Reading, tables.Reading.id == tables.Item.reading_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .where(tables.PageReading.page_id.in_(pages), tables.Item.state == ItemState.OPEN)
    ).all()
    close(session, items, ItemState.GONE)


def _rows(session: Session, passes: Sequence[int]) -> list[dict[str, Any]]:
    found = session.execute(
        _read().where(
            tables.PageReading.id.in_(passes),
            tables.PageReading.status == PageStatus.READ,
            tables.PageReading.purge_id.is_(None),
            is_latest_pass(),
            ~tables.Reading.accepted,
            tables.Decision.id.is_(None),
        )
    ).all()
    return _made(session, found)


def _read() -> Any:
    """Select readings with what their items need; is_deciding() is in it."""
    return (
        select(tables.Reading, tables.Form.name, tables.Form.source, tables.Page.document_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .outerjoin(tables.Decision, is_deciding())
    )


def _made(session: Session, found: Sequence[Any]) -> list[dict[str, Any]]:
    """Make the rows of the items of some readings."""
    digits = _digits(session, [reading.id for reading, *_ in found])
    batches = batches_of(session, {document for *_, document in found})
    rows = []
    for reading, form, source, document in found:
        rows += _rows_of(
            reading, field_of(source, reading.field), digits.get(reading.id, []), form,
            batches.get(document),
        )  # fmt: skip
    return rows


def _rows_of(
    reading: tables.Reading,
    field: Field,
    glyphs: Sequence[tuple[int, Hypothesis]],
    form: str,
    batch: int | None,
) -> list[dict[str, Any]]:
    digits = [digit for _, digit in glyphs]
    others = [Hypothesis(h["text"], h["confidence"]) for h in reading.alternatives]
    best = [] if reading.text is None else [Hypothesis(reading.text, reading.confidence)]
    if reading.accepted:
        wait = waiting_checked(field, reading.text or "", digits)
    else:
        wait = waiting(field, [*best, *others], reading.reasons, digits)
    row = {
        "reading_id": reading.id,
        "glyph_id": None,
        "batch_id": batch,
        "queue": wait.queue.value,
        "label": form,
        "state": ItemState.OPEN.value,
        "keyed_by": None,
        "claim_id": None,
        "claimed_until": None,
    }
    if wait.queue is not Queue.GROUP:
        boost = RULE_BOOST if wait.queue is Queue.CONFLICT else 1.0
        cost = boost * priority(field, digits, None, reading.confidence)
        return [row | {"priority": cost}]
    return [
        row
        | {
            "glyph_id": glyphs[place][0],
            "label": digits[place].text,
            "priority": priority(field, digits, place, digits[place].confidence),
        }
        for place in wait.glyphs
    ]


def _digits(
    session: Session, readings: Sequence[int]
) -> dict[int, list[tuple[int, Hypothesis]]]:
    glyph = tables.Glyph
    found: dict[int, list[tuple[int, Hypothesis]]] = {}
    for id_, reading, text, confidence in session.execute(
        select(glyph.id, glyph.reading_id, glyph.text, glyph.confidence)
        .where(glyph.reading_id.in_(readings))
        .order_by(glyph.reading_id, glyph.position)
    ):
        found.setdefault(reading, []).append((id_, Hypothesis(text, confidence)))
    return found


def batches_of(session: Session, documents: set[int]) -> dict[int, int]:
    """Find the batch that each document first came in."""
    rows = session.execute(
        select(tables.Arrival.document_id, func.min(tables.Arrival.batch_id))
        .where(tables.Arrival.document_id.in_(documents))
        .group_by(tables.Arrival.document_id)
    )
    return {document: batch for document, batch in rows}


def parts(ids: Iterable[int]) -> Iterable[list[int]]:
    """Give ids in lists that a statement can take."""
    listed = sorted(ids)
    for start in range(0, len(listed), LOOKED_UP):
        yield listed[start : start + LOOKED_UP]


def is_free(now: Any, reviewer: str) -> Any:
    """Say, in SQL, that an item waits, nobody has it, and this person did not key it."""
    mine = tables.Item.keyed_by.contains(f"|{reviewer}|", autoescape=True)
    return and_(
        tables.Item.state == ItemState.OPEN,
        or_(tables.Item.claimed_until.is_(None), tables.Item.claimed_until < now),
        or_(tables.Item.keyed_by.is_(None), ~mine),
    )
