"""Write a line of text in someone's hand: one pen, one size, digits apart or touching.

Where each character stands is decided here; `characters` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from digitocr.synth import Stamp
from digitocr.training.composition.characters import (
    INKED,
    SIGNS,
    Strokes,
    draw_character,
    draw_lines,
    draw_sign,
    smooth,
)
from digitocr.training.composition.hands import DIGITS, Hand, Hands

LEAST_PEN = 0.85  # pixels; finer ones vanish in scanning
LEAST_GAP = 0.07  # of the height, between digits that do not touch
MOST_SHARED = 0.1  # of the ink of a digit, with the one that it touches
APART = 0.32  # of the widths of two neighbors, between their middles: 0.5 is side by side
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


def write(
    text: str, hands: Hands, style: Style, rng: np.random.Generator, *, touching: bool = False
) -> list[Stamp]:
    """Write a line of text on the baseline y = 0, from x = 0 on.

    Parameters
    ----------
    text : str
        Digits, letters and signs; a space is a gap; what follows `^` is small and high.
    touching : bool
        Let at least one pair of neighboring digits touch, where there is one; those of seven
        segments never do.

    Returns
    -------
    Stamps in the order of `text`; those of digits carry their label.
    """
    touching = touching and not style.hand.segmented
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
    """Put strokes on a canvas that is ours to write on."""
    room, part = stamp.over(canvas)
    np.maximum(room, part, out=room)


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
        deep = rng.random() < 0.15
        depth = float(rng.uniform(0.05, 0.12) if deep else rng.uniform(0.0, 0.05))
        narrow = min(first.width, second.width)
        return -1.0 - min(depth * style.height, 0.25 * narrow)
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
    middle = first.left + first.width / 2 + APART * (first.width + second.width)
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
