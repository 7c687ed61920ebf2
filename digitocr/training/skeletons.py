"""Digits drawn from the skeletons that schools teach: the ways of writing MNIST lacks.

Closed fours, sevens with a bar or like a plus, ones with a long upstroke or a foot, threes with
a flat top, zeros slashed or with a tail, eights open above; fives in one stroke or open like an
r, nines like a P, fours of two strokes like an H, twos that begin with a loop; and digits of
seven segments. A skeleton is one or more
strokes through points of a unit square (x to the right, y down); every point is moved at
random, and pens differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digitocr.training.nondigits import stroke

Intensity = NDArray[np.uint8]
Points = tuple[tuple[float, float], ...]
Way = tuple[tuple[Points, bool], ...]  # strokes, and whether each is curved

SIDE = 56
_RING: Points = (
    (0.5, 0.0), (0.12, 0.2), (0.05, 0.55), (0.22, 0.92), (0.5, 1.0),
    (0.8, 0.88), (0.95, 0.5), (0.85, 0.15), (0.48, 0.0),
)  # fmt: skip
# Of each digit its ways of writing.
SKELETONS: tuple[tuple[Way, ...], ...] = (
    (
        ((_RING, True),),
        ((_RING, True), (((0.9, 0.05), (0.1, 0.95)), False)),
        ((((0.75, 0.12), (0.45, 0.0), (0.1, 0.3), (0.15, 0.85), (0.5, 1.0), (0.9, 0.75),
           (0.88, 0.25), (0.6, 0.0), (0.4, 0.08)), True),),
        ((((0.55, 0.02), (0.15, 0.25), (0.12, 0.8), (0.5, 1.0), (0.85, 0.7), (0.8, 0.2),
           (0.5, 0.02), (0.7, 0.12), (1.05, 0.05)), True),),
    ),
    (
        ((((0.5, 0.0), (0.5, 1.0)), False),),
        ((((0.28, 0.2), (0.55, 0.0), (0.55, 1.0)), False),),
        ((((0.1, 0.5), (0.6, 0.0), (0.6, 1.0)), False),),
        ((((0.3, 0.2), (0.55, 0.0), (0.55, 1.0)), False), (((0.25, 1.0), (0.85, 1.0)), False)),
        ((((0.0, 0.65), (0.6, 0.0), (0.5, 1.0)), False),),
        ((((0.15, 0.3), (0.45, 0.2), (0.6, 0.0), (0.55, 0.5), (0.5, 1.0)), True),),
        ((((0.0, 0.95), (0.65, 0.0), (0.65, 1.0)), False),),
        ((((0.0, 0.8), (0.8, 0.0), (0.5, 1.0)), False),),
        ((((0.0, 0.6), (0.4, 0.3), (0.75, 0.0), (0.65, 0.5), (0.5, 1.0)), True),),
        ((((0.1, 0.4), (0.5, 0.0), (0.5, 1.0)), False), (((-0.1, 1.0), (1.1, 1.0)), False)),
    ),
    (
        ((((0.1, 0.2), (0.4, 0.0), (0.8, 0.12), (0.75, 0.45), (0.08, 1.0)), True),
         (((0.08, 1.0), (0.9, 0.97)), False)),
        ((((0.12, 0.22), (0.45, 0.0), (0.8, 0.2), (0.55, 0.65), (0.15, 0.95), (0.1, 0.8),
           (0.35, 0.85), (0.9, 1.0)), True),),
        ((((0.08, 0.05), (0.85, 0.05), (0.1, 0.97), (0.9, 0.97)), False),),
        ((((0.35, 0.3), (0.15, 0.2), (0.35, 0.02), (0.75, 0.1), (0.7, 0.5), (0.1, 0.95),
           (0.5, 0.88), (0.95, 0.97)), True),),
        ((((0.15, 0.15), (0.5, 0.0), (0.8, 0.25), (0.5, 0.7), (0.1, 0.9), (0.2, 0.72),
           (0.5, 0.9), (0.98, 0.85)), True),),
        ((((0.45, 0.45), (0.12, 0.3), (0.4, 0.0), (0.9, 0.15), (0.75, 0.6), (0.12, 0.95),
           (0.3, 0.75), (1.0, 0.98)), True),),
        ((((0.55, 0.42), (0.15, 0.38), (0.12, 0.08), (0.6, 0.0), (0.9, 0.3), (0.6, 0.75),
           (0.15, 0.98), (0.05, 0.8), (0.35, 0.8), (1.0, 1.0)), True),),
        ((((0.85, 0.4), (0.5, 0.58), (0.12, 0.42), (0.15, 0.08), (0.6, 0.0), (0.9, 0.25),
           (0.6, 0.72), (0.1, 1.0), (0.45, 0.92), (1.0, 0.97)), True),),
        ((((0.7, 0.55), (0.25, 0.52), (0.08, 0.2), (0.45, 0.0), (0.88, 0.15), (0.8, 0.5),
           (0.3, 0.95), (0.05, 0.95), (0.15, 0.78), (0.5, 0.9), (1.0, 1.0)), True),),
        ((((0.4, 0.25), (0.2, 0.4), (0.08, 0.18), (0.4, 0.0), (0.8, 0.08), (0.75, 0.45),
           (0.1, 1.0)), True), (((0.1, 1.0), (0.9, 0.95)), False)),
    ),
    (
        ((((0.1, 0.12), (0.5, 0.0), (0.8, 0.2), (0.42, 0.47), (0.85, 0.7), (0.5, 1.0),
           (0.08, 0.88)), True),),
        ((((0.1, 0.03), (0.85, 0.03), (0.42, 0.42)), False),
         (((0.42, 0.42), (0.85, 0.55), (0.8, 0.88), (0.4, 1.0), (0.08, 0.88)), True)),
        ((((0.1, 0.05), (0.8, 0.0), (0.35, 0.4), (0.85, 0.6), (0.7, 0.95),
           (0.05, 1.0)), True),),
    ),
    (
        ((((0.3, 0.0), (0.08, 0.55), (0.95, 0.55)), False), (((0.7, 0.1), (0.7, 1.0)), False)),
        ((((0.68, 1.0), (0.68, 0.0), (0.05, 0.66), (0.95, 0.66)), False),),
        ((((0.7, 0.0), (0.05, 0.6), (0.98, 0.6)), False), (((0.7, 0.0), (0.7, 1.0)), False)),
        ((((0.72, 1.0), (0.75, 0.0), (0.08, 0.55), (0.72, 0.56)), False),),
        ((((0.45, 0.0), (0.1, 0.6), (0.9, 0.55)), False), (((0.68, 0.3), (0.5, 1.0)), False)),
        ((((0.15, 0.05), (0.1, 0.5), (0.9, 0.45)), False), (((0.8, 0.0), (0.75, 1.0)), False)),
        ((((0.2, 0.0), (0.12, 0.35), (0.4, 0.5), (0.85, 0.4)), True),
         (((0.9, 0.0), (0.8, 0.5), (0.75, 1.0)), True)),
        ((((0.35, 0.05), (0.05, 0.62), (1.0, 0.52)), False),
         (((0.6, 0.4), (0.55, 1.0)), False)),
        ((((0.3, 0.0), (0.12, 0.62), (0.4, 0.5), (0.75, 0.45), (0.8, 0.7),
           (0.72, 1.0)), True),),
        ((((0.25, 0.0), (0.1, 0.5), (0.45, 0.5)), True), (((0.6, 0.35), (0.55, 1.0)), False)),
    ),
    (
        ((((0.85, 0.03), (0.22, 0.03), (0.15, 0.42)), False),
         (((0.15, 0.42), (0.55, 0.35), (0.85, 0.6), (0.65, 0.95), (0.1, 0.95)), True)),
        ((((0.25, 0.05), (0.2, 0.42), (0.6, 0.42), (0.85, 0.68), (0.6, 1.0), (0.1, 0.9)), True),
         (((0.25, 0.04), (0.9, 0.0)), False)),
        ((((0.9, 0.05), (0.4, 0.0), (0.2, 0.3), (0.55, 0.5), (0.8, 0.75), (0.5, 1.0),
           (0.05, 0.92)), True),),
        ((((0.95, 0.0), (0.35, 0.08), (0.25, 0.4), (0.55, 0.5), (0.5, 0.8),
           (0.15, 1.0)), True),),
        ((((0.2, 0.1), (0.25, 0.45), (0.6, 0.5), (0.55, 0.9), (0.1, 1.0)), True),
         (((0.25, 0.1), (1.0, 0.02)), False)),
        ((((0.3, 0.1), (0.28, 0.5), (0.3, 1.0)), False), (((0.28, 0.45), (0.6, 0.1),
           (1.0, 0.02)), True)),
        ((((0.0, 0.6), (0.25, 1.0), (0.5, 0.05), (1.0, 0.0)), False),),
        ((((0.45, 0.05), (0.4, 0.45), (0.42, 0.8), (0.1, 1.0)), True),
         (((0.42, 0.06), (1.0, 0.0)), False)),
    ),
    (
        ((((0.75, 0.0), (0.3, 0.25), (0.1, 0.65), (0.3, 0.97), (0.75, 0.95), (0.85, 0.65),
           (0.5, 0.52), (0.15, 0.7)), True),),
        ((((0.6, 0.0), (0.15, 0.5), (0.12, 0.85), (0.5, 1.0), (0.85, 0.78), (0.5, 0.6),
           (0.15, 0.8)), True),),
        ((((0.3, 0.0), (0.15, 0.6), (0.3, 1.0), (0.8, 0.9), (0.75, 0.6), (0.2, 0.7)), True),),
        ((((0.9, 0.1), (0.45, 0.0), (0.1, 0.5), (0.4, 1.0), (0.85, 0.85), (0.75, 0.52),
           (0.4, 0.6)), True),),
    ),
    (
        ((((0.08, 0.03), (0.88, 0.03), (0.35, 1.0)), False),),
        ((((0.08, 0.03), (0.88, 0.03), (0.4, 1.0)), False),
         (((0.3, 0.5), (0.9, 0.48)), False)),
        ((((0.08, 0.2), (0.1, 0.03), (0.88, 0.03), (0.45, 1.0)), False),),
        ((((0.08, 0.2), (0.1, 0.03), (0.88, 0.03), (0.45, 1.0)), False),
         (((0.25, 0.52), (0.85, 0.5)), False)),
        ((((0.05, 0.2), (0.25, 0.05), (0.55, 0.12), (0.95, 0.0), (0.55, 0.5),
           (0.4, 1.0)), True),
         (((0.2, 0.5), (0.95, 0.48)), False)),
        ((((0.05, 0.25), (0.2, 0.05), (0.6, 0.1), (0.9, 0.0), (0.5, 0.55),
           (0.45, 1.0)), True),),
        ((((0.2, 0.12), (0.65, 0.0), (0.45, 1.0)), False),
         (((0.05, 0.45), (1.0, 0.4)), False)),
        ((((0.38, 0.1), (0.55, 0.0), (0.5, 1.0)), False), (((0.0, 0.5), (1.0, 0.44)), False)),
        ((((0.15, 0.12), (0.5, 0.0), (0.75, 0.1), (0.55, 0.5), (0.4, 1.0)), True),
         (((0.1, 0.52), (0.95, 0.46)), False)),
    ),
    (
        ((((0.8, 0.12), (0.4, 0.0), (0.15, 0.25), (0.8, 0.65), (0.5, 1.0), (0.12, 0.75),
           (0.8, 0.25), (0.7, 0.05)), True),),
        ((((0.5, 0.45), (0.2, 0.25), (0.5, 0.0), (0.8, 0.22), (0.5, 0.45), (0.1, 0.75),
           (0.5, 1.0), (0.9, 0.75), (0.5, 0.45)), True),),
        ((((0.9, 0.0), (0.4, 0.08), (0.3, 0.35), (0.75, 0.7), (0.5, 1.0), (0.2, 0.8),
           (0.55, 0.45), (0.85, 0.1)), True),),
        ((((0.15, 0.0), (0.2, 0.32), (0.78, 0.7), (0.5, 1.0), (0.18, 0.75), (0.7, 0.35),
           (0.85, 0.0)), True),),
    ),
    (
        ((((0.8, 0.2), (0.45, 0.0), (0.12, 0.28), (0.45, 0.5), (0.8, 0.22)), True),
         (((0.82, 0.1), (0.8, 1.0)), False)),
        ((((0.82, 0.2), (0.45, 0.0), (0.1, 0.28), (0.45, 0.5), (0.82, 0.25), (0.8, 0.6),
           (0.55, 1.0), (0.15, 0.92)), True),),
        ((((0.8, 0.22), (0.45, 0.0), (0.15, 0.25), (0.45, 0.48), (0.8, 0.2), (0.7, 0.65),
           (0.45, 1.0)), True),),
        ((((0.3, 0.05), (0.3, 0.5), (0.2, 1.0)), False),
         (((0.2, 0.1), (0.75, 0.0), (0.9, 0.25), (0.6, 0.48), (0.3, 0.45)), True)),
        ((((0.25, 1.0), (0.35, 0.3), (0.6, 0.0), (0.9, 0.2), (0.65, 0.45),
           (0.3, 0.42)), True),),
        ((((0.75, 0.3), (0.5, 0.45), (0.2, 0.3), (0.45, 0.0), (0.78, 0.15), (0.75, 0.6),
           (0.85, 1.0)), True),),
    ),
)  # fmt: skip
# A one with a long upstroke is like a seven without a bar: who writes such ones bars sevens.
LONG_ONES, BARRED_SEVENS = (2, 4, 6, 7, 8), (1, 3, 4, 6, 7, 8)
UNBARRED = 0.15  # of who writes such ones: sevens as they come
# As on the displays of meters: forms with seven printed segments a digit ask for these.
_SEGMENTS: dict[str, Points] = {
    "a": ((0.0, 0.0), (1.0, 0.0)), "b": ((1.0, 0.0), (1.0, 0.5)), "c": ((1.0, 0.5), (1.0, 1.0)),
    "d": ((0.0, 1.0), (1.0, 1.0)), "e": ((0.0, 0.5), (0.0, 1.0)), "f": ((0.0, 0.0), (0.0, 0.5)),
    "g": ((0.0, 0.5), (1.0, 0.5)),
}  # fmt: skip
SEVEN_SEGMENTS = tuple(
    tuple((_SEGMENTS[segment], False) for segment in lit)
    for lit in ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgecd", "abc", "abcdefg",
                "abcdfg")
)  # fmt: skip


def choose_ways(rng: np.random.Generator) -> tuple[int, ...]:
    """Choose how one hand writes each digit, by its place in `SKELETONS`."""
    ways = [int(rng.integers(len(known))) for known in SKELETONS]
    if ways[1] in LONG_ONES and rng.random() >= UNBARRED:
        ways[7] = int(rng.choice(BARRED_SEVENS))
    return tuple(ways)


def draw_digits(
    rng: np.random.Generator, *, each: int = 300
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw every digit so many times, its ways of writing by turns.

    Returns
    -------
    (N, 56, 56) uint8, 0 paper to 255 ink; the N digits.
    """
    labels = np.repeat(np.arange(10), each)
    glyphs = np.zeros((len(labels), SIDE, SIDE), np.uint8)
    for number, (glyph, label) in enumerate(zip(glyphs, labels, strict=True)):
        ways = SKELETONS[label]
        _write(glyph, ways[number % len(ways)], rng)
    return glyphs, labels


