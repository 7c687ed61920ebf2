"""Personal data out: what was read of documents, and pictures of it, on purpose and for good.

Out go the texts of readings and their digits, what else they might have been, what people
typed, crops and kept pages. What stays says that there was something and what was done with it:
hash, source, page, field, form, model, boxes, confidences, verdicts, who decided and when. A
purged reading has no text and the one reason `purged`: whatever looks at it finds nothing.

A person's decision on a group of equal digits names no digit, but the page they were shown on
did: such pages lose what they showed, and cannot be undone any more.

Each part of a purge is one transaction and counts itself in `purges`. One that is stopped
leaves whole documents behind, and the same command goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, distinct, func, select, text, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from digitocr.db import items, schema, store, tables
from digitocr.db.decisions import is_deciding
from digitocr.db.store import is_latest_pass
from digitocr.db.tables import ClaimState, ItemState, Queue
from digitocr.errors import UsageError
from digitocr.types import Reason

DOCUMENTS_AT_ONCE = 50
LOOKED_UP = 500
LEAST_HEX = 8  # of a hash that is given in part


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose data go: documents that last came before a time, in a batch, of a hash."""

    before: datetime | None = None
    batch: str | None = None
    document: str | None = None


@dataclass(frozen=True, slots=True)
class Purged:
    """What is to go, or went; `waiting` counts fields that no person has looked at yet.

    `elsewhere`: documents that came in other batches too.
    """

    documents: int
    pages: int
    readings: int
    decisions: int
    waiting: int = 0
    elsewhere: int = 0


def find(session: Session, wanted: Wanted) -> list[int]:
    """Find the documents that a purge is about, and of which something is left to purge.

    Raises
    ------
    UsageError
        If nothing is said, or there is no such batch or document, or several.
    """
    if wanted == Wanted():
        raise UsageError(
            "say what to purge: --older-than DAYS, --batch NAME or --document SHA256"
        )
    arrival, document = tables.Arrival, tables.Document
    left = (
        select(tables.Page.document_id)
        .join(tables.PageReading, tables.PageReading.page_id == tables.Page.id)
        .where(tables.PageReading.purge_id.is_(None))
    )
    statement = select(document.id).where(document.id.in_(left)).order_by(document.id)
    if wanted.document is not None:
        statement = statement.where(document.sha256 == _whole_hash(session, wanted.document))
    if wanted.batch is not None:
        came = select(arrival.document_id).where(
            arrival.batch_id == store.batch_id(session, wanted.batch)
        )
        statement = statement.where(document.id.in_(came))
    if wanted.before is not None:
        old = (
            select(arrival.document_id)
            .group_by(arrival.document_id)
            .having(func.max(arrival.received_at) < wanted.before)
        )
        statement = statement.where(document.id.in_(old))
    return list(session.scalars(statement))


def count(session: Session, wanted: Wanted) -> Purged:
    """Count what a purge would take out, and change nothing."""
    found = Purged(0, 0, 0, 0)
    for documents in _parts(find(session, wanted), LOOKED_UP):
        passes = _passes(documents)
        readings = _readings(passes)
        part = Purged(
            len(documents),
            _number(session, select(func.count(distinct(tables.PageReading.page_id))).where(
                tables.PageReading.id.in_(passes))),
            _number(session, select(func.count()).select_from(readings.subquery())),
            _number(session, select(func.count()).where(_decided_of(readings))),
            _number(session, _waiting(passes)),
            _number(session, _elsewhere(documents)),
        )  # fmt: skip
        found = _sum(found, part)
    return found


def purge(
    engine: Engine,
    wanted: Wanted,
    *,
    by: str,
    now: datetime,
    progress: Callable[[int], None] | None = None,
) -> Purged:
    """Take the data out, and write down that it was done.

    Parameters
    ----------
    by
        Who wants it.
    progress
        Called with the number of documents that a transaction was about.

    Raises
    ------
    UsageError
        As `find`.
    """
    with schema.reading(engine) as session:
        documents = find(session, wanted)
    if not documents:
        return Purged(0, 0, 0, 0)
    if not by.strip():
        raise UsageError("--by is empty; say who wants the purge")
    done = Purged(0, 0, 0, 0)
    purge_id = None
    for part in _parts(documents, DOCUMENTS_AT_ONCE):
        with schema.writing(engine) as session:
            if engine.dialect.name == "sqlite":  # or what is deleted stays in the file
                session.execute(text("PRAGMA secure_delete = ON"))
            if purge_id is None:
                purge_id = _write_down(session, wanted, by, now)
            done = _sum(done, _purge_part(session, part, purge_id))
        if progress:
            progress(len(part))
    with schema.writing(engine) as session:
        _forget_pages_shown(session)
    _wipe(engine)
    return done


