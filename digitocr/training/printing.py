"""Digits in print, drawn with the fonts that come with the packages training needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Intensity = NDArray[np.uint8]

SIDE = 64
# Of matplotlib's fonts those with lining figures; the others repeat them or are symbols.
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
    "cmr10", "cmb10", "cmss10", "cmtt10",
)  # fmt: skip
# Never trained on: printed digits are to be digits in other fonts too.
HELD_OUT = ("DejaVuSansMono-Bold", "STIXGeneral", "cmss10", "pillow")
# The seven segments of a display, top first, then clockwise, the middle one last.
SEGMENTS = (
    "012345",
    "12",
    "01346",
    "01236",
    "1256",
    "02356",
    "023456",
    "012",
    "0123456",
    "012356",
)


def draw_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Draw every digit in every font.

    Returns
    -------
    (N, 64, 64) uint8, 0 paper to 255 ink; the N digits; the N names of the fonts.
    """
    glyphs, labels, names = [], [], []
    for name, drawn in _fonts():
        for digit, glyph in enumerate(drawn):
            glyphs.append(glyph)
            labels.append(digit)
            names.append(name)
    return np.stack(glyphs), np.array(labels, np.int64), names


def _fonts() -> Iterator[tuple[str, list[Intensity]]]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in FONTS:
        font = ImageFont.truetype(folder / f"{name}.ttf", 56)
        yield name, [_typeset(str(digit), font) for digit in range(10)]
    yield "pillow", [_typeset(str(digit), ImageFont.load_default(56)) for digit in range(10)]
    yield "opencv", [_plotted(str(digit)) for digit in range(10)]
    for thick in (4, 8):
        yield f"segments-{thick}", [_segments(places, thick) for places in SEGMENTS]


def _typeset(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Intensity:
    image = Image.new("L", (SIDE, SIDE), 0)
    ImageDraw.Draw(image).text((SIDE // 2, SIDE // 2), text, 255, font=font, anchor="mm")
    return np.asarray(image, np.uint8)


def _plotted(text: str, *, face: int = cv2.FONT_HERSHEY_SIMPLEX, thick: int = 3) -> Intensity:
    canvas: Intensity = np.zeros((SIDE, SIDE), np.uint8)
    scale = cv2.getFontScaleFromHeight(face, SIDE - 18, thick)
    (width, height), _ = cv2.getTextSize(text, face, scale, thick)
    place = ((SIDE - width) // 2, (SIDE + height) // 2)
    cv2.putText(canvas, text, place, face, scale, 255, thick, cv2.LINE_AA)
    return canvas


def _segments(places: str, thick: int) -> Intensity:
    """Draw a digit of a display, its segments a little apart."""
    left, right, top, middle, bottom = 20, 44, 10, 32, 54
    gap = thick // 2 + 1
    ends = [
        ((left + gap, top), (right - gap, top)),
        ((right, top + gap), (right, middle - gap)),
        ((right, middle + gap), (right, bottom - gap)),
        ((left + gap, bottom), (right - gap, bottom)),
        ((left, middle + gap), (left, bottom - gap)),
        ((left, top + gap), (left, middle - gap)),
        ((left + gap, middle), (right - gap, middle)),
    ]
    canvas: Intensity = np.zeros((SIDE, SIDE), np.uint8)
    for place in places:
        cv2.line(canvas, *ends[int(place)], 255, thick)
    return canvas
