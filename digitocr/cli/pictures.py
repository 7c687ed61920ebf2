"""Bare pictures of numbers and of digits: no form, no database."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import ModelFolder, Shown
from digitocr.errors import EXIT_PARTIAL, DataError, ScanError, UsageError
from digitocr.types import FieldType


class Shape(StrEnum):
    """How `read` and `classify` print."""

    TABLE = "table"
    JSONL = "jsonl"


OutputShape = Annotated[Shape, typer.Option("--format", help="How to print.")]


def read(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="One number each.")],
    min_digits: Annotated[int, typer.Option(help="Least digits of a number.", min=0)] = 0,
    max_digits: Annotated[int | None, typer.Option(help="Most digits.", min=1)] = None,
    type_: Annotated[
        FieldType, typer.Option("--type", help="What the number means.")
    ] = FieldType.INTEGER,
    model: ModelFolder = None,
    shape: OutputShape = Shape.TABLE,
) -> None:
    """Read bare crops of one handwritten number each: no form, no database.

    Boxes, rules and crosses in empty positions are not digits; zeros are kept. Exit code 3:
    some pictures could not be opened.
    """
    from digitocr.cli import crops

    if type_ is FieldType.DATE:
        raise UsageError("--type date: a bare crop has no date format; use code")
    settings = settings_module.load(model=model)
    wanted = crops.Wanted(settings, min_digits, max_digits, type_)
    rows: list[dict[str, Any]] = []
    with _progress(len(images)) as advance:
        for row in crops.read_rows(images, wanted):
            rows.append(row)
            if shape is Shape.JSONL:
                _print_json(row)
            advance("")
    if shape is Shape.TABLE:
        _print_readings(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(EXIT_PARTIAL)


def _progress(count: int) -> AbstractContextManager[Callable[[str], None]]:
    """Show how far many crops are; a few are read before a bar is drawn."""
    if count < 100:
        return nullcontext(lambda note: None)
    from digitocr import console

    return console.progress("Reading", count, unit="crop", quiet=Shown.quiet)


def _print_json(row: dict[str, Any]) -> None:
    print(json.dumps(row, ensure_ascii=False), flush=True)


def _print_readings(rows: list[dict[str, Any]]) -> None:
    from digitocr import console

    lines = []
    for row in rows:
        if "error" in row:
            console.say(row["error"])
            continue
        text = "(unreadable)" if row["text"] is None else row["text"] or "(blank)"
        why = "accepted" if row["accepted"] else ", ".join(row["reasons"])
        lines.append((row["image"], text, f"{row['confidence']:.4f}", why))
    if lines:
        console.rows_table(("image", "text", "confidence", "accepted, or why not"), lines)


def classify(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE…]", help="One digit each.")
    ] = None,
    npz: Annotated[
        Path | None, typer.Option(help="File with x (N, H, W) uint8 and optionally y.")
    ] = None,
    model: ModelFolder = None,
    shape: OutputShape = Shape.TABLE,
) -> None:
    """Classify single digits, dark on light or light on dark.

    `digit` is null where the glyph is clearly not a digit. Exit code 3: some pictures could
    not be opened.
    """
    from digitocr import resources, scans
    from digitocr.imaging.normalization import ink_intensity, normalize_all
    from digitocr.recognition.acceptance import Acceptance, accepts_digit
    from digitocr.recognition.classifier import are_digits, best_digits, load_model

    settings = settings_module.load(model=model)
    if (npz is None) == (not images):
        raise UsageError("classify wants pictures, or --npz FILE with many")
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    loaded = load_model(resources.model_folder(settings.model))
    grays: list[Any] = [] if npz is None else list(_load_glyphs(npz))
    rows: list[dict[str, Any]] = [{"index": index} for index in range(len(grays))]
    for index, image in enumerate(images or ()):
        try:
            with scans.open_scan(image, max_megapixels=settings.max_megapixels) as scan:
                grays.append(scan.page(1).image)
            rows.append({"index": index})
        except ScanError as error:
            rows.append({"image": str(image), "error": str(error)})
    glyphs = normalize_all([ink_intensity(gray) for gray in grays])
    opened = [row for row in rows if "error" not in row]
    probabilities = loaded.classify(glyphs)
    judged = zip(opened, *best_digits(probabilities), are_digits(probabilities), strict=True)
    for row, digit, confidence, is_digit in judged:
        row["digit"] = int(digit) if is_digit else None
        row["confidence"] = round(float(confidence), 6)
        row["accepted"] = accepts_digit(float(confidence), bool(is_digit), acceptance)
    if shape is Shape.JSONL:
        for row in rows:
            _print_json(row)
    else:
        _print_digits(rows)
    if len(opened) < len(rows):
        raise typer.Exit(EXIT_PARTIAL)


def _print_digits(rows: list[dict[str, Any]]) -> None:
    from digitocr import console

    lines = []
    for row in rows:
        if "error" in row:
            console.say(row["error"])
            continue
        digit = "(not a digit)" if row["digit"] is None else str(row["digit"])
        accepted = "yes" if row["accepted"] else "no"
        lines.append((str(row["index"]), digit, f"{row['confidence']:.4f}", accepted))
    if lines:
        console.rows_table(("index", "digit", "confidence", "accepted"), lines)


def _load_glyphs(file: Path) -> Any:
    import numpy as np

    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            glyphs = found["x"]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; name an .npz file") from error
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(
            f"{file}: {error}; it must be an .npz with x (N, H, W) uint8"
        ) from error
    if glyphs.ndim != 3 or glyphs.dtype != np.uint8:
        raise DataError(
            f"{file}: x is {glyphs.shape} {glyphs.dtype}; it must be (N, H, W) uint8"
        )
    return glyphs
