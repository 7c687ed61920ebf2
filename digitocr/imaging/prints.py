"""What an empty form has printed at a field: computed once a form, held against every page."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from digitocr.imaging.binarization import Darkness, darkness, solid
from digitocr.imaging.form_removal import widen
from digitocr.types import MM_PER_INCH, Box, Gray, Ink, PageTemplate

READING_DPI = 200.0  # a digit of 5 mm is 40 pixels high: twice what the classifier wants
PER_MM = READING_DPI / MM_PER_INCH
MARGIN_MM = 2.5  # writing leaves its box
REACH_MM = 5.0  # wider than any stroke; see `binarization.paper`
PRINT_LEVEL = 0.15  # darkness of print, of which something may be left over
NEAR_PIXELS = 9
SLACK_PIXELS = 2  # how much print is widened before it is subtracted
ALIGN_DPI = 120.0
ALIGN_MARGINS_MM = (3.0, 8.0, 16.0)  # how much print around the field is compared
LEAST_STRUCTURE = 0.05  # standard deviation of darkness that makes print comparable


@dataclass(frozen=True, slots=True, eq=False)
class Printed:
    """The empty form at a field, at `READING_DPI`, and what follows from it.

    `dark` is its darkness against its paper, and `wide` the same a little widened; `solid`
    marks its black areas and `near` what is close to its print.
    """

    gray: Gray
    dark: Darkness
    wide: Darkness
    solid: Ink
    near: Ink

    @classmethod
    def of(cls, gray: Gray) -> Printed:
        reach = round(REACH_MM * PER_MM)
        dark = darkness(gray, reach=reach)
        inked = (dark > PRINT_LEVEL).astype(np.uint8)
        near = cv2.dilate(inked, np.ones((NEAR_PIXELS, NEAR_PIXELS), np.uint8)) > 0
        wide = widen(dark, slack=SLACK_PIXELS)
        return cls(gray, dark, wide, solid(gray, reach=reach), near)


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What is printed in and around a field, at `ALIGN_DPI` or less: a page is aligned by it.

    `left` and `top` are its place in template pixels, `scale` its pixels a template pixel.
    `is_comparable` says whether there is print enough to align by.
    """

    dark: Darkness
    left: float
    top: float
    scale: float
    is_comparable: bool


@dataclass(frozen=True, slots=True, eq=False)
class FieldPrint:
    """The print of a field, and what is printed around it.

    `around` is for the first of `ALIGN_MARGINS_MM`, which are enough for nearly every field:
    what is printed further around takes much memory.
    """

    printed: Printed
    around: tuple[Surroundings, ...]


def print_of(template: PageTemplate, box: Box) -> FieldPrint | None:
    """Compute what is printed at a field; None where the empty form is not known."""
    if template.reference is None:
        return None
    left, top, scale, size = frame_of(template, box)
    frame = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    gray = cv2.warpAffine(
        template.reference, frame, size, flags=cv2.INTER_LINEAR, borderValue=255
    )
    around = [surroundings(template, box, margin_mm) for margin_mm in ALIGN_MARGINS_MM[:2]]
    return FieldPrint(Printed.of(np.asarray(gray, np.uint8)), tuple(around))


def frame_of(template: PageTemplate, box: Box) -> tuple[float, float, float, tuple[int, int]]:
    """Say where a field's image lies: left, top, pixels a template pixel, width and height."""
    scale = READING_DPI / template.dpi
    margin = MARGIN_MM / MM_PER_INCH * template.dpi
    size = (round((box.width + 2 * margin) * scale), round((box.height + 2 * margin) * scale))
    return box.left - margin, box.top - margin, scale, size


def surroundings(template: PageTemplate, box: Box, margin_mm: float) -> Surroundings:
    """Compute what is printed in a field and so far around it."""
    assert template.reference is not None
    scale = min(1.0, ALIGN_DPI / template.dpi)
    margin = margin_mm / MM_PER_INCH * template.dpi
    left, top = max(0.0, box.left - margin), max(0.0, box.top - margin)
    right = min(float(template.width), box.right + margin)
    bottom = min(float(template.height), box.bottom + margin)
    size = (round((right - left) * scale), round((bottom - top) * scale))
    frame = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    gray = cv2.warpAffine(template.reference, frame, size, flags=cv2.INTER_AREA)
    dark = align_darkness(gray, template.dpi * scale)
    is_comparable = cv2.meanStdDev(dark)[1].item() >= LEAST_STRUCTURE
    return Surroundings(dark, left, top, scale, is_comparable)


def align_darkness(gray: Gray, dpi: float) -> Darkness:
    """Say how dark a picture is, a little blurred: hairlines jump between scans."""
    dark = darkness(gray, reach=round(dpi * 0.2), margins=False)
    blurred: Darkness = cv2.GaussianBlur(dark, (0, 0), 1.0)
    return blurred
