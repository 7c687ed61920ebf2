"""Who was let into the review pages, and the filters they saved."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from digitocr.db import tables


def add_session(session: Session, id_: str, reviewer: str, now: datetime) -> None:
    """Write down that a browser was let in."""
    row = {"id": id_, "reviewer": reviewer, "made_at": now}
    session.execute(insert(tables.ReviewSession), [row])


def reviewer_of(session: Session, id_: str) -> str | None:
    """Name the person of a session; None if there is no such session."""
    name: str | None = session.scalar(
        select(tables.ReviewSession.reviewer).where(tables.ReviewSession.id == id_)
    )
    return name


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
