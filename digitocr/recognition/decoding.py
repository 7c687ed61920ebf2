"""Lattice and probabilities → hypotheses, best first.

A path through the lattice takes one glyph between every two cuts it passes; a glyph is read as
one of the ten digits, or left out (an empty position, a void mark, a separator). The weight of
a text is the sum over all paths that spell it: two ways to cut the same `117` support each
other. A beam over texts, cut by cut, is exact while fewer texts than its width are alive.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.types import Box, Glyph, GlyphReading, Gray, Hypothesis, Lattice, Mark

DIGITS = "0123456789"
Rows = NDArray[np.float32]  # (glyphs of the lattice, C); as `Classify` gives them

MARK_LEFT_OUT: Mapping[Mark, float] = {
    Mark.DASH: 0.97, Mark.SEPARATOR: 0.97, Mark.REST: 0.97, Mark.X: 0.0,
}  # fmt: skip
LEAST_PROBABILITY = 1e-4
LEAST_SHARE = 1e-8  # of the weight of the likeliest text at a cut: less is not followed
WRONG_LENGTH = 0.03  # prior that a field holds another number of digits than it should


@dataclass(frozen=True, slots=True)
class Step:
    """One glyph of a path, by its place in the lattice, and what it is read as ("" is out)."""

    glyph: int
    text: str
    left_out: Mark | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text with its probability and the likeliest path that spells it."""

    text: str
    probability: float
    path: tuple[Step, ...]


# The way a text came about, its last step first: (the way before, place, symbol).
_Way = tuple[Any, int, str] | None
# Of a text that is alive at a cut: weight of all its ways, of the best one, and that way. A
# list and no dataclass: it is changed a thousand times a field.
_Partial = list[Any]


def may_be_crosses(rows: Rows) -> NDArray[np.bool_]:
    """Say of every glyph whether it would be left out, if its shape were that of a cross."""
    if rows.shape[1] < 11:
        return np.zeros(len(rows), np.bool_)
    unlike: NDArray[np.bool_] = rows[:, 10] > LEAST_PROBABILITY
    return unlike


def decode(
    lattice: Lattice,
    rows: Rows,
    *,
    min_length: int,
    max_length: int | None,
    marks: Collection[Mark] = tuple(Mark),
    beam: int = 48,
    keep: int = 6,
) -> tuple[Decoded, ...]:
    """Find the likeliest texts of a lattice.

    Parameters
    ----------
    rows : (glyphs, C)
        Class probabilities of every glyph of the lattice, in its order.
    min_length, max_length
        Digits that the text should have; other texts are possible, but unlikely. A blank
        text may always be.
    marks
        Marks that may be left out here.
    beam, keep
        Texts kept alive at every cut, and given back.

    Returns
    -------
    tuple of Decoded
        Best first. Probabilities sum to at most 1; what is missing is the probability that
        what was read as a digit is none. Empty if nothing can be spelled.
    """
    last = max((glyph.end for glyph in lattice.glyphs), default=0)
    alive: list[dict[str, _Partial]] = [{} for _ in range(last + 1)]
    alive[0][""] = [1.0, 1.0, None]
    leaving: list[list[int]] = [[] for _ in range(last + 1)]
    for place, glyph in enumerate(lattice.glyphs):
        leaving[glyph.start].append(place)
    for cut in range(last):
        ranked = sorted(alive[cut].items(), key=lambda entry: -entry[1][0])[:beam]
        while ranked and ranked[-1][1][0] < LEAST_SHARE * ranked[0][1][0]:
            ranked.pop()
        if not ranked:
            continue
        for place in leaving[cut]:
            glyph = lattice.glyphs[place]
            reached = alive[glyph.end]
            options = _options(glyph, rows[place], marks)
            heaviest = ranked[0][1][0] * max((share for _, share in options), default=0.0)
            for symbol, probability in options:
                for text, (all_ways, best, way) in ranked:
                    total, longer = all_ways * probability, best * probability
                    if total < LEAST_SHARE * heaviest:
                        break  # it would not be followed from the next cut
                    known = reached.get(text + symbol)
                    if known is None:
                        reached[text + symbol] = [total, longer, (way, place, symbol)]
                        continue
                    known[0] += total
                    if longer > known[1]:
                        known[1:] = longer, (way, place, symbol)
    texts = [
        (
            text,
            all_ways if _fits(text, min_length, max_length) else all_ways * WRONG_LENGTH,
            way,
        )
        for text, (all_ways, _, way) in alive[last].items()
    ]
    if not texts:
        return ()
    # Among the texts, the share of the weight; over that, whether these are digits at all.
    total = sum(weight for _, weight, _ in texts)
    found: list[Decoded] = []
    last_kept = 0.0  # probability of the least of those that are given back
    for text, weight, way in sorted(texts, key=lambda entry: (-entry[1], entry[0]))[:beam]:
        if weight <= 0.0 or weight / total < last_kept:
            break
        path = _steps(way, lattice)
        found.append(Decoded(text, weight / total * _all_digits(path, rows), path))
        if len(found) >= keep:
            last_kept = sorted(one.probability for one in found)[-keep]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.text))[:keep])


