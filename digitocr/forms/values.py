"""Invent what might be written on a form: values that obey its fields, checks and rules."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from digitocr.errors import TemplateError
from digitocr.recognition.checks import failed_checks, failed_rules, value_of
from digitocr.templates import FormTemplate
from digitocr.types import Field, FieldKind, FieldType, Rule

FIRST_DAY = date(2021, 1, 1)
DAYS = 1600
TRIES = 20_000
PAGE_TRIES = 60
OPEN_DIGIT_ASPECT = 0.75  # width that an open field gives a digit, in heights of its box
OPEN_DIGITS = 6  # at most, where an open field does not say
CODE_LENGTH = 10  # of a bar code's text, where the field does not say
MOST_REPEATS = 4  # of what a pattern lets repeat without end
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
# One piece of a pattern that can be made up: a class, an escape or a character, and how often.
PIECE = re.compile(
    r"(\[(?P<class>[^\]^]+)\]|\\(?P<escape>.)|(?P<char>[^\\\[\](){}|?*+.^$]))"
    r"(?:\{(?P<low>\d+)(?P<to>,(?P<high>\d*))?\}|(?P<sign>[?*+]))?"
)


def draw_values(
    form: FormTemplate, rng: np.random.Generator, *, blank_share: float = 0.06
) -> dict[str, str]:
    """Make up one filled form: a value for each field, as an export would say it.

    Parameters
    ----------
    blank_share : float
        Probability that a field that may be blank is.

    Returns
    -------
    Texts by field name, in the order of the template: zeros kept, `.` as decimal mark, dates
    as YYYY-MM-DD, "" for a blank field.

    Raises
    ------
    TemplateError
        If no values were found that obey all checks and rules together.
    """
    computed = {rule.equals for rule in form.rules}
    summed = {name for rule in form.rules for name in rule.of}
    fields = {field.name: field for field in form.fields}
    for attempt in range(PAGE_TRIES):
        share = 0.9**attempt  # smaller and smaller parts, until their totals have room
        digits = {
            name: _draw_digits(
                form,
                field,
                rng,
                share if name in summed else 1.0,
                0.0 if field.required else blank_share,
            )
            for name, field in fields.items()
            if name not in computed
        }
        if _add_totals(form, fields, digits):
            return {name: value_of(field, digits[name]) for name, field in fields.items()}
    raise TemplateError(
        f"{form}: found no values that obey all of {', '.join(r.name for r in form.rules)}; "
        "look at the lengths and ranges of the totals"
    )


def written(field: Field, value: str) -> str:
    """Say which characters stand on the paper for a value: a date in the field's own order.

    Raises
    ------
    ValueError
        If `value` is not one that the field can hold.
    """
    if value == "":
        return ""
    if field.kind is FieldKind.MARK:
        if not re.fullmatch(f"[01]{{{field.cells or 1}}}", value):
            raise ValueError(f"value of {field.name} must be a 0 or 1 a box: {value!r}")
        return value
    if field.kind is FieldKind.BARCODE:
        return value
    if field.type is not FieldType.DATE:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise ValueError(f"value of {field.name} must be a number or blank: {value!r}")
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"value of {field.name} must be YYYY-MM-DD: {value!r}") from None
    return _date_digits(field, day)


def most_digits(field: Field) -> int:
    """Count the digits a field has room for."""
    if field.max_length is not None:
        return field.max_length
    if field.cells is not None:
        return field.cells
    room = int(field.box.width / (OPEN_DIGIT_ASPECT * field.box.height))
    return max(1, min(room, OPEN_DIGITS), field.min_length)


def _date_digits(field: Field, day: date) -> str:
    parts = {"DD": f"{day.day:02}", "MM": f"{day.month:02}", "YYYY": f"{day.year:04}"}
    parts["YY"] = parts["YYYY"][2:]
    return re.sub("YYYY|YY|MM|DD", lambda part: parts[part.group()], field.date_format)


def _draw_digits(
    form: FormTemplate,
    field: Field,
    rng: np.random.Generator,
    share: float,
    blank_share: float,
) -> str:
    may_be_blank = field.min_length == 0 or field.type is FieldType.DATE
    if may_be_blank and rng.random() < blank_share:
        return ""
    for _ in range(TRIES):
        digits = _draw_any(field, rng, share)
        if not failed_checks(field, digits):
            return digits
    rules = ", ".join(check.rule for check in field.checks)
    raise TemplateError(
        f"{form}: field '{field.name}': found no value that obeys {rules}; "
        "its lengths and checks may contradict each other"
    )


def _draw_any(field: Field, rng: np.random.Generator, share: float) -> str:
    if field.kind is FieldKind.MARK:
        return _draw_ticks(field, rng)
    if field.kind is FieldKind.BARCODE:
        return _draw_code(field, rng)
    most = most_digits(field)
    if field.type is FieldType.DATE:
        return _date_digits(field, FIRST_DAY + timedelta(days=int(rng.integers(DAYS))))
    if field.type is FieldType.CODE:
        length = int(rng.integers(max(field.min_length, 1), most + 1))
        return "".join(str(digit) for digit in rng.integers(0, 10, length))
    low, high = 0, 10**most - 1
    for check in field.checks:
        if check.rule is Rule.RANGE:
            unit = 10**field.decimals
            low = max(low, int(np.ceil((check.min or 0) * unit)))
            high = min(high, int(check.max * unit) if check.max is not None else high)
    span = max(0, round((high - low) * share))
    # Numbers on forms have all lengths: in half of them the logarithm is even, not the number.
    if rng.random() < 0.5:
        return _padded(field, low + round(rng.uniform(0, span)))
    return _padded(field, low + round(np.expm1(rng.uniform(0, np.log1p(span)))))


def _draw_ticks(field: Field, rng: np.random.Generator) -> str:
    count = field.cells or 1
    if count > 1 and rng.random() < 0.5:  # in half of the rows one box is ticked
        only = int(rng.integers(count))
        return "".join("1" if place == only else "0" for place in range(count))
    share = 1.0 if field.required and count == 1 else 0.4
    ticked = rng.random(count) < share
    if field.required and not ticked.any():
        ticked[int(rng.integers(count))] = True
    return "".join("1" if one else "0" for one in ticked)


def _draw_code(field: Field, rng: np.random.Generator) -> str:
    for check in field.checks:
        if check.rule is Rule.PATTERN and check.pattern is not None:
            return _draw_pattern(check.pattern, rng)
    most = field.max_length or max(CODE_LENGTH, field.min_length)
    length = int(rng.integers(max(1, field.min_length), most + 1))
    return "".join(str(digit) for digit in rng.integers(0, 10, length))


def _draw_pattern(pattern: str, rng: np.random.Generator) -> str:
    """Make up a text for a plain pattern; what has groups or alternatives is not understood."""
    text, at = "", 0
    while at < len(pattern):
        piece = PIECE.match(pattern, at)
        if piece is None:
            return ""
        at = piece.end()
        low, high = 1, 1
        if piece["low"] is not None:
            low = int(piece["low"])
            high = low if piece["to"] is None else int(piece["high"] or low + MOST_REPEATS)
        elif piece["sign"] is not None:
            low = 1 if piece["sign"] == "+" else 0
            high = 1 if piece["sign"] == "?" else MOST_REPEATS
        signs = _signs_of(piece)
        for _ in range(int(rng.integers(low, high + 1))):
            text += signs[int(rng.integers(len(signs)))]
    return text


def _signs_of(piece: re.Match[str]) -> str:
    if piece["char"] is not None:
        return piece["char"]
    if piece["escape"] is not None:
        known = {"d": "0123456789", "w": LETTERS + "0123456789", "s": " "}
        return known.get(piece["escape"], piece["escape"])
    listed = re.sub(r"\\d", "0-9", piece["class"])
    return "".join(
        "".join(chr(c) for c in range(ord(span[0]), ord(span[2]) + 1))
        if len(span) == 3
        else span
        for span in re.findall(r".-.|.", listed.replace("\\", ""))
    )


def _padded(field: Field, units: int) -> str:
    return str(units).zfill(max(field.min_length, field.decimals + 1))


def _add_totals(form: FormTemplate, fields: dict[str, Field], digits: dict[str, str]) -> bool:
    """Put in what the rules compute, innermost first; False where something does not fit."""
    waiting = list(form.rules)
    while waiting:
        ready = [rule for rule in waiting if all(name in digits for name in rule.of)]
        if not ready:
            return False
        for rule in ready:
            waiting.remove(rule)
            field = fields[rule.equals]
            values = [value_of(fields[name], digits[name]) or "0" for name in rule.of]
            total = sum(map(Decimal, values), Decimal(0)) * 10**field.decimals
            text = _padded(field, int(total))
            if len(text) > most_digits(field) or failed_checks(field, text):
                return False
            # Two rules may compute one total, down the columns and along the rows.
            digits.setdefault(rule.equals, text)
    return not failed_rules(form.rules, fields, digits)
