"""What is read with a learned form says what its fields are, where chance hardly could."""

from __future__ import annotations

import numpy as np
import pytest

from digitocr.forms.hints import Readings, find_sums, with_numbers, with_type
from digitocr.forms.proposals import Proposal, Sureness
from digitocr.types import (
    Box,
    Field,
    FieldKind,
    FieldReading,
    FieldType,
    Hypothesis,
    Reason,
)

NO_IMAGE = np.zeros((1, 1), np.uint8)


def field(name, top=0, *, left=0, kind=FieldKind.BOXED, cells=4):
    box = Box(left, top, left + 100, top + 30)
    cells = None if kind is FieldKind.OPEN else cells
    return Field(name, 1, box, kind, FieldType.INTEGER, cells=cells)


def read(field, text, page, confidence=0.99, reasons=()):
    hypotheses = () if text is None else (Hypothesis(text, confidence),)
    return FieldReading(
        hypotheses=hypotheses, glyphs=(), reasons=tuple(reasons), model="m",
        document=f"{page:064}", page=1, field=field, template="t", version=1, image=NO_IMAGE,
    )  # fmt: skip


def readings(**texts):
    """By name of a field: its text on page after page."""
    return Readings(
        {
            name: tuple(read(field(name), text, page) for page, text in enumerate(of))
            for name, of in texts.items()
        }
    )


def proposal(cells, kind=FieldKind.BOXED, written=1.0):
    return Proposal(field("a", cells=cells, kind=kind), written, Sureness.SURE, "seen")


DATES = ["17042019", "03122020", "29022024", "01012021", "30062022"]


def test_eight_digits_that_are_dates_on_every_scan_are_a_date():
    done = with_type(proposal(8), readings(a=DATES))
    assert (done.field.type, done.field.date_format) == (FieldType.DATE, "DDMMYYYY")
    swapped = [text[2:4] + text[:2] + text[4:] for text in DATES]
    assert with_type(proposal(8), readings(a=swapped)).field.date_format == "MMDDYYYY"


@pytest.mark.parametrize(
    "texts", [[*DATES[:4], "31022020"], DATES[:4], [*DATES, "123"], [*DATES, "17049019"]]
)
def test_what_is_not_always_a_date_or_seldom_seen_stays_a_number(texts):
    assert with_type(proposal(8), readings(a=texts)).field.type is FieldType.INTEGER


def test_dates_that_may_be_read_two_ways_are_only_a_comment():
    texts = ["01022020", "03042021", "05062022", "07082023", "09102024"]
    done = with_type(proposal(8), readings(a=texts))
    assert done.field.type is FieldType.INTEGER
    assert "DDMMYYYY" in done.notes[0] and "MMDDYYYY" in done.notes[0]


def test_numbers_with_zeros_in_front_may_be_codes():
    done = with_type(proposal(4), readings(a=["0123", "4567", "0007", "9999", "1234"]))
    assert done.field.type is FieldType.INTEGER and 'type = "code"' in done.notes[0]
    plain = with_type(proposal(4), readings(a=["1123", "4567", "1007", "9999", "1234"]))
    assert plain.notes == ()


PARTS = {"a": ["1", "20", "3", "40", ""], "b": ["10", "2", "30", "", "8"]}
TOTALS = ["11", "22", "33", "40", "8"]


def column(*names):
    return [field(name, 50 * place) for place, name in enumerate(names)]


def test_a_field_that_is_the_sum_of_those_above_it_is_found():
    more = {name: [*texts, "5", "6"] for name, texts in PARTS.items()}
    (found,) = find_sums(column("a", "b", "t"), readings(**more, t=[*TOTALS, "10", "12"]))
    assert (found.of, found.equals) == (("a", "b"), "t")
    assert found.held == found.compared == 5  # on the two others only one part is written


def test_a_sum_that_fails_once_in_many_is_one_and_one_that_fails_often_is_none():
    parts = {"a": [str(n) for n in range(11, 21)], "b": [str(3 * n) for n in range(11, 21)]}
    totals = [str(4 * n) for n in range(11, 21)]
    totals[4] = "7"
    (found,) = find_sums(column("a", "b", "t"), readings(**parts, t=totals))
    assert (found.held, found.compared) == (9, 10)
    assert find_sums(column("a", "b", "t"), readings(**parts, t=["7"] * 5 + totals[5:])) == ()


def test_equal_numbers_and_blanks_make_no_sum():
    same = {"a": ["2"] * 9, "b": ["3"] * 9, "t": ["5"] * 9}
    assert find_sums(column("a", "b", "t"), readings(**same)) == ()
    copied = {"a": ["1", "2", "3", "4", "5"], "b": [""] * 5, "t": ["1", "2", "3", "4", "5"]}
    assert find_sums(column("a", "b", "t"), readings(**copied)) == ()


def test_open_fields_are_kept_for_numbers_and_not_for_names():
    one = proposal(None, FieldKind.OPEN)
    assert with_numbers(one, readings(a=["12", "7", "", "3"])) is not None
    name = read(field("a", kind=FieldKind.OPEN), "11", 9, reasons=[Reason.JUNK])
    assert with_numbers(one, Readings({"a": (name, name, name)})) is None
    # What is written on nearly everywhere, and hardly ever more than blank to reading, is none.
    assert with_numbers(one, readings(a=["", "", "", "", "", "1"])) is None
