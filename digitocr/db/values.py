"""What digits and fields are by now: as decided last, else as read."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.types import Verdict


def digits_now(session: Session, readings: Iterable[int]) -> dict[int, list[str | None]]:
    """Give the digits of readings: as decided last, else as read."""
    glyph, decision = tables.Glyph, tables.Decision
    last = (
        select(decision.glyph_id, func.max(decision.id).label("id"))
        .where(decision.reading_id.in_(list(readings)), decision.glyph_id.is_not(None))
        .group_by(decision.glyph_id)
        .subquery()
    )
    rows = session.execute(
        select(glyph.reading_id, glyph.text, decision.verdict, decision.text)
        .outerjoin(last, last.c.glyph_id == glyph.id)
        .outerjoin(decision, decision.id == last.c.id)
        .where(glyph.reading_id.in_(list(readings)))
        .order_by(glyph.reading_id, glyph.position)
    )
    digits: dict[int, list[str | None]] = {}
    for reading, read, verdict, text in rows:
        said = verdict is not None and verdict != Verdict.WITHDRAWN
        digits.setdefault(reading, []).append(text if said else read)
    return digits


def values_now(session: Session, pages: Iterable[int]) -> dict[int, dict[str, str | None]]:
    """Give the values of the fields of some passes: as decided, else as accepted, else None."""
    rows = session.execute(
        select(
            tables.PageReading.id,
            tables.Reading.field,
            tables.Reading.text,
            tables.Reading.accepted,
            tables.Decision.id,
            tables.Decision.text,
        )
        .select_from(tables.PageReading)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .join(tables.Reading, tables.Reading.page_reading_id == tables.PageReading.id)
        .outerjoin(tables.Decision, is_deciding())
        .where(tables.PageReading.id.in_(list(pages)))
    )
    values: dict[int, dict[str, str | None]] = {}
    for page, field, read, accepted, decision, said in rows:
        known = said if decision is not None else read if accepted else None
        values.setdefault(page, {})[field] = known
    return values
