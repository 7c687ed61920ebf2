"""What is to be read, and how: looked up and refused before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from digitocr import numbers, pipeline, scans, templates
from digitocr.batch.thresholds import Standing, derive
from digitocr.db import batches, promotions, schema, store
from digitocr.db.tables import BatchStatus
from digitocr.errors import ScanError, TemplateError, UsageError
from digitocr.scans import ScanFile
from digitocr.settings import Settings
from digitocr.templates import FormTemplate
from digitocr.types import FieldType


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read, and how. Plain values: it travels to workers and other machines.

    `standing`: for the types of field that have a target, what was proven when this was
    planned; all workers accept by it, also where audits come in meanwhile.
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
    standing: tuple[Standing, ...] = ()

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

    Where the settings name no model, the one reads that was promoted in the database.

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
    engine = schema.connect(settings.database, create=True)
    try:
        with schema.reading(engine) as session:
            named = promotions.with_promoted(session, settings)
        model, sequence = numbers.load_readers(named)
        reader = pipeline.prepare((), model, settings, sequence)
        with schema.writing(engine) as session:
            for form in forms:
                store.register_form(session, form)
            store.register_model(session, reader.card)
        with schema.reading(engine) as session:
            name = batch or _batch_name(paths, batches.list_batches(session))
            stands = _standing(session, forms, reader.card.fingerprint, settings)
    finally:
        engine.dispose()
    return Plan(
        batch=store.stored_source(name),
        files=files,
        forms=str(forms_folder.resolve()),
        model=str(model.path.resolve()),
        sequence=str(sequence.path.resolve()) if sequence else "",
        settings=settings,
        named=batch is not None,
        fingerprints=tuple(form.fingerprint for form in forms),
        again=again,
        retry_failed=retry_failed,
        keep_pages=keep_pages,
        standing=stands,
    )


def _standing(
    session: Session, forms: Sequence[FormTemplate], model: str, settings: Settings
) -> tuple[Standing, ...]:
    types = {field.type for form in forms for field in form.fields}
    if not any(settings.target_of(type) for type in types):
        return ()
    return derive(store.audited(session, model=model), types, settings)


def _batch_name(paths: Sequence[Path], known: Iterable[batches.BatchSummary]) -> str:
    folder = store.stored_source(paths[0].resolve().name) or "scans"
    unfinished = [
        one.name
        for one in known
        if one.name.startswith(f"{folder} ") and one.status is BatchStatus.RUNNING
    ]
    return unfinished[-1] if unfinished else f"{folder} {datetime.now(UTC):%Y-%m-%d}"
