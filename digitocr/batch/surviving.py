"""Chunks of files, one of which may kill whoever reads it.

A process that was started to read dies alone: who started it goes on, and fails the page
(`running`). Where everything dies together, the program itself, its machine, a container that
ran out of memory, the next run must not die of the same page for ever. It knows that one died
before it (`Plan.resumed`), and writes every file down before it opens it. The page that the
third try dies of is failed, with its cause, and the rest is read.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from digitocr.batch import reading
from digitocr.batch.planning import Plan
from digitocr.batch.reading import FileOutcome, Worker
from digitocr.db import schema, store, tries
from digitocr.scans import ScanFile

TRIES = 3
SEEN_DEATHS = TRIES - 1  # the first run writes nothing down
ELSEWHERE_S = 5.0  # a process of another machine that began a page so long ago is dead


def read_chunk(plan: Plan, files: Sequence[ScanFile]) -> tuple[FileOutcome, ...]:
    """Read and store some files of a plan, in this process.

    Files that were read before are left alone, unless the plan says `again`; pages that a
    killed run left out are read.

    Raises
    ------
    DatabaseError
        If the database cannot be reached or stays locked: this can pass, and the chunk can
        be given again.
    """
    worker = reading.worker_for(plan)
    read = _read_carefully if plan.resumed else reading.read_file
    return tuple(read(worker, plan, file) for file in files)


def fail_deadly(plan: Plan, file: ScanFile, cause: str) -> FileOutcome:
    """Store that a process died over a file, at the first page that is not stored."""
    outcome = reading.store_deadly(plan, file, cause)
    if plan.resumed:
        _end(reading.worker_for(plan), file)
    return outcome


def _read_carefully(worker: Worker, plan: Plan, file: ScanFile) -> FileOutcome:
    """Read a file that may have killed earlier runs: write down that it is begun, first."""
    died = []
    while _begin(worker, plan, file) >= SEEN_DEATHS:
        died.append(reading.store_deadly(plan, file))
        if plan.again or plan.retry_failed:
            break  # nothing says which page it was, and so nothing that another is next
    else:
        if not died or not reading.is_deadly(worker, plan, file):
            died.append(reading.read_file(worker, plan, file))
    _end(worker, file)
    return _together(died)


def _begin(worker: Worker, plan: Plan, file: ScanFile) -> int:
    """Write down that this process begins a file; give how often one died at that page."""
    page = 0  # where pages are read again, nothing says how far it got
    if not (plan.again or plan.retry_failed):
        with schema.reading(worker.engine) as session:
            done = store.pages_done(session, reading.hash_of(file) or "")
        page = reading.first_missing(done)
    with schema.writing(worker.engine) as session:
        return tries.begin(
            session,
            file.source,
            page,
            process=this_process(),
            is_dead=is_dead,
            now=datetime.now(UTC),
        )


def _end(worker: Worker, file: ScanFile) -> None:
    with schema.writing(worker.engine) as session:
        tries.end(session, file.source)


def _together(parts: Sequence[FileOutcome]) -> FileOutcome:
    return FileOutcome(
        parts[0].source,
        sum(part.pages for part in parts),
        all(part.known for part in parts),
        tuple(page for part in parts for page in part.failed),
        all(part.stored for part in parts),
    )


def this_process() -> str:
    """Name this process so that no other has the name: machine, number, and its start."""
    return f"{platform.node()} {os.getpid()} {_start_of(os.getpid())}"


def is_dead(process: str, begun_at: datetime) -> bool:
    """Tell whether a process of that name runs no more.

    Of another machine it is known only by how long ago it began: a page takes less, and a run
    that is put back takes longer to come to it.
    """
    node, number, start = process.rsplit(" ", 2)
    if node != platform.node():
        return (datetime.now(UTC) - begun_at).total_seconds() > ELSEWHERE_S
    return _start_of(int(number)) != start


def _start_of(process: int) -> str:
    """Give when a process of this machine started; "" where it runs no more."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "runs"
    return "" if state in "ZX" else rest[18]
