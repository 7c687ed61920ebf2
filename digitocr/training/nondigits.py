"""Drawing what is not a digit, from digits and from nothing, for the class `other`.

Two digits cut as one glyph, pieces of digits, digits struck out, the X or dash that fills an
empty position, scribbles, and what form removal leaves of boxes. Whatever a careful reader
might take for a digit is not drawn: a lone vertical stroke is a 1, half an 8 may be a 3.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Intensity = NDArray[np.uint8]
Take = Callable[[], tuple[Intensity, int]]  # a digit's glyph and its label

CANVAS = 48
# Pieces of these look like no other digit; half an 8 is a 3, the top of a 9 a 0.
FRAGMENTED = frozenset({0, 2, 3, 4, 5})


def compose(take: Take, rng: np.random.Generator) -> Intensity:
    """Draw one non-digit as ink intensity; `take` hands out digits to make it from."""
    kinds: tuple[tuple[float, Callable[[], Intensity]], ...] = (
        (0.40, lambda: touching(take, rng)),
        (0.13, lambda: fragment(take, rng)),
        (0.10, lambda: struck_out(take, rng)),
        (0.15, lambda: cross(rng)),
        (0.07, lambda: dash(rng)),
        (0.08, lambda: scribble(rng)),
        (0.10, lambda: residue(rng)),
    )
    weights = np.cumsum([share for share, _ in kinds])
    chosen = int(np.searchsorted(weights, rng.random() * weights[-1]))
    return kinds[min(chosen, len(kinds) - 1)][1]()


def touching(take: Take, rng: np.random.Generator) -> Intensity:
    """Write two digits, seldom three, so close that they pass for one glyph."""
    count = 2 if rng.random() < 0.88 else 3
    canvas = np.zeros((44, 90), np.uint8)
    at = 4
    for number in range(count):
        digit = _trimmed(take()[0], height=int(rng.integers(17, 25)))
        h, w = digit.shape
        if number:
            at -= round(float(rng.uniform(-2.5, min(4.0, 0.3 * w))))
        top = int(rng.integers(6, 44 - h - 6))
        room = canvas[top : top + h, at : at + w]
        np.maximum(room, digit[:, : room.shape[1]], out=room)
        at += w
    return canvas


def fragment(take: Take, rng: np.random.Generator) -> Intensity:
    """Keep a part of a digit that is too wide to be a 1."""
    for _ in range(6):
        glyph, label = take()
        if label not in FRAGMENTED:
            continue
        digit = _trimmed(glyph, height=28)
        h, w = digit.shape
        share = float(rng.uniform(0.3, 0.55))
        part = digit.copy()
        match int(rng.integers(4)):
            case 0:
                part[: h - round(share * h)] = 0
            case 1:
                part[round(share * h) :] = 0
            case 2:
                part[:, : w - round(share * w)] = 0
            case _:
                part[:, round(share * w) :] = 0
        _, _, width, height = cv2.boundingRect(part)
        if width > 0.5 * height:
            return part
    return dash(rng)


def struck_out(take: Take, rng: np.random.Generator) -> Intensity:
    """Strike a digit out with lines or a zigzag."""
    digit = _trimmed(take()[0], height=30)
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    h, w = digit.shape
    w = min(w, CANVAS - 4)
    top, left = (CANVAS - h) // 2, (CANVAS - w) // 2
    canvas[top : top + h, left : left + w] = digit[:, :w]
    pen = int(rng.integers(2, 5))
    count = int(rng.integers(3, 8))
    ys = np.linspace(top + 3, top + h - 3, count) + rng.normal(0, 2, count)
    xs = np.where(np.arange(count) % 2, left + w + 3, left - 3) + rng.normal(0, 2, count)
    if rng.random() < 0.5:
        stroke(canvas, np.stack([xs, ys], axis=1), pen)
    else:
        for y in ys[1:]:
            ends = [(left - 4, y + rng.normal(0, 3)), (left + w + 4, y + rng.normal(0, 3))]
            stroke(canvas, np.array(ends), pen)
    return canvas


def cross(rng: np.random.Generator) -> Intensity:
    """Write an X, a plus, a star or a check mark as people void an empty position."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    pen = int(rng.integers(1, 6))
    kind = rng.random()
    wide, high = rng.uniform(9, 19), rng.uniform(7, 19)
    if kind < 0.80:
        for sign in (1, -1):
            ends = np.array([[-wide, -sign * high], [0, 0], [wide, sign * high]])
            stroke(canvas, CANVAS / 2 + ends + rng.normal(0, 1.8, (3, 2)), pen, smooth=True)
    elif kind < 0.92:
        plus = [[(-wide, 0), (wide, 0)], [(0, -high), (0, high)]]
        slant = [[(-8.0, -8.0), (8.0, 8.0)]] if kind > 0.88 else []
        for line in plus + slant:
            stroke(canvas, CANVAS / 2 + np.array(line) + rng.normal(0, 1.5, (2, 2)), pen)
    else:
        ends = np.array([[-wide, 2], [-wide / 3, high * 0.7], [wide, -high]])
        stroke(canvas, CANVAS / 2 + ends + rng.normal(0, 1.5, (3, 2)), pen)
    return canvas


