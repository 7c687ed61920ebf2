"""What waits for which look, and which value follows from the digits of a field. Pure rules.

A reading that was not accepted waits as a whole or digit by digit:

1. Where the form says `double_key`, the field is keyed blind (`blind`), whatever else is so.
2. Where a rule or check does not hold, it is a conflict: the fields of a rule are seen at once.
3. Where it is only not sure enough, and its digits show where, each digit in doubt waits among
   others that were read alike (`group`). A digit is in doubt when its own confidence is below
   `SURE`, or when another text that the field may well be has another digit there. Where such
   a text is longer or shorter, the cutting itself is in doubt, and the field waits whole;
   where texts that were not kept may be likely, or nothing says which digit, every one waits.
4. Everything else waits as a whole field (`field`).

A value follows from digits when no digit of the reading waits any more. It is the reading with
every decided digit in its place; digits that were never in doubt stand as read. It is written
down as a decision on the field (`followed`), confirmed where it is the machine's text and
corrected where not. It does not follow, and the reading stays in `review`:

- while one digit in doubt is undecided;
- when a person said of one that it is blank or no digit: the field then waits as a whole;
- when the new text breaks a check of the field or its length: it waits as a whole;
- when it breaks a rule across fields whose other values are known: it becomes a conflict.

A decision on the whole field supersedes all that: what still waits of the reading is closed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digitocr.db.tables import Queue
from digitocr.recognition import checks
from digitocr.types import Field, FieldKind, FieldType, FormRule, Hypothesis, Reason, Verdict

SURE = 0.99  # confidence of a digit that nobody need look at
LIKELY = 0.005  # a text this likely may well be what is written
UNKNOWN = 0.02  # so much probability in texts that were not kept puts every digit in doubt
RULE_BOOST = 2.0  # of what breaks a rule, over what is only not sure
MOST_COST = 3.0
NO_DIGIT = None  # what a person says of a glyph that is no digit; "" says that it is blank


@dataclass(frozen=True, slots=True)
class Waiting:
    """The queue that a reading waits in; `glyphs`: the places of its digits in doubt."""

    queue: Queue
    glyphs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What decided digits come to: a text, or the queue where the field goes on waiting."""

    text: str | None
    queue: Queue | None = None

    def verdict(self, read: str | None) -> Verdict:
        return Verdict.CONFIRMED if self.text == read else Verdict.CORRECTED


def waiting(
    field: Field,
    hypotheses: Sequence[Hypothesis],
    reasons: Sequence[str],
    digits: Sequence[Hypothesis],
) -> Waiting:
    """Say where a reading that was not accepted waits.

    Parameters
    ----------
    hypotheses
        Of the whole field, best first; none where it is unreadable.
    digits
        Of each glyph its best text and confidence.
    """
    if field.double_key:
        return Waiting(Queue.BLIND)
    if any(reason.startswith(Reason.of_rule("")) for reason in reasons):
        return Waiting(Queue.CONFLICT)
    if set(reasons) != {Reason.LOW_CONFIDENCE.value} or not hypotheses:
        return Waiting(Queue.FIELD)
    spelled = "".join(digit.text for digit in digits)
    if not spelled or checks.value_of(field, spelled) != hypotheses[0].text:
        return Waiting(Queue.FIELD)
    doubted = _doubted(field, hypotheses, digits)
    return Waiting(Queue.FIELD) if doubted is None else Waiting(Queue.GROUP, doubted)


def waiting_checked(field: Field, text: str, digits: Sequence[Hypothesis]) -> Waiting:
    """Say where a reading waits that was accepted, and is looked at all the same."""
    spelled = "".join(digit.text for digit in digits)
    if spelled and checks.value_of(field, spelled) == text:
        return Waiting(Queue.GROUP, tuple(range(len(digits))))
    return Waiting(Queue.FIELD)


def _doubted(
    field: Field, hypotheses: Sequence[Hypothesis], digits: Sequence[Hypothesis]
) -> tuple[int, ...] | None:
    """Find the digits in doubt; None where the doubt is not in single digits."""
    spelled = [digit.text for digit in digits]
    doubted = {place for place, digit in enumerate(digits) if digit.confidence < SURE}
    for other in hypotheses[1:]:
        text = digits_of(field, other.text)
        if len(text) != len(spelled):
            if other.confidence >= LIKELY:
                return None
            continue
        if other.confidence >= LIKELY / 5:
            doubted |= {i for i, digit in enumerate(text) if digit != spelled[i]}
    if not doubted or 1.0 - sum(one.confidence for one in hypotheses) > UNKNOWN:
        doubted = set(range(len(spelled)))
    return tuple(sorted(doubted))


