import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.recognition.decoding import (
    LEAST_PROBABILITY,
    MARK_LEFT_OUT,
    WRONG_LENGTH,
    Decoded,
    Step,
    decode,
    digit_hypotheses,
    has_gap,
    may_be_crosses,
)
from digitocr.types import Box, Glyph, Lattice, Mark

MARKS = (None, None, None, Mark.X, Mark.DASH, Mark.SEPARATOR)
INK = np.ones((28, 28), np.float32)
PAPER = np.zeros((28, 28), np.float32)
PLENTY = 100_000


def glyph(start, end, *, mark=None, weight=1.0, image=INK):
    return Glyph(start, end, Box(start, 0, end, 1), image, mark, weight)


def lattice(*glyphs):
    return Lattice(tuple(range(max(g.end for g in glyphs) + 1)), glyphs)


def rows(*likely, columns=10):
    """Rows from {digit: probability}; what is left over goes to the last column."""
    found = np.zeros((len(likely), columns), np.float32)
    for row, options in zip(found, likely, strict=True):
        for digit, probability in options.items():
            row[digit] = probability
        row[-1] += 1.0 - row.sum()
    return found


@st.composite
def lattices(draw):
    """Draw a small lattice and its rows; few digits, so that paths share texts."""
    last = draw(st.integers(1, 4))
    columns = draw(st.sampled_from([10, 11]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    glyphs = []
    for start in range(last):
        for end in range(start + 1, min(last, start + 2) + 1):
            for _ in range(draw(st.integers(0 if end > start + 1 else 1, 2))):
                image = PAPER if rng.random() < 0.15 else INK
                mark = MARKS[rng.integers(len(MARKS))]
                weight = float(rng.uniform(0.05, 1.0))
                glyphs.append(glyph(start, end, mark=mark, weight=weight, image=image))
    probabilities = np.zeros((len(glyphs), columns), np.float32)
    for row in probabilities:
        chosen = rng.choice(columns, rng.integers(1, 4), replace=False)
        row[chosen] = rng.dirichlet(np.ones(len(chosen)))
    low = draw(st.integers(0, 3))
    high = draw(st.none() | st.integers(max(low, 1), 4))
    return lattice(*glyphs), probabilities, low, high


def paths(glyphs, cut, last):
    """List every way from `cut` to the end."""
    if cut == last:
        yield ()
    for place, one in enumerate(glyphs):
        if one.start == cut:
            for rest in paths(glyphs, one.end, last):
                yield (place, *rest)


def symbols(one, row, marks):
    """List what a glyph may be read as, from the words of the docstrings alone."""
    if one.empty:
        return {"": one.weight}
    other = row[10] if len(row) > 10 else 0.0
    out = MARK_LEFT_OUT[one.mark] if one.mark in marks else 0.0
    share = 1.0 - out
    if one.mark is Mark.X and one.mark in marks:
        out, share = other, 1.0
    found = {str(d): one.weight * share * row[d] for d in range(10) if row[d] > 1e-4}
    if out > LEAST_PROBABILITY:
        found[""] = one.weight * out
    return found


def by_brute_force(field, probabilities, low, high, marks=tuple(Mark)):
    """Sum over all paths and all their spellings: text → share, likeliest path."""
    totals, best = {}, {}
    for path in paths(field.glyphs, 0, field.cuts[-1]):
        options = [symbols(field.glyphs[p], probabilities[p], marks) for p in path]
        for spelled in itertools.product(*(o.items() for o in options)):
            text = "".join(symbol for symbol, _ in spelled)
            weight = float(np.prod([w for _, w in spelled]))
            totals[text] = totals.get(text, 0.0) + weight
            if weight > best.get(text, ((), -1.0))[1]:
                steps = tuple(Step(p, s) for p, (s, _) in zip(path, spelled, strict=True))
                best[text] = (steps, weight)
    for text in totals:
        if text and (len(text) < low or (high is not None and len(text) > high)):
            totals[text] *= WRONG_LENGTH
    whole = sum(totals.values())
    found = {}
    for text, total in totals.items():
        path = best[text][0]
        if probabilities.shape[1] > 10:
            no = [1.0 - probabilities[s.glyph, 10] for s in path if s.text]
            total *= float(np.prod(no))
        found[text] = total / whole if whole else 0.0
    return found


@given(lattices())
@settings(max_examples=150, deadline=None)
def test_a_beam_wider_than_the_texts_is_exact(drawn):
    field, probabilities, low, high = drawn
    found = decode(
        field, probabilities, min_length=low, max_length=high, beam=PLENTY, keep=PLENTY
    )
    expected = by_brute_force(field, probabilities, low, high)
    assert {one.text for one in found} <= set(expected)
    for text, probability in expected.items():
        got = next((one.probability for one in found if one.text == text), 0.0)
        assert got == pytest.approx(probability, abs=1e-5)


@given(lattices())
@settings(max_examples=100, deadline=None)
def test_the_best_text_is_the_best_of_all_readings(drawn):
    field, probabilities, low, high = drawn
    found = decode(field, probabilities, min_length=low, max_length=high)
    expected = by_brute_force(field, probabilities, low, high)
    if found:
        assert expected[found[0].text] == pytest.approx(max(expected.values()), abs=1e-5)
    else:
        assert not expected


@given(lattices(), st.integers(1, 60), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_probabilities_are_sorted_and_sum_to_at_most_1(drawn, beam, keep):
    field, probabilities, low, high = drawn
    found = decode(field, probabilities, min_length=low, max_length=high, beam=beam, keep=keep)
    values = [one.probability for one in found]
    assert values == sorted(values, reverse=True) and sum(values) <= 1.0 + 1e-6
    assert all(0.0 <= value <= 1.0 + 1e-6 for value in values)
    assert len(found) <= keep and len({one.text for one in found}) == len(found)


@given(lattices())
@settings(max_examples=100, deadline=None)
def test_a_path_leads_from_the_first_cut_to_the_last_and_spells_its_text(drawn):
    field, probabilities, low, high = drawn
    before = probabilities.copy()
    for one in decode(field, probabilities, min_length=low, max_length=high):
        assert "".join(step.text for step in one.path) == one.text
        steps = [field.glyphs[step.glyph] for step in one.path]
        assert [0, *(g.end for g in steps)] == [*(g.start for g in steps), field.cuts[-1]]
    np.testing.assert_array_equal(probabilities, before)


@given(lattices())
@settings(max_examples=40, deadline=None)
def test_the_same_lattice_gives_the_same_texts(drawn):
    field, probabilities, low, high = drawn
    one, two = (decode(field, probabilities, min_length=low, max_length=high) for _ in range(2))
    assert one == two


def test_two_ways_to_cut_one_text_support_each_other():
    # Alone, every way to 1 is less likely than the one way to 7.
    field = lattice(glyph(0, 1, weight=0.3), glyph(0, 1, weight=0.3), glyph(0, 1, weight=0.4))
    found = decode(field, rows({1: 1}, {1: 1}, {7: 1}), min_length=0, max_length=None)
    assert [(one.text, round(one.probability, 6)) for one in found] == [("1", 0.6), ("7", 0.4)]


def test_an_empty_position_is_left_out_and_marks_nothing():
    field = lattice(glyph(0, 1, image=PAPER), glyph(1, 2), glyph(2, 3, image=PAPER))
    found = decode(field, rows({1: 1}, {5: 1}, {1: 1}), min_length=0, max_length=3)
    assert [(one.text, one.probability) for one in found] == [("5", 1.0)]


@pytest.mark.parametrize("mark", [Mark.DASH, Mark.SEPARATOR])
def test_a_mark_is_left_out_where_it_may_be_and_read_where_not(mark):
    field = lattice(glyph(0, 1, mark=mark), glyph(1, 2))
    likely = rows({1: 1}, {5: 1})
    best = decode(field, likely, min_length=0, max_length=2, marks={mark})[0]
    assert best.text == "5" and best.probability == pytest.approx(MARK_LEFT_OUT[mark])
    best = decode(field, likely, min_length=0, max_length=2, marks=())[0]
    assert best == Decoded("15", pytest.approx(1.0), (Step(0, "1"), Step(1, "5")))


def test_a_cross_is_left_out_as_far_as_it_is_no_digit():
    field = lattice(glyph(0, 1, mark=Mark.X))
    for other, text in ((0.9, ""), (0.1, "4")):
        likely = rows({4: 1 - other}, columns=11)
        found = decode(field, likely, min_length=0, max_length=1, marks={Mark.X})
        assert found[0].text == text
        assert sum(one.probability for one in found) <= 1.0


@given(lattices(), st.floats(0.0, 3e-4))
@settings(max_examples=100, deadline=None)
def test_the_shape_matters_only_of_what_may_be_a_cross(drawn, other):
    field, likely, low, high = drawn
    if likely.shape[1] > 10:
        likely[::2, 10] = other
    named = [
        replace(one, mark=Mark.X) if one.mark is None and not one.empty else one
        for one in field.glyphs
    ]
    asked = [
        cross if matters else plain
        for cross, plain, matters in zip(
            named, field.glyphs, may_be_crosses(likely), strict=True
        )
    ]
    found, wanted = (
        decode(lattice(*glyphs), likely, min_length=low, max_length=high)
        for glyphs in (asked, named)
    )
    assert found == wanted


def test_a_glyph_that_is_no_digit_makes_the_text_unlikely():
    found = decode(lattice(glyph(0, 1)), rows({3: 0.2}, columns=11), min_length=0, max_length=1)
    assert [(one.text, round(one.probability, 6)) for one in found] == [("3", 0.2)]


def test_a_text_of_the_wrong_length_is_possible_but_unlikely():
    # Cut in two it is 11, uncut it is 4.
    field = lattice(glyph(0, 1, weight=0.4), glyph(1, 2), glyph(0, 2, weight=0.6))
    likely = rows({1: 1}, {1: 1}, {4: 1})

    def best(low, high):
        return decode(field, likely, min_length=low, max_length=high)[0].text

    assert (best(0, None), best(2, 2), best(1, 1)) == ("4", "11", "4")
    assert decode(lattice(glyph(0, 1)), rows({4: 1}), min_length=3, max_length=3)[0].text == "4"


def test_a_blank_is_never_of_the_wrong_length():
    field = lattice(glyph(0, 1, mark=Mark.DASH))
    found = decode(field, rows({1: 1}), min_length=3, max_length=3, marks={Mark.DASH})
    assert found[0].text == "" and found[0].probability > MARK_LEFT_OUT[Mark.DASH]


def test_a_lattice_that_cannot_be_crossed_spells_nothing():
    field = Lattice((0, 1, 2), (glyph(0, 1), glyph(2, 3)))
    assert decode(field, rows({1: 1}, {1: 1}), min_length=0, max_length=None) == ()


def test_a_narrow_beam_gives_the_likeliest_of_what_it_keeps():
    count = 12
    field = lattice(*(glyph(i, i + 1) for i in range(count)))
    likely = rows(*({1: 0.6, 7: 0.3, 2: 0.1} for _ in range(count)))
    found = decode(field, likely, min_length=0, max_length=None, beam=4, keep=6)
    assert found[0].text == "1" * count
    assert sum(one.probability for one in found) <= 1.0


def test_the_likeliest_digits_of_a_glyph_come_first_and_there_is_always_one():
    found = digit_hypotheses(rows({3: 0.5, 8: 0.3, 5: 0.2}, columns=11)[0])
    assert [one.text for one in found] == ["3", "8", "5"]
    assert [one.text for one in digit_hypotheses(np.zeros(10, np.float32))] == ["0"]
    assert len(digit_hypotheses(np.full(10, 0.1, np.float32))) == 4


@pytest.mark.parametrize(
    ("texts", "gap"),
    [("", False), ("-", False), ("5", False), ("-57", False), ("57-", False), ("5-7", True)],
)
def test_a_gap_is_what_was_left_out_between_two_digits(texts, gap):
    path = [Step(i, "" if text == "-" else text) for i, text in enumerate(texts)]
    assert has_gap(path) is gap
