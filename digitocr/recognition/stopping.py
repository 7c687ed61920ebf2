"""A blind audit of a batch → how many readings must be reviewed, worst first, for a target.

A uniform random sample of all readings is keyed blind before anything is reviewed. Then every
cut-off is a hypothesis: "if all below it are reviewed, more than the target stays wrong". The
cut-offs are tried from "review all" down to "review none", each by an exact binomial test on
the audited readings that would not be reviewed, and the first that fails ends the search. They
are laid down by the confidences alone, before it is known what was wrong, so the procedure errs
no more often than one test does (a fixed-sequence test): in at most 5 of 100 batches more is
left wrong than was asked for.

What was reviewed is not right for that: a reviewer misses some. So known-wrong cells are mixed
in, and what reviewers leave behind is at most the upper bound of the share of wrong readings
times the upper bound of the share of known-wrong cells that were missed. If that alone is
as much as the target, reviewing all does not reach it, and this is said.

It rests on this: the audited answers are right (hence blind, and by a second person where they
disagree with the reading), the batch is one population, and each reading counts once. Errors
come in clumps by form: where that matters, audit whole forms.

The tests and the two bounds are each 95 % sure by themselves. The product of two bounds is so
cautious that together they stay within 5 %: the simulation in the tests counts the batches that
end above their target.

References
----------
Clopper and Pearson, Biometrika 26 (1934) 404-413; Wilson, Journal of the American Statistical
Association 22 (1927) 209-212; Angelopoulos, Bates, Candès, Jordan and Lei, arXiv:2110.01052, on
fixed-sequence testing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitocr.recognition.promise import LEVEL, chance_of_at_most, upper_bound

STEP = 1.05  # of the number of readings that are not reviewed, from one cut-off to the next
Z_95 = 1.96  # of the two-sided interval of a catch rate
AUDITS_A_TARGET = (
    10  # an audit of 10 / target readings seldom asks for more review than it saves
)

Confidences = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CatchRate:
    """How many known-wrong cells a reviewer, or all of them, was shown and caught."""

    shown: int
    caught: int

    def __post_init__(self) -> None:
        if not 0 <= self.caught <= self.shown:
            raise ValueError(f"{self.caught} caught of {self.shown} shown is no rate")

    @property
    def missed(self) -> int:
        return self.shown - self.caught

    @property
    def share(self) -> float | None:
        """The share caught; None where nothing was shown."""
        return self.caught / self.shown if self.shown else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share caught, 95 % on both sides together."""
        if not self.shown:
            return 0.0, 1.0
        share, spread = self.caught / self.shown, Z_95 * Z_95 / self.shown
        middle = (share + spread / 2) / (1 + spread)
        half = (
            Z_95
            / (1 + spread)
            * math.sqrt(share * (1 - share) / self.shown + spread / self.shown / 4)
        )
        return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))

    def miss_bound(self, *, level: float = LEVEL) -> float:
        """Bound the share missed from above; 1.0 where nothing was shown."""
        return upper_bound(self.missed, self.shown, level=level)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What an audit proves of a batch that is reviewed worst first. Rates are shares of all.

    `readings`: of the batch. `needed`: how many must be reviewed for the target, None where no
    review by one person reaches it. `reviewed`: how many are. `rest_audited`, `rest_wrong`: of
    the audited readings those that are not reviewed then. `rest_bound`: what those not
    reviewed leave wrong at most; `left_behind`: what reviewers leave at most. `double_keyed`:
    how many of the least sure would have to be keyed twice, where one reviewer cannot reach
    the target; None where that would not do either, or is not needed.

    `rest_*` and `bound` are of what is reviewed now. A bound is 95 % sure where `reviewed` was
    not chosen by looking at the audit; at `needed` what is proven is the target, no less.
    """

    readings: int
    target: float
    level: float
    audited: int
    wrong: int
    wrong_bound: float
    seeded: CatchRate
    miss_bound: float
    left_behind: float
    needed: int | None
    reviewed: int
    rest_audited: int
    rest_wrong: int
    rest_bound: float
    double_keyed: int | None

    @property
    def bound(self) -> float:
        """What is wrong at most of all readings, with what is reviewed now."""
        behind = self.left_behind if self.reviewed else 0.0
        return min(1.0, self.rest_bound + behind)

    @property
    def met(self) -> bool:
        """Whether enough is reviewed."""
        return self.needed is not None and self.reviewed >= self.needed

    def __str__(self) -> str:
        """Say it in one sentence, for the certificate and for the meter."""
        if self.needed is None:
            return self._refusal()
        sure = f"{100 * self.level:g} % sure"
        if not self.met:
            return (
                f"{self.reviewed:,} of {self.needed:,} readings that must be reviewed are; so "
                f"far at most {percent_at_most(self.bound)} of all {self.readings:,} are wrong "
                f"({sure}), the target is {percent_at_most(self.target)}"
            )
        seeded = self.seeded
        return (
            f"At most {percent_at_most(self.target)} of {self.readings:,} readings are wrong "
            f"({sure}): {self.reviewed:,} were reviewed, the least sure first; of "
            f"{self.rest_audited:,} audited among the others {self.rest_wrong:,} were wrong, "
            f"and of {seeded.shown:,} known-wrong cells reviewers caught {seeded.caught:,}"
        )

    def _refusal(self) -> str:
        said = (
            f"One reviewer cannot reach {percent_at_most(self.target)}: up to "
            f"{percent_at_most(self.wrong_bound)} of the readings are wrong and up to "
            f"{percent_at_most(self.miss_bound)} of those are missed, which leaves "
            f"{percent_at_most(self.left_behind)}"
        )
        if self.double_keyed is not None:
            return (
                f"{said}; double keying of the {self.double_keyed:,} least sure would, or more "
                "known-wrong cells to measure the reviewers by"
            )
        return (
            f"{said}; nor would double keying: audit more, measure the reviewers by more "
            "known-wrong cells, or ask for less"
        )


def certify(
    confidences: Confidences,
    audited: Confidences,
    wrong: Sequence[bool] | NDArray[np.bool_],
    target: float,
    *,
    seeded: CatchRate,
    reviewed: int = 0,
    level: float = LEVEL,
) -> Certificate:
    """Say how many readings of a batch must be reviewed, and what is proven so far.

    Parameters
    ----------
    confidences
        Of all readings of the batch, in any order.
    audited, wrong
        Of a uniform random sample of them: the confidence, and whether the reading was wrong.
    target
        Share of all readings that may be wrong in the end, above 0 and below 1.
    seeded
        The known-wrong cells that reviewers were shown and caught.
    reviewed
        How many are reviewed now, the least sure first; those of equal confidence count once
        all of them are.
    level
        How sure each bound is.

    Raises
    ------
    ValueError
        If the target or level is no share, or the audit does not go with the batch.
    """
    if not 0.0 < target < 1.0 or not 0.0 < level < 1.0:
        raise ValueError(f"target and level must lie between 0 and 1, not {target}, {level}")
    batch = np.sort(np.asarray(confidences, np.float64))
    sample, bad = np.asarray(audited, np.float64), np.asarray(wrong, np.bool_)
    if sample.shape != bad.shape or sample.ndim != 1 or len(sample) > len(batch):
        raise ValueError(
            f"a verdict for each audited reading, at most {len(batch)} of them, not "
            f"{bad.shape} for {sample.shape}"
        )
    if not 0 <= reviewed <= len(batch):
        raise ValueError(f"reviewed = {reviewed} of {len(batch)} readings")
    audit = _Audit(batch, np.sort(sample), np.sort(sample[bad]), level)
    wrong_bound = audit.bound_from(0)
    miss_bound = seeded.miss_bound(level=level)
    left_behind = wrong_bound * miss_bound
    needed = _needed(audit, target, left_behind) if left_behind < target else None
    double_keyed = _double_keyed(audit, target, miss_bound) if needed is None else None
    now = audit.whole_ties(reviewed)
    m, x = audit.rest(now)
    return Certificate(
        readings=len(batch),
        target=target,
        level=level,
        audited=len(sample),
        wrong=int(bad.sum()),
        wrong_bound=wrong_bound,
        seeded=seeded,
        miss_bound=miss_bound,
        left_behind=left_behind,
        needed=needed,
        reviewed=reviewed,
        rest_audited=m,
        rest_wrong=x,
        rest_bound=audit.bound_from(now),
        double_keyed=double_keyed,
    )


def audit_size(target: float, wrong: int = 0, *, level: float = LEVEL) -> int:
    """Count the audited readings of which `wrong` may be wrong and still prove a target."""
    low, high = wrong, wrong + 1
    while chance_of_at_most(wrong, high, target) > 1.0 - level:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if chance_of_at_most(wrong, middle, target) > 1.0 - level:
            low = middle
        else:
            high = middle
    return high


def advised_audit(target: float, readings: int) -> int:
    """Advise how many readings to audit: fewer cost more in review than they save."""
    return min(readings, math.ceil(AUDITS_A_TARGET / target))


@dataclass(frozen=True, slots=True, eq=False)
class _Audit:
    """Confidences of the batch, of what was audited and of what was wrong, each rising.

    A cut-off `k` means: the `k` least sure are reviewed.
    """

    batch: NDArray[np.float64]
    sample: NDArray[np.float64]
    bad: NDArray[np.float64]
    level: float

    def whole_ties(self, k: int) -> int:
        """Move a cut-off down to where no readings of equal confidence are parted."""
        if k >= len(self.batch):
            return len(self.batch)
        return int(np.searchsorted(self.batch, self.batch[k], side="left"))

    def rest(self, k: int) -> tuple[int, int]:
        """Count those audited beyond a cut-off, and the wrong ones of them."""
        if k >= len(self.batch):
            return 0, 0
        least = self.batch[k]
        m = len(self.sample) - int(np.searchsorted(self.sample, least, side="left"))
        x = len(self.bad) - int(np.searchsorted(self.bad, least, side="left"))
        return m, x

    def bound_from(self, k: int) -> float:
        """Bound the wrong readings beyond a cut-off from above, as a share of all."""
        if k >= len(self.batch):
            return 0.0
        m, x = self.rest(k)
        return upper_bound(x, m, level=self.level) * (len(self.batch) - k) / len(self.batch)

    def cutoffs(self) -> Iterator[int]:
        """Lay the cut-offs down: from all to none, the rest growing by a twentieth."""
        rest = 1
        while rest < len(self.batch):
            k = self.whole_ties(len(self.batch) - rest)
            yield k
            rest = max(len(self.batch) - k + 1, math.ceil((len(self.batch) - k) * STEP))
        yield 0


def _needed(audit: _Audit, target: float, left_behind: float) -> int:
    """Find the least number to review, by testing from "all" down to "none"."""
    found = readings = len(audit.batch)
    for k in audit.cutoffs():
        allowed = target - (left_behind if k else 0.0)
        share = allowed * readings / (readings - k)
        if share >= 1.0:  # the rest is so small that all of it may be wrong
            found = k
            continue
        m, x = audit.rest(k)
        if chance_of_at_most(0, m, share) > 1.0 - audit.level:
            continue  # so few prove nothing, whatever they are
        if chance_of_at_most(x, m, share) > 1.0 - audit.level:
            break
        found = k
    return found


def _double_keyed(audit: _Audit, target: float, miss_bound: float) -> int | None:
    """Find how many of the least sure, keyed twice, would bring a full review to the target.

    A second person who does not see the first one's answer misses as much, of what is left.
    """
    whole = audit.bound_from(0)
    for k in sorted({*audit.cutoffs(), len(audit.batch)}):
        beyond = min(whole, audit.bound_from(k))
        if (whole * miss_bound + beyond) * miss_bound < target:
            return k
    return None


def percent_at_most(share: float) -> str:
    """Write a share with two digits, rounded up: a bound must stay one."""
    if share <= 0.0:
        return "0 %"
    unit = 10.0 ** (math.floor(math.log10(share * 100)) - 1)
    return f"{math.ceil(share * 100 / unit - 1e-9) * unit:.6g} %"
