"""Fill a form with handwriting whose truth is known."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from digitocr import synth
from digitocr.errors import UsageError
from digitocr.forms.values import draw_values, written
from digitocr.synth import Hand
from digitocr.templates import FormTemplate
from digitocr.types import (
    Anchor,
    Box,
    Field,
    FieldKind,
    Gray,
    PageTemplate,
    VoidMark,
)

TRUTH_FILE = "truth.csv"
PRINT_GRAY = 120  # lines of a form that comes without a picture


@dataclass(frozen=True, slots=True)
class TruthRow:
    """What is written in one field of one page of one file, as `truth.csv` says it."""

    source: str
    page: int
    field: str
    value: str
    note: str = ""


def fill(
    form: FormTemplate,
    values: Mapping[str, str],
    rng: np.random.Generator,
    *,
    page: int = 1,
    dpi: float | None = None,
    hand: Hand | None = None,
    void_share: float = 0.6,
    touching: float = 0.06,
) -> Gray:
    """Draw one page of a form, filled in by hand and not yet scanned.

    Parameters
    ----------
    values : mapping
        Text by field name, as an export says it; a field that is not named stays blank.
    page : int
        Page of the form, from 1.
    dpi : float, optional
        Resolution of the drawing; without it, that of the template.
    hand : Hand, optional
        Who writes; without it, someone new.
    void_share : float
        Probability that a field that knows void marks has them in its empty positions.
    touching : float
        Probability that a digit of an open field touches the one before.

    Returns
    -------
    (H, W) uint8, 0 ink, 255 paper.

    Raises
    ------
    ValueError
        If the form has no such page or field, or a value does not fit its field.
    """
    if not 1 <= page <= len(form.pages):
        raise ValueError(f"page must be 1 to {len(form.pages)}, is {page}")
    unknown = set(values) - {field.name for field in form.fields}
    if unknown:
        raise ValueError(f"{form} has no field {sorted(unknown)[0]!r}")
    template = form.page(page)
    scale = (dpi or template.dpi) / template.dpi
    hand = hand or synth.draw_hand(rng)
    image = _enlarge(blank(form, page), scale)
    for field in form.fields_of(page):
        text = written(field, values.get(field.name, ""))
        void = _choose_void(field, rng, void_share)
        if text == "" and void is None:
            continue
        image = synth.write_number(
            image,
            text,
            _scaled(field.box, scale),
            rng,
            hand=hand,
            cells=field.cells,
            void=void,
            touching=touching,
        )
    return image


def blank(form: FormTemplate, page: int = 1) -> Gray:
    """Give the empty form: its picture, or a plain drawing where it has none."""
    template = form.page(page)
    if template.reference is not None:
        return template.reference.copy()
    image = np.full((template.height, template.width), 255, np.uint8)
    for anchor in template.anchors:
        _draw_anchor(image, anchor)
    for field in form.fields_of(page):
        _draw_field(image, field, template)
    return image


def fill_pages(
    form: FormTemplate,
    count: int,
    out: Path,
    seed: int,
    *,
    clean: bool = False,
    dpi: float | None = None,
) -> list[TruthRow]:
    """Write `count` filled forms and their `truth.csv` into the folder `out`.

    Parameters
    ----------
    count : int
        Number of forms; a form of several pages is one file of several pages.
    seed : int
        The same seed writes the same pictures.
    clean : bool
        As drawn, instead of as scanned.

    Returns
    -------
    The rows of `truth.csv`.

    Raises
    ------
    UsageError
        If `count` is not positive, or `out` cannot be written.
    """
    if count < 1:
        raise UsageError(f"count must be at least 1, is {count}")
    rows: list[TruthRow] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            # Each form has its own generator: the tenth is the same, however many are drawn.
            rng = np.random.default_rng([seed, number])
            values = draw_values(form, rng)
            hand = synth.draw_hand(rng)
            images = []
            for page in form.pages:
                image = fill(form, values, rng, page=page.number, dpi=dpi, hand=hand)
                images.append(image if clean else synth.scan_like(image, rng))
            name = f"{form.name}-{number:03}.{'tif' if len(images) > 1 else 'png'}"
            save_pages(out / name, images, dpi or form.pages[0].dpi)
            rows += truth_of(form, values, name)
        write_truth(out / TRUTH_FILE, rows)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}; name another --out") from error
    return rows


def truth_of(
    form: FormTemplate,
    values: Mapping[str, str],
    source: str,
    *,
    pages: Mapping[int, int] | None = None,
) -> list[TruthRow]:
    """List the truth of one file.

    Parameters
    ----------
    pages : mapping, optional
        Page of the file by page of the form; without it they are the same.
    """
    pages = pages or {page.number: page.number for page in form.pages}
    return [
        TruthRow(source, pages[field.page], field.name, values.get(field.name, ""))
        for field in form.fields
        if field.page in pages
    ]


def write_truth(path: Path, rows: list[TruthRow]) -> None:
    """Write rows as `truth.csv`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        names = [field.name for field in fields(TruthRow)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def save_pages(path: Path, images: list[Gray], dpi: float) -> None:
    """Write one page as PNG, several as one TIFF."""
    first, *rest = [Image.fromarray(image) for image in images]
    if path.suffix == ".png":
        first.save(path, dpi=(dpi, dpi))
    else:
        first.save(
            path,
            dpi=(dpi, dpi),
            save_all=True,
            append_images=rest,
            compression="tiff_adobe_deflate",
        )


def _choose_void(field: Field, rng: np.random.Generator, share: float) -> VoidMark | None:
    if field.cells is None or not field.void_marks or rng.random() >= share:
        return None
    return field.void_marks[int(rng.integers(len(field.void_marks)))]


def _scaled(box: Box, scale: float) -> Box:
    edges = (box.left, box.top, box.right, box.bottom)
    left, top, right, bottom = (round(edge * scale) for edge in edges)
    return Box(left, top, right, bottom)


def _enlarge(image: Gray, scale: float) -> Gray:
    if scale == 1:
        return image
    h, w = image.shape
    size = (round(w * scale), round(h * scale))
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def _draw_anchor(image: Gray, anchor: Anchor) -> None:
    side = round(anchor.size)
    left = round(anchor.center[0] - side / 2)
    top = round(anchor.center[1] - side / 2)
    if anchor.kind == "aruco" and anchor.id is not None:
        image[top : top + side, left : left + side] = draw_aruco(anchor, side)
    else:
        image[top : top + side, left : left + side] = 0


def draw_aruco(anchor: Anchor, side: int) -> Gray:
    """Draw an ArUco anchor `side` pixels wide."""
    name = f"DICT_{(anchor.dictionary or '4x4_50').upper()}"
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    return np.asarray(cv2.aruco.generateImageMarker(dictionary, anchor.id or 0, side), np.uint8)


def _draw_field(image: Gray, field: Field, template: PageTemplate) -> None:
    box = field.box
    thick = max(round(template.dpi / 100), 1)
    if field.kind is FieldKind.OPEN:
        cv2.line(image, (box.left, box.bottom), (box.right, box.bottom), PRINT_GRAY, thick)
        return
    boxed = field.kind is FieldKind.BOXED
    if boxed:
        corners = (box.left, box.top), (box.right, box.bottom)
        cv2.rectangle(image, *corners, PRINT_GRAY, thick)
    else:
        cv2.line(image, (box.left, box.bottom), (box.right, box.bottom), PRINT_GRAY, thick)
    for x in dividers(field):
        top = box.top if boxed else box.bottom - box.height // 3
        cv2.line(image, (x, top), (x, box.bottom), PRINT_GRAY, thick)


def dividers(field: Field) -> list[int]:
    """Columns where the printed positions of a field meet, and its two ends."""
    if field.cells is None:
        return []
    return [round(x) for x in np.linspace(field.box.left, field.box.right, field.cells + 1)]