def _write_down(session: Session, wanted: Wanted, by: str, now: datetime) -> int:
    row = tables.Purge(
        purged_at=now,
        purged_by=by.strip(),
        wanted={
            "before": None if wanted.before is None else wanted.before.isoformat(),
            "batch": wanted.batch,
            "document": wanted.document,
        },
        documents=0,
        pages=0,
        readings=0,
        decisions=0,
    )
    session.add(row)
    session.flush()
    return row.id


def _purge_part(session: Session, documents: Sequence[int], purge_id: int) -> Purged:
    """Purge some documents, in the caller's transaction."""
    document, page_reading = tables.Document, tables.PageReading
    session.execute(
        select(document.id)
        .where(document.id.in_(documents))
        .order_by(document.id)
        .with_for_update()
    )
    passes = list(session.scalars(_passes(documents)))
    readings = _readings(passes)
    glyphs = select(tables.Glyph.id).where(tables.Glyph.reading_id.in_(readings))
    pages = _number(
        session,
        select(func.count(distinct(page_reading.page_id))).where(page_reading.id.in_(passes)),
    )
    _close_pages_shown(session, readings, glyphs)
    _remove_items(session, readings)
    decisions = _change(
        session, update(tables.Decision).where(_decided_of(readings)),
        text=None, purge_id=purge_id,
    )  # fmt: skip
    keying, seed = tables.Keying, tables.Seed
    _change(session, update(keying).where(keying.reading_id.in_(readings)), text=None)
    _change(session, update(seed).where(seed.glyph_id.in_(glyphs)), shown_as="")
    glyph, reading = tables.Glyph, tables.Reading
    _change(
        session, update(glyph).where(glyph.reading_id.in_(readings)),
        text="", alternatives=[], crop=None,
    )  # fmt: skip
    number = _change(
        session, update(reading).where(reading.page_reading_id.in_(passes)),
        text=None, alternatives=[], reasons=[Reason.PURGED.value], crop=None,
    )  # fmt: skip
    _change(
        session, update(page_reading).where(page_reading.id.in_(passes)),
        image=None, queued=True, purge_id=purge_id,
    )  # fmt: skip
    row = tables.Purge
    _change(
        session, update(row).where(row.id == purge_id),
        documents=row.documents + len(documents), pages=row.pages + pages,
        readings=row.readings + number, decisions=row.decisions + decisions,
    )  # fmt: skip
    return Purged(len(documents), pages, number, decisions)


