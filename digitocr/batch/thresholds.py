"""Audited readings of a database → the thresholds that stand for the next pages."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from digitocr.db.decisions import AuditedReading
from digitocr.recognition.promise import LEVEL, Promise, least_audited, promise
from digitocr.settings import Settings
from digitocr.types import FieldType


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands for the fields of a type that has a target: what was proven, or the settings.

    As text it is the line for the operator.
    """

    type: FieldType
    promise: Promise
    accept_digit: float
    accept_field: float

    def __str__(self) -> str:
        found = self.promise
        if found.threshold is not None:
            return (
                f"{self.type}: {found.audited} audited, {found.wrong} wrong: accepted from "
                f"{found.threshold:.6g} on (at most {_percent(found.bound)} wrong, "
                f"{100 * LEVEL:g} % sure)"
            )
        least = least_audited(found.target)
        counted = f"{found.audited} audited"
        if found.audited < least:
            counted += f" of at least {least} that prove {100 * found.target:g} %"
        else:
            counted += f", {found.wrong} wrong: they do not prove {100 * found.target:g} %"
        return (
            f"{self.type}: {counted}: accept_field {self.accept_field:g} and accept_digit "
            f"{self.accept_digit:g} stand"
        )


def derive(
    audited: Sequence[AuditedReading], types: Collection[FieldType], settings: Settings
) -> tuple[Standing, ...]:
    """Derive what stands for each type that has a target, in the order of `FieldType`."""
    found = []
    for type in FieldType:
        target = settings.target_of(type)
        if type not in types or not target:
            continue
        of_type = [one for one in audited if one.type is type]
        proven = promise(
            [one.confidence for one in of_type],
            [one.right for one in of_type],
            target,
            drawn_from=[one.sure_from for one in of_type],
        )
        found.append(Standing(type, proven, settings.accept_digit, settings.accept_field))
    return tuple(found)


def _percent(share: float) -> str:
    """Write a bound with two digits, rounded up: it must stay one."""
    if share <= 0.0:
        return "0 %"
    unit = 10.0 ** (math.floor(math.log10(share * 100)) - 1)
    return f"{math.ceil(share * 100 / unit - 1e-9) * unit:.6g} %"
