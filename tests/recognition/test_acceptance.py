import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitocr.recognition.acceptance import (
    Acceptance,
    accepts_digit,
    least_digit,
    reasons_against,
)
from digitocr.recognition.decoding import Decoded, Step
from digitocr.types import Box, Field, FieldKind, FieldType, Mark

SHARE = st.floats(0, 1)
SURE = Acceptance(0.97, 0.95)


def field(**more):
    kind = FieldKind.BOXED if more.get("cells") else FieldKind.OPEN
    return Field("a", 1, Box(0, 0, 1, 1), kind, FieldType.INTEGER, **more)


def decoded(texts):
    """Decode what is written position by position; "-" was left out."""
    path = tuple(Step(i, "" if text == "-" else text) for i, text in enumerate(texts))
    return Decoded(texts.replace("-", ""), 1.0, path)


def reasons(texts, one=None, *, acceptance=SURE, **more):
    given = {
        "confidence": 1.0,
        "least_digit": 1.0,
        "all_void": False,
        "faint_ink": False,
        "clipped": False,
        "misplaced": False,
    } | more
    best = None if texts is None else decoded(texts)
    return reasons_against(one or field(cells=4), best, acceptance=acceptance, **given)


@pytest.mark.parametrize(
    ("texts", "one", "more", "expected"),
    [
        ("157", {"cells": 3}, {}, ()),
        ("", {"cells": 3}, {}, ()),
        ("---", {"cells": 3}, {}, ()),
        (None, {"cells": 3}, {}, ("unreadable",)),
        ("157", {"cells": 3}, {"misplaced": True}, ("misregistered",)),
        (None, {"cells": 3}, {"misplaced": True}, ("misregistered",)),
        ("157", {"cells": 3}, {"faint_ink": True}, ("junk",)),
        ("", {"cells": 3}, {"faint_ink": True}, ("junk",)),
        ("157", {"cells": 3}, {"clipped": True}, ("clipped",)),
        ("157", {"cells": 3}, {"confidence": 0.94}, ("low-confidence",)),
        (
            "157",
            {"cells": 3},
            {"confidence": 0.96, "least_digit": 0.96},
            ("low-confidence",),
        ),
        ("157", {"cells": 3}, {"confidence": 0.98, "least_digit": 0.5}, ()),
        ("157", {"cells": 3}, {"confidence": 0.95, "least_digit": 0.97}, ()),
        ("1-7", {"cells": 3}, {}, ("gap",)),
        ("-57", {"cells": 3}, {}, ()),
        ("57-", {"cells": 3}, {}, ()),
        ("", {"cells": 3, "required": True}, {}, ("missing",)),
        ("---", {"cells": 3, "required": True}, {"all_void": True}, ()),
        ("-57", {"cells": 3, "required": True}, {}, ()),
        ("57", {"cells": 3, "min_length": 3}, {}, ("length",)),
        ("", {"cells": 3, "min_length": 3}, {}, ()),
        ("157", {"cells": 3, "max_length": 2}, {}, ("length",)),
        ("57", {"min_length": 2, "max_length": 2}, {}, ()),
        (
            "1-7",
            {"cells": 3, "min_length": 3},
            {"faint_ink": True, "clipped": True, "confidence": 0.0},
            ("junk", "clipped", "low-confidence", "gap", "length"),
        ),
    ],
)
def test_every_doubt_has_its_reason(texts, one, more, expected):
    assert reasons(texts, field(**one), **more) == expected


@pytest.mark.parametrize(
    ("texts", "type_", "decimals", "odd"),
    [
        ("125", FieldType.INTEGER, 0, False),
        ("1-250", FieldType.INTEGER, 0, False),
        ("1-250-000", FieldType.INTEGER, 0, False),
        ("12-", FieldType.INTEGER, 0, False),
        ("-12", FieldType.INTEGER, 0, False),
        ("12-5", FieldType.INTEGER, 0, True),
        ("12-50", FieldType.INTEGER, 0, True),
        ("1-250-00", FieldType.INTEGER, 0, True),
        ("12-50", FieldType.DECIMAL, 2, False),
        ("-50", FieldType.DECIMAL, 2, False),
        ("1-250-00", FieldType.DECIMAL, 2, False),
        ("12-5", FieldType.DECIMAL, 2, True),
        ("12-500", FieldType.DECIMAL, 2, True),
        ("1250", FieldType.DECIMAL, 2, True),
        ("1250-", FieldType.DECIMAL, 2, True),
        ("12-50-", FieldType.DECIMAL, 2, True),
        ("1-2-50", FieldType.DECIMAL, 2, True),
        ("12-5", FieldType.DECIMAL, 0, True),
        ("12-5", FieldType.CODE, 0, False),
        ("", FieldType.DECIMAL, 2, False),
        ("--", FieldType.DECIMAL, 2, False),
    ],
)
def test_a_mark_that_is_not_where_the_decimals_are_is_a_gap(texts, type_, decimals, odd):
    one = Field("a", 1, Box(0, 0, 1, 1), FieldKind.OPEN, type_, decimals=decimals)
    assert reasons(texts, one) == (("gap",) if odd else ())


