"""Lines of a form → combs, lines to write on, and printed points.

A comb is a line with ticks at equal distances upon it; a rule is a line, drawn or dotted, with
white above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from digitocr.imaging.lines import LEAST_TICK_MM, Lines, segments
from digitocr.types import MM_PER_INCH, Box, Ink

RULE_MM = 12.0  # least length of a line to write on
DOT_MM = 0.9
DOT_PITCH_MM = 2.6
DECIMAL_DOT_MM = (0.4, 2.2)
PITCH_MM = (3.2, 13.0)  # of the positions of a comb
PITCH_TOLERANCE = 0.1
FOOT_MM = 0.2  # ticks stand on their line; digits over it seldom do
MOST_TICKS = 1.7  # ticks and strokes over a comb, for each of its own


@dataclass(frozen=True, slots=True)
class Comb:
    """Ticks at equal distances upon a line: where they stand, and how high the highest is."""

    ticks: tuple[int, ...]
    base: int
    tick_top: int


@dataclass(frozen=True, slots=True)
class RuledLine:
    """A line with white above it: left, right and the row it lies on."""

    left: int
    right: int
    base: int


def find_combs(lines: Lines, taken: Sequence[Box]) -> tuple[Comb, ...]:
    """Find lines with ticks at equal distances upon them.

    Parameters
    ----------
    taken
        Cells: the sides of these are no ticks.
    """
    near, foot = lines.pixels(0.7), lines.pixels(FOOT_MM)
    low, high = (mm / MM_PER_INCH * lines.dpi for mm in PITCH_MM)
    combs: list[Comb] = []
    for line in segments(lines.across, lines.pixels(2 * PITCH_MM[0])):
        found = []
        strip = lines.ticks[
            max(0, line.top - foot) : line.top + 1,
            max(0, line.left - near) : line.right + near,
        ]
        runs, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            np.asarray(strip.any(0), np.uint8)[None, :], 8, cv2.CV_32S, cv2.CCL_SAUF
        )
        for left, _, width, _, _ in stats[1:runs]:
            x = max(0, line.left - near) + int(left) + int(width) // 2
            top = _tick_top(lines, x, line.top)
            if line.top - top >= lines.pixels(LEAST_TICK_MM):
                found.append((x, top))
        for run in _regular(found, low, high):
            xs = tuple(x for x, _ in run)
            comb = Comb(xs, (line.top + line.bottom) // 2, min(top for _, top in run))
            # The bottom of cells is no comb, nor is their top, from which their sides go up.
            sides = sum(
                max(0, min(xs[-1], box.right) - max(xs[0], box.left))
                for box in taken
                if min(abs(box.top - comb.base), abs(box.bottom - comb.base)) <= 2 * near
            )
            high_enough = comb.base - comb.tick_top <= 2.5 * (xs[1] - xs[0])
            if sides < 0.5 * (xs[-1] - xs[0]) and high_enough:
                combs.append(comb)
    return tuple(_without_doubles(combs, lines.pixels(2.0)))


def _tick_top(lines: Lines, x: int, base: int) -> int:
    column: Ink = np.asarray(lines.ticks[:base, max(0, x - 1) : x + 2].any(1))
    # The tick ends on the line, whose own thickness was taken out of it.
    skip = lines.pixels(0.5)
    ends = np.flatnonzero(~column[: max(0, base - skip)])
    return int(ends[-1]) + 1 if len(ends) else 0


def _regular(
    ticks: list[tuple[int, int]], low: float, high: float
) -> list[list[tuple[int, int]]]:
    """Find runs of three or more ticks at one distance, the longest first.

    What stands between them is left out: a stroke that everyone wrote in the same place. Where
    much does, it is a ruler.
    """
    left = list(ticks)
    runs: list[list[tuple[int, int]]] = []
    while True:
        best: list[tuple[int, int]] = []
        for i, start in enumerate(left):
            for second in left[i + 1 :]:
                if not low <= second[0] - start[0] <= high:
                    continue
                run = _progression(start, second, left)
                if len(run) > len(best):
                    best = run
        if len(best) < 3:
            return runs
        within = [tick for tick in left if best[0][0] <= tick[0] <= best[-1][0]]
        left = [tick for tick in left if tick not in within]
        if len(within) <= MOST_TICKS * len(best):
            runs.append(best)


def _progression(
    start: tuple[int, int], second: tuple[int, int], ticks: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    run = [start, second]
    while True:
        pitch = (run[-1][0] - run[0][0]) / (len(run) - 1)
        wanted = run[-1][0] + pitch
        nearest = min(ticks, key=lambda tick: abs(tick[0] - wanted))
        if abs(nearest[0] - wanted) > max(1.5, PITCH_TOLERANCE * pitch):
            return run
        run.append(nearest)


def _without_doubles(combs: list[Comb], near: int) -> list[Comb]:
    kept: list[Comb] = []
    for comb in sorted(combs, key=lambda one: -len(one.ticks)):
        if not any(
            abs(comb.base - other.base) <= near
            and comb.ticks[0] < other.ticks[-1]
            and other.ticks[0] < comb.ticks[-1]
            for other in kept
        ):
            kept.append(comb)
    return kept


def find_rules(lines: Lines, taken: Sequence[Box]) -> tuple[RuledLine, ...]:
    """Find lines to write on, drawn and dotted; sides of cells and combs are none."""
    length = lines.pixels(RULE_MM)
    dotted = _dotted(lines)
    found = [*segments(lines.across, length), *segments(dotted, length)]
    near = lines.pixels(0.8)
    rules: list[RuledLine] = []
    for box in sorted(found, key=lambda one: one.top):
        base = (box.top + box.bottom) // 2
        side = sum(
            max(0, min(box.right, cell.right) - max(box.left, cell.left))
            for cell in taken
            if abs(cell.top - base) <= near or abs(cell.bottom - base) <= near
        )
        if side < 0.5 * box.width:
            rules.append(RuledLine(box.left, box.right, base))
    return tuple(rules)


def _dotted(lines: Lines) -> Ink:
    """Join rows of dots and short dashes into lines."""
    ink = lines.ink.astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        ink, 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    small = (stats[:, 3] <= lines.pixels(DOT_MM)) & (stats[:, 2] <= lines.pixels(3 * DOT_MM))
    small[0] = False
    dots = small[labels].astype(np.uint8)
    pitch = lines.pixels(DOT_PITCH_MM)
    joined = cv2.morphologyEx(dots, cv2.MORPH_CLOSE, np.ones((1, pitch), np.uint8))
    length = lines.pixels(RULE_MM)
    long = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    result: Ink = cv2.dilate(long, np.ones((3, 1), np.uint8)) > 0
    return result


def decimal_dot(lines: Lines, box: Box, divider: int) -> bool:
    """Say whether a point is printed on the line of a field, at one of its dividers."""
    reach = lines.pixels(3.4)
    pitch = lines.pixels(1.4)
    top, left = box.bottom - lines.pixels(1.8), divider - pitch
    window = slice(max(0, top), box.bottom + reach), slice(max(0, left), divider + pitch + 1)
    part = lines.ink[window]
    # The line is taken out; the divider above it is cut by the window's edge.
    rest = part & ~lines.across[window]
    count, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        rest.astype(np.uint8), 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    low, high = (lines.pixels(mm) for mm in DECIMAL_DOT_MM)
    for index in range(1, count):
        x, y, width, height, area = stats[index]
        inner = x > 0 and y > 0 and x + width < part.shape[1] and y + height < part.shape[0]
        round_ = low <= width <= high and low <= height <= high and area > 0.6 * width * height
        if inner and round_ and max(width, height) < 1.8 * min(width, height):
            return True
    return False
