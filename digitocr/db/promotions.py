"""Which model reads from now on: what people said, latest last; and where its folder is.

The database names a model by its fingerprint and by no path: several machines may share the
database, and each looks below its own `models`. So a folder that is gone, or whose weights are
others than those that were promoted, is refused by name, and never read with unawares.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from digitocr import resources
from digitocr.db import tables
from digitocr.errors import ModelError, UsageError
from digitocr.recognition.classifier import load_model, read_card
from digitocr.recognition.folders import read_entries, read_network
from digitocr.recognition.sequence import is_sequence
from digitocr.settings import Settings


@dataclass(frozen=True, slots=True)
class Promotion:
    """That a person had a model read from then on; `note` says what its report said."""

    model: str
    fingerprint: str
    by: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model's report says of its promotion; `passed` is None where nothing judged it."""

    passed: bool | None
    because: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.passed is None:
            return "its report says nothing of a promotion: it was not made by `retrain`"
        if self.passed:
            return "its report says: it may be promoted, nowhere worse than the model before"
        return f"its report says: it must not be promoted: {'; '.join(self.because)}"


def verdict_of(folder: Path) -> Verdict:
    """Read what the report of a model says of its promotion.

    Raises
    ------
    ModelError
        If the folder holds no model.
    """
    gate = read_entries(folder).get("gate")
    if not isinstance(gate, dict):
        return Verdict(None)
    if gate.get("fingerprint") != fingerprint_of(folder):
        return Verdict(False, ("its weights are others than those that were judged",))
    return Verdict(gate.get("passed") is True, tuple(map(str, gate.get("failures", ()))))


def promote(
    session: Session, folder: Path, *, by: str, anyway: bool = False, now: datetime
) -> Promotion:
    """Write down that the model in a folder reads from now on.

    Parameters
    ----------
    by
        The person who says so.
    anyway
        Also if its report says that it must not be promoted; this is written down too.

    Raises
    ------
    ModelError
        If the folder holds no model.
    UsageError
        If it reads whole numbers, failed its trials, lies where `process` does not look, or
        nobody is named.
    """
    if not by.strip():
        raise UsageError("--by is empty; name who promotes the model")
    verdict = verdict_of(folder)
    if is_sequence(folder):
        raise UsageError(
            f"{folder}: reads whole numbers; the second reader is named by the setting "
            "`sequence`, and only classifiers are promoted"
        )
    card = load_model(folder).card
    if verdict.passed is False and not anyway:
        raise UsageError(f"{folder}: {verdict}; --anyway promotes it all the same")
    if folder.resolve() not in {one.resolve() for one in resources.model_folders()}:
        raise UsageError(
            f"{folder}: `process` looks for promoted models below the folder `models` where "
            f"it runs; put this one there, as models/{folder.resolve().name}, and promote that"
        )
    row = tables.Promotion(
        model=card.name,
        fingerprint=card.fingerprint,
        promoted_by=by.strip(),
        promoted_at=now,
        note=f"anyway: {verdict}" if verdict.passed is False else str(verdict),
    )
    session.add(row)
    session.flush()
    return _promotion(row)


def promotions(session: Session) -> tuple[Promotion, ...]:
    """List every promotion, the one that stands last."""
    rows = session.scalars(select(tables.Promotion).order_by(tables.Promotion.id))
    return tuple(_promotion(row) for row in rows)


def promoted(session: Session) -> Promotion | None:
    """Give the promotion that stands; None where no model was promoted."""
    latest = select(tables.Promotion).order_by(tables.Promotion.id.desc()).limit(1)
    row = session.scalars(latest).first()
    return None if row is None else _promotion(row)


def folder_that_reads(session: Session, named: str) -> Path:
    """Find the model that reads: the one named, else the one promoted, else the one delivered.

    Raises
    ------
    ModelError
        If the model that was promoted is not here, or is another one by now.
    """
    standing = None if named else promoted(session)
    return resources.model_folder(named) if standing is None else folder_of(standing)


def with_promoted(session: Session, settings: Settings) -> Settings:
    """Give the settings with the model that reads filled in, where they name none.

    Raises
    ------
    ModelError
        As `folder_that_reads`.
    """
    reads = folder_that_reads(session, settings.model)
    return settings.model_copy(update={"model": str(reads)})


def folder_of(promotion: Promotion) -> Path:
    """Find the folder of a promoted model by the name in its card and its fingerprint.

    Raises
    ------
    ModelError
        If none below `models` has that name and these weights.
    """
    changed = None
    for folder in resources.model_folders():
        try:
            if is_sequence(folder):
                continue
            if read_card(folder).name != promotion.model:
                continue
            if fingerprint_of(folder) == promotion.fingerprint:
                return folder
            changed = folder
        except ModelError:
            continue  # another model, which is damaged
    told = f"model '{promotion.model}', promoted by {promotion.by} on {promotion.at:%Y-%m-%d}"
    what = f"has other weights in {changed} by now" if changed else "is not below `models` here"
    raise ModelError(
        f"{told}, {what}; put it back, promote another with `digitocr models promote`, or name "
        "one with --model"
    )


def fingerprint_of(folder: Path) -> str:
    """Give the SHA-256 of a model's weights.

    Raises
    ------
    ModelError
        If they cannot be read.
    """
    return hashlib.sha256(read_network(folder)).hexdigest()


def _promotion(row: tables.Promotion) -> Promotion:
    return Promotion(row.model, row.fingerprint, row.promoted_by, row.promoted_at, row.note)
