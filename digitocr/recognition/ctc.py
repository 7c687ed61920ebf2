"""Rows of probabilities a frame ↔ texts: connectionist temporal classification (CTC).

A frame says one of ten digits, or blank, "no new digit here". A text is spelled by every path
of frames that gives it once repetitions are joined and blanks dropped; its probability is the
sum over these.

References
----------
Graves, Fernández, Gomez and Schmidhuber, ICML 2006; Hannun, Maas, Jurafsky and Ng,
arXiv:1408.2873, on the search over prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = "0123456789"
BLANK = len(DIGITS)
COLUMNS = BLANK + 1

PROPOSING = 2  # looks whose texts are asked about
HOPELESS = 0.01  # of the least share of a symbol: prefixes less probable are let go of

Frames = NDArray[np.float32]  # (T, 11); log-probabilities of 0-9 and blank
Looks = tuple[Frames, ...]  # at one strip, each with its own T; the first is of it as it is


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text, and the probability that the frames spell it."""

    text: str
    probability: float


def path_text(path: NDArray[np.integer[Any]]) -> str:
    """Spell a path: what its frames say, one after the other."""
    kept = path[np.flatnonzero(np.diff(path, prepend=-1))]
    return "".join(DIGITS[one] for one in kept if one != BLANK)


def best_texts(
    frames: Frames,
    *,
    min_length: int = 0,
    max_length: int | None = None,
    keep: int = 6,
    beam: int = 24,
    least: float = 1e-4,
) -> tuple[Spelled, ...]:
    """Find the likeliest texts of a crop by a search over prefixes, frame by frame.

    Parameters
    ----------
    frames : (T, 11)
        Log-probabilities of 0-9 and blank.
    min_length, max_length
        Digits that a text may have; the empty text may always be.
    keep, beam
        Texts given back, and prefixes kept alive at every frame: exact while there are fewer.
    least
        Symbols less probable in a frame are passed over there: nearly all are, and with them
        nine tenths of the time; so are prefixes a hundred times less probable, beside the
        best. With 0 none is.

    Returns
    -------
    Best first; probabilities sum to at most 1. What is missing is that of other lengths, and
    of what fell out of the beam.
    """
    # By prefix: probability that the frames so far spell it and end in a blank, or in its
    # last digit. At 128 frames the best is far above the smallest float.
    alive: dict[str, tuple[float, float]] = {"": (1.0, 0.0)}
    rows = np.exp(frames.astype(np.float64))
    symbols: list[list[int]] = [[] for _ in rows]
    for frame, digit in np.argwhere(rows[:, :BLANK] > least).tolist():
        symbols[frame].append(digit)
    for row, here in zip(rows.tolist(), symbols, strict=True):
        blank = row[BLANK]
        extended: dict[str, tuple[float, float]] = {}
        for prefix, (in_blank, in_digit) in alive.items():
            total = in_blank + in_digit
            last = ord(prefix[-1]) - 48 if prefix else -1
            old_blank, old_digit = extended.get(prefix, (0.0, 0.0))
            repeated = in_digit * row[last] if prefix else 0.0
            extended[prefix] = old_blank + total * blank, old_digit + repeated
            if max_length is not None and len(prefix) >= max_length:
                continue
            for digit in here:
                longer = prefix + DIGITS[digit]
                before = in_blank if digit == last else total
                old_blank, old_digit = extended.get(longer, (0.0, 0.0))
                extended[longer] = old_blank, old_digit + before * row[digit]
        if here:
            extended = _likeliest(extended, beam, HOPELESS * least)
        alive = extended
    fitting = [
        Spelled(text, in_blank + in_digit)
        for text, (in_blank, in_digit) in alive.items()
        if (not text or len(text) >= min_length) and in_blank + in_digit > 0.0
    ]
    return tuple(sorted(fitting, key=lambda one: (-one.probability, one.text))[:keep])


def _likeliest(
    prefixes: dict[str, tuple[float, float]], beam: int, hopeless: float
) -> dict[str, tuple[float, float]]:
    """Let go of the prefixes beyond the beam, and of those far less probable than the best."""
    totals = {prefix: sum(both) for prefix, both in prefixes.items()}
    least = hopeless * max(totals.values())
    kept = [prefix for prefix, total in totals.items() if total >= least]
    if len(kept) > beam:
        kept = sorted(kept, key=lambda prefix: -totals[prefix])[:beam]
    return {prefix: prefixes[prefix] for prefix in kept}


def best_seen(
    looks: Looks, *, min_length: int = 0, max_length: int | None = None, keep: int = 6
) -> tuple[Spelled, ...]:
    """Find the likeliest texts of a strip that was looked at from several sides.

    Proposed are those of the first two looks; how probable each is, all say.
    """
    spelled = [
        best_texts(frames, min_length=min_length, max_length=max_length)
        for frames in looks[:PROPOSING]
    ]
    if len(looks) == 1:
        return spelled[0][:keep]
    texts = tuple(dict.fromkeys(one.text for of_look in spelled for one in of_look))
    said = zip(texts, seen_probabilities(looks, texts).tolist(), strict=True)
    found = [Spelled(text, probability) for text, probability in said]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.text))[:keep])


