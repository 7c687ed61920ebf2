"""Ticked boxes and bar codes of a page → what each says: the fields that no network reads.

The text of a row of boxes has a character a box, `1` where it is ticked and `0` where it is
not; that of a code is what the code says. Neither has glyphs: a glyph of a reading is a digit,
shown among digits in review and learned from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from digitocr.imaging import isolation
from digitocr.imaging.codes import Code, read_codes
from digitocr.imaging.isolation import FieldImage, Sheet
from digitocr.imaging.marks import Tick, is_cluttered, is_empty, look_at_boxes
from digitocr.imaging.prints import READING_DPI
from digitocr.imaging.writing import cells_of
from digitocr.recognition import checks
from digitocr.recognition.acceptance import Acceptance
from digitocr.types import (
    Field,
    FieldKind,
    Gray,
    Hypothesis,
    Reason,
    Rule,
)

MARKED, UNMARKED = "1", "0"
# What a code is read at: half as fine again as digits, then finer, then as digits are.
CODE_DPIS = (1.5 * READING_DPI, 2.5 * READING_DPI, READING_DPI)
CODE_MARGIN_MM = 4.0  # a label is not always stuck into its frame
# Confidence in a code, by how much its symbology finds out by itself. Codes without a check
# digit are read wrongly now and then, a bar lost at the rim: those are below any threshold.
CORRECTED, CHECKED, UNCHECKED = 0.9999, 0.999, 0.97
DIGIT_CHECKS = frozenset({Rule.LUHN, Rule.DAMM, Rule.MOD11})
ALTERNATIVES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """What boxes or a code say: hypotheses, best first, and reasons against them."""

    field: Field
    image: FieldImage
    hypotheses: tuple[Hypothesis, ...]
    reasons: tuple[str, ...]


def read_symbol(sheet: Sheet, field: Field, acceptance: Acceptance) -> Symbol:
    """Read one field of ticked boxes, or one bar code, from a registered page."""
    image = isolation.isolate(sheet, field)
    read = _read_boxes if field.kind is FieldKind.MARK else _read_code
    symbol = read(sheet, field, image, acceptance)
    if image.misplaced:
        return replace(symbol, reasons=(Reason.MISREGISTERED,))
    return symbol


def _read_boxes(
    sheet: Sheet, field: Field, image: FieldImage, acceptance: Acceptance
) -> Symbol:
    cells = cells_of(image, field)
    ticks = look_at_boxes(image, cells)
    hypotheses = _texts(ticks)
    least = min(tick.confidence for tick in ticks)
    reasons: list[str] = [Reason.JUNK] if is_cluttered(image, cells) else []
    if not acceptance.is_sure(field.type, hypotheses[0].confidence, least):
        reasons.append(Reason.LOW_CONFIDENCE)
    if field.required and MARKED not in hypotheses[0].text:
        reasons.append(Reason.MISSING)
    return Symbol(field, image, hypotheses, tuple(reasons))


def _texts(ticks: Sequence[Tick]) -> tuple[Hypothesis, ...]:
    """List the likeliest texts of a row: the best, and with one doubtful box turned."""
    signs = [MARKED if tick.is_marked else UNMARKED for tick in ticks]
    whole = math.prod(tick.confidence for tick in ticks)
    found = [Hypothesis("".join(signs), whole)]
    for place in sorted(range(len(ticks)), key=lambda i: ticks[i].confidence)[:ALTERNATIVES]:
        turned = signs.copy()
        turned[place] = UNMARKED if signs[place] == MARKED else MARKED
        sure = ticks[place].confidence
        found.append(Hypothesis("".join(turned), whole * (1 - sure) / sure))
    return tuple(sorted(found, key=lambda one: -one.confidence))


def _read_code(sheet: Sheet, field: Field, image: FieldImage, acceptance: Acceptance) -> Symbol:
    found = _codes_in(sheet, field)
    if not found:
        if is_empty(image):
            blank = (Hypothesis("", CHECKED),)
            missing = (Reason.MISSING,) if field.required or field.min_length else ()
            return Symbol(field, image, blank, missing)
        return Symbol(field, image, (), (Reason.UNREADABLE,))
    texts = list(dict.fromkeys(code.text for code in found))
    confidence = _confidence(found[0]) / len(texts)
    hypotheses = tuple(Hypothesis(_plain(text), confidence) for text in texts)
    text = hypotheses[0].text
    reasons: list[str] = []
    if len(texts) > 1 or text != texts[0]:
        reasons.append(Reason.JUNK)
    if not acceptance.is_sure(field.type, confidence, confidence):
        reasons.append(Reason.LOW_CONFIDENCE)
    too_long = field.max_length is not None and len(text) > field.max_length
    if len(text) < field.min_length or too_long:
        reasons.append(Reason.LENGTH)
    reasons += map(Reason.of_rule, _failed(field, text))
    return Symbol(field, image, hypotheses, tuple(reasons))


def _codes_in(sheet: Sheet, field: Field) -> list[Code]:
    """Read the codes whose middle lies in a field; of those around it none."""
    for dpi in CODE_DPIS:
        per_mm = dpi / 25.4
        gray = isolation.view(sheet, field.box, dpi=dpi, margin_mm=CODE_MARGIN_MM)
        inside = [
            code for code in read_codes(gray) if _is_inside(code, gray, CODE_MARGIN_MM * per_mm)
        ]
        if inside:
            return inside
    return []


def _is_inside(code: Code, gray: Gray, margin: float) -> bool:
    h, w = gray.shape
    x, y = code.center
    return bool(margin <= x <= w - margin and margin <= y <= h - margin)


def _confidence(code: Code) -> float:
    if code.corrects_errors:
        return CORRECTED
    return CHECKED if code.is_checked else UNCHECKED


def _plain(text: str) -> str:
    """Write what cannot be printed as an escape: a database may refuse it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _failed(field: Field, text: str) -> list[str]:
    """Name the checks that a code does not pass; check digits are of digits alone."""
    if text.isascii() and text.isdigit():
        return list(checks.failed_checks(field, text))
    of_digits = [check.rule.value for check in field.checks if check.rule in DIGIT_CHECKS]
    others = tuple(check for check in field.checks if check.rule not in DIGIT_CHECKS)
    return of_digits + list(checks.failed_checks(replace(field, checks=others), text))
