"""One file of a plan → its pages in the database, each in a transaction of its own."""

from __future__ import annotations

import gc
import hashlib
import itertools
import logging
import threading
import traceback
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
from sqlalchemy import Engine

from digitocr import pipeline, scans, templates
from digitocr.batch import limits
from digitocr.batch.planning import Plan
from digitocr.db import batches, schema, store
from digitocr.errors import DigitocrError, ScanError, TemplateError
from digitocr.recognition.classifier import load_model
from digitocr.recognition.sequence import load_sequence
from digitocr.scans import ScanFile
from digitocr.types import Document, FieldType, Page, PageReading, PageStatus

log = logging.getLogger(__name__)

WEBP_QUALITY = 60
DIED = (
    "the process that read it died, or took longer than page_seconds; look at the file, and "
    "save it anew"
)
TOO_LARGE = (
    "takes more memory than worker_memory_mb; scan it at a lower resolution, or raise the "
    "setting"
)
NO_MEMORY = "does not fit into memory; scan it at a lower resolution"


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


class Worker:
    """What a process (or a thread) keeps between chunks of one plan."""

    def __init__(self, plan: Plan) -> None:
        cv2.setNumThreads(1)
        forms = templates.load_all(Path(plan.forms))
        if tuple(form.fingerprint for form in forms) != plan.fingerprints:
            raise TemplateError(
                f"{plan.forms}: a form was changed after the batch was planned; start again"
            )
        model = load_model(Path(plan.model))
        self.plan = plan
        third = plan.settings.recognizer == "auto"
        sequence = load_sequence(Path(plan.sequence), third=third) if plan.sequence else None
        self.reader = pipeline.prepare(
            forms, model, plan.settings, sequence, thresholds=plan.thresholds
        )
        self.engine: Engine = schema.connect(plan.settings.database, create=False)
        with schema.reading(self.engine) as session:
            self.deadly = store.never_opened(session, DIED)
            self.deadly |= store.never_opened(session, TOO_LARGE)
        self.opened = plan.batch if plan.resumed else ""
        gc.freeze()  # what lives as long as the process is not looked through for garbage


_kept = threading.local()


def worker_for(plan: Plan) -> Worker:
    """Give the worker of this thread for a plan, built if it is none yet."""
    worker: Worker | None = getattr(_kept, "worker", None)
    if worker is None or _how(worker.plan) != _how(plan):
        worker = _kept.worker = Worker(plan)
    return worker


def _how(plan: Plan) -> tuple[object, ...]:
    return (
        plan.forms, plan.fingerprints, plan.model, plan.sequence, plan.settings,
        plan.thresholds,
    )  # fmt: skip


def read_file(worker: Worker, plan: Plan, file: ScanFile) -> FileOutcome:
    """Read and store one file, as far as it is not; leave alone what was read before.

    Raises
    ------
    DatabaseError
        If the database cannot be reached or stays locked: this can pass.
    """
    if is_deadly(worker, plan, file):
        return FileOutcome(file.source, 0, True, ())
    _open_batch_first(worker, plan, file)
    try:
        with limits.of_a_page(plan.settings):
            scan = scans.open_scan(
                file.path,
                renderer=plan.settings.pdf_renderer,
                max_megapixels=plan.settings.max_megapixels,
                color=worker.reader.wants_color,
            )
    except ScanError as error:
        cause = _cause(error, file.path, 1)
        return _store_unreadable(worker, plan, file, cause)
    except Exception as error:
        log.exception("a file of batch %s: unexpected error", plan.batch)
        return _store_unreadable(worker, plan, file, _unexpected(error))
    with scan:
        wanted = _arrive(worker, plan, file, scan.document)
        if wanted is None:
            return FileOutcome(file.source, 0, True, ())
        failed = []
        for number in wanted:
            page, reading = read_page(worker, scan, number)
            _save(worker, plan, reading, page)
            if reading.status is PageStatus.FAILED:
                failed.append(batches.FailedPage(file.source, number, reading.cause))
    return FileOutcome(file.source, len(wanted), False, tuple(failed))


def _open_batch_first(worker: Worker, plan: Plan, file: ScanFile) -> None:
    """Have the batch stand in the database before a file is opened that may kill all of us.

    The next run knows by it that one died before it, and looks who does it (`surviving`).
    What came before was opened before, and lived: of such files alone no batch is made.
    """
    if worker.opened == plan.batch:
        return
    sha256 = hash_of(file)
    if sha256 is None:
        return
    with schema.reading(worker.engine) as session:
        known = store.is_known(session, file.source, sha256)
    if not known:
        with schema.writing(worker.engine) as session:
            store.open_batch(session, plan.batch, datetime.now(UTC))
        worker.opened = plan.batch


