"""Many bare crops → a row each, in the order given, by as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2

from digitocr import numbers, scans
from digitocr.errors import ScanError
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
    done = 0
    try:
        with _pool(workers) as pool:
            for rows in pool.map(_read_part, parts, [wanted] * len(parts)):
                yield from rows
                done += len(rows)
    except BrokenProcessPool:
        # A picture killed its process: the rest one by one, so that it is known which.
        for image in images[done:]:
            yield _read_alone(image, wanted)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def _read_part(images: Sequence[Path], wanted: Wanted) -> list[Row]:
    cv2.setNumThreads(1)
    return [_read_row(image, wanted) for image in images]


def _read_alone(image: Path, wanted: Wanted) -> Row:
    try:
        with _pool(1) as pool:
            return pool.submit(_read_row, image, wanted).result()
    except BrokenProcessPool:
        return {"image": str(image), "error": f"{image}: killed the process that read it"}


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