def digits_of(field: Field, value: str) -> str:
    """Turn the text of a value back into digits as written; what is no number stays."""
    if field.type is FieldType.DATE and value.count("-") == 2:
        year, month, day = value.split("-")
        digits = field.date_format.replace("YYYY", year).replace("YY", year[-2:])
        return digits.replace("MM", month).replace("DD", day)
    return value.replace(".", "") if field.type is FieldType.DECIMAL else value


def priority(
    field: Field, digits: Sequence[Hypothesis], place: int | None, sure: float
) -> float:
    """Give the expected cost of taking a digit, or a whole field, as it was read.

    The probability that it is wrong, times the weight of the field; a digit of an amount
    weighs more the farther left it stands, on a logarithm's scale and with an end.
    """
    cost = 1.0
    if place is not None and field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        cost = min(MOST_COST, 1.0 + math.log10(1.0 + (len(digits) - 1 - place)))
    return (1.0 - sure) * cost * field.weight


def outcome(
    field: Field,
    digits: Sequence[str | None],
    rules: Sequence[FormRule] = (),
    fields: Mapping[str, Field] | None = None,
    values: Mapping[str, str | None] | None = None,
) -> Outcome:
    """Say what a field comes to once no digit of it waits.

    Parameters
    ----------
    digits
        Of each glyph: as decided or, where it was never in doubt, as read. "" is blank, and
        `NO_DIGIT` no digit.
    rules, fields, values
        Of the form and the page: what the other fields are, None where that is not known.
    """
    if not digits or any(not digit for digit in digits):
        return Outcome(None, Queue.FIELD)
    written = "".join(digit or "" for digit in digits)
    if fits(field, written):
        return Outcome(None, Queue.FIELD)
    text = checks.value_of(field, written)
    known = dict(values or {}) | {field.name: text}
    if broken_rules(field, rules, fields or {field.name: field}, known):
        return Outcome(None, Queue.CONFLICT)
    return Outcome(text)


def fits(field: Field, written: str) -> tuple[str, ...]:
    """Name what is against digits as written in a field: its checks, and its length."""
    wrong = list(checks.failed_checks(field, written))
    too_long = field.max_length is not None and len(written) > field.max_length
    if written and (len(written) < field.min_length or too_long):
        wrong.append(Reason.LENGTH.value)
    return tuple(wrong)


def broken_rules(
    field: Field,
    rules: Sequence[FormRule],
    fields: Mapping[str, Field],
    values: Mapping[str, str | None],
) -> tuple[FormRule, ...]:
    """List the rules of a field that do not hold, of those whose values are known."""
    broken = []
    for rule in rules:
        names = (*rule.of, rule.equals)
        if field.name not in names or any(values.get(name) is None for name in names):
            continue
        texts = {name: digits_of(fields[name], values[name] or "") for name in names}
        if all(text.isdigit() or not text for text in texts.values()) and not checks.sum_holds(
            rule, fields, texts
        ):
            broken.append(rule)
    return tuple(broken)


def typed(field: Field, text: str) -> str:
    """Turn what a person typed for a field into digits as written.

    Digits may stand in groups. An amount may have its decimal mark, and then has all its
    decimals; a date may be written as the form wants it, or as YYYY-MM-DD. Boxes that are
    ticked and codes are text as it is.

    Raises
    ------
    ValueError
        If it is neither, in words for who typed it.
    """
    if field.kind in (FieldKind.MARK, FieldKind.BARCODE):
        return text.strip()
    plain = "".join(text.split())
    if plain.isascii() and (plain.isdigit() or not plain):
        return plain
    if field.type is FieldType.DATE:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", plain):
            return digits_of(field, plain)
        raise ValueError(
            f"type the digits of the date as they are written: {field.date_format}"
        )
    if field.type is FieldType.DECIMAL and field.decimals:
        if re.fullmatch(rf"\d*[.,]\d{{{field.decimals}}}", plain):
            return plain.replace(".", "").replace(",", "")
        raise ValueError(f"type digits, or a number with {field.decimals} decimals")
    raise ValueError("type digits only")
