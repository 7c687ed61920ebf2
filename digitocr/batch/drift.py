"""Whether a batch is like those of the last weeks, in three figures for each form.

The rule: the figure of a batch is expected within the 99.9 % prediction interval of the batches
before it, those of four weeks, at least five of them (Student's t, between-batch variance). A
batch smaller than they were may lie as much further out as chance has it. Less than what
anybody would act on never counts as moved, however alike the batches before were. So of a
thousand batches that are like the others, one is called out for each figure; a new pen,
scanner, printer or office is called out in the first night.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, variance

from sqlalchemy.orm import Session

from digitocr.db import measures
from digitocr.db.measures import Measured, Sample

WEEKS = 4
LEAST_BATCHES = 5
LEAST_COUNT = 20  # fields, or pages, below which a batch is not compared, nor compared with
LEVEL = 0.999
FIGURES = {  # with the least that anybody would act on
    "confidence": 0.005,
    "reject rate": 0.01,
    "residual": 0.02,
}


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of a batch beside those before it; `residual` is in millimetres.

    `low` and `high` are where it was expected; nothing was where there is too little to say.
    As text it is the line for the operator.
    """

    form: str
    figure: str
    value: float
    batches: int
    low: float = -math.inf
    high: float = math.inf

    @property
    def expects(self) -> bool:
        return math.isfinite(self.high)

    @property
    def moved(self) -> bool:
        return not self.low <= self.value <= self.high

    def written(self, value: float) -> str:
        """Write a value of this figure."""
        if self.figure == "residual":
            return f"{value:.3f} mm"
        return f"{100 * value:.1f} %" if self.figure == "reject rate" else f"{value:.4f}"

    def __str__(self) -> str:
        was = self.written(self.value)
        if not self.expects:
            return f"{self.form}: {self.figure} {was}; too little came before to compare with"
        expected = f"{self.written(self.low)} to {self.written(self.high)}"
        said = "moved" if self.moved else "as before"
        return (
            f"{self.form}: {self.figure} {was} {said}: {expected} expected, by {self.batches} "
            f"batches of the last {WEEKS} weeks"
        )


def compare_batch(session: Session, name: str, now: datetime) -> tuple[Compared, ...]:
    """Compare a batch that was closed with those of the weeks before."""
    past = measures.earlier(session, name, now - timedelta(weeks=WEEKS))
    return tuple(
        one
        for measured in measures.of_batch(session, name)
        for one in compare(measured, [was for was in past if was.form == measured.form])
    )


def compare(measured: Measured, past: Sequence[Measured]) -> list[Compared]:
    """Compare the figures of one form, by the rule above."""
    found = []
    for figure, least in FIGURES.items():
        now = _sample(measured, figure)
        before = [_sample(one, figure) for one in past]
        before = [one for one in before if one.count >= LEAST_COUNT]
        if not now.count:
            continue
        bounds: tuple[float, ...] = ()
        if len(before) >= LEAST_BATCHES and now.count >= LEAST_COUNT:
            bounds = _expected(now, before, least)
        found.append(Compared(measured.form, figure, now.mean, len(before), *bounds))
    return found


def _expected(now: Sample, before: Sequence[Sample], least: float) -> tuple[float, float]:
    from scipy.special import stdtrit  # a tenth of a second: only where it is needed

    count = len(before)
    means = [one.mean for one in before]
    center = fmean(means)
    chance = fmean(one.variance for one in before) / now.count
    usual = fmean(one.variance / one.count for one in before)
    spread = variance(means) * (1 + 1 / count) + max(0.0, chance - usual)
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * math.sqrt(spread)
    reach = max(reach, least)
    return max(0.0, center - reach), center + reach


def _sample(measured: Measured, figure: str) -> Sample:
    return {
        "confidence": measured.confidence,
        "reject rate": measured.rejected,
        "residual": measured.residual,
    }[figure]
