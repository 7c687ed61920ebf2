"""The picture of an empty form, and filled pages of it → its straight lines.

A line is what is one on many of the pages: on one scan it is pale, on another broken, and what
someone wrote is in its place only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.binarization import Darkness, darkness
from digitocr.types import MM_PER_INCH, Box, Gray, Ink

LINE_LEVEL = 0.1  # darkness of a printed line against its paper: drop-out boxes are light
INK_LEVEL = 0.25
VOTES = 0.5  # share of the pages on which a line has to be one
FEW_PAGES = 6
REACH_MM = 4.0
LEAST_LINE_MM = 4.0  # shorter runs across are parts of letters
LEAST_SIDE_MM = 3.2  # and shorter runs down
LEAST_TICK_MM = 1.2
JOINT_MM = 0.6  # holes where lines and bars meet
STROKE_MM = (2.2, 12.0)  # most thickness and length of a stroke that many wrote
MOST_THICK_MM = 1.4  # what is thicker is a bar
LEAST_PIECE_MM = 1.8  # of a line that is broken
GAP_MM = 1.2  # holes in a line that are closed
BAR_MM = 2.5  # dark areas at least this wide and high are walls too


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The straight lines of a form: masks of runs across and down, ticks, and the ink."""

    across: Ink
    down: Ink
    ticks: Ink
    ink: Ink
    walls: Ink
    dpi: float

    def pixels(self, mm: float) -> int:
        return max(1, round(mm / MM_PER_INCH * self.dpi))


def find_lines(blank: Gray, pages: Sequence[Gray], dpi: float) -> Lines:
    """Find the straight lines of a form.

    Parameters
    ----------
    blank : (H, W) uint8
        The empty form, level: lines run along rows and columns. Not changed.
    pages : of (H, W) uint8
        Filled pages in the same frame. A line is what is one on many of them: on one it is
        pale, on another broken, and what someone wrote is in its place only once.
    """

    def pixels(mm: float) -> int:
        return max(1, round(mm / MM_PER_INCH * dpi))

    black = (blank < 110).astype(np.uint8)
    bar = pixels(BAR_MM)
    bars = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((bar, bar), np.uint8))
    paper_only = 1 - cv2.dilate(bars, np.ones((3, 3), np.uint8))
    votes = np.zeros((3, *blank.shape), np.uint8)
    element = np.ones((3, 3), np.uint8)
    for page in pages:
        dark = darkness(page, reach=pixels(REACH_MM), margins=False)
        for count, mask in zip(votes, _straight(dark, pixels) * paper_only, strict=True):
            count += cv2.dilate(mask, element)
    # Of few pages all but one: of five, three may have a stroke of a 1 in one place.
    few = len(pages) <= FEW_PAGES
    least = max(1, len(pages) - 1 if few else math.ceil(VOTES * len(pages)))
    elected = [(count >= least).astype(np.uint8) for count in votes]
    gap = pixels(GAP_MM)
    across = _joined(elected[0], pixels(LEAST_LINE_MM), gap)
    down = _joined(elected[1].T, pixels(LEAST_SIDE_MM), gap).T
    ticks = _joined(elected[2].T, pixels(LEAST_TICK_MM), 1).T
    walls = across | down | bars
    joint = pixels(JOINT_MM) + 1
    walls = cv2.morphologyEx(walls, cv2.MORPH_CLOSE, np.ones((joint, joint), np.uint8))
    walls = _without_strokes(walls, pixels(STROKE_MM[0]), pixels(STROKE_MM[1]))
    ink = darkness(blank, reach=pixels(REACH_MM), margins=False) > INK_LEVEL
    return Lines(across > 0, down > 0, ticks > 0, ink, walls > 0, dpi)


def _without_strokes(walls: NDArray[np.uint8], thick: int, length: int) -> NDArray[np.uint8]:
    """Take out short lines that stand by themselves: they part no cell."""
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        walls, 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    width, height = stats[:, 2], stats[:, 3]
    stroke = (np.minimum(width, height) <= thick) & (np.maximum(width, height) <= length)
    stroke[0] = False
    kept: NDArray[np.uint8] = np.where(stroke[labels], 0, walls).astype(np.uint8)
    return kept


def _straight(dark: Darkness, pixels: Callable[[float], int]) -> NDArray[np.uint8]:
    """Mark straight runs of one page: across, down, and ticks."""
    ink = (dark > LINE_LEVEL).astype(np.uint8)
    piece, tick = pixels(LEAST_PIECE_MM), pixels(LEAST_TICK_MM)
    thick, gap = pixels(MOST_THICK_MM), pixels(GAP_MM)
    return np.stack(
        [
            _runs(ink, pixels(LEAST_LINE_MM), piece, gap, thick),
            _runs(ink.T, pixels(LEAST_SIDE_MM), piece, gap, thick).T,
            _runs(ink.T, tick, tick, 1, thick).T,
        ]
    )


def _joined(mask: NDArray[np.uint8], length: int, gap: int) -> NDArray[np.uint8]:
    """Close gaps along rows, and keep what is long then."""
    closed = cv2.morphologyEx(
        np.ascontiguousarray(mask), cv2.MORPH_CLOSE, np.ones((1, gap + 1), np.uint8)
    )
    long: NDArray[np.uint8] = cv2.morphologyEx(
        closed, cv2.MORPH_OPEN, np.ones((1, length), np.uint8)
    )
    return long


def _runs(
    ink: NDArray[np.uint8], length: int, piece: int, gap: int, thick: int
) -> NDArray[np.uint8]:
    """Mark horizontal runs of at least `length`, made of pieces with short gaps between them.

    Words are full of short runs, and lines of scans full of gaps: pieces are longer than the
    one and gaps shorter than most of the other.
    """
    plain = np.ascontiguousarray(ink)
    # A line that climbs by a pixel is still one run when it is one pixel thicker.
    wide = cv2.dilate(plain, np.ones((2, 1), np.uint8))
    pieces = cv2.morphologyEx(wide, cv2.MORPH_OPEN, np.ones((1, piece), np.uint8))
    closed = cv2.morphologyEx(pieces, cv2.MORPH_CLOSE, np.ones((1, gap + 1), np.uint8))
    runs = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    slab = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((thick + 1, length), np.uint8))
    kept: NDArray[np.uint8] = runs & (1 - slab)
    return kept


def segments(mask: Ink, least: int) -> list[Box]:
    """List the connected pieces of a mask of lines that are long enough."""
    _, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask.astype(np.uint8), 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    return [
        Box(int(left), int(top), int(left + width), int(top + height))
        for left, top, width, height, _ in stats[1:]
        if width >= least and height <= 0.25 * width
    ]
