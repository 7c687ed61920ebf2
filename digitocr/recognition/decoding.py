"""Lattice and probabilities → hypotheses, best first.

A path through the lattice takes one glyph between every two cuts it passes; a glyph is read as
one of the ten digits, or left out (an empty position, a void mark, a separator). The weight of
a text is the sum over all paths that spell it: two ways to cut the same `117` support each
other. A beam over texts, cut by cut, is exact while fewer texts than its width are alive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitocr.types import Glyph, Hypothesis, Lattice, Mark

DIGITS = "0123456789"
Rows = NDArray[np.float32]  # (glyphs of the lattice, C); as `Classify` gives them

MARK_LEFT_OUT: Mapping[Mark, float] = {Mark.DASH: 0.97, Mark.SEPARATOR: 0.97, Mark.X: 0.0}
LEAST_PROBABILITY = 1e-4
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


@dataclass(frozen=True, slots=True)
class _Partial:
    total: float
    best: float
    path: tuple[Step, ...]


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
    alive[0][""] = _Partial(1.0, 1.0, ())
    leaving: list[list[int]] = [[] for _ in range(last + 1)]
    for place, glyph in enumerate(lattice.glyphs):
        leaving[glyph.start].append(place)
    for cut in range(last):
        ranked = sorted(alive[cut].items(), key=lambda entry: -entry[1].total)[:beam]
        for place in leaving[cut]:
            glyph = lattice.glyphs[place]
            options = _options(glyph, rows[place], marks)
            for text, partial in ranked:
                for symbol, probability in options:
                    step = Step(place, symbol, None if symbol else glyph.mark)
                    _add(alive[glyph.end], text + symbol, partial, probability, step)
    texts = [
        (text, partial if _fits(text, min_length, max_length) else _unlikely(partial))
        for text, partial in alive[last].items()
    ]
    if not texts:
        return ()
    # Among the texts, the share of the weight; over that, whether these are digits at all.
    total = sum(partial.total for _, partial in texts)
    ranked_texts = sorted(texts, key=lambda entry: (-entry[1].total, entry[0]))[:beam]
    found = [
        Decoded(text, one.total / total * _all_digits(one.path, rows), one.path)
        for text, one in ranked_texts
        if one.total > 0.0
    ]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.text))[:keep])


def _all_digits(path: Sequence[Step], rows: Rows) -> float:
    """Say how likely it is that every glyph read as a digit on a path is one."""
    if rows.shape[1] < 11:
        return 1.0
    return float(np.prod([1.0 - rows[step.glyph, 10] for step in path if step.text]))


def _fits(text: str, min_length: int, max_length: int | None) -> bool:
    long_enough = not text or len(text) >= min_length
    return long_enough and (max_length is None or len(text) <= max_length)


def _unlikely(partial: _Partial) -> _Partial:
    return _Partial(partial.total * WRONG_LENGTH, partial.best, partial.path)


def _add(
    where: dict[str, _Partial], text: str, before: _Partial, probability: float, step: Step
) -> None:
    total, best = before.total * probability, before.best * probability
    known = where.get(text)
    if known is None:
        where[text] = _Partial(total, best, (*before.path, step))
    elif best > known.best:
        where[text] = _Partial(known.total + total, best, (*before.path, step))
    else:
        where[text] = _Partial(known.total + total, known.best, known.path)


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
