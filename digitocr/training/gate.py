"""Whether a candidate may be promoted: it must be no worse than the model in use, anywhere.

Both answer the same pictures, so only those count that one gets right and the other wrong. If
the models were equal, each of these would fall to either side like a coin; the candidate fails
where so many falling against it are no luck (an exact sign test, one-sided). That it reads
corrections better is no excuse for reading MNIST worse, or for taking crosses for numbers.

The labels it learned from are tried as well. People who check slip in fewer than one label of
a hundred; where the model in use, though sure, contradicts more than that, someone was
careless, or meant harm, and what slipped past cannot be told from the rest. Set aside or not,
nothing that was made of such a batch passes until a second person has looked.

References
----------
McNemar, Psychometrika 12 (1947) 153-157, here with exact binomial chances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.recognition.classifier import best_digits
from digitocr.training.dataset import OTHER
from digitocr.training.scores import Scored

LUCK = 0.05  # less likely than this is no luck
SUSPICIOUS_SHARE = 0.01  # of labels that a sure model contradicts


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison: failures of both of `count`; `worse`, `better`: where only one failed.

    `chance`: of so many more failures of the candidate, were it no worse.
    """

    name: str
    count: int
    in_use: int
    candidate: int
    worse: int
    better: int
    chance: float

    @property
    def passed(self) -> bool:
        return self.chance > LUCK


@dataclass(frozen=True, slots=True)
class LabelTrial:
    """The labels themselves: how many of `count` a sure model contradicts."""

    count: int
    suspicious: int
    chance: float

    @property
    def passed(self) -> bool:
        return self.chance > LUCK


@dataclass(frozen=True, slots=True)
class Gate:
    """All trials of a candidate; it may be promoted if it passed every one."""

    labels: LabelTrial
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Say in a sentence each what failed."""
        found = []
        if not self.labels.passed:
            found.append(
                f"{self.labels.suspicious} of {self.labels.count} labels are contradicted by "
                "the model in use, which is sure: a second person must look at them first "
                "(suspicious.csv)"
            )
        for one in self.trials:
            if not one.passed:
                found.append(
                    f"{one.name}: {one.candidate} of {one.count}, the model in use "
                    f"{one.in_use} (by luck in {one.chance:.1%} of cases)"
                )
        return tuple(found)

    def entries(self, fingerprint: str) -> dict[str, Any]:
        """Give what the card says of it; `fingerprint` ties it to the weights judged."""
        return {
            "passed": self.passed,
            "failures": list(self.failures),
            "fingerprint": fingerprint,
            "labels": asdict(self.labels),
            "trials": [asdict(one) for one in self.trials],
        }


def judge(
    pairs: Sequence[tuple[Scored, Scored]], *, labels: int, suspicious: int, accept: float
) -> Gate:
    """Try a candidate on data sets that both models answered.

    Parameters
    ----------
    pairs
        Of each data set what the model in use says, and the candidate.
    labels, suspicious
        How many labels there were, and of how many the model in use is sure they are wrong.
    accept : float
        From this confidence on a digit is accepted.
    """
    chance = chance_of_at_least(suspicious, labels, SUSPICIOUS_SHARE)
    trials: list[Trial] = []
    for in_use, candidate in pairs:
        written = in_use.data.labels < OTHER
        name = in_use.data.name
        if written.any():
            wrong = [(one.judged != one.data.labels)[written] for one in (in_use, candidate)]
            trials.append(trial(f"{name}: digits read wrong", *wrong))
            slipped = [_slipped(one, accept=accept)[written] for one in (in_use, candidate)]
            trials.append(trial(f"{name}: wrong and accepted", *slipped))
        if not written.all():
            taken = [_accepted(one, accept=accept)[~written] for one in (in_use, candidate)]
            trials.append(trial(f"{name}: no digits, and not refused", *taken))
    return Gate(LabelTrial(labels, suspicious, chance), tuple(trials))


def trial(name: str, in_use: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> Trial:
    """Compare where two models fail on the same pictures."""
    worse, better = int((candidate & ~in_use).sum()), int((in_use & ~candidate).sum())
    chance = chance_of_at_least(worse, worse + better, 0.5)
    failed = int(in_use.sum()), int(candidate.sum())
    return Trial(name, len(in_use), *failed, worse, better, chance)


def chance_of_at_least(seen: int, count: int, share: float) -> float:
    """Give the binomial probability of `seen` or more in `count`."""
    if seen <= 0:
        return 1.0
    counts = np.arange(seen, count + 1)
    logs = np.array(
        [
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            for k in counts
        ]
    )
    logs += counts * math.log(share) + (count - counts) * math.log1p(-share)
    return min(1.0, float(np.exp(logs).sum()))


def _accepted(one: Scored, *, accept: float) -> NDArray[np.bool_]:
    _, confidence = best_digits(one.probabilities)
    found: NDArray[np.bool_] = (one.judged < OTHER) & (confidence >= accept)
    return found


def _slipped(one: Scored, *, accept: float) -> NDArray[np.bool_]:
    best, _ = best_digits(one.probabilities)
    found: NDArray[np.bool_] = _accepted(one, accept=accept) & (best != one.data.labels)
    return found
