"""What was done: batches counted, listed and removed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, Subquery, delete, distinct, exists, func, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.db.store import batch_id, is_latest_pass, stored_source
from digitocr.db.tables import BatchStatus
from digitocr.errors import UsageError
from digitocr.types import PageStatus

Wanted = Select[int]  # ids of batches
SOURCES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class FailedPage:
    """A page that could not be read, and why."""

    source: str
    page: int
    cause: str


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page of a batch as its latest pass left it, and with what that read it.

    `form` is name and version, with the form's `fingerprint`; None where none was found.
    `model` is a fingerprint, too. `purged`: what was read of it was taken out.
    """

    source: str
    sha256: str
    page: int
    status: PageStatus
    form: tuple[str, int] | None
    fingerprint: str
    model: str
    model_name: str
    purged: bool = False


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What became of a batch. Documents and pages count once, however often they arrived.

    `to_review` counts readings that no one has decided yet; `decided` those someone has;
    `purged` those whose values were taken out, which are in neither.
    """

    name: str
    status: BatchStatus
    created_at: datetime
    finished_at: datetime | None
    documents: int
    pages: int
    blank_pages: int
    ignored_pages: int
    fields: int
    accepted: int
    to_review: int
    decided: int
    failed_pages: tuple[FailedPage, ...]
    purged: int = 0


def batch_summary(session: Session, name: str) -> BatchSummary:
    """Count what became of a batch.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    batch_id(session, name)
    return _summaries(session, select(tables.Batch.id).where(tables.Batch.name == name))[0]


def find_batch(session: Session, name: str) -> BatchSummary | None:
    """Count what became of a batch; None where there is none of that name."""
    found = _summaries(session, select(tables.Batch.id).where(tables.Batch.name == name))
    return found[0] if found else None


def running(session: Session) -> list[str]:
    """Name the batches that were not finished, oldest first."""
    return list(
        session.scalars(
            select(tables.Batch.name)
            .where(tables.Batch.status == BatchStatus.RUNNING)
            .order_by(tables.Batch.created_at, tables.Batch.id)
        )
    )


def list_batches(session: Session) -> tuple[BatchSummary, ...]:
    """Count what became of every batch, oldest first."""
    return _summaries(session, select(tables.Batch.id))


def sources_arrived(session: Session, sources: Sequence[str]) -> set[str]:
    """Tell which of these sources ever arrived, in any batch."""
    arrived: set[str] = set()
    wanted = [stored_source(source) for source in sources]
    for at in range(0, len(wanted), SOURCES_AT_ONCE):
        part = wanted[at : at + SOURCES_AT_ONCE]
        found = select(tables.Arrival.source).where(tables.Arrival.source.in_(part))
        arrived.update(session.scalars(found))
    return arrived


def arrivals_since(session: Session, name: str, since: datetime | None) -> int:
    """Count what arrived in a batch, in all or since some time."""
    counted = (
        select(func.count(tables.Arrival.id))
        .join(tables.Batch, tables.Batch.id == tables.Arrival.batch_id)
        .where(tables.Batch.name == name)
    )
    if since is not None:
        counted = counted.where(tables.Arrival.received_at >= since)
    return session.scalar(counted) or 0


def pages_since(session: Session, name: str, since: datetime) -> int:
    """Count the passes over pages of a batch since some time."""
    came = _came(select(tables.Batch.id).where(tables.Batch.name == name))
    counted = (
        select(func.count(tables.PageReading.id))
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .join(came, came.c.document_id == tables.Page.document_id)
        .where(tables.PageReading.read_at >= since)
    )
    return session.scalar(counted) or 0


