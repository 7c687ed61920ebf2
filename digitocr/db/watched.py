"""The files of watched folders: which were seen, and which run has claimed each.

A file is what it was when it was seen: its path, size and time of change. One that is written
to again is another file, and is claimed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.store import insert_new, stored_source

AT_ONCE = 300
KEY = ("source", "size", "modified_ns")

Seen = tuple[str, int, int]  # source, size, time of change in ns


def done(session: Session, seen: Sequence[Seen]) -> set[Seen]:
    """Tell which of these files are through."""
    watched = tables.WatchedFile
    found: set[Seen] = set()
    for part in _parts(seen):
        sources = [source for source, _, _ in part]
        rows = session.execute(
            select(watched.source, watched.size, watched.modified_ns).where(
                watched.source.in_(sources), watched.done
            )
        )
        found.update((source, size, modified_ns) for source, size, modified_ns in rows)
    return {one for one in seen if _stored(one) in found}


def claim(
    session: Session, seen: Sequence[Seen], *, run: str, now: datetime, until: datetime
) -> list[Seen]:
    """Claim files for a run; give those that it has now.

    A file belongs to the run that claimed it first, until it is done or the claim runs out.
    """
    watched = tables.WatchedFile
    mine = []
    for part in _parts(seen):
        claimed = {"run": run, "until": until, "done": False}
        new = [dict(zip(KEY, _stored(one), strict=True)) | claimed for one in part]
        insert_new(session, watched, new)
        is_free = or_(watched.run == run, watched.until < now)
        session.execute(
            update(watched)
            .where(or_(*map(_is, part)), ~watched.done, is_free)
            .values(run=run, until=until)
        )
        rows = session.execute(
            select(watched.source, watched.size, watched.modified_ns).where(
                or_(*map(_is, part)), ~watched.done, watched.run == run
            )
        )
        had = {(source, size, modified_ns) for source, size, modified_ns in rows}
        mine += [one for one in part if _stored(one) in had]
    return mine


def finish(session: Session, seen: Sequence[Seen], *, run: str, until: datetime) -> None:
    """Write down that files of a run are through, and put off the end of its other claims."""
    watched = tables.WatchedFile
    for part in _parts(seen):
        session.execute(
            update(watched).where(watched.run == run, or_(*map(_is, part))).values(done=True)
        )
    session.execute(
        update(watched).where(watched.run == run, ~watched.done).values(until=until)
    )


def release(session: Session, run: str) -> None:
    """Forget what a run claimed and did not read: it will be seen again."""
    watched = tables.WatchedFile
    session.execute(delete(watched).where(watched.run == run, ~watched.done))


def _is(seen: Seen) -> ColumnElement[bool]:
    source, size, modified_ns = _stored(seen)
    watched = tables.WatchedFile
    return and_(
        watched.source == source, watched.size == size, watched.modified_ns == modified_ns
    )


def _stored(seen: Seen) -> Seen:
    source, size, modified_ns = seen
    return stored_source(source), size, modified_ns


def _parts(seen: Sequence[Seen]) -> Iterable[Sequence[Seen]]:
    return (seen[at : at + AT_ONCE] for at in range(0, len(seen), AT_ONCE))
