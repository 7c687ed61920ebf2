"""The numbers as a statement: what `query` shows and `export` writes, filtered and in order.

The order is batch, source, document, page, position on the form; text by its bytes on both
databases.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, Text, and_, case, collate, or_, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.db.store import is_latest_pass
from digitocr.types import FieldStatus, PageStatus

Statement = Select[*tuple[Any, ...]]


class Filters(TypedDict, total=False):
    """Which rows are wanted; None, or left out, wants all.

    `since` and `until` are times of reading, with their zone; `until` is excluded.
    """

    batch: str | None
    form: str | None
    field: str | None
    status: FieldStatus | None
    source: str | None
    since: datetime | None
    until: datetime | None


def statement(session: Session) -> Statement:
    """Select the columns of the frame, with a failed page's cause for its reasons."""
    page, reading, form = tables.PageReading, tables.Reading, tables.Form
    decision = tables.Decision
    failed = page.status == PageStatus.FAILED
    return (
        select(
            tables.Batch.name.label("batch"),
            tables.Arrival.source.label("source"),
            tables.Document.sha256.label("document"),
            tables.Page.number.label("page"),
            *columns(),
        )
        .select_from(tables.Arrival)
        .join(tables.Batch, tables.Batch.id == tables.Arrival.batch_id)
        .join(tables.Document, tables.Document.id == tables.Arrival.document_id)
        .join(tables.Page, tables.Page.document_id == tables.Document.id)
        .join(page, page.page_id == tables.Page.id)
        .join(tables.Model, tables.Model.id == page.model_id)
        .outerjoin(form, form.id == page.form_id)
        .outerjoin(
            reading,
            and_(reading.page_reading_id == page.id, page.status == PageStatus.READ),
        )
        .outerjoin(decision, is_deciding())
        .where(is_latest_pass())
        .where(or_(failed, reading.id.is_not(None)))
        .order_by(
            by_bytes(session, tables.Batch.name),
            by_bytes(session, tables.Arrival.source),
            tables.Arrival.document_id,
            tables.Page.number,
            reading.position,
        )
    )


def columns() -> tuple[Any, ...]:
    """Select what is said of a reading; of a page that failed, the cause."""
    page, reading, form = tables.PageReading, tables.Reading, tables.Form
    decision = tables.Decision
    is_decided = decision.id.is_not(None)
    failed = page.status == PageStatus.FAILED
    purged = page.purge_id.is_not(None)
    value = case((is_decided, decision.text), (reading.accepted, reading.text))
    status = case(
        (failed, FieldStatus.FAILED.value),
        (purged, FieldStatus.PURGED.value),
        (is_decided, decision.verdict),
        (reading.accepted, FieldStatus.ACCEPTED.value),
        else_=FieldStatus.REVIEW.value,
    )
    return (
        form.name.label("form"),
        form.version.label("form_version"),
        reading.field.label("field"),
        value.label("value"),
        status.label("status"),
        reading.text.label("reading"),
        case((~purged, reading.confidence)).label("confidence"),
        # As stored: an export hands the JSON on and need not take it apart.
        reading.reasons.cast(Text).label("reasons"),
        reading.alternatives.cast(Text).label("alternatives"),
        decision.reviewer.label("reviewer"),
        decision.made_at.label("reviewed_at"),
        tables.Model.name.label("model"),
        page.read_at.label("read_at"),
        page.cause.label("cause"),
    )


def by_bytes(session: Session, column: Any) -> ColumnElement[Any]:
    """Order text by its bytes, as SQLite does, whatever the collation of the database."""
    lite = session.get_bind().dialect.name == "sqlite"
    ordered: ColumnElement[Any] = column if lite else collate(column, "C")
    return ordered


def filtered(asked: Statement, wanted: Filters) -> Statement:
    """Keep the rows that pass filters."""
    selected = asked.selected_columns
    for name in ("batch", "form", "field", "status", "source"):
        if (value := wanted.get(name)) is not None:
            asked = asked.where(selected[name] == str(value))
    if (since := wanted.get("since")) is not None:
        asked = asked.where(selected["read_at"] >= since)
    if (until := wanted.get("until")) is not None:
        asked = asked.where(selected["read_at"] < until)
    return asked
