"""Fill a form with handwriting whose truth is known."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitocr import synth
from digitocr.errors import UsageError
from digitocr.forms.damage import Condition, spoil
from digitocr.forms.sheets import code_square
from digitocr.forms.values import draw_values, written
from digitocr.imaging.codes import PageCode, draw_code
from digitocr.synth import Hand
from digitocr.templates import NOT_WRITTEN, FormTemplate
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
    serial: str = "",
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
    serial : str
        Number of the copy in its page code, where the form has one.

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
    if template.identifier is not None:
        code = PageCode(form.name, form.version, page, serial)
        image = print_page_code(image, _scaled(template.identifier, scale), code)
    for field in form.fields_of(page):
        text = written(field, values.get(field.name, ""))
        box = _scaled(field.box, scale)
        if field.kind is FieldKind.MARK and text:
            image = synth.write_ticks(image, text, box, rng, hand=hand)
        elif field.kind is FieldKind.BARCODE and text:
            image = stick_label(image, text, box, rng)
        if field.kind in NOT_WRITTEN:
            continue
        void = _choose_void(field, rng, void_share)
        if text == "" and void is None:
            continue
        image = synth.write_number(
            image,
            text,
            box,
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
    damage: Condition | None = None,
    strength: float = 0.5,
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
    damage, strength
        What else happens to every page, and how badly, from 0 to 1.

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
                image = fill(
                    form,
                    values,
                    rng,
                    page=page.number,
                    dpi=dpi,
                    hand=hand,
                    serial=f"{number:06}",
                )
                image = image if clean else synth.scan_like(image, rng)
                if damage is not None:
                    drawn_dpi = dpi or page.dpi
                    image = spoil(image, damage, strength, rng, dpi=drawn_dpi).image
                images.append(image)
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


def print_page_code(image: Gray, box: Box, code: PageCode) -> Gray:
    """Print a page code, and its serial below it, into its box on a page."""
    printed = image.copy()
    square = code_square(box)
    size = (square.width, square.height)
    part = _modules(draw_code(str(code), "QRCode"), size)
    printed[square.top : square.bottom, square.left : square.right] = part
    if code.serial and box.height > box.width:
        text = f"No. {code.serial}"
        (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
        size_ = min(0.8 * box.width / w, 0.5 * (box.height - box.width) / h)
        x = round((box.left + box.right - w * size_) / 2)
        y = round(box.bottom - 0.25 * (box.height - box.width))
        cv2.putText(printed, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size_, 30, 1, cv2.LINE_AA)
    return printed


def stick_label(image: Gray, text: str, box: Box, rng: np.random.Generator) -> Gray:
    """Stick a label with a bar code, or a QR code where the box is no strip, into a box."""
    strip = box.width > 1.8 * box.height
    dark = draw_code(text, "Code128" if strip else "QRCode")
    h = round(0.8 * box.height)
    w = round(min(0.9 * box.width, 5 * h)) if strip else h
    quiet = max(4, round(0.08 * w))
    label = np.full((h, w), 255, np.uint8)
    inner = (w - 2 * quiet, h - (max(4, h // 8) if strip else quiet) * 2)
    top = (h - inner[1]) // 2
    label[top : top + inner[1], quiet : quiet + inner[0]] = _modules(dark, inner)
    skew_deg = float(np.clip(rng.normal(0, 1.2), -3, 3))
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), skew_deg, 1.0)
    x = (box.left + box.right - w) / 2 + float(rng.normal(0, 0.02)) * box.width
    y = (box.top + box.bottom - h) / 2 + float(rng.normal(0, 0.02)) * box.height
    matrix[:, 2] += x, y
    size = (image.shape[1], image.shape[0])
    laid = cv2.warpAffine(label, matrix, size, flags=cv2.INTER_AREA, borderValue=255)
    over = cv2.warpAffine(np.ones_like(label), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return np.asarray(np.where(over, laid, image), np.uint8)


def _modules(dark: NDArray[np.bool_], size: tuple[int, int]) -> Gray:
    """Draw the modules of a code as large as `size` (width, height), with smooth edges."""
    rows, columns = dark.shape
    fine = [
        max(1, -(-4 * side // count)) for side, count in zip(size, (columns, rows), strict=True)
    ]
    large = np.where(np.kron(dark, np.ones((fine[1], fine[0]), bool)), 15, 255).astype(np.uint8)
    return np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), np.uint8)


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
    if field.kind is FieldKind.MARK:
        pitch = box.width / (field.cells or 1)
        half = min(pitch, box.height) / 2
        y = (box.top + box.bottom) / 2
        for place in range(field.cells or 1):
            x = box.left + (place + 0.5) * pitch
            corners = (round(x - half), round(y - half)), (round(x + half), round(y + half))
            cv2.rectangle(image, *corners, PRINT_GRAY, thick)
        return
    boxed = field.kind in (FieldKind.BOXED, FieldKind.BARCODE)
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
