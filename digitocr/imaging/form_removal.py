"""Take what is printed out of the ink, and keep the strokes that cross it.

Where the empty form is known its darkness is subtracted, a little widened, so that light
guides under a digit vanish without the digit. What is left over of lines, and lines of forms
without a reference, are found as long straight runs. In both cases strokes that were cut are
closed again, but only through pixels that were ink on the scan.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.binarization import Darkness, inked_part
from digitocr.types import Ink


def widen(printed: Darkness, *, slack: int) -> Darkness:
    """Widen the print of a form by `slack` pixels, as much as it may lie beside its place."""
    side = 2 * slack + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide: Darkness = cv2.dilate(printed, element)
    return wide


def subtract_form(dark: Darkness, printed: Darkness, wide: Darkness) -> Darkness:
    """Take the darkness of the empty form, as `wide` as it may be, from that of the page.

    Scanners and pens of darkness differ, so the print of the empty form is first brought to
    the strength that it has on this page (the median ratio over the darkest print).
    """
    strong = np.flatnonzero(printed > 0.4)
    gain = 1.0
    if len(strong) >= 30:
        gain = float(np.median(dark.take(strong) / printed.take(strong)))
        gain = min(max(gain, 0.5), 1.6)
    # Print is seldom evenly black: a margin above it keeps its mottle from turning to ink.
    left: Darkness = cv2.max(dark - np.float32(1.25 * gain) * wide, 0.0)
    return left


def line_mask(ink: Ink, *, across: int, down: int, thickness: int) -> Ink:
    """Mark long straight runs of ink.

    Parameters
    ----------
    across, down : pixels
        Least length of a horizontal and of a vertical line; 0 looks for none.
    thickness : pixels
        What is thicker than this is a bar or a digit, and stays.
    """
    mask = np.zeros(ink.shape, bool)
    part = inked_part(ink, margin=max(3, across // 8, down // 8))  # runs are closed that far
    if across > 1:
        mask[part] |= _runs(ink[part], across, thickness)
    if down > 1:
        mask[part] |= _runs(ink[part], down, thickness, upright=True)
    return mask


def _runs(ink: Ink, length: int, thickness: int, *, upright: bool = False) -> Ink:
    """Mark runs of at least `length` pixels along rows, no thicker than `thickness`.

    Along columns where they are `upright`.
    """

    def ones(across: int, along: int) -> NDArray[np.uint8]:
        return np.ones((along, across) if upright else (across, along), np.uint8)

    # Closed over short gaps first: scanned lines are broken and not quite level.
    closed = cv2.morphologyEx(ink.view(np.uint8), cv2.MORPH_CLOSE, ones(3, max(3, length // 8)))
    runs = cv2.morphologyEx(closed, cv2.MORPH_OPEN, ones(1, length))
    if not runs.any():
        return np.zeros(ink.shape, bool)
    thick = cv2.morphologyEx(closed, cv2.MORPH_OPEN, ones(thickness + 1, length // 2 + 1))
    marked: Ink = (runs > 0) & (thick == 0)
    return marked


def close_strokes(kept: Ink, ink: Ink, *, reach: int) -> Ink:
    """Close the gaps that removal cut into strokes, only through what was ink on the scan.

    Parameters
    ----------
    kept, ink : (H, W) bool
        The ink after and before removal. Neither is changed.
    reach : pixels
        Widest gap that is closed: about the thickness of a line, and twice its slack.
    """
    part = inked_part(kept)
    side = 2 * ((reach + 1) // 2) + 1  # an element of side s closes gaps of s - 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    padded = cv2.copyMakeBorder(
        kept[part].view(np.uint8), side, side, side, side, cv2.BORDER_CONSTANT, value=0
    )
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, element)[side:-side, side:-side]
    result = kept.copy()
    result[part] |= closed.view(bool) & ink[part]
    return result