def _steps(way: _Way, lattice: Lattice) -> tuple[Step, ...]:
    """Unroll a way, first step first."""
    steps = []
    while way is not None:
        way, place, symbol = way
        steps.append(Step(place, symbol, None if symbol else lattice.glyphs[place].mark))
    return tuple(reversed(steps))


def _all_digits(path: Sequence[Step], rows: Rows) -> float:
    """Say how likely it is that every glyph read as a digit on a path is one."""
    if rows.shape[1] < 11:
        return 1.0
    return float(np.prod([1.0 - rows[step.glyph, 10] for step in path if step.text]))


def _fits(text: str, min_length: int, max_length: int | None) -> bool:
    long_enough = not text or len(text) >= min_length
    return long_enough and (max_length is None or len(text) <= max_length)


def _options(
    glyph: Glyph, row: NDArray[np.float32], marks: Collection[Mark]
) -> list[tuple[str, float]]:
    """List what a glyph may be read as: symbol ("" is left out) and probability."""
    if glyph.empty:
        return [("", glyph.weight)]
    other = float(row[10]) if len(row) > 10 else 0.0
    left_out = 0.0
    if glyph.mark is not None and glyph.mark in marks:
        left_out = MARK_LEFT_OUT[glyph.mark]
        left_out += (1.0 - left_out) * other if glyph.mark is Mark.X else 0.0
    options = [("", glyph.weight * left_out)] if left_out > LEAST_PROBABILITY else []
    # A cross is left out as far as the classifier says it is no digit; the digits keep theirs.
    share = 1.0 if glyph.mark is Mark.X else 1.0 - left_out
    for digit, probability in zip(DIGITS, row[:10], strict=True):
        if probability > LEAST_PROBABILITY:
            options.append((digit, glyph.weight * share * float(probability)))
    return options


def digit_hypotheses(row: NDArray[np.float32], *, keep: int = 4) -> tuple[Hypothesis, ...]:
    """List the likeliest digits of one glyph, best first."""
    order = np.argsort(-row[:10], kind="stable")[:keep]
    return tuple(
        Hypothesis(DIGITS[i], float(row[i]))
        for n, i in enumerate(order)
        if n == 0 or row[i] > LEAST_PROBABILITY
    )


def has_gap(path: Sequence[Step]) -> bool:
    """Say whether something was left out between two digits."""
    digits = [i for i, step in enumerate(path) if step.text]
    return bool(digits) and digits[-1] - digits[0] + 1 > len(digits)


def least_digits(decoded: Sequence[Decoded], rows: Rows) -> dict[str, float]:
    """Find the probability of the least sure digit on the path of each text."""
    return {
        one.text: min(
            (float(rows[step.glyph, int(step.text)]) for step in one.path if step.text),
            default=1.0,
        )
        for one in decoded
    }


def glyph_readings(
    picture: Gray,
    lattice: Lattice,
    rows: Rows,
    best: Decoded | None,
    place: Callable[[Box], Box],
    outer: Callable[[Box], Box] | None = None,
) -> tuple[GlyphReading, ...]:
    """Cut the digits of the best path out of `picture`, with what each may be.

    `place` takes a box of the lattice to the frame it is stored in; `outer` to the pixels of
    the picture (None: they are the lattice's own).
    """
    found = []
    for step in best.path if best else ():
        if step.text:
            box = lattice.glyphs[step.glyph].box
            cut = outer(box) if outer else box
            found.append(
                GlyphReading(
                    box=place(box),
                    hypotheses=digit_hypotheses(rows[step.glyph]),
                    image=picture[max(0, cut.top) : cut.bottom, max(0, cut.left) : cut.right],
                )
            )
    return tuple(found)
