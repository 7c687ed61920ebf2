"""Write characters of a hand: with one pen, at one size, on one line, apart or touching.

Strokes are drawn at the size they will have in the crop, so that a pen is as wide in a small
digit as in a large one: a picture of 28 pixels is enlarged smoothly, cut at its edge, and made
thinner or thicker to the pen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.training.composition.hands import (
    DIGITS,
    TYPICAL_PIXELS,
    Hand,
    Hands,
    Line,
    PenPath,
    Picture,
)

Strokes = NDArray[np.uint8]  # (H, W); 0 paper, 255 full ink

INKED = 64  # strokes darker than this are seen
LEAST_PEN = 0.85  # pixels; finer ones vanish in scanning
LEAST_GAP = 0.07  # of the height, between digits that do not touch
FINE_BELOW = 36.0  # pixels; smaller digits are drawn twice as large and averaged
EDGE = 0.44  # gray of an enlarged picture that is the edge of its stroke
LEAST_FINE = 1.8  # times that pen paths are drawn larger, and averaged
SOFT = 1.43  # pixels by which OpenCV's soft lines are wider than their even thickness
MOST_SHARED = 0.14  # of the ink of a digit, with the one that it touches
RAISED = "^"  # what follows is written small and high, as cents are


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """How a number is written: whose hand, how large, with what pen, how evenly."""

    hand: Hand
    height: float  # of a digit, pixels
    pen: float  # width of the stroke, pixels
    slant: float  # added to the hand's own
    stretch: float
    gap: float  # between digits, of the height
    uneven: float  # sizes and places, of the height
    climb: float  # of the line, per unit of width
    pressure: float  # by which downstrokes are thicker; pen paths alone
    zero: float  # size of a zero: some write them small


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """Strokes, where their top left corner goes, and the digit they are, if one."""

    strokes: Strokes
    left: int
    top: int
    label: str = ""

    @property
    def width(self) -> int:
        return int(self.strokes.shape[1])

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + int(self.strokes.shape[0])

    def moved(self, x: int, y: int) -> Stamp:
        """Move by whole pixels."""
        return Stamp(self.strokes, self.left + x, self.top + y, self.label)


def draw_style(
    hands: Hands, rng: np.random.Generator, *, least: float = 14.0, most: float = 70.0
) -> Style:
    """Choose a writer, a size between `least` and `most` pixels, and a pen."""
    height = float(np.exp(rng.uniform(np.log(least), np.log(most))))
    spacing = rng.random()
    gap = rng.uniform(0.08, 0.16) if spacing < 0.35 else rng.uniform(0.14, 0.32)
    if spacing > 0.85:
        gap = rng.uniform(0.32, 0.8)
    return Style(
        hand=hands.draw(rng),
        height=height,
        pen=max(LEAST_PEN, height * float(np.clip(rng.lognormal(-2.3, 0.32), 0.045, 0.21))),
        slant=float(np.clip(rng.normal(0.04, 0.13), -0.3, 0.45)),
        stretch=float(np.clip(rng.normal(1.0, 0.1), 0.75, 1.35)),
        gap=float(gap),
        uneven=float(rng.uniform(0.015, 0.07)),
        climb=float(rng.normal(0.0, 0.025)),
        pressure=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.25 else 0.0,
        zero=float(rng.uniform(0.55, 0.85)) if rng.random() < 0.12 else 1.0,
    )


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
    if isinstance(character, PenPath):
        lines = _bent(character.lines, rng)
        return draw_lines(
            [line @ (linear.T * height * character.size) for line in lines],
            pen,
            pressure=pressure,
        )
    return _draw_picture(character, height, linear, pen)


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


def write(
    text: str, hands: Hands, style: Style, rng: np.random.Generator, *, touching: bool = False
) -> list[Stamp]:
    """Write a line of text on the baseline y = 0, from x = 0 on.

    Parameters
    ----------
    text : str
        Digits, letters and signs; a space is a gap; what follows `^` is small and high.
    touching : bool
        Let at least one pair of neighboring digits touch, where there is one.

    Returns
    -------
    Stamps in the order of `text`; those of digits carry their label.
    """
    joined = _joined(text, rng) if touching else frozenset()
    stamps: list[Stamp] = []
    raised, space = False, 0.0
    drift = 0.0
    for place, char in enumerate(text):
        if char == RAISED:
            raised = True
            continue
        if char == " ":
            space += style.height * float(rng.uniform(0.25, 0.7))
            continue
        size = style.height * (0.62 if raised else 1.0)
        drift = 0.7 * drift + size * style.uneven * float(rng.normal(0.0, 0.7))
        climb = style.climb * stamps[-1].right if stamps else 0.0
        lift = 0.42 * style.height if raised else 0.0
        stamp = _stamp(char, size, hands, style, rng).moved(0, round(drift - climb - lift))
        if stamps:
            meeting = stamps[-1].left + _reach(stamps[-1], stamp)
            gap = _gap(place in joined, stamps[-1], stamp, style, rng)
            left = max(meeting + round(space + gap), _beside(stamps[-1], stamp))
            if place in joined:
                stamp = _legible(stamps[-1], stamp.moved(min(left, meeting - 1), 0))
            else:
                stamp = stamp.moved(left, 0)
            if not stamps[-1].label:  # a point is no obstacle: the digit before it is
                stamp = _clear(stamps[:-1], stamp)
        stamps.append(stamp)
        space = 0.0
    if touching and rng.random() < 0.3:
        stamps += _ligatures(stamps, style, rng)
    return stamps


def touches(first: Stamp, second: Stamp) -> bool:
    """Say whether the ink of two stamps is connected, diagonals included."""
    left, right = max(first.left, second.left) - 1, min(first.right, second.right) + 1
    top, bottom = max(first.top, second.top) - 1, min(first.bottom, second.bottom) + 1
    if left >= right or top >= bottom:
        return False
    parts = []
    for stamp in (first, second):
        part = np.zeros((bottom - top, right - left), np.uint8)
        press(part, stamp.moved(-left, -top))
        parts.append((part >= INKED).astype(np.uint8))
    wide = cv2.dilate(parts[0], np.ones((3, 3), np.uint8))
    return bool((wide & parts[1]).any())


def press(canvas: Strokes, stamp: Stamp) -> None:
    """Put strokes on a canvas that is ours to write on; what falls beside it is lost."""
    h, w = stamp.strokes.shape
    top, left = max(stamp.top, 0), max(stamp.left, 0)
    bottom, right = min(stamp.top + h, canvas.shape[0]), min(stamp.left + w, canvas.shape[1])
    if bottom <= top or right <= left:
        return
    room = canvas[top:bottom, left:right]
    part = stamp.strokes[
        top - stamp.top : bottom - stamp.top, left - stamp.left : right - stamp.left
    ]
    np.maximum(room, part, out=room)


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
    scale = height * float(rng.uniform(0.8, 1.25))
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


def _stamp(
    char: str, size: float, hands: Hands, style: Style, rng: np.random.Generator
) -> Stamp:
    if char in SIGNS:
        return draw_sign(char, size, style.pen, rng)
    spread = 1.0 + style.uneven * max(-2.5, min(2.5, float(rng.normal())))
    strokes = draw_character(
        hands.find(char, style.hand, rng),
        size * spread * (style.zero if char == "0" else 1.0),
        rng,
        pen=style.pen,
        slant=style.slant,
        stretch=style.stretch,
        pressure=style.pressure,
    )
    return Stamp(strokes, 0, -strokes.shape[0], char if char in DIGITS else "")


def _joined(text: str, rng: np.random.Generator, *, share: float = 0.35) -> frozenset[int]:
    """Choose the places whose digit touches the one before: at least one, if there is one."""
    pairs = [i + 1 for i, (a, b) in enumerate(pairwise(text)) if a in DIGITS and b in DIGITS]
    if not pairs:
        return frozenset()
    chosen = {place for place in pairs if rng.random() < share}
    return frozenset(chosen | {pairs[int(rng.integers(len(pairs)))]})


def _gap(
    joined: bool, first: Stamp, second: Stamp, style: Style, rng: np.random.Generator
) -> float:
    """Columns between two stamps, where they come nearest; below 0 they overlap."""
    if joined:
        deep = rng.random() < 0.22
        depth = float(rng.uniform(0.06, 0.2) if deep else rng.uniform(0.0, 0.06))
        narrow = min(first.width, second.width)
        return -1.0 - min(depth * style.height, 0.3 * narrow)
    gap = style.height * style.gap * float(rng.uniform(0.55, 1.45))
    if not first.label or not second.label:  # a sign is written closer
        return max(1.0, gap * float(rng.uniform(0.1, 1.2)))
    return max(2.0, gap, LEAST_GAP * style.height)


def _reach(first: Stamp, second: Stamp) -> int:
    """Columns from the left of `first` to that of `second` where they just meet."""
    top, bottom = max(first.top, second.top - 1), min(first.bottom, second.bottom + 1)
    if bottom - top < 2:
        return round(0.9 * first.width)
    before = first.strokes[top - first.top : bottom - first.top] >= INKED
    w = before.shape[1]
    right = np.where(before.any(axis=1), w - np.argmax(before[:, ::-1], axis=1), -10_000)
    after = second.strokes >= INKED
    # A row reaches as far as the rows beside it: ink that meets at a corner has met.
    left = np.full(len(after) + 4, 10_000)
    left[2:-2] = np.where(after.any(axis=1), np.argmax(after, axis=1), 10_000)
    left = np.minimum(np.minimum(left[:-2], left[1:-1]), left[2:])
    start = top - second.top + 1
    reach = int((right - left[start : start + len(right)]).max())
    return reach if reach > 0 else round(0.9 * w)


def _clear(before: Sequence[Stamp], stamp: Stamp) -> Stamp:
    """Move a stamp away from the last digit before it, where it has come too near."""
    digits = [one for one in before if one.label][-1:]
    least = [one.left + _reach(one, stamp) + 2 for one in digits]
    return stamp.moved(max([*least, stamp.left]) - stamp.left, 0)


def _beside(first: Stamp, second: Stamp) -> int:
    """Least left side of `second` that does not stand in `first`."""
    middle = first.left + first.width / 2 + 0.26 * (first.width + second.width)
    return round(middle - second.width / 2)


def _legible(first: Stamp, second: Stamp) -> Stamp:
    """Move the second of two touching digits away until no more than a little ink is shared."""
    inks = [float((one.strokes >= INKED).sum()) for one in (first, second)]
    step = max(1, round(0.02 * (second.bottom - second.top)))
    for _ in range(8):
        if _shared(first, second) <= MOST_SHARED * min(inks):
            break
        if not touches(first, second.moved(step, 0)):
            break
        second = second.moved(step, 0)
    return second


def _shared(first: Stamp, second: Stamp) -> int:
    """Pixels that are ink of both."""
    left, right = max(first.left, second.left), min(first.right, second.right)
    top, bottom = max(first.top, second.top), min(first.bottom, second.bottom)
    if left >= right or top >= bottom:
        return 0
    a, b = (
        one.strokes[top - one.top : bottom - one.top, left - one.left : right - one.left]
        for one in (first, second)
    )
    return int(((a >= INKED) & (b >= INKED)).sum())


def _ligatures(stamps: Sequence[Stamp], style: Style, rng: np.random.Generator) -> list[Stamp]:
    """Join zeros at their tops, as who writes many of them does."""
    found = []
    for a, b in pairwise(stamps):
        if a.label == b.label == "0" and b.left - a.right < 0.3 * style.height:
            ends = [
                (a.left + 0.6 * a.width, a.top + 0.5 * style.pen),
                (b.left + 0.4 * b.width, b.top + 0.5 * style.pen),
            ]
            sag = style.height * float(rng.uniform(-0.05, 0.12))
            middle = ((ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2 + sag)
            line = smooth(np.array([ends[0], middle, ends[1]]))
            strokes = draw_lines([line], style.pen)
            low = line.min(axis=0) - 0.5 * style.pen
            found.append(Stamp(strokes, round(float(low[0])), round(float(low[1]))))
    return found


def _draw_picture(
    picture: Picture, height: float, linear: NDArray[np.float64], pen: float
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


def _bent(lines: Sequence[Line], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Bend a path a little, the same way for all its lines, and smooth it."""
    waves = rng.normal(0.0, 1.0, (2, 2)) * 3.0
    phases = rng.uniform(0.0, 2 * np.pi, 2)
    depth = float(rng.uniform(0.0, 0.03))
    return [smooth(line + depth * np.sin(line @ waves + phases)) for line in lines]


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
