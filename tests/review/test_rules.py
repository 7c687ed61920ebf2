"""The rules of review without a server: where readings wait, and which value follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitocr.db.following import (
    Outcome,
    broken_rules,
    digits_of,
    outcome,
    typed,
    waiting,
)
from digitocr.db.review import DigitView, FieldView
from digitocr.db.tables import Queue
from digitocr.recognition.checks import value_of
from digitocr.review import pictures
from digitocr.review.repair import repair_field, repair_sum
from digitocr.review.words import at_most, in_words, percent
from digitocr.types import (
    Box,
    Check,
    Field,
    FieldKind,
    FieldStatus,
    FieldType,
    FormRule,
    Hypothesis,
    Reason,
    Rule,
    Verdict,
)

LOW = (Reason.LOW_CONFIDENCE.value,)


def field(name: str = "a", **more: object) -> Field:
    given = {"type": FieldType.INTEGER} | more
    return Field(name, 1, Box(0, 0, 9, 9), FieldKind.OPEN, **given)  # type: ignore[arg-type]


def sure(text: str, *confidences: float) -> list[Hypothesis]:
    return [Hypothesis(digit, one) for digit, one in zip(text, confidences, strict=True)]


def test_only_digits_below_sure_are_in_doubt() -> None:
    found = waiting(field(), [Hypothesis("471", 0.985)], LOW, sure("471", 0.999, 0.9, 0.999))
    assert (found.queue, found.glyphs) == (Queue.GROUP, (1,))


def test_a_digit_that_another_likely_text_has_otherwise_is_in_doubt() -> None:
    texts = [Hypothesis("471", 0.97), Hypothesis("477", 0.02)]
    found = waiting(field(), texts, LOW, sure("471", 0.999, 0.9, 0.999))
    assert found.glyphs == (1, 2)


def test_a_likely_text_of_another_length_puts_the_cutting_in_doubt() -> None:
    texts = [Hypothesis("471", 0.97), Hypothesis("41", 0.02)]
    assert waiting(field(), texts, LOW, sure("471", 0.9, 0.9, 0.9)).queue is Queue.FIELD


def test_where_texts_were_lost_or_nothing_is_in_doubt_every_digit_waits() -> None:
    lost = waiting(field(), [Hypothesis("47", 0.9)], LOW, sure("47", 0.6, 0.999))
    none = waiting(field(), [Hypothesis("47", 0.99)], LOW, sure("47", 0.999, 0.999))
    assert lost.glyphs == none.glyphs == (0, 1)


@pytest.mark.parametrize(
    ("reasons", "more", "queue"),
    [
        (LOW, {"double_key": True}, Queue.BLIND),
        ((*LOW, "rule:luhn"), {}, Queue.CONFLICT),
        ((*LOW, "junk"), {}, Queue.FIELD),
        (("gap",), {}, Queue.FIELD),
    ],
)
def test_other_reasons_want_another_look(
    reasons: tuple[str, ...], more: dict[str, object], queue: Queue
) -> None:
    found = waiting(field(**more), [Hypothesis("4", 0.99)], reasons, sure("4", 0.5))
    assert found.queue is queue


def test_glyphs_that_do_not_spell_the_text_are_not_shown_alone() -> None:
    texts = [Hypothesis("47", 0.99)]
    assert waiting(field(), texts, LOW, sure("48", 0.5, 0.5)).queue is Queue.FIELD
    assert waiting(field(), [], LOW, []).queue is Queue.FIELD


@given(st.text("0123456789", min_size=1, max_size=8))
def test_decided_digits_are_the_value(digits: str) -> None:
    found = outcome(field(type=FieldType.CODE), list(digits))
    assert found == Outcome(digits)
    assert found.verdict(digits) is Verdict.CONFIRMED
    assert found.verdict("x") is Verdict.CORRECTED


@pytest.mark.parametrize("digits", [[], ["4", ""], [None, "4"]])
def test_without_every_digit_nothing_follows(digits: list[str | None]) -> None:
    assert outcome(field(), digits) == Outcome(None, Queue.FIELD)


def test_a_value_that_breaks_a_check_or_a_sum_does_not_follow() -> None:
    small = field(checks=(Check(Rule.RANGE, max=50),), max_length=2)
    assert outcome(small, ["9", "9"]).queue is Queue.FIELD
    assert outcome(small, ["1", "2", "3"]).queue is Queue.FIELD
    rule = FormRule(Rule.SUM, ("a", "b"), "c", "sum-c")
    fields = {name: field(name) for name in "abc"}
    known = {"b": "2", "c": "7"}
    assert outcome(fields["a"], ["5"], (rule,), fields, known).text == "5"
    assert outcome(fields["a"], ["6"], (rule,), fields, known).queue is Queue.CONFLICT
    assert outcome(fields["a"], ["6"], (rule,), fields, {"b": None, "c": "7"}).text == "6"
    assert broken_rules(fields["a"], (rule,), fields, {"a": "1", "b": "1", "c": "3"}) == (rule,)


def test_values_go_back_to_the_digits_that_were_written() -> None:
    assert digits_of(field(type=FieldType.DATE), "2026-03-01") == "01032026"
    assert digits_of(field(type=FieldType.DECIMAL, decimals=2), "12.50") == "1250"
    assert digits_of(field(), "0471") == "0471"


@given(st.dates())
def test_a_date_and_its_digits_say_the_same(day: object) -> None:
    dated = field(type=FieldType.DATE)
    text = str(day)
    assert value_of(dated, digits_of(dated, text)) == text


@pytest.mark.parametrize(
    ("more", "text", "digits"),
    [
        ({}, " 1 250 ", "1250"),
        ({}, "", ""),
        ({"type": FieldType.DECIMAL, "decimals": 2}, "12,50", "1250"),
        ({"type": FieldType.DECIMAL, "decimals": 2}, "1250", "1250"),
        ({"type": FieldType.DATE}, "2026-03-01", "01032026"),
    ],
)
def test_what_people_type_is_taken(more: dict[str, object], text: str, digits: str) -> None:
    assert typed(field(**more), text) == digits


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "12.5"),
        ({}, "1,250"),
        ({}, "abc"),
        ({}, "٣"),
        ({"type": FieldType.DECIMAL, "decimals": 2}, "12.5"),
        ({"type": FieldType.DATE}, "1.3.26"),
    ],
)
def test_what_may_mean_two_numbers_is_refused(more: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match="type "):
        typed(field(**more), text)


def view(name: str, text: str, *others: tuple[str, float], **more: object) -> FieldView:
    return FieldView(
        id=1, page=1, field=field(name, **more), form="f", source="s", document="d", number=1,
        text=text, confidence=0.9, alternatives=tuple(Hypothesis(*one) for one in others),
        reasons=(), value=None, status=FieldStatus.REVIEW, box=Box(0, 0, 9, 9), has_crop=False,
        as_written=False, rules=(),
        digits=tuple(
            DigitView(i, Box(0, 0, 9, 9), (Hypothesis(one, 0.9), Hypothesis("7", 0.05)))
            for i, one in enumerate(text)
        ),
    )  # fmt: skip


def test_the_most_probable_change_mends_a_sum() -> None:
    rule = FormRule(Rule.SUM, ("a", "b"), "c", "sum-c")
    views = {"a": view("a", "12", ("17", 0.02)), "b": view("b", "30"), "c": view("c", "47")}
    found = repair_sum(rule, views)
    assert found is not None
    assert dict(found.changes) == {"a": "17"}
    assert repair_sum(rule, views | {"c": view("c", "999")}) is None


def test_the_most_probable_text_that_passes_mends_a_check() -> None:
    checked = {"checks": (Check(Rule.RANGE, max=50),)}
    found = repair_field(view("a", "81", ("31", 0.02), ("11", 0.01), **checked))
    assert found is not None
    assert dict(found.changes) == {"a": "31"}


@pytest.mark.parametrize("reason", [*Reason, *(f"rule:{rule}" for rule in Rule)])
def test_every_reason_has_words(reason: str) -> None:
    said = in_words(reason)
    assert said.endswith(".")
    assert reason not in said.split("'")[0].split()


def test_shares_are_written_shortly() -> None:
    assert [percent(share) for share in (None, 0.0049, 0.05, 0.79)] == [
        "—", "0.49 %", "5 %", "79 %",
    ]  # fmt: skip


def test_what_is_not_all_is_never_written_as_all() -> None:
    assert [percent(share) for share in (0.9952, 0.99999, 1.0)] == ["99.5 %", "99.9 %", "100 %"]


def test_a_bound_is_never_written_smaller_than_it_is() -> None:
    assert [at_most(share) for share in (None, 0.0, 0.03741, 0.05, 0.791)] == [
        "—", "0 %", "3.8 %", "5 %", "80 %",
    ]  # fmt: skip


def test_the_picture_of_a_claim_holds_each_digit_in_its_square() -> None:
    import cv2

    crops = [
        cv2.imencode(".png", np.full((20 + i, 30), 40 + 4 * i, np.uint8))[1].tobytes()
        for i in range(45)
    ]
    made = cv2.imdecode(np.frombuffer(pictures.sprite([*crops, None]), np.uint8), 0)
    side = pictures.TILE
    assert made.shape == (3 * side, pictures.COLUMNS * side)
    for place, crop in enumerate(crops):
        top, left = place // 20 * side, place % 20 * side
        part = made[top : top + side, left : left + side].astype(int)
        assert np.abs(part - pictures.tile(crop)).max() < 40
        assert abs(int(part[side // 2, side // 2]) - (40 + 4 * place)) < 6
