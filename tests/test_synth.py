from __future__ import annotations

import numpy as np
import pytest

from digitocr import synth
from digitocr.synth import Damage
from digitocr.types import Box, VoidMark

BOX = Box(20, 20, 220, 80)


@pytest.fixture(scope="module")
def hand():
    return synth.draw_hand(np.random.default_rng(3))


def paper(h=100, w=240):
    return np.full((h, w), 250, np.uint8)


def ink_columns(page, left, right):
    return int((page[:, left:right] < 200).sum())


def test_the_same_seed_draws_the_same_digit():
    one, two = (synth.draw_digit(4, 50, np.random.default_rng(8)) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("height", [12, 40, 110])
def test_a_digit_is_about_as_tall_as_asked_and_cropped_to_its_ink(digit, height, hand):
    strokes = synth.draw_digit(digit, height, np.random.default_rng(digit), hand=hand)
    assert strokes.dtype == np.float32
    assert strokes.min() >= 0 and 0.6 < strokes.max() <= 1
    assert 0.55 * height < strokes.shape[0] < 1.3 * height
    assert all(edge.max() > 0 for edge in (strokes[0], strokes[-1], strokes[:, 0]))


@pytest.mark.parametrize(("digit", "height"), [(10, 40), (-1, 40), (3, 2)])
def test_what_is_no_digit_is_refused(digit, height):
    with pytest.raises(ValueError, match="must be"):
        synth.draw_digit(digit, height, np.random.default_rng(0))


def test_writing_leaves_the_page_alone_and_stays_near_its_box(hand):
    page = paper()
    before = page.copy()
    written = synth.write_number(page, "5071", BOX, np.random.default_rng(1), hand=hand)
    assert np.array_equal(page, before)
    rows, columns = np.nonzero(written < 200)
    assert rows.min() >= BOX.top - 6 and rows.max() < BOX.bottom + 6
    assert columns.min() >= BOX.left and columns.max() < BOX.right


def test_digits_stand_in_the_last_cells_and_void_marks_in_the_first(hand):
    rng = np.random.default_rng
    bare = synth.write_number(paper(), "88", BOX, rng(1), hand=hand, cells=4)
    void = synth.write_number(paper(), "88", BOX, rng(1), hand=hand, cells=4, void=VoidMark.X)
    assert ink_columns(bare, 20, 110) == 0
    assert ink_columns(bare, 120, 170) > 40 and ink_columns(bare, 170, 220) > 40
    assert ink_columns(void, 20, 70) > 40 and ink_columns(void, 70, 120) > 40


def test_a_printed_decimal_mark_is_not_written_into_cells(hand):
    page = synth.write_number(
        paper(), "1.25", BOX, np.random.default_rng(1), hand=hand, cells=3
    )
    assert page.min() < 128


@pytest.mark.parametrize("text", ["12a", "1.2.3", "-4"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="text must be"):
        synth.write_number(paper(), text, BOX, np.random.default_rng(0))


def test_more_digits_than_cells_are_refused():
    with pytest.raises(ValueError, match="3 digits, the field 2"):
        synth.write_number(paper(), "123", BOX, np.random.default_rng(0), cells=2)


def test_touching_digits_take_less_room(hand):
    def width(touching):
        rng = np.random.default_rng(5)
        wide = Box(20, 20, 620, 80)
        page = synth.write_number(
            paper(100, 640), "333333", wide, rng, hand=hand, touching=touching
        )
        columns = np.flatnonzero((page < 200).any(axis=0))
        return columns[-1] - columns[0]

    assert width(1.0) < width(0.0)


@pytest.mark.parametrize("damage", Damage)
def test_damage_changes_a_copy_and_is_the_same_for_a_seed(damage, hand):
    page = synth.write_number(paper(), "26", BOX, np.random.default_rng(2), hand=hand)
    before = page.copy()
    one, two = (synth.degrade(page, damage, 0.7, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(page, before)
    assert one.dtype == np.uint8 and np.array_equal(one, two)
    assert one.shape != page.shape or not np.array_equal(one, page)


@pytest.mark.parametrize("damage", Damage)
def test_no_strength_is_no_damage(damage):
    page = np.arange(200, dtype=np.uint8).reshape(10, 20)
    assert np.array_equal(synth.degrade(page, damage, 0, np.random.default_rng(0)), page)


def test_damage_beyond_the_scale_is_refused():
    with pytest.raises(ValueError, match="strength"):
        synth.degrade(paper(), Damage.NOISE, 1.5, np.random.default_rng(0))


def test_a_turn_twice_is_none():
    page = np.arange(200, dtype=np.uint8).reshape(10, 20)
    rng = np.random.default_rng(0)
    turned = synth.degrade(page, Damage.TURN, 1, rng)
    assert np.array_equal(synth.degrade(turned, Damage.TURN, 1, rng), page)


@pytest.mark.parametrize(
    ("left", "top", "seen"),
    [(1, 1, 6), (-1, -1, 2), (4, 3, 1), (-2, 0, 0), (0, -9, 0), (5, 0, 0), (90, 90, 0)],
)
def test_of_strokes_what_lies_beside_the_page_is_lost(left, top, seen):
    canvas = np.zeros((4, 5), np.uint8)
    stamp = synth.Stamp(np.arange(1, 7, dtype=np.uint8).reshape(3, 2), left, top)
    part, strokes = stamp.over(canvas)
    assert part.shape == strokes.shape and part.size == seen
    part[:] = strokes
    assert np.count_nonzero(canvas) == seen
    if seen:
        assert canvas[max(top, 0), max(left, 0)] == stamp.strokes[max(-top, 0), max(-left, 0)]
