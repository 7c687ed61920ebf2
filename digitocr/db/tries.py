"""Files that a process may have died over: written down before they are opened.

Only runs that go on after another one died do so; an undisturbed run pays nothing. Whether the
process of an earlier try is dead says who asks: the database cannot know.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.store import stored_source


def begin(
    session: Session,
    source: str,
    page: int,
    *,
    process: str,
    is_dead: Callable[[str, datetime], bool],
    now: datetime,
) -> int:
    """Write down that a process begins a file; give how many died over it, at this page.

    Parameters
    ----------
    page
        The first page of the file that is not stored: an earlier process died there, or it
        got that far.
    is_dead
        Whether the process of that name, which began at that time, runs no more.
    """
    known = session.scalar(
        select(tables.Try).where(tables.Try.source == stored_source(source)).with_for_update()
    )
    if known is None:
        known = tables.Try(source=stored_source(source), page=page, deaths=0)
        session.add(known)
    elif known.process != process and is_dead(known.process, known.begun_at):
        known.deaths = known.deaths + 1 if known.page == page else 1
    elif known.page != page:
        known.deaths = 0
    known.page, known.process, known.begun_at = page, process, now
    session.flush()
    return known.deaths


def end(session: Session, source: str) -> None:
    """Forget the tries of a file: it is through."""
    session.execute(delete(tables.Try).where(tables.Try.source == stored_source(source)))
