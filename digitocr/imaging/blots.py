"""What is broader than strokes can be: a blot or a punched hole, which hides what is under it.

Both look like a zero whose loop is filled, to every reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from digitocr.imaging.segmentation import Component
from digitocr.types import Ink

SURELY = 0.85  # of the radius of a disk: what is nowhere so far from paper has no room for it
PENS = 2.6  # strokes that a blot is broader than: loops that ran full are narrower


def least_breadth(pieces: Sequence[Component], *, most_pen: float, least: float) -> int:
    """Say how broad a blot among some writing is at least, in pixels.

    Parameters
    ----------
    most_pen
        Breadth of the broadest pen: of one blot alone, the pen would be all of it.
    least
        However fine the pen is.
    """
    return round(max(least, PENS * min(_pen_width(pieces), most_pen)))


def may_hold(ink: Ink, side: int) -> bool:
    """Say whether there may be room for a disk of a diameter in the ink: quick, and seldom."""
    return min(ink.shape) >= side | 1 and _farthest(ink) >= SURELY * (side // 2)


def find_broad(ink: Ink, side: int) -> Ink:
    """Mark the ink that a disk of a diameter fits into: no stroke, but a blot or a hole."""
    if not may_hold(ink, side):
        return np.zeros(ink.shape, bool)  # what follows takes fifty times as long
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side | 1, side | 1))
    # Padded: OpenCV takes what is outside of a picture for ink.
    padded = cv2.copyMakeBorder(
        ink.view(np.uint8), side, side, side, side, cv2.BORDER_CONSTANT, value=0
    )
    broad: Ink = cv2.morphologyEx(padded, cv2.MORPH_OPEN, element)[side:-side, side:-side] > 0
    return broad


def _farthest(ink: Ink) -> float:
    """Give the largest distance of ink from paper, about, in pixels."""
    padded = cv2.copyMakeBorder(ink.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max())


def _pen_width(pieces: Sequence[Component]) -> float:
    """Measure how broad the strokes are, in pixels."""
    middles: list[float] = []
    for piece in pieces:
        ink = cv2.copyMakeBorder(piece.ink.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        away = cv2.distanceTransform(ink, cv2.DIST_L2, 5)
        highest = cv2.dilate(away, np.ones((3, 3), np.uint8))
        middles += away[(away >= highest) & (away > 0.9)].tolist()
    return 2.0 * float(np.median(middles)) if middles else 2.0
