"""Ticked boxes: how much ink is in each that the empty form has not.

What counts is ink over paper and print: the mean darkness of a position beyond what is printed
there, as a share of a square as high as the position. A tick leaves three to ten percent, a
filled box fifty, dust and what is left of printed lines a few in a thousand. Between them is
room for doubt, and what falls there goes to a person.

On paper that is bent, a box may lie beside the place where it is taken off, and its own lines
are left. So ink is looked for twice, everywhere and only well clear of the print: where the
two do not agree, that is doubt too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from digitocr.imaging.binarization import Darkness, darkness
from digitocr.imaging.form_removal import subtract_form, widen
from digitocr.imaging.isolation import FieldImage
from digitocr.imaging.prints import PER_MM, REACH_MM, SLACK_PIXELS
from digitocr.types import Box, Ink

GRAIN = 0.06  # darkness that paper and noise have
RIM = 0.22  # of a position's height at each side, where an unknown form has its lines
OVER_MM = 1.0  # a tick runs out of its box by so much, and still counts
CLEAR_MM = 1.25  # from print: where its lines do not come to lie
LEAST_CLEAR = 0.1  # of a square as high as the position, that is clear of print
EVEN = 0.0085  # filling at which ticked and empty are as likely
EVEN_CLEAR = 0.004  # the same, of what is clear of print
STEEPNESS = 5.0  # of the logistic curve over the logarithm of the filling
STROKE = 0.13  # darkness of what may have been written
BESIDE_MM = 1.3  # from a box outward: there its tick may end
BESIDE_MM2 = 0.6  # of ink further out, that is more than dust
BLACKENED = 0.40  # filled so, a box beside a ticked one may have been taken back
TAKEN_BACK = 0.80  # probability then that it still counts


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """One position: where it is in the field's image, its filling, and how likely a mark."""

    box: Box
    filling: float
    probability: float

    @property
    def is_marked(self) -> bool:
        return self.probability >= 0.5

    @property
    def confidence(self) -> float:
        return max(self.probability, 1.0 - self.probability)


def look_at_boxes(image: FieldImage, cells: Sequence[Box]) -> tuple[Tick, ...]:
    """Say of every position of a field how likely it is ticked.

    Parameters
    ----------
    cells
        The positions, in pixels of `image.gray`.
    """
    over = left_over(image)
    rim = 0.0 if image.printed is not None else RIM
    fillings = [_filling(over, cell, image, rim=rim) for cell in cells]
    clear = _clear_of_print(image)
    # What every box of a row has is no mark: paper, print-through, lines a little off. It is
    # taken from all as far as it may be that, and no further: all may be ticked.
    common = min(min(fillings), EVEN / 4) if len(fillings) > 2 else 0.0
    chances = [
        _both(
            _probability(filling - common),
            None if clear is None else _chance_clear(over, clear, cell, common),
        )
        for filling, cell in zip(fillings, cells, strict=True)
    ]
    ticked = [filling for filling in fillings if EVEN < filling < BLACKENED / 2]
    return tuple(
        Tick(
            cell,
            filling,
            min(chance, TAKEN_BACK) if filling > BLACKENED and ticked else chance,
        )
        for cell, filling, chance in zip(cells, fillings, chances, strict=True)
    )


def is_empty(image: FieldImage) -> bool:
    """Say whether there is nothing in a field beyond its print."""
    over = left_over(image)
    box = image.box
    inside = over[box.top : box.bottom, box.left : box.right]
    return float(inside.mean()) < EVEN / 4


def is_cluttered(image: FieldImage, cells: Sequence[Box]) -> bool:
    """Say whether there is ink around the boxes that is no tick of theirs: a stamp, a note.

    Boxes are square and in the middles of their positions. What runs through one and out of
    it, or is written between them, may say something else than a tick.
    """
    over = left_over(image) > STROKE
    clear = _clear_of_print(image)
    if clear is None:
        return False
    over &= clear
    reach = round(BESIDE_MM * PER_MM)
    for cell in cells:
        half = min(cell.height, cell.width) // 2 + reach
        x, y = (cell.left + cell.right) // 2, (cell.top + cell.bottom) // 2
        over[max(0, y - half) : y + half, max(0, x - half) : x + half] = False
    return bool(over.sum() > BESIDE_MM2 * PER_MM**2)


def left_over(image: FieldImage) -> Darkness:
    """Take paper, grain and print from a field's image: what is left was put there."""
    reach = round(REACH_MM * PER_MM)
    dark = darkness(image.gray, reach=reach, margins=False)
    if image.printed is not None:
        printed = darkness(image.printed.gray, reach=reach, margins=False)
        dark = subtract_form(dark, printed, widen(printed, slack=SLACK_PIXELS))
    smooth = cv2.blur(dark, (3, 3))
    over: Darkness = np.where(smooth > GRAIN, smooth, 0.0).astype(np.float32)
    return over


def _clear_of_print(image: FieldImage) -> Ink | None:
    """Mark what is well clear of the print; None where the empty form is not known."""
    if image.printed is None:
        return None
    printed = (
        darkness(image.printed.gray, reach=round(REACH_MM * PER_MM), margins=False) > GRAIN
    )
    side = 2 * round(CLEAR_MM * PER_MM) + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    clear: Ink = cv2.dilate(printed.astype(np.uint8), element) == 0
    return clear


def _chance_clear(over: Darkness, clear: Ink, cell: Box, common: float) -> float | None:
    side = min(cell.height, cell.width)
    part = np.s_[cell.top : cell.bottom, cell.left : cell.right]
    if clear[part].sum() < LEAST_CLEAR * side**2:
        return None
    filling = float(over[part][clear[part]].sum()) / side**2
    return _probability(filling - common, even=EVEN_CLEAR)


def _both(everywhere: float, in_the_clear: float | None) -> float:
    return everywhere if in_the_clear is None else (everywhere + in_the_clear) / 2


def _filling(over: Darkness, cell: Box, image: FieldImage, *, rim: float) -> float:
    """Add up what is left over in a position, as a share of a square as high as it."""
    side = min(cell.height, cell.width)
    inner, outer = round(rim * side), 0 if rim else round(OVER_MM * PER_MM)
    top, bottom = cell.top + inner - outer, cell.bottom - inner + outer
    left = cell.left + inner - (outer if cell.left == image.box.left else 0)
    right = cell.right - inner + (outer if cell.right == image.box.right else 0)
    part = over[max(0, top) : bottom, max(0, left) : right]
    return float(part.sum()) / side**2


def _probability(filling: float, *, even: float = EVEN) -> float:
    odds = STEEPNESS * np.log(max(filling, 1e-5) / even)
    return float(1.0 / (1.0 + np.exp(-odds)))
