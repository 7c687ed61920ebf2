"""Gray → ink: how much darker than the paper around it a pixel is, and whether that is ink.

Paper is told from ink before anything else, because scans come with shadows, gray paper and
patterns: what counts is darkness against the local paper, never the gray value itself.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.types import Gray, Ink

Darkness = NDArray[np.float32]  # (H, W); 0.0 as the paper around, 1.0 black


def paper(gray: Gray, *, reach: int) -> Gray:
    """Estimate the brightness of the paper under every pixel.

    A morphological closing with a square wider than any stroke takes strokes away; it is done
    on a shrunken copy, because paper varies slowly.

    Parameters
    ----------
    reach : pixels
        Wider than any stroke, narrower than a shadow.
    """
    h, w = gray.shape
    shrink = max(1, min(reach // 8, h, w))
    # Whole squares of pixels are much quicker to average than parts of them.
    rows, columns = h // shrink, w // shrink
    whole = gray[: rows * shrink, : columns * shrink]
    small = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    side = max(3, reach // shrink) | 1
    # Noise would be taken for paper by the maximum; a median keeps single bright pixels out.
    small = cv2.medianBlur(small, 3) if min(small.shape) >= 3 else small
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    # Smoothed, but never darker: beside a black margin paper stays as bright as it is.
    closed = np.maximum(closed, cv2.blur(closed, (side, side)))
    ground = cv2.resize(closed, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    rest = h - rows * shrink, w - columns * shrink
    result: Gray = cv2.copyMakeBorder(ground, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE)
    return result


def darkness(
    gray: Gray, *, reach: int, least_paper: int = 60, margins: bool = True
) -> Darkness:
    """Say how much darker than its paper every pixel is.

    Parameters
    ----------
    gray : (H, W) uint8
        0 is black, 255 is white. Not changed.
    reach : pixels
        Wider than any stroke; see `paper`.
    least_paper
        Paper darker than this is no paper but a black margin, and nothing there is ink.
    margins
        Whether to look for such margins.

    Returns
    -------
    (H, W) float32, 0.0 as bright as the paper or brighter, 1.0 black.
    """
    ground = cv2.max(paper(gray, reach=reach), max(1, least_paper))
    dark: Darkness = cv2.divide(cv2.subtract(ground, gray), ground, dtype=cv2.CV_32F)
    if margins and (margin := solid(gray, reach=reach, least_paper=least_paper)).any():
        dark[margin] = 0.0
    return dark


def solid(gray: Gray, *, reach: int, least_paper: int = 60) -> Ink:
    """Mark dark areas that a square of half the reach fits into: margins and bars."""
    _, black = cv2.threshold(gray, least_paper - 1, 1, cv2.THRESH_BINARY_INV)
    side = max(3, reach // 2)
    if cv2.countNonZero(black) < 0.01 * black.size:
        return np.zeros(gray.shape, bool)
    solid = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    grown: Ink = cv2.dilate(solid, np.ones((5, 5), np.uint8)) > 0
    return grown


def stroke_darkness(dark: Darkness, *, share: float = 0.01) -> float:
    """Say how dark the writing is: the level that `share` of the pixels reach."""
    if dark.size == 0:
        return 0.0
    place = (1.0 - share) * (dark.size - 1)
    lower, upper = int(place), min(int(place) + 1, dark.size - 1)
    ordered = np.partition(dark, (lower, upper), axis=None)  # quicker than `np.quantile`
    below, above = float(ordered[lower]), float(ordered[upper])
    return below + (above - below) * (place - lower)


def ridge_darkness(dark: Darkness, *, least: float = 0.08) -> float:
    """Say how dark the strokes are, however little of the picture they take.

    The darkest pixel of every small neighborhood is on a stroke or on noise; Otsu's threshold
    parts the two, and the darker ones' mean is the strokes'.

    References
    ----------
    Otsu, IEEE Trans. Systems, Man and Cybernetics 9 (1979) 62–66.
    """
    smooth = cv2.blur(dark, (3, 3))
    highest = cv2.dilate(smooth, np.ones((5, 5), np.uint8))
    ridges = smooth[(smooth >= highest) & (smooth > least)]
    if ridges.size < 2 or float(np.ptp(ridges)) < 1e-3:
        return float(ridges.mean()) if ridges.size else 0.0
    low, span = float(ridges.min()), float(np.ptp(ridges))
    levels = np.rint((ridges - low) * (255.0 / span)).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return float(ridges[levels > level].mean())


def binarize(dark: Darkness, *, level: float, low: float = 0.35, high: float = 0.6) -> Ink:
    """Mark the ink: what is dark, and what is half dark and touches it.

    Parameters
    ----------
    dark
        Darkness against the paper.
    level : 0 to 1
        How dark the writing is, from `stroke_darkness`.
    low, high : shares of `level`
        Pixels above `high` are ink; pixels above `low` are ink where they hang on to those.

    References
    ----------
    Canny, IEEE PAMI 8 (1986) 679–698, for the two thresholds.
    """
    weak: Ink = dark > low * level
    part = inked_part(weak)
    count, pieces = cv2.connectedComponents(weak[part].view(np.uint8), connectivity=4)
    strong = np.zeros(count, bool)
    strong[pieces[dark[part] > high * level]] = True
    strong[0] = False
    marked = np.zeros(dark.shape, bool)
    marked[part] = np.take(strong, pieces)
    return marked


def inked_part(ink: Ink, *, margin: int = 0) -> tuple[slice, slice]:
    """Find the rows and columns that hold all of the ink, and so many more on every side.

    Most of a field is bare paper, which nothing has to be computed for. Where there is no ink
    at all, it is one pixel.
    """
    left, top, width, height = cv2.boundingRect(ink.view(np.uint8))
    rows = slice(max(0, top - margin), top + max(1, height) + margin)
    return rows, slice(max(0, left - margin), left + max(1, width) + margin)