def seen_probabilities(looks: Looks, texts: Sequence[str]) -> NDArray[np.float64]:
    """Say how probable each of several texts is: the mean of what the looks say of it.

    Of texts, not of frames: digits stand elsewhere in a strip that leans or is wider.

    Returns
    -------
    (len(texts),) from 0 to 1.

    Raises
    ------
    ValueError
        If a text holds something else than digits.
    """
    if not texts:
        return np.zeros(0)
    states, may_skip = _states(texts)
    emitted = _probabilities(looks)[:, :, states]
    found: NDArray[np.float64] = _spelled(emitted, may_skip, texts).mean(axis=0)
    return found


def own_probabilities(every: Sequence[Frames], texts: Sequence[str]) -> NDArray[np.float64]:
    """Say of each of several strips how probable one text is, that of its own.

    Returns
    -------
    (len(texts),) from 0 to 1.

    Raises
    ------
    ValueError
        If a text holds something else than digits.
    """
    if not texts:
        return np.zeros(0)
    states, may_skip = _states(texts)
    emitted = np.take_along_axis(_probabilities(every), states[None], axis=2)
    return _spelled(emitted, may_skip, texts)


def _probabilities(every: Sequence[Frames]) -> NDArray[np.float64]:
    """Join frames to (T, N, 11) probabilities; fewer end in sure blanks, spelling nothing."""
    rows = np.zeros((max(len(frames) for frames in every), len(every), COLUMNS))
    rows[..., BLANK] = 1.0
    for place, frames in enumerate(every):
        rows[: len(frames), place] = np.exp(frames.astype(np.float64))
    return rows


def _states(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the columns that a path of each text visits: blank, digit, blank, digit … blank.

    And where it may come from the digit before, over the blank. Shorter texts are padded.
    """
    if not all(set(text) <= set(DIGITS) for text in texts):
        raise ValueError(f"texts must hold digits alone, not {list(texts)!r}")
    longest = max(len(text) for text in texts)
    states = np.full((len(texts), 2 * longest + 1), BLANK, np.int64)
    may_skip = np.zeros(states.shape, np.float64)
    for place, text in enumerate(texts):
        states[place, 1 : 2 * len(text) : 2] = [int(digit) for digit in text]
        for at, (one, other) in enumerate(pairwise(text)):
            may_skip[place, 2 * at + 3] = one != other
    return states, may_skip


def _spelled(
    emitted: NDArray[np.float64], may_skip: NDArray[np.float64], texts: Sequence[str]
) -> NDArray[np.float64]:
    """Sum over the paths of each text, forward through the frames: (T, …, texts, states)."""
    reached = np.zeros((*emitted.shape[1:-1], emitted.shape[-1] + 2))
    reached[..., 2] = 1.0  # before the first frame, as if in the first blank
    here, before, skipped = reached[..., 2:], reached[..., 1:-1], reached[..., :-2]
    for row in emitted:
        here[...] = (here + before + may_skip * skipped) * row
    ends = np.array([2 * len(text) for text in texts]) + 2
    every = np.arange(len(texts))
    found: NDArray[np.float64] = reached[..., every, ends] + np.where(
        ends > 2, reached[..., every, ends - 1], 0.0
    )
    return found


def text_probabilities(frames: Frames, texts: Sequence[str]) -> NDArray[np.float64]:
    """Say how probable each of several texts is: the sum over all ways to spell it.

    Parameters
    ----------
    frames : (T, 11)
        Log-probabilities of 0-9 and blank.
    texts
        Digits alone; "" is that there is no number.

    Returns
    -------
    (len(texts),) from 0 to 1. Of all different texts they sum to 1.

    Raises
    ------
    ValueError
        If a text holds something else than digits.
    """
    return seen_probabilities((frames,), texts)


def digit_frames(frames: Frames, text: str) -> NDArray[np.int64]:
    """Say at which frame each digit of a text is surest, on the likeliest way to spell it.

    Parameters
    ----------
    frames : (T, 11)
        Log-probabilities of 0-9 and blank.
    text
        Digits alone, no more than the frames can spell.

    Returns
    -------
    (len(text),), rising.

    Raises
    ------
    ValueError
        If the frames are too few for the text.
    """
    states = np.full(2 * len(text) + 1, BLANK, np.int64)
    states[1::2] = [int(digit) for digit in text]
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[:2] = frames[0, states[:2]] if len(frames) else -np.inf
    came = np.zeros((len(frames), len(states)), np.int64)  # how many states it moved on
    for t in range(1, len(frames)):
        moves = np.full((3, len(states)), -np.inf)
        moves[0] = best
        moves[1, 1:] = best[:-1]
        moves[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        came[t] = moves.argmax(axis=0)
        best = moves.max(axis=0) + frames[t, states]
    state = len(states) - 1
    if len(states) > 1 and best[-2] > best[-1]:
        state -= 1
    if not np.isfinite(best[state]):
        raise ValueError(f"{len(frames)} frames are too few for {text!r}")
    found = np.full(len(text), -1, np.int64)
    for t in range(len(frames) - 1, -1, -1):
        place = state // 2
        if state % 2 and (
            found[place] < 0 or frames[t, states[state]] > frames[found[place], states[state]]
        ):
            found[place] = t
        state -= int(came[t, state])
    return found
