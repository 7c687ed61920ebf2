"""What is to be read, and how: looked up and refused before anything is read."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from digitocr import numbers, pipeline, scans, templates
from digitocr.batch.thresholds import Standing, derive
from digitocr.db import batches, decisions, promotions, schema, store
from digitocr.errors import ScanError, TemplateError, UsageError
from digitocr.scans import ScanFile
from digitocr.settings import Settings
from digitocr.templates import FormTemplate
from digitocr.types import FieldType


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read, and how. Plain values: it travels to workers and other machines.

    `standing`: for the types of field that have a target, what was proven when this was
    planned; all workers accept by it, also where audits come in meanwhile. `resumed`: an
    earlier run of it did not end, so each file is written down before it is opened, and one
    that kills who reads it is found out (`surviving`).
    """

    batch: str
    files: tuple[ScanFile, ...]
    forms: str
    model: str
    sequence: str  # "" where the classifier reads alone
    settings: Settings
    named: bool  # whether the batch was named by the caller: then known scans arrive again
    fingerprints: tuple[str, ...]  # of the forms, as they were when this was planned
    again: bool = False
    retry_failed: bool = False
    keep_pages: bool = False
    resumed: bool = False
    reader: str = ""  # fingerprint of the model, or of the pair, that reads
    standing: tuple[Standing, ...] = ()

    @property
    def reads_by(self) -> str:
        """Give a hash of the forms and of what reads: equal where the same comes out."""
        return hashlib.sha256(" ".join((*self.fingerprints, self.reader)).encode()).hexdigest()

    @property
    def thresholds(self) -> dict[FieldType, float]:
        """The least confidence of an accepted reading, for the types where one is proven."""
        return {
            one.type: one.promise.threshold
            for one in self.standing
            if one.promise.threshold is not None
        }


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


def expand(words: Sequence[str]) -> list[Path]:
    """Make paths of words: a path, or a pattern such as `scans/2026-*` for all it matches.

    Raises
    ------
    UsageError
        If there is no word, or an empty one.
    ScanError
        If a pattern matches nothing.
    """
    if not words or not all(word.strip() for word in words):
        raise UsageError("folder is empty; name a folder of scans, a file or a pattern")
    paths: list[Path] = []
    for word in words:
        found = [word]
        if not Path(word).exists() and glob.has_magic(word):
            # Path.glob takes no pattern from the root on.
            found = sorted(glob.glob(word, recursive=True))  # noqa: PTH207
            if not found:
                raise ScanError(f"{word}: matches nothing; name a folder or file that is there")
        paths += map(Path, found)
    return paths


def plan(
    paths: Sequence[Path],
    settings: Settings,
    *,
    files: Sequence[ScanFile] | None = None,
    batch: str | None = None,
    named: bool | None = None,
    resumed: bool | None = None,
    again: bool = False,
    retry_failed: bool = False,
    keep_pages: bool = False,
) -> Plan:
    """Find the scans, check forms, model and database, and name the batch.

    Where the settings name no model, the one reads that was promoted in the database.

    Without a name the batch is that of the folder and the day; a batch of that folder that
    was not finished is gone on with.

    Parameters
    ----------
    files
        What was found below `paths` already, and is to be read of it.
    named
        Whether known scans arrive again; None: they do where `batch` is given.
    resumed
        Whether an earlier run died; None: one did where the batch was not finished.

    Raises
    ------
    DigitocrError
        If a path, the forms, the model or the database is wrong: before anything is read.
    """
    if batch is not None and not batch.strip():
        raise UsageError("--batch is empty; name the batch, or leave the option out")
    files = tuple(scans.find(paths) if files is None else files)
    if not files:
        shown = ", ".join(scans.shown(path) for path in paths)
        raise ScanError(
            f"{shown}: holds no scan; digitocr reads PNG, JPEG, TIFF, BMP, WebP and PDF"
        )
    forms_folder = find_forms(settings)
    forms = templates.load_all(forms_folder)
    pipeline.check_forms(forms)
    engine = schema.connect(settings.database, create=True)
    try:
        with schema.reading(engine) as session:
            chosen = promotions.with_promoted(session, settings)
        model, sequence = numbers.load_readers(chosen)
        reader = pipeline.prepare((), model, settings, sequence)
        with schema.writing(engine) as session:
            for form in forms:
                store.register_form(session, form)
            store.register_model(session, reader.card)
        with schema.reading(engine) as session:
            running = batches.running(session)
            name = store.stored_source(batch or _batch_name(paths, running))
            stands = _standing(session, forms, reader.card.fingerprint, settings)
    finally:
        engine.dispose()
    return Plan(
        batch=name,
        files=files,
        forms=str(forms_folder.resolve()),
        model=str(model.path.resolve()),
        sequence=str(sequence.path.resolve()) if sequence else "",
        settings=settings,
        named=batch is not None if named is None else named,
        fingerprints=tuple(form.fingerprint for form in forms),
        again=again,
        retry_failed=retry_failed,
        keep_pages=keep_pages,
        resumed=name in running if resumed is None else resumed,
        reader=reader.card.fingerprint,
        standing=stands,
    )


def _standing(
    session: Session, forms: Sequence[FormTemplate], model: str, settings: Settings
) -> tuple[Standing, ...]:
    types = {field.type for form in forms for field in form.fields}
    if not any(settings.target_of(type) for type in types):
        return ()
    return derive(decisions.audited(session, model=model), types, settings)


def _batch_name(paths: Sequence[Path], running: Sequence[str]) -> str:
    folder = store.stored_source(paths[0].resolve().name) or "scans"
    unfinished = [name for name in running if name.startswith(f"{folder} ")]
    return unfinished[-1] if unfinished else f"{folder} {datetime.now(UTC):%Y-%m-%d}"
