"""All files of a plan, by as many processes as there are, some of which may die."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from digitocr import processes
from digitocr.batch import drift, limits
from digitocr.batch.drift import Compared
from digitocr.batch.planning import Plan
from digitocr.batch.reading import DIED, TOO_LARGE, FileOutcome
from digitocr.batch.surviving import fail_deadly, read_chunk
from digitocr.db import batches, measures, schema, store
from digitocr.db.completeness import UnevenForm, uneven_forms
from digitocr.db.tables import BatchStatus
from digitocr.processes import Apart, ProcessDiedError
from digitocr.scans import ScanFile
from digitocr.settings import Settings

log = logging.getLogger(__name__)

NOT_ARRIVED = "was not read: it could not be opened, or is gone; see that it may be read"
DIED_ONCE = "a process that read died; its files are read again, one by one"
_kept = threading.local()
FEW = 1  # so many files are read by who reads alone: a process takes half a second to start
CHUNK_FILES = 4  # few enough that the bar moves, enough that handing out costs nothing


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of a run: the batch as it stands now, and what this run did to it.

    `batch` is None where nothing was new and the batch was never opened. `failed` holds what
    failed in the batch, also before this run went on with it, and the `not_stored` files that
    could not be opened and are in no batch. `uneven` are forms with pages missing or twice.
    `compared`: the batch beside those of the last weeks, where this run closed it.
    """

    batch: batches.BatchSummary | None
    files: int
    known_files: int
    pages: int
    failed: tuple[batches.FailedPage, ...]
    not_stored: int = 0
    uneven: tuple[UnevenForm, ...] = ()
    compared: tuple[Compared, ...] = ()

    @property
    def partial(self) -> bool:
        return bool(self.failed)


def run(plan: Plan, *, progress: Callable[[FileOutcome], None] | None = None) -> RunSummary:
    """Read all files of a plan, by as many processes as the settings say."""
    outcomes = []
    for outcome in _outcomes(plan):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    return finish(plan, outcomes)


def _outcomes(plan: Plan) -> Iterator[FileOutcome]:
    workers = count_workers(plan.settings, len(plan.files))
    if workers == 1 and len(plan.files) <= FEW:
        for file in plan.files:
            yield from read_chunk(plan, (file,))
        return
    chunks = [
        plan.files[at : at + CHUNK_FILES] for at in range(0, len(plan.files), CHUNK_FILES)
    ]
    plan = replace(plan, files=())  # a worker is handed its own files, not all of them
    lost: list[ScanFile] = []
    for number, read in processes.by_processes(partial(read_chunk, plan), chunks, workers):
        if read is None:
            log.warning(DIED_ONCE)
            lost += chunks[number]
        else:
            yield from read
    yield from _read_one_by_one(plan, lost)


def count_workers(settings: Settings, files: int) -> int:
    """Say how many processes read so many files: as set, else one a core."""
    return max(1, min(settings.workers or os.cpu_count() or 1, files))


def _read_one_by_one(plan: Plan, files: Sequence[ScanFile]) -> Iterator[FileOutcome]:
    """Read files, one of which may be deadly, in a process of their own."""
    left = deque(files)
    while left:
        too_large = multiprocessing.RawValue(ctypes.c_bool, False)
        with processes.start(partial(limits.tell, too_large)) as apart:
            try:
                while left:
                    yield from apart.run(read_chunk, plan, (left[0],))
                    left.popleft()
            except ProcessDiedError:
                cause = TOO_LARGE if too_large.value else DIED
                yield fail_deadly(plan, left.popleft(), cause)


def read_apart(plan: Plan, files: Sequence[ScanFile]) -> tuple[FileOutcome, ...]:
    """Read some files in a process that this thread keeps; one it dies over is failed.

    The process ends with the thread.

    Raises
    ------
    DatabaseError
        As `read_chunk`.
    """
    try:
        if getattr(_kept, "apart", None) is None:
            _kept.apart = processes.start()
        apart: Apart = _kept.apart
        return apart.run(read_chunk, plan, tuple(files))
    except ProcessDiedError:
        log.warning(DIED_ONCE)
        _kept.apart = None
        return tuple(_read_one_by_one(plan, files))


def finish(plan: Plan, outcomes: Sequence[FileOutcome]) -> RunSummary:
    """Close the batch and count what became of it."""
    # Those first that are named here or nowhere: the others are in the database.
    by_place = sorted(outcomes, key=lambda outcome: outcome.stored)
    failed = tuple(page for outcome in by_place for page in outcome.failed)
    counted = RunSummary(
        batch=None,
        files=len(outcomes),
        known_files=sum(outcome.known for outcome in outcomes),
        pages=sum(outcome.pages for outcome in outcomes),
        failed=failed,
        not_stored=sum(not outcome.stored for outcome in outcomes),
    )
    return _close(plan, counted)


def finish_elsewhere(plan: Plan, since: datetime) -> RunSummary:
    """Close a batch that others read, and count by what they stored.

    Parameters
    ----------
    since
        When they began: pages read from then on are counted as read now.
    """
    engine = schema.connect(plan.settings.database, create=False)
    try:
        with schema.reading(engine) as session:
            known = batches.sources_arrived(session, [file.source for file in plan.files])
            arrived = batches.arrivals_since(session, plan.batch, since)
            pages = batches.pages_since(session, plan.batch, since)
    finally:
        engine.dispose()
    missing = tuple(
        batches.FailedPage(file.source, 1, NOT_ARRIVED)
        for file in plan.files
        if store.stored_source(file.source) not in known
    )
    counted = RunSummary(
        batch=None,
        files=len(plan.files),
        known_files=max(0, len(plan.files) - arrived - len(missing)),
        pages=pages,
        failed=missing,
        not_stored=len(missing),
    )
    return _close(plan, counted)


def count_arrived(plan: Plan) -> int:
    """Count the files of a batch that came so far, whoever reads them."""
    engine = schema.connect(plan.settings.database, create=False)
    try:
        with schema.reading(engine) as session:
            return batches.arrivals_since(session, plan.batch, None)
    finally:
        engine.dispose()


def _close(plan: Plan, counted: RunSummary) -> RunSummary:
    """Close the batch, if it is there, and add how it stands to what a run has counted."""
    failed = counted.failed
    engine = schema.connect(plan.settings.database, create=False)
    try:
        with schema.reading(engine) as session:
            summary = batches.find_batch(session, plan.batch)
        if summary is None:
            return counted
        compared: tuple[Compared, ...] = ()
        if failed or summary.status is BatchStatus.RUNNING:
            failed += tuple(page for page in summary.failed_pages if page not in failed)
            now = datetime.now(UTC)
            with schema.writing(engine) as session:
                status = BatchStatus.PARTIAL if failed else BatchStatus.DONE
                store.close_batch(session, plan.batch, status, now)
                measures.write(session, plan.batch, now)
            with schema.reading(engine) as session:
                summary = batches.batch_summary(session, plan.batch)
                compared = drift.compare_batch(session, plan.batch, now)
        with schema.reading(engine) as session:
            uneven = uneven_forms(session, plan.batch)
    finally:
        engine.dispose()
    return replace(counted, batch=summary, failed=failed, uneven=uneven, compared=compared)
