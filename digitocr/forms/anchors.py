"""The picture of an empty form → its anchors: ArUco markers, or squares in the corners."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.landmarks import ARUCO, find_squares, view_of
from digitocr.types import Anchor, Gray

LEAST_ANCHORS = 3
CORNER = 0.16  # share of the page's width and height in which a corner square lies
SAME_SIZE = 0.15
IN_LINE = 0.02  # share of the page that squares may be out of line


def find_anchors(blank: Gray) -> tuple[Anchor, ...]:
    """Find what a page can be laid by: at least three anchors, or none."""
    markers = _markers(blank)
    return markers if len(markers) >= LEAST_ANCHORS else _corner_squares(blank)


def _markers(blank: Gray) -> tuple[Anchor, ...]:
    best: tuple[Anchor, ...] = ()
    # A small dictionary is part of the larger ones of its kind: the first that has all, wins.
    for name, number in ARUCO.items():
        detector = cv2.aruco.ArucoDetector(
            cv2.aruco.getPredefinedDictionary(number), cv2.aruco.DetectorParameters()
        )
        quads, ids, _ = detector.detectMarkers(blank)
        if ids is None or len(ids) <= len(best):
            continue
        anchors = []
        for quad, id_ in zip(quads, ids.ravel(), strict=True):
            corners = quad.reshape(4, 2)
            sides = np.hypot(*(corners - np.roll(corners, 1, axis=0)).T)
            x, y = (round(float(value), 1) for value in corners.mean(0))
            size = round(float(sides.mean()), 1)
            anchors.append(Anchor("aruco", (x, y), size, int(id_), name))
        best = tuple(sorted(anchors, key=lambda anchor: anchor.id or 0))
    return best


def _corner_squares(blank: Gray) -> tuple[Anchor, ...]:
    """Find squares of one size in three or four corners, in line with each other."""
    h, w = blank.shape
    squares = find_squares(view_of(blank))
    corners = [_in_corner(squares, right, low, w, h) for low, right in product((0, 1), (0, 1))]
    best: list[NDArray[np.float64]] = []
    for size in squares[:, 2]:
        chosen = []
        for found in corners:
            alike = found[np.abs(found[:, 2] / size - 1) < SAME_SIZE]
            if len(alike):
                chosen.append(alike[np.argmin(np.abs(alike[:, 2] - size))])
        if len(chosen) > len(best) and _in_line(np.array(chosen), w, h):
            best = chosen
    if len(best) < LEAST_ANCHORS:
        return ()
    return tuple(
        Anchor("square", (round(float(x), 1), round(float(y), 1)), round(float(side), 1))
        for x, y, side in best
    )


def _in_corner(
    squares: NDArray[np.float64], right: int, low: int, w: int, h: int
) -> NDArray[np.float64]:
    x, y = squares[:, 0] / w, squares[:, 1] / h
    beside = x > 1 - CORNER if right else x < CORNER
    below = y > 1 - CORNER if low else y < CORNER
    return squares[beside & below]


def _in_line(squares: NDArray[np.float64], w: int, h: int) -> bool:
    """Say whether squares stand on two rows and two columns."""
    for values, whole in ((squares[:, 0], w), (squares[:, 1], h)):
        half = values < whole / 2
        for part in (values[half], values[~half]):
            if len(part) and np.ptp(part) > IN_LINE * whole:
                return False
    return True