def _passes(documents: Iterable[int]) -> Select[int]:
    """Select the passes over pages of documents that were not purged yet."""
    return (
        select(tables.PageReading.id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .where(tables.Page.document_id.in_(list(documents)))
        .where(tables.PageReading.purge_id.is_(None))
    )


def _readings(passes: Any) -> Select[int]:
    return select(tables.Reading.id).where(tables.Reading.page_reading_id.in_(passes))


def _decided_of(readings: Select[int]) -> Any:
    return tables.Decision.reading_id.in_(readings) & tables.Decision.purge_id.is_(None)


def _waiting(passes: Any) -> Select[int]:
    return (
        select(func.count())
        .select_from(tables.Reading)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .outerjoin(tables.Decision, is_deciding())
        .where(tables.PageReading.id.in_(passes), is_latest_pass())
        .where(~tables.Reading.accepted, tables.Decision.id.is_(None))
    )


def _elsewhere(documents: Sequence[int]) -> Select[int]:
    several = (
        select(tables.Arrival.document_id)
        .where(tables.Arrival.document_id.in_(documents))
        .group_by(tables.Arrival.document_id)
        .having(func.count(distinct(tables.Arrival.batch_id)) > 1)
    )
    return select(func.count()).select_from(several.subquery())


def _remove_items(session: Session, readings: Select[int]) -> None:
    """Let nothing of these readings wait for a person any more."""
    item = tables.Item
    of_them = item.reading_id.in_(readings)
    waiting = session.execute(
        select(item.batch_id, item.queue, item.label, func.count())
        .where(of_them, item.state == ItemState.OPEN)
        .group_by(item.batch_id, item.queue, item.label)
    )
    changes = Counter({(batch, queue, label): -n for batch, queue, label, n in waiting})
    items.change_counts(session, changes)
    session.execute(delete_from(item).where(of_them), execution_options=UNTRACKED)


def _close_pages_shown(session: Session, readings: Select[int], glyphs: Select[int]) -> None:
    """Empty the pages of digits on which some of these readings were shown and saved."""
    decision, item, seed = tables.Decision, tables.Item, tables.Seed
    named = (
        select(decision.claim_id).where(decision.reading_id.in_(readings)),
        select(item.claim_id).where(item.reading_id.in_(readings)),
        select(seed.claim_id).where(seed.glyph_id.in_(glyphs)),
    )
    found = {claim for statement in named for claim in session.scalars(statement) if claim}
    _empty(session, found)


def _forget_pages_shown(session: Session) -> None:
    """Empty the pages of digits that were given back unsaved: no row names these."""
    claim, reading = tables.Claim, tables.Reading
    rows = session.execute(
        select(claim.id, claim.cells)
        .where(claim.queue == Queue.GROUP, claim.state != ClaimState.SAVED)
        .where(claim.label != "")
    ).all()
    shown = {id_: {cell[1] for cell in cells} for id_, cells in rows}
    gone: set[int] = set()
    for part in _parts(sorted(set().union(*shown.values())), LOOKED_UP):
        gone |= set(
            session.scalars(
                select(reading.id)
                .join(tables.PageReading, tables.PageReading.id == reading.page_reading_id)
                .where(reading.id.in_(part), tables.PageReading.purge_id.is_not(None))
            )
        )
    _empty(session, {id_ for id_, readings in shown.items() if readings & gone})


def _empty(session: Session, claims: set[str]) -> None:
    """Take out what pages of digits showed; one that somebody has is given back."""
    claim, item, seed = tables.Claim, tables.Item, tables.Seed
    for part in _parts(sorted(claims), LOOKED_UP):
        mine = claim.id.in_(part) & (claim.queue == Queue.GROUP)
        groups = list(session.scalars(select(claim.id).where(mine)))
        open_ones = update(item).where(item.claim_id.in_(groups), item.state == ItemState.OPEN)
        _change(session, open_ones, claim_id=None, claimed_until=None)
        _change(session, update(seed).where(seed.claim_id.in_(groups)), shown_as="")
        given_back = update(claim).where(claim.id.in_(groups), claim.state == ClaimState.OPEN)
        _change(session, given_back, state=ClaimState.RELEASED.value)
        _change(session, update(claim).where(claim.id.in_(groups)), label="", cells=[])


def _wipe(engine: Engine) -> None:
    """Have the database let go of what it keeps of rows as they were, as far as it can."""
    plain = engine.execution_options(isolation_level="AUTOCOMMIT")
    with schema.plainly(engine.url), plain.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.execute(  # type: ignore[union-attr]
                "PRAGMA wal_checkpoint(TRUNCATE)"
            )
            return
        for table in (
            tables.Reading, tables.Glyph, tables.Decision, tables.Keying, tables.PageReading,
            tables.Claim, tables.Seed, tables.Item,
        ):  # fmt: skip
            connection.execute(text(f"VACUUM {table.__tablename__}"))


def _whole_hash(session: Session, given: str) -> str:
    """Find the one document whose hash begins so."""
    start = given.strip().lower()
    if len(start) < LEAST_HEX or set(start) - set("0123456789abcdef"):
        raise UsageError(
            f"--document {given}: is no hash; give {LEAST_HEX} of its digits or more, as in "
            "the column `document` of an export"
        )
    sha256 = tables.Document.sha256
    found = list(session.scalars(select(sha256).where(sha256.startswith(start)).limit(2)))
    if len(found) != 1:
        what = "no document begins so" if not found else "several documents begin so"
        raise UsageError(f"--document {given}: {what}; `digitocr export` names them")
    return found[0]


UNTRACKED = {"synchronize_session": False}


def _change(session: Session, statement: Any, **values: Any) -> int:
    done = session.execute(statement.values(**values), execution_options=UNTRACKED)
    rows: int = done.rowcount  # type: ignore[attr-defined]
    return rows


def _number(session: Session, statement: Select[Any]) -> int:
    return int(session.scalar(statement) or 0)


def _sum(one: Purged, other: Purged) -> Purged:
    return Purged(
        one.documents + other.documents,
        one.pages + other.pages,
        one.readings + other.readings,
        one.decisions + other.decisions,
        one.waiting + other.waiting,
        one.elsewhere + other.elsewhere,
    )


def _parts(found: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(found), size):
        yield list(found[start : start + size])
