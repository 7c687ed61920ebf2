"""A watched folder → the files in it that are new, whole, and this run's to read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from digitocr import scans
from digitocr.batch.reading import FileOutcome
from digitocr.db import schema, watched
from digitocr.db.watched import Seen
from digitocr.scans import ScanFile
from digitocr.settings import Settings

LEASE_S = 1800.0  # of a claim; renewed with every chunk that is read


@dataclass(frozen=True, slots=True)
class Watch:
    """What a run has claimed of a folder, and what it left: known, or still being written."""

    run: str
    claimed: tuple[tuple[ScanFile, Seen], ...]
    known: int
    unsettled: int
    of_others: int

    @property
    def files(self) -> tuple[ScanFile, ...]:
        return tuple(file for file, _ in self.claimed)


def watch(
    paths: Sequence[Path],
    settings: Settings,
    run: str,
    *,
    settle_s: float,
    wait: Callable[[float], None] = time.sleep,
) -> Watch:
    """Look at a folder and claim what is new in it, and whole.

    A file is whole when neither its size nor its time of change moves for `settle_s`. The time
    alone says nothing: a copy may keep that of what it copies.

    Parameters
    ----------
    run
        Names the run; one that died and goes on under its name has its claims still.

    Raises
    ------
    DigitocrError
        If a path or the database is wrong.
    """
    files = {file.source: file for file in scans.find(paths)}
    first = {source: _seen(file) for source, file in files.items()}
    with _writing(settings) as session:
        known = watched.done(session, [seen for seen in first.values() if seen])
    new = {source: seen for source, seen in first.items() if seen not in known}
    if new:
        wait(settle_s)
    settled = [seen for source, seen in new.items() if seen and _seen(files[source]) == seen]
    now = datetime.now(UTC)
    with _writing(settings) as session:
        mine = watched.claim(session, settled, run=run, now=now, until=_until(now))
    return Watch(
        run=run,
        claimed=tuple((files[seen[0]], seen) for seen in mine),
        known=len(known),
        unsettled=len(new) - len(settled),
        of_others=len(settled) - len(mine),
    )


def read(settings: Settings, looked: Watch, outcomes: Sequence[FileOutcome]) -> None:
    """Write down which files are through. One that could not be opened will be seen again."""
    through = {outcome.source for outcome in outcomes if outcome.stored}
    seen = [one for file, one in looked.claimed if file.source in through]
    with _writing(settings) as session:
        watched.finish(session, seen, run=looked.run, until=_until(datetime.now(UTC)))


def release(settings: Settings, looked: Watch) -> None:
    """Give back what was claimed and not read."""
    with _writing(settings) as session:
        watched.release(session, looked.run)


def _seen(file: ScanFile) -> Seen | None:
    try:
        about = file.path.stat()
    except OSError:
        return None
    return file.source, about.st_size, about.st_mtime_ns


def _until(now: datetime) -> datetime:
    return now + timedelta(seconds=LEASE_S)


@contextmanager
def _writing(settings: Settings) -> Iterator[Session]:
    engine = schema.connect(settings.database, create=True)
    try:
        with schema.writing(engine) as session:
            yield session
    finally:
        engine.dispose()
