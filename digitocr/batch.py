"""A folder of scans → readings in the database: what to read, by whom, what came of it.

A file is the unit of work: whoever takes it reads its pages and stores each in a transaction of
its own, so that a killed run loses at most the page it was at, and goes on there. Workers are
processes that build their reader once; files are handed out in chunks, by path. Nothing here
knows of Prefect: a flow calls `plan`, `read_chunk` and `finish` as the command does.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
from sqlalchemy import Engine

from digitocr import pipeline, resources, scans, templates
from digitocr.db import batches, schema, store
from digitocr.db.tables import BatchStatus
from digitocr.errors import DigitocrError, ScanError, TemplateError, UsageError
from digitocr.recognition.classifier import load_model
from digitocr.scans import ScanFile
from digitocr.settings import Settings
from digitocr.types import Document, Page, PageReading, PageStatus

log = logging.getLogger(__name__)

CHUNK_FILES = 4  # few enough that the bar moves, enough that handing out costs nothing
WEBP_QUALITY = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read, and how. Plain values: it travels to workers and other machines."""

    batch: str
    files: tuple[ScanFile, ...]
    forms: str
    model: str
    settings: Settings
    named: bool  # whether the batch was named by the caller: then known scans arrive again
    again: bool = False
    retry_failed: bool = False
    keep_pages: bool = False


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What came of one file in this run.

    `pages` counts those read now; `known` says that nothing of it was new. `failed` holds the
    pages that failed now, with their causes; `stored` is false where there was nothing to
    store them by, because not even the bytes could be read.
    """

    source: str
    pages: int
    known: bool
    failed: tuple[batches.FailedPage, ...]
    stored: bool = True


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of a run: the batch as it stands now, and what this run did to it.

    `batch` is None where nothing was new and the batch was never opened. `failed` holds what
    failed in the batch, also before this run went on with it, and the `not_stored` files that
    could not be opened and are in no batch.
    """

    batch: batches.BatchSummary | None
    files: int
    known_files: int
    pages: int
    failed: tuple[batches.FailedPage, ...]
    not_stored: int = 0

    @property
    def partial(self) -> bool:
        return bool(self.failed)


# ---------------------------------------------------------------- planning


def find_forms(settings: Settings) -> Path:
    """Find the folder of forms: as set, else `forms`, else `sample_forms`."""
    if settings.forms:
        return Path(settings.forms)
    for name in ("forms", "sample_forms"):
        if Path(name).is_dir():
            return Path(name)
    raise TemplateError(
        "no folder `forms` here; name the folder of your forms with --forms, or make "
        "forms/<form>/template.toml"
    )


def find_model(settings: Settings) -> Path:
    """Find the model folder: as set, else the default that travels with digitocr."""
    return Path(settings.model) if settings.model else resources.default_model()


def plan(
    paths: Sequence[Path],
    settings: Settings,
    *,
    batch: str | None = None,
    again: bool = False,
    retry_failed: bool = False,
    keep_pages: bool = False,
) -> Plan:
    """Find the scans, check forms, model and database, and name the batch.

    Without a name the batch is that of the folder and the day; a batch of that folder that
    was not finished is gone on with.

    Raises
    ------
    DigitocrError
        If a path, the forms, the model or the database is wrong: before anything is read.
    """
    if batch is not None and not batch.strip():
        raise UsageError("--batch is empty; name the batch, or leave the option out")
    files = tuple(scans.find(paths))
    if not files:
        shown = ", ".join(scans.shown(path) for path in paths)
        raise ScanError(
            f"{shown}: holds no scan; digitocr reads PNG, JPEG, TIFF, BMP, WebP and PDF"
        )
    forms_folder = find_forms(settings)
    forms = templates.load_all(forms_folder)
    pipeline.check_forms(forms)
    model = load_model(find_model(settings))
    engine = schema.connect(settings.database, create=True)
    try:
        with schema.writing(engine) as session:
            for form in forms:
                store.register_form(session, form)
            store.register_model(session, model.card)
        with schema.reading(engine) as session:
            name = batch or _batch_name(paths, batches.list_batches(session))
    finally:
        engine.dispose()
    return Plan(
        batch=store.stored_source(name),
        files=files,
        forms=str(forms_folder.resolve()),
        model=str(Path(find_model(settings)).resolve()),
        settings=settings,
        named=batch is not None,
        again=again,
        retry_failed=retry_failed,
        keep_pages=keep_pages,
    )


def _batch_name(paths: Sequence[Path], known: Iterable[batches.BatchSummary]) -> str:
    folder = store.stored_source(paths[0].resolve().name) or "scans"
    unfinished = [
        one.name
        for one in known
        if one.name.startswith(f"{folder} ") and one.status is BatchStatus.RUNNING
    ]
    return unfinished[-1] if unfinished else f"{folder} {datetime.now(UTC):%Y-%m-%d}"


# ---------------------------------------------------------------- reading


