"""Accept a reading, or give the reasons why a person has to look.

Until there are audited readings to derive a threshold from, two fixed ones stand: every digit
and the whole text must be likely enough. They are meant to be too careful. What audited
readings prove (`promise`) is proven of fields, and is one threshold on the whole text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from digitocr.recognition.decoding import Decoded, Step, has_gap
from digitocr.types import Field, FieldType, Mark, Reason


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The least confidences of an accepted reading.

    `digit` and `field` are from the settings, and stand together. `by_type` holds what was
    proven by audited readings: for a type in it that alone stands.
    """

    digit: float
    field: float
    by_type: Mapping[FieldType, float] = dataclasses.field(default_factory=dict)

    def is_sure(self, type: FieldType, confidence: float, least_digit: float) -> bool:
        """Say whether a text is likely enough, and each of its digits."""
        if type in self.by_type:
            return confidence >= self.by_type[type]
        # A text that is right has only right digits: where a sum speaks for the text, it does
        # for each of them.
        return confidence >= self.field and max(least_digit, confidence) >= self.digit

    def sure_from(self, type: FieldType) -> float:
        """Give the confidence from which on a text is sure enough, whatever its digits are."""
        return self.by_type.get(type, max(self.digit, self.field))


def reasons_against(
    field: Field,
    best: Decoded | None,
    *,
    confidence: float,
    least_digit: float,
    all_void: bool,
    faint_ink: bool,
    clipped: bool,
    misplaced: bool,
    acceptance: Acceptance,
) -> tuple[str, ...]:
    """List the reasons against accepting the best text of a field; none accepts it.

    Parameters
    ----------
    best
        The likeliest text, or None if nothing could be read.
    confidence
        Of the whole text.
    least_digit
        Confidence of its least sure digit, 1.0 if there is none.
    all_void
        Every position holds a void mark: a blank that was meant.
    faint_ink, clipped, misplaced
        There is ink too faint to be read; ink runs out of the field; the print around the
        field was not found.
    """
    if misplaced:
        return (Reason.MISREGISTERED,)
    if best is None:
        return (Reason.UNREADABLE,)
    found: list[str] = []
    if faint_ink or _is_only_marks(field, best):
        found.append(Reason.JUNK)
    if clipped:
        found.append(Reason.CLIPPED)
    if not acceptance.is_sure(field.type, confidence, least_digit):
        found.append(Reason.LOW_CONFIDENCE)
    if has_gap(best.path) if field.cells is not None else _has_odd_mark(field, best.path):
        found.append(Reason.GAP)
    found += _length_reasons(field, best.text, all_void=all_void)
    return tuple(found)


def _is_only_marks(field: Field, best: Decoded) -> bool:
    """Say whether all that was left out of a blank may have been a number all the same.

    Void marks of the form are meant; a point alone is not, nor a dash where none was named.
    """
    if best.text:
        return False
    meant = {Mark(mark.value) for mark in field.void_marks}
    return any(step.left_out is not None and step.left_out not in meant for step in best.path)


def _has_odd_mark(field: Field, path: Sequence[Step]) -> bool:
    """Say whether a freely written number has no mark where its decimals are, or one elsewhere.

    What is left out of an amount with two decimals stands before its last two digits; before
    that, and in whole numbers, before every third. 12.5 must not become 1.25, nor 125. Rests
    mean nothing.
    """
    if not any(step.text for step in path):
        return False
    path = [step for step in path if step.left_out is not Mark.REST]
    after = [
        sum(bool(s.text) for s in path[i:]) for i, step in enumerate(path) if not step.text
    ]
    if field.type is FieldType.DECIMAL and field.decimals:
        decimals = field.decimals
        return decimals not in after or any(n < decimals or (n - decimals) % 3 for n in after)
    if field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        count = sum(bool(step.text) for step in path)
        # A dash before the first digit may be a minus.
        minus = path[0].left_out is Mark.DASH
        return minus or any(n % 3 for n in after if n < count)
    return False


def _length_reasons(field: Field, text: str, *, all_void: bool) -> Collection[str]:
    if not text:
        return (Reason.MISSING,) if field.required and not all_void else ()
    too_long = field.max_length is not None and len(text) > field.max_length
    return (Reason.LENGTH,) if len(text) < field.min_length or too_long else ()


def accepts_digit(confidence: float, is_digit: bool, acceptance: Acceptance) -> bool:
    """Say whether a single classified digit is accepted."""
    return is_digit and confidence >= acceptance.digit


def least_digit(best: Decoded | None, confidences: Sequence[float]) -> float:
    """Find the confidence of the least sure digit of a text."""
    return min(confidences, default=1.0) if best is not None else 0.0
