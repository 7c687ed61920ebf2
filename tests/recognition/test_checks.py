from datetime import date
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from digitocr.recognition.checks import (
    damm_holds,
    failed_checks,
    failed_rules,
    luhn_holds,
    mod11_holds,
    parse_date,
    value_of,
)
from digitocr.types import Box, Check, Field, FieldKind, FieldType, FormRule, Rule

DIGITS = st.text("0123456789", min_size=1, max_size=12)
SCHEMES = {"luhn": luhn_holds, "damm": damm_holds, "mod11": mod11_holds}
DATE_FORMATS = ("DDMMYYYY", "MMDDYYYY", "YYYYMMDD", "DDMMYY", "YYMMDD")


def field(type=FieldType.INTEGER, **more):
    return Field("a", 1, Box(0, 0, 1, 1), FieldKind.OPEN, type, **more)


def with_check_digit(scheme, number):
    """Try the ten digits; mod11 has no digit for some numbers."""
    found = [number + d for d in "0123456789" if SCHEMES[scheme](number + d)]
    assume(found)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("scheme", "digits"),
    [
        ("luhn", "79927398713"),  # H. P. Luhn, US patent 2950048, as quoted everywhere
        ("luhn", "4111111111111111"),
        ("luhn", "18"),
        ("damm", "5724"),  # Damm 2004
        ("damm", "112946"),
        ("mod11", "0306406152"),  # ISBN-10 of the form 10·d1 + … + 1·d10
        ("mod11", "0131103628"),
    ],
)
def test_published_numbers_hold(scheme, digits):
    assert SCHEMES[scheme](digits)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(number=DIGITS, place=st.integers(0, 12), shift=st.integers(1, 9))
def test_any_single_wrong_digit_is_caught(scheme, number, place, shift):
    if scheme == "mod11":
        number = number[:9]  # the weights come round after ten digits
    right = with_check_digit(scheme, number)
    place %= len(right)
    wrong = (int(right[place]) + shift) % 10
    assert not SCHEMES[scheme](f"{right[:place]}{wrong}{right[place + 1 :]}")


@pytest.mark.parametrize("scheme", ["damm", "mod11"])
@given(number=DIGITS, place=st.integers(0, 11))
def test_two_neighbors_that_change_places_are_caught(scheme, number, place):
    if scheme == "mod11":
        number = number[:9]
    right = with_check_digit(scheme, number)
    place %= len(right) - 1
    one, two = right[place : place + 2]
    assume(one != two)
    assert not SCHEMES[scheme](right[:place] + two + one + right[place + 2 :])


@given(st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.sampled_from(DATE_FORMATS))
def test_a_date_written_down_is_read_back(day, date_format):
    digits = date_format
    for part, text in (
        ("YYYY", f"{day.year:04}"),
        ("YY", f"{day.year % 100:02}"),
        ("MM", f"{day.month:02}"),
        ("DD", f"{day.day:02}"),
    ):
        digits = digits.replace(part, text, 1)
    assert parse_date(digits, date_format) == day
    dated = field(FieldType.DATE, date_format=date_format)
    assert value_of(dated, digits) == day.isoformat()
    assert failed_checks(dated, digits) == ()


@pytest.mark.parametrize("digits", ["30022024", "29022023", "00012024", "01132024", "1012024"])
def test_what_is_no_day_stays_as_written_and_fails(digits):
    dated = field(FieldType.DATE)
    assert parse_date(digits, "DDMMYYYY") is None
    assert value_of(dated, digits) == digits
    assert failed_checks(dated, digits) == ("date",)


def test_a_day_of_another_age_is_misread_and_fails_though_a_person_may_say_it():
    dated = field(FieldType.DATE)
    for digits, value in (("21069023", "9023-06-21"), ("01011799", "1799-01-01")):
        assert value_of(dated, digits) == value
        assert failed_checks(dated, digits) == ("date",)
    assert failed_checks(dated, "21062023") == failed_checks(dated, "01011800") == ()


def test_a_date_that_names_the_check_fails_once():
    dated = field(FieldType.DATE, checks=(Check(Rule.DATE),))
    assert failed_checks(dated, "99999999") == ("date",)


@given(DIGITS, st.integers(1, 4))
def test_decimals_move_the_mark_and_keep_every_digit(digits, decimals):
    value = value_of(field(FieldType.DECIMAL, decimals=decimals), digits)
    assert Decimal(value) == Decimal(int(digits)).scaleb(-decimals)
    whole, part = value.split(".")
    assert whole and len(part) == decimals
    assert (whole + part).endswith(digits)


