"""A batch read again from the same scans, to see that the same readings come out.

Nothing is written. A page is compared where its scan is still there unchanged, and form and
models are those it was read with, by their fingerprints; otherwise it is said what is not.
Texts, confidences and reasons must be equal, all but `low-confidence`: thresholds are settings,
and move with what audits prove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import groupby
from pathlib import Path

from digitocr import numbers, pipeline, processes, scans, templates
from digitocr.batch import limits, running
from digitocr.batch.planning import Plan, find_forms
from digitocr.batch.reading import read_page, worker_for
from digitocr.db import batches, promotions, schema, store
from digitocr.db.batches import StoredPage
from digitocr.errors import ScanError
from digitocr.processes import ProcessDiedError
from digitocr.settings import Settings
from digitocr.types import FieldReading, PageStatus, Reason

NEARLY = 1e-6  # between two confidences: databases and processors round


class Outcome(StrEnum):
    """What became of a page that was to be read again."""

    EQUAL = "equal"
    DIFFERS = "differs"
    GONE = "gone"
    CHANGED = "changed"
    OTHER_FORM = "other-form"
    OTHER_MODEL = "other-model"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A page and what became of it; `detail` is for people."""

    source: str
    page: int
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be read again: the pages of each file, and how."""

    plan: Plan
    files: tuple[tuple[StoredPage, ...], ...]


def prepare(name: str, settings: Settings) -> Replay:
    """Look up a batch, forms and models: refused before anything is read.

    Raises
    ------
    DigitocrError
        If there is no batch of that name, or the forms, the models or the database are wrong.
    """
    folder = find_forms(settings)
    forms = templates.load_all(folder)
    pipeline.check_forms(forms)
    engine = schema.connect(settings.database, create=False)
    try:
        with schema.reading(engine) as session:
            named = promotions.with_promoted(session, settings)
            pages = batches.stored_pages(session, name)
    finally:
        engine.dispose()
    model, sequence = numbers.load_readers(named)
    plan = Plan(
        batch=name,
        files=(),
        forms=str(folder.resolve()),
        model=str(model.path.resolve()),
        sequence=str(sequence.path.resolve()) if sequence else "",
        settings=settings,
        named=True,
        fingerprints=tuple(form.fingerprint for form in forms),
    )
    by_file = groupby(pages, key=lambda one: (one.source, one.sha256))
    return Replay(plan, tuple(tuple(of_file) for _, of_file in by_file))


def replay(
    wanted: Replay, root: Path, *, progress: Callable[[str], None] | None = None
) -> list[Replayed]:
    """Read the scans of a batch again and compare.

    Parameters
    ----------
    root
        The folder that sources are reached from.
    progress
        Called with the source of each file that is done.
    """
    found: dict[int, list[Replayed]] = {}
    for number, replayed in _replay_all(wanted.plan, root, wanted.files):
        found[number] = replayed
        if progress:
            progress(replayed[0].source)
    return [one for number in sorted(found) for one in found[number]]


def _replay_all(
    plan: Plan, root: Path, files: Sequence[tuple[StoredPage, ...]]
) -> Iterator[tuple[int, list[Replayed]]]:
    """Read files again; give each as it comes, by its number."""
    workers = running.count_workers(plan.settings, len(files))
    work = partial(_replay_file, plan, root)
    if workers == 1 and len(files) <= running.FEW:
        yield from enumerate(map(work, files))
        return
    lost = []
    for number, replayed in processes.by_processes(work, files, workers):
        if replayed is None:
            lost.append(number)
        else:
            yield number, replayed
    for number in lost:
        yield number, _replay_alone(work, files[number])


def _replay_alone(
    work: Callable[[tuple[StoredPage, ...]], list[Replayed]], of_file: tuple[StoredPage, ...]
) -> list[Replayed]:
    try:
        with processes.start() as apart:
            return apart.run(work, of_file)
    except ProcessDiedError:
        return [
            Replayed(one.source, one.page, Outcome.DIFFERS, "the process that read it died")
            for one in of_file
        ]


def _replay_file(plan: Plan, root: Path, of_file: tuple[StoredPage, ...]) -> list[Replayed]:
    """Read one file again, in this process."""
    worker, first = worker_for(plan), of_file[0]

    def all_of_them(outcome: Outcome, detail: str) -> list[Replayed]:
        return [Replayed(one.source, one.page, outcome, detail) for one in of_file]

    gone = "what was read was taken out by a purge"
    if all(one.purged for one in of_file):
        return all_of_them(Outcome.PURGED, gone)
    path = root / first.source
    if not path.is_file():
        return all_of_them(Outcome.GONE, "is not there any more")
    try:
        with limits.of_a_page(plan.settings):
            scan = scans.open_scan(
                path,
                renderer=plan.settings.pdf_renderer,
                max_megapixels=plan.settings.max_megapixels,
                color=worker.reader.wants_color,
            )
    except ScanError as error:
        if all(one.status is PageStatus.FAILED for one in of_file):
            return all_of_them(Outcome.EQUAL, "")
        return all_of_them(Outcome.CHANGED, str(error))
    prints = {(form.name, form.version): form.fingerprint for form in worker.reader.forms}
    with scan:
        if scan.document.sha256 != first.sha256:
            return all_of_them(Outcome.CHANGED, "is another file of that name now")
        found = []
        for one in of_file:
            if one.purged:
                other, detail = Outcome.PURGED, gone
            elif one.model != worker.reader.card.fingerprint:
                other, detail = Outcome.OTHER_MODEL, f"was read by {one.model_name}"
            elif one.form and prints.get(one.form) != one.fingerprint:
                shown = "{} version {}".format(*one.form)
                other, detail = Outcome.OTHER_FORM, f"was read as {shown}, which is not here"
            else:
                reading = read_page(worker, scan, one.page)[1]
                with schema.reading(worker.engine) as session:
                    stored = store.load_readings(session, one.sha256, one.page)
                detail = _difference(one, stored, reading.status, reading.readings)
                other = Outcome.DIFFERS if detail else Outcome.EQUAL
            found.append(Replayed(one.source, one.page, other, detail))
    return found


def _difference(
    page: StoredPage,
    stored: Sequence[store.StoredReading],
    status: PageStatus,
    readings: Sequence[FieldReading],
) -> str:
    """Say in what two readings of a page differ first; "" if in nothing."""
    if page.status is not status:
        return f"was {page.status}, is {status}"
    before = {one.field: one for one in stored}
    now = {one.field.name: one for one in readings}
    if before.keys() != now.keys():
        return f"fields differ: {', '.join(sorted(before.keys() ^ now.keys()))}"
    for name, old in before.items():
        new = now[name]
        if old.text != new.text:
            return f"{name}: another text"
        if abs(old.confidence - new.confidence) > NEARLY:
            return f"{name}: confidence was {old.confidence:.6f}, is {new.confidence:.6f}"
        if _lasting(old.reasons) != _lasting(new.reasons):
            return f"{name}: reasons differ"
    return ""


def _lasting(reasons: Sequence[str]) -> list[str]:
    return [reason for reason in reasons if reason != Reason.LOW_CONFIDENCE]
