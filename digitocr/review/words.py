"""What the machine says, in words for the person who looks at it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from digitocr.db.tables import Queue
from digitocr.recognition.stopping import percent_at_most
from digitocr.types import FormRule, Reason, Rule

REASONS = {
    Reason.LOW_CONFIDENCE: "A digit is not sure enough.",
    Reason.JUNK: "Something in the field could not be explained: faint, struck out, left over.",
    Reason.MISSING: "The field must be filled in, and looks blank.",
    Reason.LENGTH: "There are more or fewer digits than the field may have.",
    Reason.GAP: "There is an empty position between two digits.",
    Reason.CLIPPED: "Writing runs out of the field.",
    Reason.MISREGISTERED: "The print around the field was not found where it should be.",
    Reason.UNREADABLE: "Nothing in the field could be read.",
    Reason.DOUBLE_KEY: "The form asks for this field to be keyed by a person too.",
    Reason.PURGED: "What was read was taken out by a purge.",
}
CHECKS = {
    Rule.RANGE: "It lies outside the range the form allows.",
    Rule.PATTERN: "It does not have the shape the form asks for.",
    Rule.LUHN: "Its check digit does not fit (Luhn).",
    Rule.DAMM: "Its check digit does not fit (Damm).",
    Rule.MOD11: "Its check digit does not fit (modulus 11).",
    Rule.DATE: "There is no such day.",
}
QUEUES = {
    Queue.CONFLICT: "Conflicts",
    Queue.BLIND: "Blind keying",
    Queue.FIELD: "Fields",
    Queue.GROUP: "Digits",
    Queue.AUDIT: "Audit",
}
WHERE = {Queue.CONFLICT: "/conflict", Queue.BLIND: "/blind", Queue.FIELD: "/field",
         Queue.AUDIT: "/audit"}  # fmt: skip


def in_words(
    reason: str, rules: Sequence[FormRule] = (), titles: Mapping[str, str] | None = None
) -> str:
    """Say a reason, or the name of a check or rule that does not hold, as a sentence.

    Parameters
    ----------
    titles
        What fields are called on the form, by name; without it they are called by name.
    """
    prefix = Reason.of_rule("")
    name = reason.removeprefix(prefix)
    for rule in rules:
        if rule.name == name:
            called = titles or {}
            parts = " + ".join(called.get(name, name) for name in rule.of)
            total = called.get(rule.equals, rule.equals)
            return f"The sum does not come out: {parts} = {total}."
    if name in set(CHECKS):
        return CHECKS[Rule(name)]
    if reason in set(REASONS):
        return REASONS[Reason(reason)]
    return f"The rule '{name}' does not hold."


def percent(share: float | None) -> str:
    """Write a share as a percentage, with two digits that matter; — if unknown.

    What is not all is never written as 100 %.
    """
    if share is None:
        return "—"
    if 0.99 <= share < 1.0:
        return f"{min(99.9, math.floor(1000 * share) / 10):g} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def at_most(share: float | None) -> str:
    """Write a bound as a percentage, rounded up so that it stays one; — if unknown."""
    return "—" if share is None else percent_at_most(share)


def thousands(number: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def when(time: datetime | None) -> str:
    """Write a time, UTC, to the minute."""
    return "—" if time is None else f"{time:%Y-%m-%d %H:%M}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{thousands(number)} {noun}{'' if number == 1 else 's'}"


FILTERS = {
    "percent": percent,
    "at_most": at_most,
    "thousands": thousands,
    "when": when,
    "words": in_words,
    "counted": counted,
}