@given(DIGITS)
def test_digits_without_decimals_keep_their_zeros(digits):
    for type_ in (FieldType.INTEGER, FieldType.CODE, FieldType.DECIMAL):
        assert value_of(field(type_), digits) == digits


@pytest.mark.parametrize("type_", list(FieldType))
def test_a_blank_has_no_value_and_fails_no_check(type_):
    every = tuple(Check(rule, min=1, pattern="1") for rule in Rule if rule is not Rule.SUM)
    blank = field(type_, decimals=2 if type_ is FieldType.DECIMAL else 0, checks=every)
    assert value_of(blank, "") == ""
    assert failed_checks(blank, "") == ()


@pytest.mark.parametrize(
    ("check", "digits", "holds"),
    [
        (Check(Rule.RANGE, 0, 7), "7", True),
        (Check(Rule.RANGE, 0, 7), "07", True),
        (Check(Rule.RANGE, 0, 7), "8", False),
        (Check(Rule.RANGE, min=10), "9", False),
        (Check(Rule.RANGE, min=10), "10", True),
        (Check(Rule.RANGE, max=10), "11", False),
        (Check(Rule.PATTERN, pattern="[1-9][0-9]{3}"), "1000", True),
        (Check(Rule.PATTERN, pattern="[1-9][0-9]{3}"), "10000", False),
        (Check(Rule.PATTERN, pattern="[1-9][0-9]{3}"), "0100", False),
        (Check(Rule.LUHN), "79927398713", True),
        (Check(Rule.LUHN), "79927398710", False),
        (Check(Rule.DAMM), "5725", False),
        (Check(Rule.MOD11), "0306406153", False),
        (Check(Rule.MOD11), "0", False),
        (Check(Rule.DATE), "31122024", True),
        (Check(Rule.DATE), "31112024", False),
    ],
)
def test_a_check_that_does_not_hold_is_named(check, digits, holds):
    failed = failed_checks(field(checks=(check,)), digits)
    assert failed == (() if holds else (check.rule.value,))


def test_a_range_is_of_the_value_with_its_decimals():
    pressure = field(FieldType.DECIMAL, decimals=1, checks=(Check(Rule.RANGE, 0.5, 16.1),))
    assert [failed_checks(pressure, d) for d in ("5", "161")] == [(), ()]
    assert [failed_checks(pressure, d) for d in ("4", "162")] == [("range",), ("range",)]


TOTAL = FormRule(Rule.SUM, ("a", "b"), "all", "sum-all")
FIELDS = {name: field() for name in ("a", "b", "all")}


@pytest.mark.parametrize(
    ("a", "b", "total", "holds"),
    [
        ("1", "2", "3", True),
        ("1", "2", "4", False),
        ("01", "002", "3", True),
        ("", "3", "3", True),
        ("", "", "0", True),
        ("0", "0", "", True),
        ("1", "2", "", False),
        ("", "", "", True),
        ("", "", "3", False),
        (None, "3", "3", False),
        ("1", "2", None, False),
        ("", "", None, False),
        (None, None, None, False),
    ],
)
def test_in_a_sum_a_blank_counts_as_0_and_the_unreadable_as_broken(a, b, total, holds):
    failed = failed_rules((TOTAL,), FIELDS, {"a": a, "b": b, "all": total})
    assert failed == (() if holds else (TOTAL,))


@given(st.lists(st.integers(0, 9999), min_size=2, max_size=2), st.integers(-5, 5))
def test_a_sum_holds_exactly_when_it_adds_up(terms, off):
    total = sum(terms) + off
    assume(total >= 0)
    digits = {"a": str(terms[0]), "b": str(terms[1]), "all": str(total)}
    assert (failed_rules((TOTAL,), FIELDS, digits) == ()) is (off == 0)


def test_a_sum_adds_values_and_not_digits():
    amounts = {name: field(FieldType.DECIMAL, decimals=2) for name in ("a", "b")}
    fields = amounts | {"all": field(FieldType.DECIMAL, decimals=1)}
    assert failed_rules((TOTAL,), fields, {"a": "110", "b": "220", "all": "33"}) == ()
    assert failed_rules((TOTAL,), fields, {"a": "110", "b": "220", "all": "330"}) == (TOTAL,)


def test_a_rule_of_another_page_is_not_asked():
    assert failed_rules((TOTAL,), FIELDS, {"other": "1"}) == ()
