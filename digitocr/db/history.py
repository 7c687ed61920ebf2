"""What was read and said of a field, over all passes of its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from digitocr.db import tables


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a field's history."""

    at: datetime
    who: str
    what: str
    text: str | None
    screen: str | None


def of_field(session: Session, reading: int) -> tuple[Event, ...]:
    """Tell what was read and said of a field, oldest first, over all passes of its page."""
    here = session.execute(
        select(tables.PageReading.page_id, tables.Form.name, tables.Reading.field)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(tables.Reading.id == reading)
    ).one_or_none()
    if here is None:
        return ()
    page_id, form, field = here
    same = (
        select(tables.Reading.id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(
            tables.PageReading.page_id == page_id,
            tables.Form.name == form,
            tables.Reading.field == field,
        )
    )
    read = session.execute(
        select(tables.PageReading.read_at, tables.Model.name, tables.Reading.text)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Model, tables.Model.id == tables.PageReading.model_id)
        .where(tables.Reading.id.in_(same))
    )
    said = session.execute(
        select(tables.Decision, tables.Glyph.position)
        .outerjoin(tables.Glyph, tables.Glyph.id == tables.Decision.glyph_id)
        .where(tables.Decision.reading_id.in_(same))
        .order_by(tables.Decision.id)
    )
    events = [Event(at, model, "read", text, None) for at, model, text in read]
    for one, position in said:
        what = f"digit {position + 1} {one.verdict}" if position is not None else one.verdict
        what += " (undo)" if one.undoes and one.verdict != "withdrawn" else ""
        what += " as written" if one.as_written else ""
        what += ", from its digits" if one.followed else ""
        events.append(Event(one.made_at, one.reviewer, what, one.text, one.screen))
    return tuple(sorted(events, key=lambda event: event.at))