def dash(rng: np.random.Generator) -> Intensity:
    """Write one or two dashes, or a wave."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    pen = int(rng.integers(1, 7))
    for row in range(1 if rng.random() < 0.8 else 2):
        xs = np.linspace(5, CANVAS - 6, 5)
        ys = CANVAS / 2 + 9 * row + rng.normal(0, 0.12) * (xs - CANVAS / 2)
        ys = ys + rng.normal(0, 1.2, 5)
        stroke(canvas, np.stack([xs, ys], axis=1), pen, smooth=True)
    return canvas


def scribble(rng: np.random.Generator) -> Intensity:
    """Draw a knotted line."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    points = rng.uniform(4, CANVAS - 4, size=(int(rng.integers(8, 22)), 2))
    stroke(canvas, points, int(rng.integers(1, 5)), smooth=True)
    return canvas


def residue(rng: np.random.Generator) -> Intensity:
    """Draw what is left of an empty position: box corners, rules, dots, dirt."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    low, high = rng.uniform(2, 10), rng.uniform(CANVAS - 11, CANVAS - 3)
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    pen = int(rng.integers(1, 4))
    first = int(rng.integers(4))
    kind = rng.random()
    if kind < 0.45:  # two or three neighboring sides: never a lone upright, which is a 1
        sides = 3 if first == 0 else int(rng.integers(2, 4))  # top and right alone are a 7
        path = np.roll(corners, first, axis=0)[: sides + 1]
        path = path + rng.normal(0, 0.7, path.shape)
        path[0] = path[1] + (path[0] - path[1]) * rng.uniform(0.3, 1.0)
        path[-1] = path[-2] + (path[-1] - path[-2]) * rng.uniform(0.3, 1.0)
        stroke(canvas, path, pen)
        if rng.random() < 0.3:
            canvas[:, 16:22] = 0
    elif kind < 0.6:  # a rule above or below
        y = low if rng.random() < 0.5 else high
        stroke(canvas, np.array([[2, y], [CANVAS - 3, y + rng.normal(0, 1)]]), pen)
    elif kind < 0.72:  # both uprights
        for x in (low, high):
            stroke(canvas, np.array([[x, 3], [x + rng.normal(0, 1), CANVAS - 4]]), pen)
    if kind >= 0.6:  # dirt
        for x, y in rng.uniform(3, CANVAS - 3, size=(int(rng.integers(3, 16)), 2)):
            radius = int(rng.integers(0, 3))
            cv2.circle(canvas, (round(x), round(y)), radius, int(rng.integers(80, 256)), -1)
    return canvas


def stroke(
    canvas: Intensity, points: NDArray[np.float64], pen: int, *, smooth: bool = False
) -> None:
    """Draw a pen stroke through points (x, y) into `canvas`, curved if it is smooth."""
    if smooth and len(points) > 2:
        at = np.linspace(0, len(points) - 1, 6 * len(points))
        points = _catmull_rom(points, at)
    line = np.round(points * 16).astype(np.int32)
    cv2.polylines(canvas, [line], False, 255, pen, cv2.LINE_AA, shift=4)


def _catmull_rom(points: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.concatenate([points[:1], points, points[-1:]])
    index = np.minimum(at.astype(np.int64), len(points) - 2)
    t = (at - index)[:, None]
    p0, p1, p2, p3 = (padded[index + k] for k in range(4))
    curve: NDArray[np.float64] = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve


def _trimmed(glyph: Intensity, *, height: int) -> Intensity:
    """Cut a glyph to its ink and scale it to `height`, at most half as wide again."""
    left, top, w, h = cv2.boundingRect(glyph)
    ink = glyph[top : top + max(h, 1), left : left + max(w, 1)]
    width = min(max(2, round(ink.shape[1] * height / ink.shape[0])), round(1.5 * height))
    method = cv2.INTER_AREA if ink.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(ink, (width, height), interpolation=method), np.uint8)
