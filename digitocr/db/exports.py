"""Which numbers were taken out, when and by whom; and which of them hold what a person said.

An export is written down before it reads, and closed when its file is there: what was said
meanwhile counts as in it. One that was killed stays open, and counts as holding all for a day.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from digitocr.db import items, schema, tables
from digitocr.errors import DatabaseError

DEAD = timedelta(days=1)  # what is open for longer was killed
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """One export; `rows` is None while it is written, or if it never was."""

    id: int
    begun_at: datetime
    made_by: str
    format: str
    filters: Mapping[str, str]
    rows: int | None


class Note:
    """How many rows were written, to be said by who writes them."""

    rows = 0


@contextmanager
def noted(
    engine: Engine, wanted: Mapping[str, Any], *, format: str, by: str, now: datetime
) -> Iterator[Note]:
    """Write an export down while its file is written; what fails was none.

    Where the database may only be read the numbers are given all the same, with a warning:
    then nothing knows that they were taken out.
    """
    row = {
        "begun_at": now,
        "made_by": by,
        "format": format,
        "filters": {name: _plain(value) for name, value in wanted.items() if value is not None},
    }
    note = Note()
    try:
        with schema.writing(engine) as session:
            made = session.scalar(insert(tables.Export).values(row).returning(tables.Export.id))
    except DatabaseError as error:
        log.warning("this export is not written down, so undo will not know of it: %s", error)
        yield note
        return
    this = tables.Export.id == made
    try:
        yield note
    except BaseException:
        with schema.writing(engine) as session:
            session.execute(delete(tables.Export).where(this))
        raise
    last = select(func.coalesce(func.max(tables.Decision.id), 0)).scalar_subquery()
    with schema.writing(engine) as session:
        session.execute(
            update(tables.Export).where(this).values(last_decision=last, rows=note.rows)
        )


def latest(session: Session, count: int) -> tuple[Taken, ...]:
    """List the last exports, the latest first."""
    rows = session.scalars(select(tables.Export).order_by(tables.Export.id.desc()).limit(count))
    return tuple(map(_taken, rows))


def holding(
    session: Session, readings: Iterable[int], *, since: int, now: datetime
) -> dict[int, Taken]:
    """Tell which of some readings were exported with what people said, and by which export.

    Parameters
    ----------
    since
        The id of a decision: only what was said of a whole field from it on counts.
    """
    export = tables.Export
    found = session.scalars(
        select(export)
        .where(
            or_(
                export.last_decision >= since,
                export.last_decision.is_(None) & (export.begun_at > now - DEAD),
            )
        )
        .order_by(export.id)
    ).all()
    if not found:
        return {}
    held: dict[int, Taken] = {}
    for part in items.parts(set(readings)):
        for reading, decision, facts in _said(session, part, since):
            for row in found:
                in_time = row.last_decision is None or decision <= row.last_decision
                if in_time and _matches(row.filters, facts):
                    held.setdefault(reading, _taken(row))
                    break
    return held


def _said(
    session: Session, readings: list[int], since: int
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield what was said of whole fields, with all that filters of an export ask for."""
    rows = session.execute(
        select(
            tables.Reading.id,
            tables.Decision.id,
            tables.Batch.name,
            tables.Arrival.source,
            tables.Form.name,
            tables.Reading.field,
            tables.Decision.verdict,
            tables.PageReading.read_at,
        )
        .select_from(tables.Decision)
        .join(tables.Reading, tables.Reading.id == tables.Decision.reading_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .join(tables.Arrival, tables.Arrival.document_id == tables.Page.document_id)
        .join(tables.Batch, tables.Batch.id == tables.Arrival.batch_id)
        .where(tables.Decision.reading_id.in_(readings), tables.Decision.glyph_id.is_(None))
        .where(tables.Decision.id >= since)
    )
    names = ("batch", "source", "form", "field", "status", "read_at")
    for reading, decision, *facts in rows:
        yield reading, decision, dict(zip(names, facts, strict=True))


def _matches(filters: Mapping[str, str], facts: Mapping[str, Any]) -> bool:
    for name, value in filters.items():
        if name == "since":
            if facts["read_at"] < datetime.fromisoformat(value):
                return False
        elif name == "until":
            if facts["read_at"] >= datetime.fromisoformat(value):
                return False
        elif facts[name] != value:
            return False
    return True


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _taken(row: tables.Export) -> Taken:
    return Taken(row.id, row.begun_at, row.made_by, row.format, row.filters, row.rows)