class _Worker:
    """What a process (or a thread) keeps between chunks of one plan."""

    def __init__(self, plan: Plan) -> None:
        cv2.setNumThreads(1)
        forms = templates.load_all(Path(plan.forms))
        model = load_model(Path(plan.model))
        self.plan = plan
        self.reader = pipeline.prepare(forms, model, plan.settings)
        self.engine: Engine = schema.connect(plan.settings.database, create=False)


_kept = threading.local()


def _worker_for(plan: Plan) -> _Worker:
    worker: _Worker | None = getattr(_kept, "worker", None)
    if worker is None or _how(worker.plan) != _how(plan):
        worker = _kept.worker = _Worker(plan)
    return worker


def _how(plan: Plan) -> tuple[str, str, Settings]:
    return plan.forms, plan.model, plan.settings


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
    worker = _worker_for(plan)
    return tuple(_read_file(worker, plan, file) for file in files)


def _read_file(worker: _Worker, plan: Plan, file: ScanFile) -> FileOutcome:
    try:
        scan = scans.open_scan(
            file.path,
            renderer=plan.settings.pdf_renderer,
            max_megapixels=plan.settings.max_megapixels,
        )
    except ScanError as error:
        cause = str(error).removeprefix(f"{scans.shown(file.path)}: ")
        return _store_unreadable(worker, plan, file, cause)
    with scan:
        wanted = _arrive(worker, plan, file, scan.document)
        if wanted is None:
            return FileOutcome(file.source, 0, True, ())
        failed = []
        for number in wanted:
            page, reading = _read_page(worker, scan, number)
            _save(worker, plan, reading, page)
            if reading.status is PageStatus.FAILED:
                failed.append(batches.FailedPage(file.source, number, reading.cause))
    return FileOutcome(file.source, len(wanted), False, tuple(failed))


def _arrive(
    worker: _Worker, plan: Plan, file: ScanFile, document: Document
) -> list[int] | None:
    """Write down that a file came; give the pages to read, None if nothing of it is new."""
    numbers = range(1, max(1, document.page_count) + 1)
    with schema.reading(worker.engine) as session:
        known = store.is_known(session, file.source, document.sha256)
        done = store.pages_done(session, document.sha256)
    wanted = [n for n in numbers if _is_wanted(done.get(n), plan)]
    if known and not plan.named and not wanted:
        return None
    with schema.writing(worker.engine) as session:
        store.open_batch(session, plan.batch, datetime.now(UTC))
        new = plan.named or not known
        if new:
            media = Path(file.source).suffix.lower().lstrip(".")
            new = store.add_arrival(
                session, plan.batch, file.source, document, media, datetime.now(UTC)
            )
        if not wanted and not new:
            session.rollback()  # the batch stays closed as it was
    return wanted if wanted or new else None


def _is_wanted(status: PageStatus | None, plan: Plan) -> bool:
    if status is None or plan.again:
        return True
    return plan.retry_failed and status is PageStatus.FAILED


def _read_page(
    worker: _Worker, scan: scans.OpenScan, number: int
) -> tuple[Page | None, PageReading]:
    """Read one page; whatever goes wrong with it stays with it (the one place for that)."""
    sha256, page = scan.document.sha256, None
    try:
        page = scan.page(number)
        reading = pipeline.read_page(page, worker.reader)
    except DigitocrError as error:
        cause = str(error).removeprefix(f"{scans.shown(scan.path)}: ")
        reading = PageReading(sha256, number, PageStatus.FAILED, cause)
    except Exception as error:
        log.exception("document %s page %d: unexpected error", sha256[:8], number)
        cause = f"unexpected {type(error).__name__}: {error}; this is a bug, please report it"
        reading = PageReading(sha256, number, PageStatus.FAILED, cause)
    log.info("document %s page %d: %s", sha256[:8], number, reading.status)
    return page, reading


def _save(worker: _Worker, plan: Plan, reading: PageReading, page: Page | None) -> None:
    image = None
    if plan.keep_pages and page is not None:
        done, encoded = cv2.imencode(
            ".webp", page.image, (cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY)
        )
        image = encoded.tobytes() if done else None
    with schema.writing(worker.engine) as session:
        store.save_page(
            session,
            reading,
            model=worker.reader.model.card.fingerprint,
            now=datetime.now(UTC),
            again=plan.again or plan.retry_failed,
            image=image,
        )


def _store_unreadable(worker: _Worker, plan: Plan, file: ScanFile, cause: str) -> FileOutcome:
    """Store a file that is no scan as a document whose first page failed.

    A file whose bytes cannot even be read has no identity: it is named, and not stored.
    """
    failed = (batches.FailedPage(file.source, 1, cause),)
    sha256 = _hash(file)
    if sha256 is None:
        return FileOutcome(file.source, 1, False, failed, stored=False)
    wanted = _arrive(worker, plan, file, Document(sha256, 0))
    if not wanted:
        return FileOutcome(file.source, 0, wanted is None, ())
    _save(worker, plan, PageReading(sha256, 1, PageStatus.FAILED, cause), None)
    return FileOutcome(file.source, 1, False, failed)


