"""Who was let into the review pages, what they did there, and the filters they saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.types import Correction

PAUSE = timedelta(minutes=30)  # who pauses longer begins another stretch
LONGEST_MS = 3_600_000  # a page was looked at for no longer than this


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person of a browser that was let in; a supervisor sees the others' work too."""

    name: str
    supervisor: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one person did without a long pause; `withdrawn` of it was taken back since."""

    reviewer: str
    began: datetime
    ended: datetime
    digits: int
    fields: int
    changed: int
    withdrawn: int

    @property
    def an_hour(self) -> float | None:
        """Decisions an hour; None where it was too short to say."""
        hours = (self.ended - self.began).total_seconds() / 3600
        return (self.digits + self.fields) / hours if hours >= 1 / 60 else None


def add_session(
    session: Session, id_: str, reviewer: str, now: datetime, *, supervisor: bool = False
) -> None:
    """Write down that a browser was let in."""
    row = {"id": id_, "reviewer": reviewer, "made_at": now, "supervisor": supervisor}
    session.execute(insert(tables.ReviewSession), [row])


def visitor_of(session: Session, id_: str) -> Visitor | None:
    """Give the person of a session; None if there is no such session."""
    row = session.get(tables.ReviewSession, id_)
    return None if row is None else Visitor(row.reviewer, row.supervisor)


def add_work(
    session: Session, base: Correction, *, digits: int = 0, fields: int = 0, changed: int = 0
) -> None:
    """Count what a page said to the stretch of its person, or begin another.

    Called last in a transaction: who saves holds the counts of what waits by then, and nobody
    takes the two the other way round.
    """
    if not digits + fields:
        return
    ms = min(base.ms or 0, LONGEST_MS)
    began = base.made_at - timedelta(milliseconds=ms)
    work = tables.Work
    last = session.scalar(
        select(work)
        .where(work.reviewer == base.reviewer, work.ended >= began - PAUSE)
        .order_by(work.ended.desc())
        .limit(1)
        .with_for_update()
    )
    if last is None:
        last = tables.Work(
            reviewer=base.reviewer, began=began, ended=base.made_at, digits=0, fields=0,
            changed=0, withdrawn=0,
        )  # fmt: skip
        session.add(last)
    last.began, last.ended = min(last.began, began), max(last.ended, base.made_at)
    last.digits += digits
    last.fields += fields
    last.changed += changed
    session.flush()


def withdraw_work(session: Session, taken: Iterable[tables.Decision]) -> None:
    """Count decisions that were taken back where they were counted; called last, as above."""
    work = tables.Work
    found: Counter[tuple[str, datetime]] = Counter(
        (one.reviewer, one.made_at)
        for one in taken
        if one.undoes is None and not one.followed and one.screen is not None
    )
    for (who, at), number in sorted(found.items()):
        row = session.scalar(
            select(work)
            .where(work.reviewer == who, work.began <= at, work.ended >= at)
            .order_by(work.ended)
            .limit(1)
            .with_for_update()
        )
        if row is not None:
            row.withdrawn += number
    session.flush()


def stretches(
    session: Session, since: datetime, reviewer: str | None = None, *, most: int | None = None
) -> tuple[Stretch, ...]:
    """List who worked when and how much, the latest first; of all, or of one person.

    Parameters
    ----------
    most
        No more than these, the latest.
    """
    work = tables.Work
    wanted = select(work).where(work.ended >= since)
    if reviewer is not None:
        wanted = wanted.where(work.reviewer == reviewer)
    return tuple(
        Stretch(
            row.reviewer,
            row.began,
            row.ended,
            row.digits,
            row.fields,
            row.changed,
            row.withdrawn,
        )
        for row in session.scalars(wanted.order_by(work.ended.desc(), work.id).limit(most))
    )


def rename(session: Session, id_: str, reviewer: str) -> None:
    """Give a session another name; what was decided keeps the one it was decided under."""
    session.execute(
        update(tables.ReviewSession)
        .where(tables.ReviewSession.id == id_)
        .values(reviewer=reviewer)
    )


def save_query(
    session: Session, name: str, filters: dict[str, str], reviewer: str, now: datetime
) -> None:
    """Keep filters under a name; one that is there gets them anew."""
    forget_query(session, name)
    session.add(tables.SavedQuery(name=name, filters=filters, made_by=reviewer, made_at=now))


def forget_query(session: Session, name: str) -> None:
    """Forget saved filters."""
    session.execute(delete(tables.SavedQuery).where(tables.SavedQuery.name == name))


def saved_queries(session: Session) -> tuple[tuple[str, dict[str, str]], ...]:
    """List saved filters by name."""
    rows = session.scalars(select(tables.SavedQuery).order_by(tables.SavedQuery.name))
    return tuple((row.name, row.filters) for row in rows)