def _write(canvas: Intensity, strokes: Way, rng: np.random.Generator) -> None:
    """Write one digit: as wide as a hand pleases, the strokes of one pen."""
    pen = int(rng.integers(2, 7))
    margin = pen + 5
    high = SIDE - 2 * margin
    wide = high * float(rng.uniform(0.45, 0.95))
    for points, curved in draw_strokes(strokes, rng, wide=wide, high=high):
        places = points + np.array([(SIDE - wide) / 2, margin])
        stroke(canvas, places, pen, smooth=curved)


def draw_strokes(
    strokes: Way,
    rng: np.random.Generator,
    *,
    wide: float,
    high: float,
    spread: float = 0.035,
) -> list[tuple[NDArray[np.float64], bool]]:
    """Draw a skeleton's strokes, every point moved at random.

    Parameters
    ----------
    wide, high : pixels
        What the unit square becomes.
    spread
        Standard deviation of the moves, as a share of `high`.

    Returns
    -------
    Of each stroke its points, (N, 2), and whether it is curved.
    """
    drawn = []
    for points, curved in strokes:
        places = np.array(points) * (wide, high)
        places = places + rng.normal(0.0, spread * high, places.shape)
        if not curved:  # no hand draws a straight line
            middles = (places[1:] + places[:-1]) / 2
            middles = middles + rng.normal(0.0, 0.5 * spread * high, middles.shape)
            places = np.insert(places, np.arange(1, len(places)), middles, axis=0)
        drawn.append((places, curved))
    return drawn
