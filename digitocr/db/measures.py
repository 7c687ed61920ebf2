"""A batch in figures, for each of its forms, written down when it is closed.

Weeks later it would take a look at every reading of the batch to find them again; and a page
that is read anew, or purged, would change what the batch was like when it came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.store import batch_id, is_latest_pass
from digitocr.types import PageStatus


@dataclass(frozen=True, slots=True)
class Sample:
    """Something measured many times: how often, its mean, and its variance."""

    count: int
    mean: float
    variance: float

    @staticmethod
    def of(count: int, total: float, squares: float) -> Sample:
        """Work it out from sums."""
        if not count:
            return Sample(0, math.nan, math.nan)
        mean = total / count
        return Sample(count, mean, max(0.0, squares / count - mean * mean))


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pages of one form were like in one batch; `residual` in millimetres."""

    batch: str
    form: str
    confidence: Sample
    rejected: Sample
    residual: Sample


def write(session: Session, name: str, now: datetime) -> None:
    """Measure a batch as it is, and write it down in the place of what was there.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    batch = batch_id(session, name)
    rows = _pages(session, batch)
    for form, fields in _fields(session, batch).items():
        rows[form] |= fields
    measure = tables.Measure
    session.execute(delete(measure).where(measure.batch_id == batch))
    none = {"fields": 0, "rejected": 0, "confidence_sum": 0.0, "confidence_squares": 0.0}
    if rows:
        key = {"batch_id": batch, "measured_at": now}
        session.execute(
            insert(measure),
            [none | row | key | {"form_id": form} for form, row in rows.items()],
        )


def of_batch(session: Session, name: str) -> list[Measured]:
    """Give the figures of a batch, by form."""
    return _measured(session, tables.Batch.name == name)


def earlier(session: Session, name: str, since: datetime) -> list[Measured]:
    """Give the figures of batches that began before this one, and were closed since a time."""
    begun = select(tables.Batch.created_at).where(tables.Batch.name == name).scalar_subquery()
    return _measured(
        session,
        tables.Batch.name != name,
        tables.Batch.created_at <= begun,
        tables.Measure.measured_at >= since,
    )


def _measured(session: Session, *wanted: Any) -> list[Measured]:
    measure, form = tables.Measure, tables.Form
    rows = session.execute(
        select(tables.Batch.name, form.name, form.version, measure)
        .join(tables.Batch, tables.Batch.id == measure.batch_id)
        .join(form, form.id == measure.form_id)
        .where(*wanted)
        .order_by(tables.Batch.created_at, tables.Batch.id, form.name, form.version)
    )
    return [
        Measured(
            batch=batch,
            form=f"{name} {version}",
            confidence=Sample.of(one.fields, one.confidence_sum, one.confidence_squares),
            rejected=Sample.of(one.fields, one.rejected, one.rejected),
            residual=Sample.of(one.pages, one.residual_sum, one.residual_squares),
        )
        for batch, name, version, one in rows
    ]


def _pages(session: Session, batch: int) -> dict[int, dict[str, Any]]:
    page = tables.PageReading
    residual = func.coalesce(page.residual_mm, 0.0)
    rows = session.execute(
        select(page.form_id, func.count(), func.sum(residual), func.sum(residual * residual))
        .join(tables.Page, tables.Page.id == page.page_id)
        .where(tables.Page.document_id.in_(_documents(batch)), *_read())
        .group_by(page.form_id)
    )
    return {
        form: {"pages": count, "residual_sum": total, "residual_squares": squares}
        for form, count, total, squares in rows
        if form is not None
    }


def _fields(session: Session, batch: int) -> dict[int, dict[str, Any]]:
    page, reading = tables.PageReading, tables.Reading
    rows = session.execute(
        select(
            page.form_id,
            func.count(),
            func.sum(case((reading.accepted, 0), else_=1)),
            func.sum(reading.confidence),
            func.sum(reading.confidence * reading.confidence),
        )
        .join(tables.Page, tables.Page.id == page.page_id)
        .join(reading, reading.page_reading_id == page.id)
        .where(tables.Page.document_id.in_(_documents(batch)), *_read())
        .group_by(page.form_id)
    )
    return {
        form: {
            "fields": count,
            "rejected": rejected,
            "confidence_sum": total,
            "confidence_squares": squares,
        }
        for form, count, rejected, total, squares in rows
        if form is not None
    }


def _documents(batch: int) -> Any:
    return select(tables.Arrival.document_id).where(tables.Arrival.batch_id == batch)


def _read() -> tuple[Any, ...]:
    page = tables.PageReading
    return is_latest_pass(), page.status == PageStatus.READ, page.purge_id.is_(None)
