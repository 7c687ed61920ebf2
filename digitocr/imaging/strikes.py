"""Lines that strike numbers out: such a number does not hold, though each digit can be read.

A level stroke through digits is left out as a rule is, and a classifier that learned from
spoiled digits reads through it. So the line is looked for by itself.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.types import Box, Gray, Ink

Places = NDArray[np.intp]

LEAST_WIDTH = 1.4  # of the height: what is narrower may have a bar of its own, as a 4 has
LEAST_SHARE = 0.95  # of the columns of a number, in which the line is seen
MIDDLE = (0.3, 0.7)  # of the height: a line below is written on, one above belongs to a box
WAVE = 1 / 12  # of the height, by which a stroke is no straight line
THIN = 0.1  # of the columns, where no digit crosses the line, which tell its pen
LEAST_STRUCK = 0.2  # of the ink that is not the line's
LEVELS, SAMPLES, END = 20, 80, 0.04


def is_struck(ink: Ink, number: Box) -> bool:
    """Say whether a line goes through a number from end to end, level or slanting.

    Parameters
    ----------
    ink : (H, W) bool
        With what was taken for lines. Not changed.
    number
        Where the digits stand.
    """
    if number.width < LEAST_WIDTH * number.height:
        return False
    inside = ink[number.top : number.bottom, number.left : number.right].astype(np.uint8)
    h, w = inside.shape
    columns = (_ACROSS * (w - 1)).astype(np.intp)
    if inside[:, columns].max(axis=0).mean() < LEAST_SHARE:
        return False  # digits stand apart
    wide = cv2.dilate(inside, np.ones((max(3, round(WAVE * h)) | 1, 1), np.uint8))
    rows = (_LINES * (h - 1)).astype(np.intp)
    seen = wide[rows, columns].mean(axis=1)
    if seen.max() < LEAST_SHARE:
        return False
    alike = np.flatnonzero(seen == seen.max())
    return _strikes_something(inside, rows[alike[len(alike) // 2]], columns)


def _strikes_something(inside: Gray, rows: Places, columns: Places) -> bool:
    """Say whether there is more than the line: one alone is a dash, which says no number."""
    within = inside[:, columns] > 0
    levels = np.arange(len(within))[:, None]
    # Of each column the ink that hangs together with the line.
    above = np.where(~within & (levels < rows), levels, -1).max(axis=0)
    below = np.where(~within & (levels > rows), levels, len(within)).min(axis=0)
    on_line = within[rows, np.arange(len(rows))]
    if not on_line.any():
        return False
    pen = float(np.quantile((below - above - 1)[on_line], THIN))
    away = np.abs(levels - rows) > 0.75 * pen + WAVE * len(inside) + 1.0
    return bool(within[away].sum() >= LEAST_STRUCK * within.sum())


def _lines() -> NDArray[np.float64]:
    """Give the height at which each line that is looked for passes each column."""
    ends = np.linspace(0.0, 1.0, LEVELS)
    left, right = (one.reshape(-1, 1) for one in np.meshgrid(ends, ends))
    middle = ((left + right) / 2)[:, 0]
    through = (MIDDLE[0] <= middle) & (middle <= MIDDLE[1])
    lines: NDArray[np.float64] = left + (right - left) * _ACROSS
    return lines[through]


_ACROSS = np.linspace(END, 1.0 - END, SAMPLES)
_LINES = _lines()
