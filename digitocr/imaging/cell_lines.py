"""Find the lines of writing in a crop that is taller than wide: a cell of a register.

It may be anything around one small digit: a black margin of the scanner, straight or leaning,
the cell's sides and rules, print, a neighbor's writing. What is black from the crop's side on,
or broader than any stroke, is margin; sides and rules are taken away; of what stands out of
the paper's grain, connected components beside each other are a line.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.types import Box, Gray

GAP = 1.2  # of a line's height, between two components of it
BLACK = 0.6  # of the paper's gray: what is darker at the side of a crop is margin
CUT_OFF = 0.3  # what a line counts for that the crop cuts off
BESIDE_MARGIN = 0.6
LARGEST = 0.9  # of a crop's height, that a digit may take


@dataclass(frozen=True, slots=True)
class _Part:
    """A component of the ink, or several beside each other; `ink` sums its darkness."""

    ink: float
    box: Box

    def joined(self, other: _Part) -> _Part:
        return _Part(self.ink + other.ink, _around(self.box, other.box))


def find_cell_lines(gray: Gray, *, most: int, pale: bool = True) -> list[Box]:
    """Find lines of writing, the likeliest first: those of most ink, near the middle.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark ink on lighter paper, so small that a digit is some ten pixels high. Not changed.
    most : int
        Lines wanted.
    pale
        Whether digits beside a line are of it that are much paler.

    Returns
    -------
    Boxes around the ink, without room; none where nothing stands out of the paper.
    """
    paper = _without_strokes(gray)
    margin = _margin(gray, paper)
    if margin.all():
        return []
    dark = _darkness(gray, paper, margin)
    dark = without_lines(dark, np.flatnonzero(margin.mean(axis=0) < 0.5))
    dark = np.asarray(cv2.GaussianBlur(dark, (3, 3), 0), np.uint8)
    level = _ink_level(dark[~margin])
    parts = _components(dark, margin, level)
    h = len(gray)

    def worth(line: _Part) -> float:
        middle = (line.box.top + line.box.bottom) / 2
        return line.ink * (1.0 - 0.8 * abs(middle / h - 0.5))

    lines = sorted(_lines(parts), key=worth, reverse=True)[:most]
    least = max(4.0, 0.5 * level)
    found = cv2.connectedComponentsWithStats((dark > least).astype(np.uint8), connectivity=8)
    beside = _pale_digits(found[2], margin) if pale else []
    return [
        _with_pale_digits(_with_pale_ends(line.box, found[1], found[2]), beside)
        for line in lines
    ]


def _margin(gray: Gray, paper: Gray) -> NDArray[np.bool_]:
    """Find what is black from a side on, row by row, or broader than any stroke."""
    light = np.quantile(paper, 0.9)
    black = gray < BLACK * light
    sides = np.logical_and.accumulate(black, axis=1)
    sides |= np.logical_and.accumulate(black[:, ::-1], axis=1)[:, ::-1]
    sides |= paper < 0.9 * BLACK * light
    margin = cv2.dilate(sides.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(margin > 0, np.bool_)


def _without_strokes(gray: Gray) -> Gray:
    h, w = gray.shape
    reach = max(5, min(h, w) // 6) | 1
    return np.asarray(
        cv2.morphologyEx(gray, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8)), np.uint8
    )


def _darkness(gray: Gray, paper: Gray, margin: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Say how much darker than its paper each pixel is; the margin is nothing.

    The paper is smoothed without what is margin, or it would be dark beside it.
    """
    reach = (max(7, len(gray) // 10) | 1,) * 2
    bare = np.where(margin, 0, paper).astype(np.float32)
    share = cv2.blur((~margin).astype(np.float32), reach)
    smooth = cv2.blur(bare, reach) / np.maximum(share, np.float32(0.02))
    dark = np.clip(np.where(margin, 0, smooth - gray), 0, 255)
    return dark.astype(np.uint8)


def without_lines(
    dark: NDArray[np.uint8],
    inner: NDArray[np.intp],
    *,
    outer: float = 0.3,
    share: float = 0.25,
    lean: int = 5,
) -> NDArray[np.uint8]:
    """Take the sides and rules of a cell away: darkness that all but `share` of a line has.

    Sides stand in the `outer` shares of the `inner` columns, those that are not black; what is
    long in the middle may be a 1. Lines may lean by `lean` pixels.
    """
    if not len(inner):
        return dark
    across, down = np.ones((1, lean), np.uint8), np.ones((lean, 1), np.uint8)
    columns = np.quantile(cv2.dilate(dark, across), share, axis=0)
    at = (np.arange(dark.shape[1]) - inner[0]) / max(1, inner[-1] - inner[0])
    columns[np.abs(at - 0.5) < 0.5 - outer] = 0.0
    rows = np.quantile(cv2.dilate(dark[:, inner], down), share, axis=1)
    lines = np.maximum(columns[None, :], rows[:, None])
    found: NDArray[np.uint8] = cv2.subtract(
        dark, np.ceil(1.2 * lines).clip(0, 255).astype(np.uint8)
    )
    return found


def _ink_level(dark: NDArray[np.uint8], *, least: float = 6.0) -> float:
    """Choose the darkness of ink: out of the paper's grain, and near that of the darkest."""
    middle = float(np.median(dark))
    grain = 1.48 * float(np.median(np.abs(dark.astype(np.float32) - middle)))
    return max(least, middle + 4 * grain, 0.35 * float(np.quantile(dark, 0.9985)))


def _components(
    dark: NDArray[np.uint8], margin: NDArray[np.bool_], level: float, *, most: int = 60
) -> list[_Part]:
    """Find what may be a digit or a piece of one, the most ink first."""
    h, w = dark.shape
    ink = cv2.morphologyEx(
        (dark > level).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    sums = np.bincount(labels.ravel(), weights=dark.ravel(), minlength=len(stats))
    parts = []
    for (left, top, wide, high, area), weight in zip(stats[1:], sums[1:], strict=True):
        box = Box(int(left), int(top), int(left + wide), int(top + high))
        digit = 0.25 * high <= wide <= 1.2 * high and (top > 0 or box.bottom < h)
        if area < 6 or not max(4.0, 0.02 * h) <= high <= (LARGEST if digit else 0.6) * h:
            continue
        if wide > 3.5 * high and high < 0.05 * h:  # a piece of a rule
            continue
        cut_off = left <= 0 or top <= 0 or box.right >= w or box.bottom >= h
        beside = _is_at_margin(box, margin)
        if high > 4 * wide and (cut_off or beside):  # a piece of a side
            continue
        share = CUT_OFF if cut_off else BESIDE_MARGIN if beside else 1.0
        parts.append(_Part(share * float(weight), box))
    return sorted(parts, key=lambda part: -part.ink)[:most]


def _is_at_margin(box: Box, margin: NDArray[np.bool_]) -> bool:
    return bool(margin[box.top : box.bottom, max(0, box.left - 2) : box.right + 2].any())


def _lines(parts: list[_Part], *, most: int = 12) -> list[_Part]:
    """Put components that stand beside each other together, from the darkest on."""
    lines: list[_Part] = []
    left = list(parts)
    while left and len(lines) < most:
        line = left.pop(0)
        near = [one for one in left if _beside(line.box, one.box)]
        while near:
            for one in near:
                line = line.joined(one)
            left = [one for one in left if one not in near]
            near = [one for one in left if _beside(line.box, one.box)]
        lines.append(line)
    return lines


def _beside(line: Box, other: Box) -> bool:
    shared = min(line.bottom, other.bottom) - max(line.top, other.top)
    gap = max(other.left - line.right, line.left - other.right)
    return (
        shared > 0.4 * min(line.height, other.height)
        and gap < GAP * line.height
        and other.height < 2.2 * line.height
    )


def _with_pale_ends(
    line: Box, labels: NDArray[np.int32], stats: NDArray[np.int32], *, inside: float = 0.35
) -> Box:
    """Widen a line by the paler ink that is connected with its own, where that is not tall."""
    found = line
    for label in np.unique(labels[line.top : line.bottom, line.left : line.right]):
        left, top, wide, high = (int(one) for one in stats[label][:4])
        shared = min(line.bottom, top + high) - max(line.top, top)
        broad = wide > 1.5 * line.width + line.height
        if label and shared >= inside * high and high <= 1.6 * line.height and not broad:
            found = _around(found, Box(left, top, left + wide, top + high))
    return found


def _pale_digits(stats: NDArray[np.int32], margin: NDArray[np.bool_]) -> list[Box]:
    """Find the components that may be pale digits: no speck, rule or piece of a side."""
    found = []
    for left, top, wide, high, area in stats[1:].tolist():
        box = Box(left, top, left + wide, top + high)
        cut_off = left <= 0 or box.right >= margin.shape[1]
        side = high > 4 * wide and (cut_off or _is_at_margin(box, margin))
        if area >= 6 and wide <= 1.5 * high and not side:
            found.append(box)
    return found


def _with_pale_digits(
    line: Box, digits: list[Box], *, lowest: float = 0.5, highest: float = 3.0
) -> Box:
    """Widen a line by paler digits beside it: a number without its first ones is another.

    They are from `lowest` to `highest` times as high as the line.
    """
    least, most = lowest * line.height, highest * line.height
    found, left = line, [one for one in digits if least <= one.height <= most]
    while near := [one for one in left if _is_level(found, one, line.height)]:
        for one in near:
            found = _around(found, one)
        left = [one for one in left if one not in near]
    return found


def _is_level(line: Box, other: Box, height: float) -> bool:
    shared = min(line.bottom, other.bottom) - max(line.top, other.top)
    gap = max(other.left - line.right, line.left - other.right)
    return shared > 0.5 * min(line.height, other.height) and gap < GAP * height


def _around(a: Box, b: Box) -> Box:
    return Box(
        min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom)
    )