def _store_deadly(worker: _Worker, plan: Plan, file: ScanFile) -> FileOutcome:
    """Store that a process died over a file, with the page it was at.

    That is the first one not yet stored. Where pages are read again nothing says which it
    was: the file is named, and what was read of it before stands.
    """
    cause = "the process that read it died; look at the file, and save it anew"
    sha256 = _hash(file) or ""
    with schema.reading(worker.engine) as session:
        arrived = store.is_known(session, file.source, sha256)
        done = store.pages_done(session, sha256)
    if not arrived:
        return _store_unreadable(worker, plan, file, cause)
    number = next(n for n in range(1, len(done) + 2) if n not in done)
    failed = (batches.FailedPage(file.source, number, cause),)
    if plan.again or plan.retry_failed:
        return FileOutcome(file.source, 1, False, failed, stored=False)
    _save(worker, plan, PageReading(sha256, number, PageStatus.FAILED, cause), None)
    return FileOutcome(file.source, 1, False, failed)


def _hash(file: ScanFile) -> str | None:
    if not file.path.is_file():  # a pipe would be waited for
        return None
    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


# ---------------------------------------------------------------- a whole run


def run(plan: Plan, *, progress: Callable[[FileOutcome], None] | None = None) -> RunSummary:
    """Read all files of a plan, by as many processes as the settings say."""
    outcomes = []
    for outcome in _outcomes(plan):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    return finish(plan, outcomes)


def _outcomes(plan: Plan) -> Iterator[FileOutcome]:
    workers = min(plan.settings.workers or os.cpu_count() or 1, len(plan.files))
    if workers == 1:
        for file in plan.files:
            yield from read_chunk(plan, (file,))
        return
    chunks = deque(
        plan.files[at : at + CHUNK_FILES] for at in range(0, len(plan.files), CHUNK_FILES)
    )
    plan = replace(plan, files=())  # a worker is handed its own files, not all of them
    while chunks:
        lost = yield from _read_by_pool(plan, chunks, workers)
        yield from _read_one_by_one(plan, lost)


def _read_by_pool(
    plan: Plan, chunks: deque[tuple[ScanFile, ...]], workers: int
) -> Generator[FileOutcome, None, list[ScanFile]]:
    """Read chunks until none is left or a worker dies; give the files then in their hands.

    No more is handed out than is worked on: whoever stops a run waits for that alone.
    """
    in_hand: dict[Future[tuple[FileOutcome, ...]], tuple[ScanFile, ...]] = {}
    with _pool(workers) as pool:
        try:
            while chunks or in_hand:
                while chunks and len(in_hand) < workers:
                    future = _submit(pool, plan, chunks[0])
                    in_hand[future] = chunks.popleft()
                done, _ = wait(in_hand, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: one.exception() is not None):
                    yield from future.result()
                    del in_hand[future]
        except BrokenProcessPool:
            log.warning("a process that read died; its files are read again, one by one")
    return [file for chunk in in_hand.values() for file in chunk]


def _read_one_by_one(plan: Plan, files: Sequence[ScanFile]) -> Iterator[FileOutcome]:
    """Read files, one of which may be deadly, in a process of their own."""
    left = deque(files)
    while left:
        with _pool(1) as pool:
            try:
                while left:
                    yield from _submit(pool, plan, (left[0],)).result()
                    left.popleft()
            except BrokenProcessPool:
                yield _store_deadly(_worker_for(plan), plan, left.popleft())


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fork would carry locks of threads that OpenCV and SQLite hold at that moment.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=_go_with_parent)


def _submit(
    pool: ProcessPoolExecutor, plan: Plan, files: tuple[ScanFile, ...]
) -> Future[tuple[FileOutcome, ...]]:
    """Hand out files. What is started for them inherits that Ctrl-C is none of its business."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(read_chunk, plan, files)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _go_with_parent() -> None:
    """End this process when the one that started it is gone, by whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()


def finish(plan: Plan, outcomes: Sequence[FileOutcome]) -> RunSummary:
    """Close the batch and count what became of it."""
    failed = tuple(page for outcome in outcomes for page in outcome.failed)
    engine = schema.connect(plan.settings.database, create=False)
    summary = None
    try:
        with schema.reading(engine) as session:
            for one in batches.list_batches(session):
                summary = one if one.name == plan.batch else summary
        if summary and (failed or summary.status is BatchStatus.RUNNING):
            failed += tuple(page for page in summary.failed_pages if page not in failed)
            with schema.writing(engine) as session:
                status = BatchStatus.PARTIAL if failed else BatchStatus.DONE
                store.close_batch(session, plan.batch, status, datetime.now(UTC))
            with schema.reading(engine) as session:
                summary = batches.batch_summary(session, plan.batch)
    finally:
        engine.dispose()
    return RunSummary(
        batch=summary,
        files=len(outcomes),
        known_files=sum(outcome.known for outcome in outcomes),
        pages=sum(outcome.pages for outcome in outcomes),
        failed=failed,
        not_stored=sum(not outcome.stored for outcome in outcomes),
    )
