"""Lines of a form → its cells, and the rows of positions they make.

A cell is a white rectangle with lines or black around it, whatever it is part of: a row of
boxes, a table, a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from digitocr.imaging.lines import Lines
from digitocr.types import Box, Ink

LEAST_FILLED = 0.86  # of its bounding box: less is no rectangle
LEAST_CELL_MM = (2.8, 3.2)
MOST_CELL = 0.85  # share of the page's width or height: more is its frame
SIDE_MM = 0.8  # the side of a cell may be this far from where it is looked for
SIDE_SHARE = 0.8  # of a side that has to be printed
PARTED_SHARE = 0.95  # of the way across, that only a printed line goes


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

    A position that is no white rectangle, because nearly everyone wrote the same digit there,
    is one all the same where its four sides are printed: the row goes on through it.
    """
    rows: list[list[Box]] = []
    for cell in sorted(cells, key=lambda box: box.left):
        home = next((row for row in rows if _continues(row[-1], cell)), None)
        if home is None:
            rows.append([cell])
        else:
            home.append(cell)
    parts = (part for row in _completed(rows, lines) for part in _split(row, lines))
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


def _completed(rows: list[list[Box]], lines: Lines) -> list[list[Box]]:
    """Add the positions that rows lack inside and at their ends, and join what they part."""
    left = sorted(rows, key=len)
    done: list[list[Box]] = []
    while left:
        row = left.pop()  # the longest knows best how far apart its positions are
        known = [cell for other in (*left, *done) for cell in other]
        while (longer := _longer(row, left, known, lines)) is not None:
            row = longer
        left = [other for other in left if other[0] not in row]
        done.append(row)
    return done


def _longer(
    row: list[Box], others: Sequence[list[Box]], known: Sequence[Box], lines: Lines
) -> list[Box] | None:
    """Go on with a row by one that continues it, or by one position; None at its ends."""
    for other in others:
        if other[0] in row:
            continue
        if _continues(row[-1], other[0]):
            return [*row, *other]
        if _continues(other[-1], row[0]):
            return [*other, *row]
    after, before = _moved(row[-1], _pitch(row)), _moved(row[0], -_pitch(row))
    if _is_free(after, known) and _is_walled(after, lines):
        return [*row, after]
    if _is_free(before, known) and _is_walled(before, lines):
        return [before, *row]
    return None


def _pitch(row: Sequence[Box]) -> float:
    if len(row) == 1:
        return float(row[0].width)
    return (row[-1].left - row[0].left) / (len(row) - 1)


def _moved(cell: Box, by: float) -> Box:
    return Box(cell.left + round(by), cell.top, cell.right + round(by), cell.bottom)


def _is_free(place: Box, cells: Sequence[Box]) -> bool:
    """Say whether no cell lies in a place; the lines of neighbors may."""
    slack = place.width // 4
    return not any(
        min(place.right, cell.right) - max(place.left, cell.left) > slack
        and min(place.bottom, cell.bottom) - max(place.top, cell.top) > place.height // 4
        for cell in cells
    )


def _is_walled(place: Box, lines: Lines) -> bool:
    """Say whether all four sides of a place are printed, and no line parts it."""
    near = lines.pixels(SIDE_MM)
    h, w = lines.walls.shape
    if place.left < near or place.top < near or place.right + near >= w:
        return False
    if place.bottom + near >= h or min(place.width, place.height) <= 4 * near:
        return False

    def printed(x: int, y: int, right: int, bottom: int, axis: int) -> bool:
        # Along the side, whether there is a line anywhere across it.
        return float(lines.walls[y:bottom, x:right].any(axis).mean()) >= SIDE_SHARE

    inner = Box(place.left + near, place.top + near, place.right - near, place.bottom - near)
    sides = (
        printed(inner.left, place.top - near, inner.right, inner.top, 0)
        and printed(inner.left, inner.bottom, inner.right, place.bottom + near, 0)
        and printed(place.left - near, inner.top, inner.left, inner.bottom, 1)
        and printed(inner.right, inner.top, place.right + near, inner.bottom, 1)
    )
    inside = lines.walls[inner.top : inner.bottom, inner.left : inner.right]
    parted = max(inside.mean(0).max(), inside.mean(1).max()) >= PARTED_SHARE
    return bool(sides and not parted)


def _split(row: list[Box], lines: Lines) -> list[list[Box]]:
    if len(row) < 3:
        return [row]
    reach = [_reach((a.right + b.left) // 2, a, lines) for a, b in pairwise(row)]
    usual = float(np.median(reach))
    beyond = 0.5 * row[0].height  # more than the stem of a letter that stands over it
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