@pytest.mark.parametrize(("mark", "found"), [(Mark.REST, ()), (Mark.SEPARATOR, ("gap",))])
def test_a_rest_between_digits_means_nothing(mark, found):
    path = (Step(0, "1"), Step(1, "", mark), Step(2, "2"))
    one = Field("a", 1, Box(0, 0, 1, 1), FieldKind.OPEN, FieldType.INTEGER)
    given = {"confidence": 1.0, "least_digit": 1.0, "acceptance": SURE}
    said = dict.fromkeys(("all_void", "faint_ink", "clipped", "misplaced"), False)
    assert reasons_against(one, Decoded("12", 1.0, path), **given, **said) == found


def test_a_blank_required_field_is_rejected_as_missing():
    assert reasons("", field(cells=3, required=True)) == ("missing",)


@given(
    st.sampled_from(["", "5", "157", "1-7", "----", None]),
    SHARE,
    SHARE,
    st.tuples(*[st.booleans()] * 4),
    st.tuples(SHARE, SHARE),
    st.tuples(SHARE, SHARE),
)
def test_a_higher_threshold_never_accepts_more(texts, confidence, least, flags, one, two):
    low = Acceptance(min(one[0], two[0]), min(one[1], two[1]))
    high = Acceptance(max(one[0], two[0]), max(one[1], two[1]))
    more = dict(
        zip(("all_void", "faint_ink", "clipped", "misplaced"), flags, strict=True),
        confidence=confidence,
        least_digit=least,
    )
    careless = reasons(texts, acceptance=low, **more)
    careful = reasons(texts, acceptance=high, **more)
    assert set(careless) <= set(careful)
    assert bool(careful) or not careless
    for digit in (True, False):
        assert accepts_digit(least, digit, low) or not accepts_digit(least, digit, high)


@given(SHARE, SHARE)
def test_nothing_is_accepted_below_its_threshold(confidence, least):
    accepted = not reasons("157", confidence=confidence, least_digit=least)
    # A text that is right has only right digits.
    assert accepted is (confidence >= SURE.field and max(least, confidence) >= SURE.digit)


@pytest.mark.parametrize(
    ("confidence", "least", "proven", "expected"),
    [
        (0.95, 0.2, {FieldType.INTEGER: 0.9}, ()),
        (0.9, 0.0, {FieldType.INTEGER: 0.9}, ()),
        (0.95, 1.0, {FieldType.INTEGER: 0.96}, ("low-confidence",)),
        (0.98, 1.0, {FieldType.INTEGER: 0.99}, ("low-confidence",)),
        (0.94, 0.99, {FieldType.CODE: 0.5}, ("low-confidence",)),
        (0.95, 0.99, {FieldType.CODE: 1.0}, ()),
    ],
)
def test_what_was_proven_for_a_type_stands_alone_for_it(confidence, least, proven, expected):
    found = reasons(
        "157",
        acceptance=Acceptance(SURE.digit, SURE.field, proven),
        confidence=confidence,
        least_digit=least,
    )
    assert found == expected


def test_a_threshold_that_was_proven_makes_no_other_reason_go_away():
    anyhow = Acceptance(0.0, 0.0, {FieldType.INTEGER: 0.0})
    assert reasons("1-7", acceptance=anyhow, clipped=True) == ("clipped", "gap")


@given(SHARE, SHARE, st.tuples(SHARE, SHARE), st.one_of(st.none(), SHARE))
def test_from_where_all_is_sure_nothing_is_held_back_as_unsure(
    confidence, least, thresholds, proven
):
    by_type = {} if proven is None else {FieldType.INTEGER: proven}
    acceptance = Acceptance(*thresholds, by_type)
    sure_from = acceptance.sure_from(FieldType.INTEGER)
    if confidence >= sure_from:
        assert acceptance.is_sure(FieldType.INTEGER, confidence, least)
    elif confidence:
        assert not acceptance.is_sure(FieldType.INTEGER, confidence, 0.0)


@given(SHARE)
def test_what_is_no_digit_is_never_accepted(confidence):
    assert not accepts_digit(confidence, False, Acceptance(0.0, 0.0))


@given(st.lists(SHARE))
def test_the_least_digit_is_the_smallest_and_none_is_none(confidences):
    assert least_digit(decoded("1"), confidences) == min(confidences, default=1.0)
    assert least_digit(None, confidences) == 0.0
