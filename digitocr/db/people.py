"""Who was let into the review pages, what they did there, and the filters they saved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, case, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from digitocr.db import tables
from digitocr.types import Verdict

PAUSE = timedelta(minutes=30)  # who pauses longer begins another stretch


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


def stretches(
    session: Session, since: datetime, reviewer: str | None = None
) -> tuple[Stretch, ...]:
    """List who worked when and how much, the latest first; of all, or of one person."""
    said = tables.Decision
    own = and_(said.undoes.is_(None), ~said.followed)
    undone = aliased(tables.Decision)
    is_undone = exists().where(undone.undoes == said.id, undone.reading_id == said.reading_id)
    pages = (
        select(
            said.reviewer,
            func.min(said.made_at),
            func.max(said.made_at),
            func.max(func.coalesce(said.ms, 0)),
            func.sum(case((said.glyph_id.is_not(None), 1), else_=0)),
            func.sum(case((said.glyph_id.is_(None), 1), else_=0)),
            func.sum(case((said.verdict != Verdict.CONFIRMED, 1), else_=0)),
            func.sum(case((is_undone, 1), else_=0)),
        )
        .where(own, said.made_at >= since, said.screen.is_not(None))
        .group_by(said.reviewer, said.claim_id)
        .order_by(said.reviewer, func.min(said.made_at))
    )
    if reviewer is not None:
        pages = pages.where(said.reviewer == reviewer)
    found: list[Stretch] = []
    for who, first, last, ms, *counts in session.execute(pages):
        began = first - timedelta(milliseconds=min(ms, 3_600_000))
        one = Stretch(who, began, last, *map(int, counts))
        before = found[-1] if found else None
        if before is None or before.reviewer != who or began - before.ended > PAUSE:
            found.append(one)
        else:
            found[-1] = Stretch(
                who,
                min(before.began, began),
                max(before.ended, last),
                before.digits + one.digits,
                before.fields + one.fields,
                before.changed + one.changed,
                before.withdrawn + one.withdrawn,
            )
    return tuple(sorted(found, key=lambda one: one.ended, reverse=True))


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
