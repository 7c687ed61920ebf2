"""Draw one character or sign as a pen leaves it, at the size it will have in the crop.

A pen is then as wide in a small digit as in a large one: a picture of 28 pixels is enlarged
smoothly, cut at its edge, and made thinner or thicker to the pen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.synth import Stamp
from digitocr.training.composition.hands import TYPICAL_PIXELS, PenPath, Picture

Strokes = NDArray[np.uint8]  # (H, W); 0 paper, 255 full ink

INKED = 64  # strokes darker than this are seen
FINE_BELOW = 36.0  # pixels; smaller digits are drawn twice as large and averaged
EDGE = 0.44  # gray of an enlarged picture that is the edge of its stroke
LEAST_FINE = 1.8  # times that pen paths are drawn larger, and averaged
MOST_BENT = 0.05  # of the longer side of a character
SOFT = 1.43  # pixels by which OpenCV's soft lines are wider than their even thickness


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """A smooth bend of a character, the same way for all its strokes."""

    waves: NDArray[np.float32]  # (2, 2)
    phases: NDArray[np.float32]  # (2,)
    depth: float  # of the longer side

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Bend:
        """Draw one that leaves a digit what it is."""
        waves = rng.normal(0.0, 3.0, (2, 2)).astype(np.float32)
        phases = rng.uniform(0.0, 2 * np.pi, 2).astype(np.float32)
        return cls(waves, phases, float(rng.uniform(0.0, MOST_BENT)))

    def moves(self, places: NDArray[np.floating]) -> NDArray[np.floating]:
        """Say how far places (…, 2), whose longer side is 1, are moved."""
        return self.depth * np.sin(places @ self.waves + self.phases)


def draw_character(
    character: PenPath | Picture,
    height: float,
    rng: np.random.Generator,
    *,
    pen: float,
    slant: float = 0.0,
    stretch: float = 1.0,
    pressure: float = 0.0,
) -> Strokes:
    """Draw one character, cropped to its ink.

    Parameters
    ----------
    height : float
        Of this writer's digits, pixels; a small character stays smaller.
    pen : float
        Width of the stroke, pixels. A picture is brought near it, as far as its shape allows.
    """
    turn = float(rng.normal(0.0, 0.03))
    slant += float(rng.normal(0.0, 0.03))
    stretch *= float(rng.uniform(0.94, 1.06))
    linear = np.array([[stretch, -slant], [turn, 1.0]])
    bend = Bend.draw(rng)
    if isinstance(character, PenPath):
        lines = [smooth(line + bend.moves(line)) for line in character.lines]
        return draw_lines(
            [line @ (linear.T * height * character.size) for line in lines],
            pen,
            pressure=pressure,
        )
    return _draw_picture(character, height, linear, pen, bend)


def draw_lines(
    lines: Sequence[NDArray[np.floating]], pen: float, *, pressure: float = 0.0
) -> Strokes:
    """Draw lines of points (x, y downwards, pixels) with a round pen, cropped to the ink."""
    # OpenCV's soft lines come in steps of two pixels: the canvas is made to fit the pen.
    steps = max(1, int(np.ceil((LEAST_FINE * pen - SOFT) / 2)))
    fine = (2 * steps + SOFT) / pen
    points = np.concatenate(lines)
    low = points.min(axis=0) - pen - 1
    w, h = (np.ceil(points.max(axis=0) + pen + 1 - low).astype(int)).tolist()
    canvas: Strokes = np.zeros((round(h * fine), round(w * fine)), np.uint8)
    placed = [np.round(((line - low) * fine - 0.5) * 16).astype(np.int32) for line in lines]
    thin = max(1, 2 * round(steps * (1 - 0.35 * pressure)))
    cv2.polylines(canvas, placed, False, 255, thin, cv2.LINE_AA, shift=4)
    if pressure > 0:
        thick = 2 * round(steps * (1 + 0.5 * pressure))
        heavy = [run for line in placed for run in _downstrokes(line)]
        if heavy:
            cv2.polylines(canvas, heavy, False, 255, thick, cv2.LINE_AA, shift=4)
    small = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA)
    return _cropped(np.asarray(small, np.uint8))


def smooth(line: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cut the corners of a line (Chaikin), twice where its points are few."""
    points = np.asarray(line, np.float64)
    for _ in range(2 if len(points) < 24 else 1):
        if len(points) < 3:
            break
        a, b = points[:-1], points[1:]
        cut = np.empty((2 * len(a), 2))
        cut[0::2], cut[1::2] = 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def draw_sign(sign: str, height: float, pen: float, rng: np.random.Generator) -> Stamp:
    """Draw a point, comma, dash or the like, standing where it does on a baseline y = 0."""
    lines = [np.array(line, np.float64) for line in SIGNS[sign]]
    lines = [line + rng.normal(0.0, 0.035, line.shape) for line in lines]
    large = sign in ",'" and rng.random() < 0.25
    scale = height * float(rng.uniform(1.25, 1.9) if large else rng.uniform(0.8, 1.25))
    placed = [smooth(line * scale) for line in lines]
    if sign in ".,'":
        pen *= float(rng.uniform(1.0, 1.5))
    strokes = draw_lines(placed, pen)
    low = np.concatenate(placed).min(axis=0)
    return Stamp(strokes, 0, round(float(low[1]) - 0.5 * pen))


