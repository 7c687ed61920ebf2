"""The picture of an empty form → its printed places to write in: cells, combs, rules.

A cell is a white rectangle with lines or black around it, whatever it is part of: a row of
boxes, a table, a frame. A comb is a line with ticks at equal distances upon it; a rule is a
line, drawn or dotted, with white above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
LEAST_FILLED = 0.86  # of its bounding box: less is no rectangle
LEAST_CELL_MM = (2.8, 3.2)
MOST_CELL = 0.85  # share of the page's width or height: more is its frame
RULE_MM = 12.0  # least length of a line to write on
DOT_MM = 0.9
DOT_PITCH_MM = 2.6
DECIMAL_DOT_MM = (0.4, 2.2)
PITCH_MM = (3.2, 13.0)  # of the positions of a comb
PITCH_TOLERANCE = 0.1
MOST_TICKS = 1.7  # ticks and strokes over a comb, for each of its own


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


def find_cells(lines: Lines) -> tuple[Box, ...]:
    """Find the white rectangles with walls around them, from top to bottom."""
    h, w = lines.walls.shape
    open_space = (~lines.walls).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        open_space, 4, cv2.CV_32S, cv2.CCL_SAUF
    )
    least_w, least_h = (lines.pixels(mm) for mm in LEAST_CELL_MM)
    grow = 1 + lines.pixels(0.1)
    cells = []
    for left, top, width, height, area in stats[1:]:
        if width < least_w or height < least_h or area < LEAST_FILLED * width * height:
            continue
        if width > MOST_CELL * w or height > MOST_CELL * h:
            continue
        if left == 0 or top == 0 or left + width == w or top + height == h:
            continue
        # Runs are marked a pixel too far to the right and down, see `_runs`.
        cells.append(
            Box(int(left) - grow - 1, int(top) - grow - 1, int(left + width) + grow,
                int(top + height) + grow)
        )  # fmt: skip
    return tuple(sorted(cells, key=lambda box: (box.top, box.left)))


def rows_of_boxes(cells: Sequence[Box], lines: Lines) -> tuple[tuple[Box, ...], ...]:
    """Join cells of one size, side by side, into rows of positions.

    Where the line between two of them goes on beyond the row and the others do not, two fields
    meet: a table has its columns' lines longer than those between digits.
    """
    rows: list[list[Box]] = []
    for cell in sorted(cells, key=lambda box: box.left):
        home = next((row for row in rows if _continues(row[-1], cell)), None)
        if home is None:
            rows.append([cell])
        else:
            home.append(cell)
    parts = (part for row in rows for part in _split(row, lines))
    return tuple(sorted((tuple(part) for part in parts), key=lambda row: row[0].top))


def _continues(last: Box, cell: Box) -> bool:
    height, width = min(last.height, cell.height), min(last.width, cell.width)
    gap = cell.left - last.right
    return (
        abs(last.top - cell.top) <= 0.12 * height
        and abs(last.bottom - cell.bottom) <= 0.12 * height
        and abs(last.width - cell.width) <= 0.16 * width
        and -0.2 * width < gap < 0.4 * width
    )


def _split(row: list[Box], lines: Lines) -> list[list[Box]]:
    if len(row) < 3:
        return [row]
    reach = [_reach((a.right + b.left) // 2, a, lines) for a, b in pairwise(row)]
    usual = float(np.median(reach))
    beyond = 0.3 * row[0].height
    parts, part = [], [row[0]]
    for length, cell in zip(reach, row[1:], strict=True):
        if length > usual + beyond:
            parts.append(part)
            part = []
        part.append(cell)
    return [*parts, part]


def _reach(x: int, cell: Box, lines: Lines) -> int:
    """Measure how far up and down the line at a column goes, in pixels."""
    near = lines.pixels(0.5)
    column: Ink = np.asarray(lines.down[:, max(0, x - near) : x + near + 1].any(1))
    middle = (cell.top + cell.bottom) // 2
    above = np.flatnonzero(~column[:middle])
    below = np.flatnonzero(~column[middle:])
    top = int(above[-1]) + 1 if len(above) else 0
    bottom = middle + int(below[0]) if len(below) else len(column)
    return bottom - top


def find_combs(lines: Lines, taken: Sequence[Box]) -> tuple[Comb, ...]:
    """Find lines with ticks at equal distances upon them.

    Parameters
    ----------
    taken
        Cells: the sides of these are no ticks.
    """
    near = lines.pixels(0.7)
    low, high = (mm / MM_PER_INCH * lines.dpi for mm in PITCH_MM)
    combs: list[Comb] = []
    for line in _segments(lines.across, lines.pixels(2 * PITCH_MM[0])):
        found = []
        strip = lines.ticks[
            max(0, line.top - lines.pixels(LEAST_TICK_MM)) : line.top + 1,
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
    found = [*_segments(lines.across, length), *_segments(dotted, length)]
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


def _segments(mask: Ink, least: int) -> list[Box]:
    """List the connected pieces of a mask of lines that are long enough."""
    _, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask.astype(np.uint8), 8, cv2.CV_32S, cv2.CCL_SAUF
    )
    return [
        Box(int(left), int(top), int(left + width), int(top + height))
        for left, top, width, height, _ in stats[1:]
        if width >= least and height <= 0.25 * width
    ]


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
