"""Many bare crops → a row each, in the order given, by as many processes as there are cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2

from digitocr import numbers, processes, scans
from digitocr.errors import ScanError
from digitocr.processes import ProcessDiedError
from digitocr.recognition.acceptance import Acceptance
from digitocr.recognition.classifier import Model
from digitocr.recognition.sequence import SequenceModel
from digitocr.settings import Settings
from digitocr.types import FieldType, Reading

LEAST_A_PROCESS = 50  # crops; fewer are read before another process has started
_PART = 16  # crops that go to a process together

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of every crop."""

    settings: Settings
    min_digits: int
    max_digits: int | None
    type: FieldType


def read_rows(images: Sequence[Path], wanted: Wanted) -> Iterator[Row]:
    """Read crops; what cannot be opened gives a row with an error.

    Raises
    ------
    ModelError
        If a model cannot be loaded.
    """
    _readers(wanted.settings)  # refused before anything is read
    workers = min(
        wanted.settings.workers or os.cpu_count() or 1, len(images) // LEAST_A_PROCESS
    )
    if workers < 2:
        yield from (_read_row(image, wanted) for image in images)
        return
    parts = [tuple(images[at : at + _PART]) for at in range(0, len(images), _PART)]
    work = partial(_read_part, wanted)
    ahead: dict[int, list[Row]] = {}
    given = 0
    for number, rows in processes.by_processes(work, parts, workers):
        ahead[number] = _read_one_by_one(parts[number], wanted) if rows is None else rows
        while given in ahead:
            yield from ahead.pop(given)
            given += 1


def _read_part(wanted: Wanted, images: Sequence[Path]) -> list[Row]:
    cv2.setNumThreads(1)
    return [_read_row(image, wanted) for image in images]


def _read_one_by_one(images: Sequence[Path], wanted: Wanted) -> list[Row]:
    """Read pictures, one of which killed the process that read them: so it is known which."""
    rows: list[Row] = []
    left = deque(images)
    while left:
        with processes.start() as apart:
            try:
                while left:
                    rows += apart.run(_read_part, wanted, (left[0],))
                    left.popleft()
            except ProcessDiedError:
                image = left.popleft()
                error = f"{image}: killed the process that read it"
                rows.append({"image": str(image), "error": error})
    return rows


def _readers(settings: Settings) -> tuple[Model, SequenceModel | None]:
    return _loaded(settings.model_dump_json(include={"model", "sequence", "recognizer"}))


@cache
def _loaded(named: str) -> tuple[Model, SequenceModel | None]:
    return numbers.load_readers(Settings.model_validate_json(named))


def _read_row(image: Path, wanted: Wanted) -> Row:
    settings = wanted.settings
    row: Row = {"image": str(image)}
    try:
        with scans.open_scan(image, max_megapixels=settings.max_megapixels) as scan:
            gray = scan.page(1).image
    except ScanError as error:
        return row | {"error": str(error)}
    model, sequence = _readers(settings)
    reading = numbers.read_number(
        gray,
        model,
        Acceptance(settings.accept_digit, settings.accept_field),
        sequence=sequence,
        min_digits=wanted.min_digits,
        max_digits=wanted.max_digits,
        type=wanted.type,
    )
    return row | _reading_row(reading)


def _reading_row(reading: Reading) -> dict[str, Any]:
    return {
        "text": reading.text,
        "confidence": round(reading.confidence, 6),
        "accepted": reading.accepted,
        "reasons": [str(reason) for reason in reading.reasons],
        "alternatives": [
            {"text": one.text, "confidence": round(one.confidence, 6)}
            for one in reading.alternatives
        ],
        "glyphs": [
            {
                "box": [glyph.box.left, glyph.box.top, glyph.box.right, glyph.box.bottom],
                "text": glyph.text,
                "confidence": round(glyph.confidence, 6),
            }
            for glyph in reading.glyphs
        ],
    }
