"""Rules that a text must obey: ranges, patterns, check digits, dates, sums across fields.

Checks read the digits as written; `value_of` turns them into what is exported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from digitocr.types import Check, Field, FieldType, FormRule, Rule

DATE_PARTS = ("DD", "MM", "YYYY", "YY")
YEARS = range(1800, 2200)
# Damm's quasigroup of order 10 (H. M. Damm, Total anti-symmetrische Quasigruppen, 2004).
DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


def value_of(field: Field, digits: str) -> str:
    """Turn digits as written into the text of the value: decimal mark, ISO date.

    `""` stays `""`: a blank field has no value. Digits that are no date stay as they are;
    the date check then fails.
    """
    if not digits:
        return ""
    if field.type is FieldType.DECIMAL and field.decimals:
        padded = digits.zfill(field.decimals + 1)
        return f"{padded[: -field.decimals]}.{padded[-field.decimals :]}"
    if field.type is FieldType.DATE:
        day = parse_date(digits, field.date_format)
        return digits if day is None else day.isoformat()
    return digits


def parse_date(digits: str, date_format: str) -> date | None:
    """Turn the digits of a date field into a date; None where there is no such day.

    Two-digit years are of 1970–2069.
    """
    if len(digits) != len(date_format) or not digits.isdigit():
        return None
    part = {}
    rest = date_format
    for name in DATE_PARTS:
        at = rest.find(name)
        if at >= 0:
            part[name] = int(digits[at : at + len(name)])
            rest = rest.replace(name, "_" * len(name), 1)
    year = part.get("YYYY")
    if year is None:
        year = part["YY"] + (1900 if part["YY"] >= 70 else 2000)
    try:
        return date(year, part["MM"], part["DD"])
    except ValueError:
        return None


def failed_checks(field: Field, digits: str) -> tuple[str, ...]:
    """Name the checks of a field that its digits do not pass; a blank field passes all."""
    if not digits:
        return ()
    names = [check.rule.value for check in field.checks if not _holds(check, field, digits)]
    is_date = field.type is FieldType.DATE
    if is_date and not _is_of_our_time(field, digits) and Rule.DATE.value not in names:
        names.append(Rule.DATE.value)
    return tuple(dict.fromkeys(names))


def _is_of_our_time(field: Field, digits: str) -> bool:
    """Say whether digits are a day that a form may hold: 9023 is a 2 misread."""
    day = parse_date(digits, field.date_format)
    return day is not None and day.year in YEARS


def _holds(check: Check, field: Field, digits: str) -> bool:
    match check.rule:
        case Rule.RANGE:
            number = (
                Decimal(value_of(field, digits)) if field.type is not FieldType.DATE else None
            )
            if number is None:
                return True
            low = check.min is None or number >= Decimal(str(check.min))
            return low and (check.max is None or number <= Decimal(str(check.max)))
        case Rule.PATTERN:
            return re.fullmatch(check.pattern or "", digits) is not None
        case Rule.LUHN:
            return luhn_holds(digits)
        case Rule.DAMM:
            return damm_holds(digits)
        case Rule.MOD11:
            return mod11_holds(digits)
        case Rule.DATE:
            return _is_of_our_time(field, digits)
        case Rule.SUM:
            return True


def luhn_holds(digits: str) -> bool:
    """Check the last digit by ISO/IEC 7812-1 annex B (Luhn)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def damm_holds(digits: str) -> bool:
    """Check the last digit by Damm's algorithm."""
    interim = 0
    for digit in digits:
        interim = int(DAMM[interim][int(digit)])
    return interim == 0


def mod11_holds(digits: str) -> bool:
    """Check the last digit by modulus 11 with weights 2, 3, 4, … from the right.

    Numbers whose check would be 10 are not given out, so every digit is 0 to 9.
    """
    if len(digits) < 2:
        return False
    total = sum(int(d) * (2 + place) for place, d in enumerate(reversed(digits[:-1])))
    return (total + int(digits[-1])) % 11 == 0


def names_of(field: Field) -> tuple[str, ...]:
    """Name the checks of a field; a date field is always checked to be a day."""
    names = [check.rule.value for check in field.checks]
    return tuple(dict.fromkeys(names + ["date"] * (field.type is FieldType.DATE)))


def sum_holds(rule: FormRule, fields: Mapping[str, Field], texts: Mapping[str, str]) -> bool:
    """Say whether a sum comes out; a blank counts as 0, and all blank is no sum at all."""
    names = (*rule.of, rule.equals)
    if all(texts[name] == "" for name in names):
        return True
    numbers = [Decimal(value_of(fields[name], texts[name]) or "0") for name in names]
    return sum(numbers[:-1]) == numbers[-1]


def failed_rules(
    rules: tuple[FormRule, ...], fields: Mapping[str, Field], digits: Mapping[str, str | None]
) -> tuple[FormRule, ...]:
    """List the rules that do not hold; those of other pages are left out.

    A rule that names an unreadable field (None) cannot hold.
    """
    failed = []
    for rule in rules:
        if rule.equals in digits:
            names = (*rule.of, rule.equals)
            texts = {name: text for name in names if (text := digits[name]) is not None}
            if len(texts) < len(names) or not sum_holds(rule, fields, texts):
                failed.append(rule)
    return tuple(failed)