# Lines of points, x to the right and y downwards from the baseline, in heights of a digit.
SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    ".": (((0.0, -0.02), (0.03, 0.0)),),
    ",": (((0.08, -0.04), (0.07, 0.08), (0.0, 0.2)),),
    "'": (((0.05, -1.0), (0.04, -0.9), (0.0, -0.78)),),
    "-": (((0.0, -0.42), (0.22, -0.45), (0.45, -0.42)),),
    "=": (
        ((0.0, -0.5), (0.22, -0.52), (0.45, -0.5)),
        ((0.02, -0.3), (0.22, -0.31), (0.45, -0.3)),
    ),
    "~": (((0.0, -0.4), (0.15, -0.5), (0.3, -0.36), (0.5, -0.46)),),
    "×": (((0.0, -0.9), (0.3, -0.46), (0.6, 0.0)), ((0.6, -0.92), (0.3, -0.44), (0.0, 0.0))),
    "+": (((0.0, -0.4), (0.5, -0.42)), ((0.25, -0.68), (0.24, -0.14))),
    "€": (
        ((0.62, -0.82), (0.4, -0.98), (0.14, -0.68), (0.14, -0.3), (0.4, 0.0), (0.64, -0.14)),
        ((0.0, -0.58), (0.46, -0.6)),
        ((0.0, -0.38), (0.44, -0.4)),
    ),
    "£": (
        ((0.56, -0.78), (0.4, -1.0), (0.2, -0.78), (0.24, -0.36), (0.0, 0.0), (0.6, -0.02)),
        ((0.04, -0.46), (0.44, -0.47)),
    ),
}


def _draw_picture(
    picture: Picture, height: float, linear: NDArray[np.float64], pen: float, bend: Bend
) -> Strokes:
    fine = 2 if height < FINE_BELOW else 1
    left, top, w, h = cv2.boundingRect((picture > INKED).astype(np.uint8))
    longer = max(w, h, 1)
    # A flat digit was shrunken to the same square as a tall one: it was as high on paper.
    scale = fine * height / (max(h, 1) ** 0.6 * longer**0.4)
    matrix = linear * scale
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]], np.float64) @ matrix.T
    low = corners.min(axis=0) - 3 * scale
    size = np.ceil(np.ptp(corners, axis=0) + 6 * scale).astype(int)
    size += -size % fine
    origin = np.array([left - 0.5, top - 0.5])
    move = np.column_stack([matrix, -low - matrix @ origin])
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    large = cv2.warpAffine(picture, move, size.tolist(), flags=flags)
    large = _bent(large, bend, longer * scale)
    # Half a pixel of the picture: below that its stairs show, above it loops close.
    large = cv2.GaussianBlur(large, (0, 0), max(0.3, 0.45 * scale * longer / TYPICAL_PIXELS))
    gain = max(1.3, 1.1 * scale / fine)
    sharp = cv2.addWeighted(large, gain, large, 0, 255 * (0.5 - EDGE * gain))
    shaped = _restroke(np.asarray(sharp, np.uint8), pen * fine)
    if fine > 1:
        size = size // fine
        shaped = cv2.resize(shaped, size.tolist(), interpolation=cv2.INTER_AREA)
    return _cropped(shaped)


def _restroke(
    strokes: Strokes, pen: float, *, thinnest: float = 0.5, thickest: float = 1.6
) -> Strokes:
    """Bring the width of strokes near `pen`, without breaking them or filling loops."""
    across = cv2.sumElems(cv2.absdiff(strokes[:, 1:], strokes[:, :-1]))[0]
    down = cv2.sumElems(cv2.absdiff(strokes[1:], strokes[:-1]))[0]
    outline = (across + down) * np.pi / 4
    if outline == 0:
        return strokes
    ink = cv2.sumElems(strokes)[0]
    width = 2 * ink / outline
    change = max(thinnest * width, min(thickest * width, pen)) - width
    side = round(abs(change)) + 1
    if side < 2:
        return strokes
    round_pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    if change > 0:
        return np.asarray(cv2.dilate(strokes, round_pen), np.uint8)
    while side > 1:
        round_pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        thin = np.asarray(cv2.erode(strokes, round_pen), np.uint8)
        if cv2.sumElems(cv2.dilate(thin, round_pen))[0] > 0.94 * ink:
            return thin
        side -= 1
    return strokes


def _bent(picture: Picture, bend: Bend, longer: float) -> Picture:
    """Bend an enlarged picture whose ink is so many pixels long."""
    h, w = picture.shape
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    places = np.stack([columns, rows], axis=-1)
    places += longer * bend.moves(places / longer)
    return np.asarray(cv2.remap(picture, places, None, cv2.INTER_LINEAR), np.uint8)


def _downstrokes(line: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Keep the runs of a line on which the pen moves downwards."""
    step = np.diff(line, axis=0)
    down = np.concatenate([[False], step[:, 1] > 0.6 * np.abs(step[:, 0]), [False]])
    turns = np.flatnonzero(np.diff(down.astype(np.int8)))
    return [line[a : b + 1] for a, b in zip(turns[::2], turns[1::2], strict=True)]


def _cropped(strokes: Strokes) -> Strokes:
    left, top, w, h = cv2.boundingRect((strokes > 24).astype(np.uint8))
    if w == 0:
        return strokes
    return strokes[top : top + h, left : left + w]
