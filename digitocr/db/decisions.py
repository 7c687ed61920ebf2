"""What people said of readings: a row each, kept for good, and which of them counts.

Functions take a session; the caller commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, false, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from digitocr.db import tables
from digitocr.errors import DatabaseError, UsageError
from digitocr.templates import field_types
from digitocr.types import Correction, FieldType, Verdict

APP = version("digitocr")


@dataclass(frozen=True, slots=True)
class AuditedReading:
    """An accepted reading that a person read again, blind; `right`: and read the same.

    `sure_from`: from this confidence on every reading of its type might have been drawn, when
    it was.
    """

    type: FieldType
    confidence: float
    right: bool
    sure_from: float


def record_decision(session: Session, correction: Correction) -> int:
    """Store what a person said; returns the decision's id.

    Raises
    ------
    ValueError
        If the text does not go with the verdict, there is no reviewer, or it is an audit of
        a glyph or of a reading that was not accepted.
    DatabaseError
        If the reading, or the glyph of it, is not there (any more).
    """
    row = tables.Decision(**_decision(correction))
    there = (
        select(tables.Reading.accepted, tables.PageReading.purge_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .where(tables.Reading.id == correction.reading)
    )
    if correction.glyph is not None:
        there = there.join(tables.Glyph, tables.Glyph.reading_id == tables.Reading.id).where(
            tables.Glyph.id == correction.glyph
        )
    found = session.execute(there).one_or_none()
    if found is None:
        of = "" if correction.glyph is None else f"glyph {correction.glyph} of "
        raise DatabaseError(
            f"{of}reading {correction.reading} is not in the database; its batch may have "
            "been removed: reload the page"
        )
    if found.purge_id is not None:
        raise UsageError("what was read there was purged; there is nothing to decide")
    if correction.audit and not found.accepted:
        raise ValueError(
            f"audit of reading {correction.reading}: it was not accepted, and audits are drawn "
            "from what was"
        )
    session.add(row)
    session.flush()
    return row.id


def record_decisions(session: Session, corrections: Iterable[Correction]) -> None:
    """Store what a person said of many digits or fields that are there, in this order."""
    rows = [_decision(correction) for correction in corrections]
    if rows:
        session.execute(insert(tables.Decision), rows)


def _decision(correction: Correction) -> dict[str, Any]:
    """Make the row of what a person said.

    Raises
    ------
    ValueError
        If the text does not go with the verdict, there is no reviewer, or it is an audit of
        a glyph.
    """
    without_text = correction.verdict in (Verdict.ILLEGIBLE, Verdict.WITHDRAWN)
    if without_text != (correction.text is None):
        raise ValueError(
            f"text = {correction.text!r} with verdict '{correction.verdict}': an illegible "
            "or withdrawn one has no text, any other has one"
        )
    if correction.verdict is Verdict.WITHDRAWN and correction.undoes is None:
        raise ValueError("verdict = 'withdrawn': name the decision that it takes back")
    if not correction.reviewer.strip():
        raise ValueError("reviewer is empty: a decision names who made it")
    if correction.audit and correction.glyph is not None:
        raise ValueError(f"audit of glyph {correction.glyph}: an audit is of a whole field")
    return {
        "reading_id": correction.reading,
        "glyph_id": correction.glyph,
        "verdict": correction.verdict.value,
        "text": correction.text,
        "reviewer": correction.reviewer.strip(),
        "made_at": correction.made_at,
        "audit": correction.audit,
        "claim_id": correction.claim,
        "screen": correction.screen,
        "shown": correction.shown,
        "ms": correction.ms,
        "undoes": correction.undoes,
        "followed": correction.followed,
        "as_written": correction.as_written,
        "app": APP if correction.screen else None,
    }


def is_deciding() -> ColumnElement[bool]:
    """Say, in SQL, that a row of `decisions` counts for the field of `readings`.

    It is the latest on the same page, form and field, on whichever pass. Only decisions on a
    whole field: what those on its glyphs come to is written down as one (`following`). A
    decision that withdraws leaves the field to the machine's reading again. A field of the
    same name on another form is another field. What a purge took the text of counts for what
    was purged alone. Needs `page_readings`, `readings` and `forms` joined.
    """
    said = aliased(tables.Decision)
    reading, page = aliased(tables.Reading), aliased(tables.PageReading)
    form = aliased(tables.Form)
    last = (
        select(func.max(said.id))
        .select_from(page)
        .join(form, form.id == page.form_id)
        .join(reading, reading.page_reading_id == page.id)
        .join(said, said.reading_id == reading.id)
        .where(
            page.page_id == tables.PageReading.page_id,
            form.name == tables.Form.name,
            reading.field == tables.Reading.field,
            said.glyph_id.is_(None),
        )
        .correlate(tables.PageReading, tables.Reading, tables.Form)
    )
    return and_(
        tables.Decision.id == last.scalar_subquery(),
        tables.Decision.verdict != Verdict.WITHDRAWN,
        or_(tables.Decision.purge_id.is_(None), tables.PageReading.purge_id.is_not(None)),
    )


def is_right() -> ColumnElement[bool]:
    """Say, in SQL, that a decision confirms the reading it is of; after a purge, its verdict.

    Needs `readings` and `decisions`.
    """
    return case(
        (
            tables.Decision.purge_id.is_not(None),
            tables.Decision.verdict == Verdict.CONFIRMED,
        ),
        else_=func.coalesce(tables.Decision.text == tables.Reading.text, false()),
    )


def audited(session: Session, *, model: str) -> tuple[AuditedReading, ...]:
    """List the readings of a model that were audited, each field of a page once.

    Only the first audit of a field counts: whoever looks again has seen something. It is
    right where the text is the machine's; a field that a person could not read is counted as
    wrong, because nothing confirms what was accepted, and so is one that was keyed otherwise
    and waits for a second person.

    What was accepted below `sure_from`, because its digits were sure enough, is left out: its
    like with less sure digits was not accepted and could not be drawn. So nothing is known
    below the least confidence accepted at the time, and `promise` derives no threshold there.

    Parameters
    ----------
    model
        Fingerprint of the model, or of the pair, that reads: what another one was sure of
        says nothing of this one.
    """
    reading, page, decision = tables.Reading, tables.PageReading, tables.Decision
    form = tables.Form
    first = (
        select(func.min(decision.id))
        .join(reading, reading.id == decision.reading_id)
        .join(page, page.id == reading.page_reading_id)
        .join(tables.Model, tables.Model.id == page.model_id)
        .where(decision.audit, tables.Model.fingerprint == model)
        .group_by(page.page_id, page.form_id, reading.field)
    )
    rows = session.execute(
        select(
            form.id,
            reading.field,
            reading.confidence,
            reading.sure_from,
            is_right(),
        )
        .select_from(decision)
        .join(reading, reading.id == decision.reading_id)
        .join(page, page.id == reading.page_reading_id)
        .join(form, form.id == page.form_id)
        .where(decision.id.in_(first))
        .order_by(decision.id)
    ).all()
    differing = session.execute(
        select(form.id, reading.field, reading.confidence, reading.sure_from)
        .select_from(reading)
        .join(page, page.id == reading.page_reading_id)
        .join(form, form.id == page.form_id)
        .join(tables.Model, tables.Model.id == page.model_id)
        .where(is_keyed_otherwise(), tables.Model.fingerprint == model)
        .order_by(reading.id)
    ).all()
    # Types are as in the stored forms: a folder of today may lack one, or have a new version.
    known = {row[0] for row in rows} | {row[0] for row in differing}
    used = select(form.id, form.source).where(form.id.in_(known))
    types = {id_: field_types(source) for id_, source in session.execute(used)}
    said_of = [(*row[:4], bool(row[4])) for row in rows]
    said_of += [(*row, False) for row in differing]
    return tuple(
        AuditedReading(types[form_id][field], confidence, right, sure_from)
        for form_id, field, confidence, sure_from, right in said_of
        if sure_from is not None and confidence >= sure_from
    )


def is_keyed_otherwise() -> ColumnElement[bool]:
    """Say, in SQL, that a reading was audited and keyed otherwise, and waits for a second look.

    One that agrees is decided at once, one that does not later: without these, audits would
    look better than they are.
    """
    keying, decision = tables.Keying, tables.Decision
    keyed = exists().where(
        keying.reading_id == tables.Reading.id, keying.queue == tables.Queue.AUDIT
    )
    decided = exists().where(decision.reading_id == tables.Reading.id, decision.audit)
    return and_(keyed, ~decided)