def stored_pages(session: Session, name: str) -> list[StoredPage]:
    """List the pages of a batch, each under every source it came from, by source and number.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    page, form = tables.PageReading, tables.Form
    rows = session.execute(
        select(
            tables.Arrival.source,
            tables.Document.sha256,
            tables.Page.number,
            page.status,
            form.name.label("form"),
            form.version,
            form.fingerprint,
            tables.Model.fingerprint.label("model"),
            tables.Model.name.label("model_name"),
            page.purge_id,
        )
        .join(tables.Document, tables.Document.id == tables.Arrival.document_id)
        .join(tables.Page, tables.Page.document_id == tables.Document.id)
        .join(page, page.page_id == tables.Page.id)
        .join(tables.Model, tables.Model.id == page.model_id)
        .outerjoin(form, form.id == page.form_id)
        .where(tables.Arrival.batch_id == batch_id(session, name), is_latest_pass())
        .order_by(tables.Arrival.source, tables.Document.sha256, tables.Page.number)
    )
    return [
        StoredPage(
            row.source,
            row.sha256,
            row.number,
            PageStatus(row.status),
            None if row.form is None else (row.form, row.version),
            row.fingerprint or "",
            row.model,
            row.model_name,
            row.purge_id is not None,
        )
        for row in rows
    ]


def remove_batch(session: Session, name: str) -> int:
    """Remove a batch: its arrivals, and with all that was read the documents only it has.

    Decisions are kept for good, so a batch that would take one along is not removed at all.

    Returns
    -------
    How many documents went.

    Raises
    ------
    UsageError
        If there is no batch of that name, or someone has decided on a reading of it.
    """
    batch = batch_id(session, name)
    # Locked (PostgreSQL) before its documents, in the order in which arrivals lock them.
    session.execute(select(tables.Batch.id).where(tables.Batch.id == batch).with_for_update())
    other = tables.Arrival.__table__.alias("other")
    doomed = (
        select(tables.Arrival.document_id)
        .where(tables.Arrival.batch_id == batch)
        .where(
            ~exists().where(
                other.c.document_id == tables.Arrival.document_id, other.c.batch_id != batch
            )
        )
    )
    of_doomed = tables.Document.id.in_(doomed)
    # Locked (PostgreSQL), so that none of them arrives in another batch meanwhile.
    session.execute(select(tables.Document.id).where(of_doomed).with_for_update())
    decisions = session.scalar(
        select(func.count(tables.Decision.id))
        .join(tables.Reading, tables.Reading.id == tables.Decision.reading_id)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .where(tables.Page.document_id.in_(doomed))
    )
    if decisions:
        raise UsageError(
            f"batch '{name}' has {decisions} decision{'s' if decisions > 1 else ''} made in "
            "review, which are kept for good; it was left as it is"
        )
    session.expunge_all()
    untracked = {"synchronize_session": False}
    removed = session.execute(
        delete(tables.Document).where(of_doomed), execution_options=untracked
    )
    session.execute(
        delete(tables.Batch).where(tables.Batch.id == batch), execution_options=untracked
    )
    return cast("CursorResult[Any]", removed).rowcount


def _summaries(session: Session, wanted: Wanted) -> tuple[BatchSummary, ...]:
    """Count by batch: five queries, however many batches there are."""
    documents = _document_counts(session, wanted)
    pages = _page_counts(session, wanted)
    fields = _field_counts(session, wanted)
    failed = _failed_pages(session, wanted)
    batches = session.scalars(
        select(tables.Batch)
        .where(tables.Batch.id.in_(wanted))
        .order_by(tables.Batch.created_at, tables.Batch.id)
    )
    return tuple(
        BatchSummary(
            name=batch.name,
            status=BatchStatus(batch.status),
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            documents=documents[batch.id],
            pages=pages[batch.id].total(),
            blank_pages=pages[batch.id][PageStatus.BLANK],
            ignored_pages=pages[batch.id][PageStatus.IGNORED],
            fields=fields[batch.id].total(),
            accepted=fields[batch.id]["accepted"],
            to_review=fields[batch.id]["to_review"],
            decided=fields[batch.id]["decided"],
            failed_pages=tuple(failed[batch.id]),
            purged=fields[batch.id]["purged"],
        )
        for batch in batches
    )


def _came(wanted: Wanted) -> Subquery:
    """Select every document of the batches once."""
    return (
        select(tables.Arrival.batch_id, tables.Arrival.document_id)
        .where(tables.Arrival.batch_id.in_(wanted))
        .distinct()
        .subquery("came")
    )


def _document_counts(session: Session, wanted: Wanted) -> Counter[int]:
    count = func.count(distinct(tables.Arrival.document_id))
    rows = session.execute(
        select(tables.Arrival.batch_id, count)
        .where(tables.Arrival.batch_id.in_(wanted))
        .group_by(tables.Arrival.batch_id)
    )
    return Counter({batch: number for batch, number in rows})


def _page_counts(session: Session, wanted: Wanted) -> dict[int, Counter[str]]:
    came, page = _came(wanted), tables.PageReading
    rows = session.execute(
        select(came.c.batch_id, page.status, func.count())
        .join(tables.Page, tables.Page.document_id == came.c.document_id)
        .join(page, page.page_id == tables.Page.id)
        .where(is_latest_pass())
        .group_by(came.c.batch_id, page.status)
    )
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for batch, status, number in rows:
        counts[batch][status] += number
    return counts


def _field_counts(session: Session, wanted: Wanted) -> dict[int, Counter[str]]:
    came, page, reading = _came(wanted), tables.PageReading, tables.Reading
    said, purged = tables.Decision.id.is_not(None), page.purge_id.is_not(None)
    rows = session.execute(
        select(came.c.batch_id, purged, said, reading.accepted, func.count())
        .join(tables.Page, tables.Page.document_id == came.c.document_id)
        .join(page, page.page_id == tables.Page.id)
        .join(tables.Form, tables.Form.id == page.form_id)
        .join(reading, reading.page_reading_id == page.id)
        .outerjoin(tables.Decision, is_deciding())
        .where(is_latest_pass())
        .group_by(came.c.batch_id, purged, said, reading.accepted)
    )
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for batch, is_purged, by_person, accepted, number in rows:
        kind = "decided" if by_person else "accepted" if accepted else "to_review"
        kind = "purged" if is_purged else kind
        counts[batch][kind] += number
    return counts


def _failed_pages(session: Session, wanted: Wanted) -> dict[int, list[FailedPage]]:
    """List failed pages with the first source each came from."""
    arrival, page = tables.Arrival, tables.PageReading
    source = func.min(arrival.source).label("source")
    rows = session.execute(
        select(arrival.batch_id, source, tables.Page.number, page.cause)
        .join(tables.Page, tables.Page.document_id == arrival.document_id)
        .join(page, page.page_id == tables.Page.id)
        .where(arrival.batch_id.in_(wanted), page.status == PageStatus.FAILED)
        .where(is_latest_pass())
        .group_by(arrival.batch_id, tables.Page.id, tables.Page.number, page.cause)
        .order_by(source, tables.Page.number)
    )
    failed: dict[int, list[FailedPage]] = defaultdict(list)
    for batch, where, number, cause in rows:
        failed[batch].append(FailedPage(where, number, cause))
    return failed
