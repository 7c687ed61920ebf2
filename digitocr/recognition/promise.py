"""A target for wrong accepted readings → the least confidence to accept at, with proof.

A threshold set by hand promises nothing. Where accepted readings were audited, that is, read
again by a person who did not see the machine's text, the share of wrong ones has an exact upper
bound (Clopper and Pearson). The threshold is lowered step by step, from the surest readings to
the least sure, as long as the bound stays below the target. Because the steps are laid down by
the confidences alone, before anything is known of what was right, and because the first step
that fails ends the search, the whole procedure is wrong no more often than a single test: in at
most 5 of 100 audits the threshold lets more through than was promised (a fixed-sequence test).

Audited readings were drawn from those accepted at the thresholds of then, and speak for no
others. Nothing below the least audited confidence is ever tried: nothing is known there. And
what was drawn while the threshold was high says nothing of a lower one: counted beside the
rest, the surest readings would weigh more than they do among all that is accepted, and the
share of wrong ones look smaller than it is. So an audited reading takes part only in the
thresholds at or above the one it was drawn by.

What it asks for is plain in its smallest case: without any error 598 audited readings prove
0.5 %, and 2,995 prove 0.1 %.

References
----------
Clopper and Pearson, Biometrika 26 (1934) 404-413; Angelopoulos, Bates, Candès, Jordan and Lei,
arXiv:2110.01052, on fixed-sequence testing of thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # one-sided
STEP = 1.1  # of the number of readings from one tried threshold to the next


@dataclass(frozen=True, slots=True)
class Promise:
    """What audited readings prove.

    `threshold`: accepting from this confidence on keeps the target; None while too few were
    audited, or too many of them were wrong. `audited`, `wrong`: those that prove it, or all
    where there is none. `bound`: what the share of wrong ones is at most.
    """

    target: float
    threshold: float | None
    audited: int
    wrong: int
    bound: float


def promise(
    confidences: Sequence[float] | NDArray[np.float64],
    right: Sequence[bool] | NDArray[np.bool_],
    target: float,
    *,
    drawn_from: Sequence[float] | NDArray[np.float64] | None = None,
    level: float = LEVEL,
) -> Promise:
    """Find the least confidence from which on at most `target` of the readings are wrong.

    Parameters
    ----------
    confidences, right
        Of the audited readings, in any order: how sure the machine was, and whether its text
        was what the person read.
    target
        Share of accepted readings that may be wrong, above 0 and below 1.
    drawn_from
        Of each audited reading, the confidence from which on every reading could be drawn when
        it was. Left out: all were drawn alike, down to the least of them.
    level
        How sure the bound is.

    Raises
    ------
    ValueError
        If the target or the level is not a share between 0 and 1, or the lengths differ.
    """
    if not 0.0 < target < 1.0 or not 0.0 < level < 1.0:
        raise ValueError(f"target and level must lie between 0 and 1, not {target}, {level}")
    sure = np.asarray(confidences, np.float64)
    good = np.asarray(right, np.bool_)
    drawn = np.zeros(sure.shape) if drawn_from is None else np.asarray(drawn_from, np.float64)
    if not sure.shape == good.shape == drawn.shape or sure.ndim != 1:
        raise ValueError(
            f"a verdict for each confidence, not {good.shape} for {sure.shape}, "
            f"drawn from {drawn.shape}"
        )
    least = least_audited(target, level=level)
    threshold, count, errors = None, len(sure), int((~good).sum())
    for tried in _thresholds(sure, least):
        speaks = (sure >= tried) & (drawn <= tried)
        if (n := int(speaks.sum())) < least:
            continue  # so few prove nothing, whatever they are
        wrong = int((speaks & ~good).sum())
        # The same as asking whether the upper bound is below the target, and quicker.
        if chance_of_at_most(wrong, n, target) > 1.0 - level:
            break
        threshold, count, errors = tried, n, wrong
    return Promise(target, threshold, count, errors, upper_bound(errors, count, level=level))


def _thresholds(sure: NDArray[np.float64], first: int) -> Iterator[float]:
    """Lay down what to try, from the `first` surest readings down, a tenth more at a time."""
    falling = np.sort(sure)[::-1]
    count = first
    while count <= len(falling):
        threshold = float(falling[count - 1])
        yield threshold
        # Readings of equal confidence are accepted together.
        together = int(np.searchsorted(-falling, -threshold, side="right"))
        if together == len(falling):
            return
        count = min(len(falling), max(together + 1, math.ceil(together * STEP)))


def least_audited(target: float, *, level: float = LEVEL) -> int:
    """Count the readings that prove a target when none of them is wrong."""
    return math.ceil(math.log(1.0 - level) / math.log(1.0 - target))


def upper_bound(wrong: int, count: int, *, level: float = LEVEL) -> float:
    """Give the exact one-sided upper bound of a share of which `wrong` of `count` were seen.

    References
    ----------
    Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    if not 0 <= wrong <= count:
        raise ValueError(f"{wrong} of {count} is no share")
    if wrong == count:
        return 1.0
    low, high = wrong / count, 1.0
    for _ in range(60):  # the chance to see so few falls as the share rises
        middle = (low + high) / 2
        if chance_of_at_most(wrong, count, middle) > 1.0 - level:
            low = middle
        else:
            high = middle
    return high


def chance_of_at_most(wrong: int, count: int, share: float) -> float:
    """Give the binomial probability of no more than `wrong` in `count`."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return float(wrong >= count)
    seen = np.arange(wrong + 1)
    logs = (
        math.lgamma(count + 1)
        - np.array([math.lgamma(k + 1) + math.lgamma(count - k + 1) for k in seen])
        + seen * math.log(share)
        + (count - seen) * math.log1p(-share)
    )
    return float(np.exp(logs - logs.max()).sum() * math.exp(logs.max()))
