"""The most probable change of what was read that makes a rule hold: offered, never taken."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digitocr.db.following import digits_of, fits
from digitocr.db.review import FieldView
from digitocr.recognition.checks import sum_holds, value_of
from digitocr.types import FormRule

MOST_CHANGED = 2  # fields of a rule
MOST_TEXTS = 12  # that a field may be


@dataclass(frozen=True, slots=True)
class Repair:
    """New digits for some fields, by name, and how probable beside what stands (0 to 1)."""

    changes: Mapping[str, str]
    ratio: float


def texts_of(view: FieldView) -> list[tuple[str, float]]:
    """List what a field may be, as digits, with the ratio to the text that was read.

    Texts of the whole field, and those that differ from the best in one digit. What a person
    decided is one text.
    """
    if view.value is not None and view.status not in ("accepted", "review"):
        return [(digits_of(view.field, view.value), 1.0)]
    best = digits_of(view.field, view.text or "")
    found = {best: 1.0}
    sure = max(view.confidence, 1e-6)
    for other in view.alternatives:
        text = digits_of(view.field, other.text)
        found[text] = max(found.get(text, 0.0), min(1.0, other.confidence / sure))
    if "".join(digit.text for digit in view.digits) == best:
        for place, digit in enumerate(view.digits):
            for other in digit.hypotheses[1:]:
                text = best[:place] + other.text + best[place + 1 :]
                ratio = min(1.0, other.confidence / max(digit.confidence, 1e-6))
                found[text] = max(found.get(text, 0.0), ratio)
    ranked = sorted(found.items(), key=lambda one: (-one[1], one[0] != best))
    return [(best, 1.0), *[one for one in ranked if one[0] != best][: MOST_TEXTS - 1]]


def repair_sum(rule: FormRule, views: Mapping[str, FieldView]) -> Repair | None:
    """Find the most probable change of at most two fields under which a sum comes out."""
    names = (*rule.of, rule.equals)
    if any(name not in views for name in names):
        return None
    texts = {name: texts_of(views[name]) for name in names}
    fields = {name: views[name].field for name in names}
    stand = {name: texts[name][0][0] for name in names}
    best: Repair | None = None
    for count in range(1, MOST_CHANGED + 1):
        for changed in itertools.combinations(names, count):
            for picks in itertools.product(*(texts[name][1:] for name in changed)):
                ratio = 1.0
                for _, one in picks:
                    ratio *= one
                if best is not None and ratio <= best.ratio:
                    continue
                changes = {name: text for name, (text, _) in zip(changed, picks, strict=True)}
                tried = stand | changes
                digits = all(text.isdigit() or not text for text in tried.values())
                if digits and sum_holds(rule, fields, tried):
                    best = Repair(changes, ratio)
    return best


def repair_field(view: FieldView) -> Repair | None:
    """Find the most probable text of a field that passes its own checks."""
    for text, ratio in _others(texts_of(view)):
        if text.isdigit() and not fits(view.field, text) and value_of(view.field, text):
            return Repair({view.field.name: text}, ratio)
    return None


def _others(texts: Sequence[tuple[str, float]]) -> Sequence[tuple[str, float]]:
    return texts[1:]