def _arrive(worker: Worker, plan: Plan, file: ScanFile, document: Document) -> list[int] | None:
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


def read_page(
    worker: Worker, scan: scans.OpenScan, number: int
) -> tuple[Page | None, PageReading]:
    """Read one page; whatever goes wrong with it stays with it (the one place for that)."""
    sha256, page = scan.document.sha256, None
    try:
        with limits.of_a_page(worker.plan.settings):
            page = scan.page(number)
            reading = pipeline.read_page(page, worker.reader)
    except DigitocrError as error:
        cause = _cause(error, scan.path, number)
        reading = PageReading(sha256, number, PageStatus.FAILED, cause)
    except Exception as error:
        log.exception("document %s page %d: unexpected error", sha256[:8], number)
        reading = PageReading(sha256, number, PageStatus.FAILED, _unexpected(error))
    about = {"document": sha256, "page": number, "status": str(reading.status)}
    log.info("document %s page %d: %s", sha256[:8], number, reading.status, extra=about)
    return page, reading


def _unexpected(error: Exception) -> str:
    """Say where an error came from, and not its message, which may quote what was read."""
    if isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem:
        return NO_MEMORY
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"unexpected {type(error).__name__} in {where}; this is a bug, please report it"


def _cause(error: DigitocrError, path: Path, number: int) -> str:
    """Say what is wrong without the place, which is stored and shown beside it."""
    where = scans.shown(path)
    return str(error).removeprefix(f"{where} page {number}: ").removeprefix(f"{where}: ")


def _save(worker: Worker, plan: Plan, reading: PageReading, page: Page | None) -> None:
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
            model=worker.reader.card.fingerprint,
            now=datetime.now(UTC),
            again=plan.again or plan.retry_failed,
            image=image,
            sure_from={type: worker.reader.acceptance.sure_from(type) for type in FieldType},
        )


def _store_unreadable(worker: Worker, plan: Plan, file: ScanFile, cause: str) -> FileOutcome:
    """Store a file that is no scan as a document whose first page failed.

    A file whose bytes cannot even be read has no identity: it is named, and not stored.
    """
    failed = (batches.FailedPage(file.source, 1, cause),)
    sha256 = hash_of(file)
    if sha256 is None:
        return FileOutcome(file.source, 1, False, failed, stored=False)
    wanted = _arrive(worker, plan, file, Document(sha256, 0))
    if not wanted:
        return FileOutcome(file.source, 0, wanted is None, ())
    _save(worker, plan, PageReading(sha256, 1, PageStatus.FAILED, cause), None)
    return FileOutcome(file.source, 1, False, failed)


def store_deadly(plan: Plan, file: ScanFile, cause: str = DIED) -> FileOutcome:
    """Store that a process died over a file, with the page it was at.

    That is the first one not yet stored. Where pages are read again nothing says which it
    was: the file is named, and what was read of it before stands.
    """
    worker = worker_for(plan)
    sha256 = hash_of(file) or ""
    with schema.reading(worker.engine) as session:
        arrived = store.is_known(session, file.source, sha256)
        done = store.pages_done(session, sha256)
    if not arrived:
        if sha256:
            worker.deadly |= {(file.source, sha256)}
        return _store_unreadable(worker, plan, file, cause)
    number = first_missing(done)
    failed = (batches.FailedPage(file.source, number, cause),)
    if plan.again or plan.retry_failed:
        return FileOutcome(file.source, 1, False, failed, stored=False)
    _save(worker, plan, PageReading(sha256, number, PageStatus.FAILED, cause), None)
    return FileOutcome(file.source, 1, False, failed)


def is_deadly(worker: Worker, plan: Plan, file: ScanFile) -> bool:
    """Tell whether opening this file killed who tried; it is opened again only when asked."""
    if not worker.deadly or plan.again or plan.retry_failed:
        return False
    sources = {source for source, _ in worker.deadly}
    return file.source in sources and (file.source, hash_of(file)) in worker.deadly


def first_missing(done: Container[int]) -> int:
    """Give the number of the first page that is not among those done."""
    return next(number for number in itertools.count(1) if number not in done)


def hash_of(file: ScanFile) -> str | None:
    """Hash the bytes of a file; None where they cannot be read."""
    if not file.path.is_file():  # a pipe would be waited for
        return None
    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
