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
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2
from sqlalchemy import Engine

from digitocr import pipeline, resources, scans, templates
from digitocr.db import batches, schema, store
from digitocr.db.tables import BatchStatus
from digitocr.errors import DigitocrError, ScanError, TemplateError
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
    pages that failed now, with their causes.
    """

    source: str
    pages: int
    known: bool
    failed: tuple[batches.FailedPage, ...]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of a run: the batch as it stands now, and what this run did to it.

    `batch` is None where nothing was new and the batch was never opened.
    """

    batch: batches.BatchSummary | None
    files: int
    known_files: int
    pages: int
    failed: tuple[batches.FailedPage, ...]

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
    files = tuple(scans.find(paths))
    if not files:
        shown = ", ".join(str(path) for path in paths)
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
        batch=name,
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
    folder = paths[0].resolve().name or "scans"
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
            media = file.path.suffix.lower().lstrip(".")
            new = store.add_arrival(
                session, plan.batch, file.source, document, media, datetime.now(UTC)
            )
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
    if not file.path.is_file():  # a pipe would be waited for
        return FileOutcome(file.source, 1, False, failed)
    try:
        with file.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return FileOutcome(file.source, 1, False, failed)
    wanted = _arrive(worker, plan, file, Document(sha256, 0))
    if not wanted:
        return FileOutcome(file.source, 0, wanted is None, ())
    _save(worker, plan, PageReading(sha256, 1, PageStatus.FAILED, cause), None)
    return FileOutcome(file.source, 1, False, failed)


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
    lost: list[ScanFile] = []
    chunks = [
        plan.files[at : at + CHUNK_FILES] for at in range(0, len(plan.files), CHUNK_FILES)
    ]
    with _pool(workers) as pool:
        waiting = {pool.submit(read_chunk, plan, chunk): chunk for chunk in chunks}
        for future in as_completed(waiting):
            chunk = waiting[future]
            try:
                yield from _result(future)
            except BrokenProcessPool:
                lost += chunk
    for file in lost:
        yield from _read_alone(plan, file)


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fork would carry locks of threads that OpenCV and SQLite hold at that moment.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _result(future: Future[tuple[FileOutcome, ...]]) -> tuple[FileOutcome, ...]:
    return future.result()


def _read_alone(plan: Plan, file: ScanFile) -> tuple[FileOutcome, ...]:
    """Read a file that was in the hands of a worker that died, in a process of its own."""
    try:
        with _pool(1) as pool:
            return pool.submit(partial(read_chunk, plan, (file,))).result()
    except BrokenProcessPool:
        cause = f"{file.source}: the process that read it died; open the file and save it anew"
        return (_store_unreadable(_worker_for(plan), plan, file, cause),)


def finish(plan: Plan, outcomes: Sequence[FileOutcome]) -> RunSummary:
    """Close the batch and count what became of it."""
    failed = tuple(page for outcome in outcomes for page in outcome.failed)
    engine = schema.connect(plan.settings.database, create=False)
    summary = None
    try:
        with schema.reading(engine) as session:
            opened = any(one.name == plan.batch for one in batches.list_batches(session))
        if opened:
            with schema.writing(engine) as session:
                so_far = batches.batch_summary(session, plan.batch)
                status = BatchStatus.PARTIAL if so_far.failed_pages else BatchStatus.DONE
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
    )
