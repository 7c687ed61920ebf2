from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.segmentation import (
    FieldInk,
    bounds,
    components,
    digit_height,
    is_cross,
    is_crowded,
    segment_cells,
    segment_open,
    share_inside,
    slant_of,
    strengthen,
    with_crosses,
)
from digitocr.types import Box, Mark

SIDE, TOP = 44, 20  # cells of a boxed field, as read at 200 dpi
CELLS = [Box(20 + SIDE * i, TOP, 20 + SIDE * (i + 1), TOP + 60) for i in range(4)]
SPECK = 4


def canvas():
    return np.zeros((100, 220), np.uint8)


def field_ink(drawn):
    ink = drawn > 0
    intensity = np.where(ink, 255, 0).astype(np.uint8)
    return FieldInk(ink, intensity, tuple(components(ink)))


def digit(drawn, text, x, y=72, *, scale=1.6, pen=4):
    cv2.putText(drawn, text, (round(x), y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, pen)
    return drawn


def cells_of(drawn):
    lattice = segment_cells(field_ink(drawn), CELLS, speck=SPECK)
    assert lattice.cuts == (20, 64, 108, 152, 196)
    positions = {(glyph.start, glyph.end) for glyph in lattice.glyphs}
    assert positions == {(i, i + 1) for i in range(4)}
    found = [[g for g in lattice.glyphs if g.start == i] for i in range(4)]
    assert all(abs(sum(g.weight for g in glyphs) - 1.0) < 1e-6 for glyphs in found)
    return found


def empties(found):
    return [glyphs[0].empty for glyphs in found]


# ---------------------------------------------------------------- components


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_components_are_the_ink_and_share_none_of_it(seed, h, w):
    ink = np.random.default_rng(seed).random((h, w)) < 0.3
    before = ink.copy()
    again = np.zeros((h, w), int)
    for piece in components(ink):
        box = piece.box
        again[box.top : box.bottom, box.left : box.right] += piece.ink
        assert piece.area == piece.ink.sum()
        assert share_inside(piece, box) == 1.0
    np.testing.assert_array_equal(again, before.astype(int))
    np.testing.assert_array_equal(ink, before)


def test_specks_are_no_components():
    ink = np.zeros((20, 40), bool)
    ink[5:7, 5:7] = True
    ink[5:15, 20:22] = True
    assert len(components(ink)) == 2
    assert len(components(ink, least_area=5)) == 1
    assert len(components(ink, least_side=3)) == 1


def test_the_share_of_a_piece_in_a_box_is_counted_by_its_ink():
    ink = np.zeros((20, 40), bool)
    ink[10, 10:30] = True
    piece = components(ink)[0]
    assert share_inside(piece, Box(0, 0, 25, 20)) == 0.75
    assert share_inside(piece, Box(0, 0, 10, 20)) == 0.0
    assert share_inside(piece, Box(30, 0, 40, 20)) == 0.0


def test_ink_is_strong_and_paper_has_no_strength():
    dark = np.zeros((9, 9), np.float32)
    dark[4, 2:7], dark[3, 2:7], dark[0, 0] = 0.8, 0.3, 0.8
    found = strengthen(dark > 0.5, np.where(dark > 0.5, dark, dark), 0.8)
    assert (found.intensity[4, 2:7] == 255).all()
    assert (found.intensity[3, 2:7] > 0).all() and (found.intensity[3, 2:7] < 128).all()
    assert not found.intensity[7:].any()


# ---------------------------------------------------------------- printed positions


@pytest.mark.parametrize("place", range(4))
def test_a_digit_is_in_its_cell_and_the_others_are_empty(place):
    found = cells_of(digit(canvas(), "5", CELLS[place].left + 8))
    assert empties(found) == [i != place for i in range(4)]
    glyph, cell = found[place][0], CELLS[place]
    assert cell.left <= glyph.box.left < glyph.box.right <= cell.right
    assert glyph.image.max() == 1.0 and glyph.image.shape == (28, 28)


@pytest.mark.parametrize("drawn", [canvas(), np.pad(np.full((2, 2), 255, np.uint8), 50)])
def test_a_blank_field_and_one_with_a_speck_are_all_empty(drawn):
    drawn = np.resize(drawn, (100, 220)) if drawn.shape != (100, 220) else drawn
    lattice = segment_cells(field_ink(drawn), CELLS, speck=SPECK)
    assert len(lattice.glyphs) == 4 and all(glyph.empty for glyph in lattice.glyphs)


def test_one_pixel_is_no_digit():
    drawn = canvas()
    drawn[50, 40] = 255
    assert all(empties(cells_of(drawn)))


def test_a_speck_beside_a_digit_changes_nothing():
    plain = digit(canvas(), "3", 28)
    dusty = plain.copy()
    dusty[60:63, 90:93] = 255
    for one, two in zip(cells_of(plain), cells_of(dusty), strict=True):
        assert [g.box for g in one] == [g.box for g in two]


def test_a_digit_over_a_border_stays_whole_in_the_cell_that_has_most_of_it():
    found = cells_of(digit(canvas(), "8", CELLS[1].left - 9, scale=1.5))
    assert empties(found) == [True, False, True, True]
    assert found[1][0].box.left < CELLS[1].left


def test_two_digits_that_touch_across_a_border_are_parted_there():
    drawn = digit(digit(canvas(), "2", 26), "2", 70)
    drawn[68:72, 50:80] = 255
    found = cells_of(drawn)
    assert empties(found) == [False, False, True, True]
    assert found[0][0].box.right <= CELLS[0].right <= found[1][0].box.left


def test_what_line_removal_leaves_at_a_border_is_no_digit():
    drawn = digit(canvas(), "7", CELLS[2].left + 8)
    drawn[22:78, CELLS[1].left + 1 : CELLS[1].left + 4] = 255
    assert empties(cells_of(drawn)) == [True, True, False, True]


def test_a_piece_of_another_row_is_not_of_this_field():
    drawn = digit(canvas(), "5", 28, y=72)
    drawn[84:98, 70:100] = 255
    assert empties(cells_of(drawn)) == [False, True, True, True]


def test_a_broken_digit_is_one_glyph_and_its_main_piece_alone_another():
    drawn = digit(canvas(), "7", 24)
    drawn[58:64, 52:58] = 255
    glyphs = cells_of(drawn)[0]
    assert len(glyphs) == 2 and glyphs[0].weight > glyphs[1].weight
    assert glyphs[0].box.right > glyphs[1].box.right


def test_the_two_halves_of_a_digit_are_one_glyph():
    drawn = digit(canvas(), "8", 28)
    drawn[53:56] = 0
    glyphs = cells_of(drawn)[0]
    assert len(glyphs) == 1 and glyphs[0].box.height > 30


def test_the_glyph_of_a_cell_has_none_of_its_neighbors_ink():
    alone = cells_of(digit(canvas(), "6", CELLS[1].left + 8))[1][0]
    among = cells_of(digit(digit(canvas(), "6", CELLS[1].left + 8), "8", CELLS[2].left + 4))
    np.testing.assert_array_equal(among[1][0].image, alone.image)


def cross(drawn, cell, *, pen=4):
    left, right = (cell.left + 8, cell.top + 14), (cell.right - 8, cell.bottom - 12)
    cv2.line(drawn, left, right, 255, pen)
    cv2.line(drawn, (right[0], left[1]), (left[0], right[1]), 255, pen)
    return drawn


def test_crosses_and_dashes_are_named_by_their_shape():
    drawn = cross(canvas(), CELLS[0])
    cv2.line(drawn, (CELLS[1].left + 8, 50), (CELLS[1].right - 8, 48), 255, 4)
    digit(drawn, "8", CELLS[2].left + 8)
    lattice = segment_cells(field_ink(drawn), CELLS, speck=SPECK)
    unasked = with_crosses(lattice, [False] * 4)
    assert [glyph.mark for glyph in unasked.glyphs] == [None, Mark.DASH, None, None]
    named = with_crosses(lattice, [True] * 4)
    assert [glyph.mark for glyph in named.glyphs] == [Mark.X, Mark.DASH, None, None]


@pytest.mark.parametrize("text", list("0123456789"))
def test_digits_are_not_named_marks(text):
    drawn = digit(canvas(), text, 28)
    lattice = segment_cells(field_ink(drawn), CELLS, speck=SPECK)
    named = with_crosses(lattice, [True] * len(lattice.glyphs))
    assert {glyph.mark for glyph in named.glyphs} == {None}


@pytest.mark.parametrize("turn_deg", range(-20, 21, 10))
@pytest.mark.parametrize("pen", [3, 6])
def test_a_cross_is_a_cross_at_any_slant(turn_deg, pen):
    drawn = cross(canvas(), CELLS[1], pen=pen)
    matrix = cv2.getRotationMatrix2D((86, 50), turn_deg, 1.0)
    ink = cv2.warpAffine(drawn, matrix, (220, 100)) > 128
    assert is_cross(components(ink)[0].ink)


@pytest.mark.parametrize("text", ["78", "54", "38", "90"])
def test_a_cross_over_digits_is_no_mark_of_a_blank(text):
    drawn = np.zeros((100, 130), np.uint8)
    for ends in (((5, 5), (124, 94)), ((124, 5), (5, 94))):
        cv2.line(drawn, *ends, 255, 5)
    assert is_cross(components(drawn > 0)[0].ink)
    digit(drawn, text, 25, 72, scale=1.5, pen=3)
    assert not is_cross(components(drawn > 0)[0].ink)


# ---------------------------------------------------------------- open fields


def open_(drawn, **more):
    return segment_open(field_ink(drawn), speck=SPECK, **more)


def obeys(lattice):
    """Check what holds for every lattice."""
    count = len(lattice.cuts) - 1
    for glyph in lattice.glyphs:
        assert 0 <= glyph.start < glyph.end <= count
        assert 0.0 < glyph.weight <= 1.0 and not glyph.empty
    starts = {glyph.start for glyph in lattice.glyphs}
    assert starts == set(range(count))
    single = {(glyph.start, glyph.end) for glyph in lattice.glyphs}
    assert all((i, i + 1) in single for i in range(count))


def test_digits_apart_are_glyphs_in_their_order():
    drawn = canvas()
    for place, text in enumerate("4715"):
        digit(drawn, text, 15 + 48 * place)
    lattice = open_(drawn)
    obeys(lattice)
    pieces = components(drawn > 0)
    own = [next(g for g in lattice.glyphs if g.box == piece.box) for piece in pieces]
    assert len(own) == 4 and (own[0].start, own[-1].end) == (0, len(lattice.cuts) - 1)
    assert all(one.end == two.start for one, two in pairwise(own))


def test_touching_digits_may_be_cut_between_them():
    drawn = digit(digit(canvas(), "0", 30), "0", 55)
    lattice = open_(drawn)
    obeys(lattice)
    assert len(components(drawn > 0)) == 1
    whole = bounds(components(drawn > 0))
    middle = (whole.left + whole.right) / 2
    assert any(abs(cut - middle) <= 6 for cut in lattice.cuts)


def test_a_broken_digit_may_be_joined():
    drawn = digit(digit(canvas(), "7", 20), "5", 80)
    drawn[50:53, 70:120] = 0
    lattice = open_(drawn)
    obeys(lattice)
    five = components(drawn[:, 70:] > 0)
    assert len(five) == 2
    box = bounds(five)
    joined = Box(box.left + 70, box.top, box.right + 70, box.bottom)
    assert joined in [glyph.box for glyph in lattice.glyphs]


def test_a_point_and_a_dash_are_named():
    drawn = digit(digit(canvas(), "4", 15), "9", 90)
    cv2.circle(drawn, (72, 70), 4, 255, -1)
    cv2.line(drawn, (150, 50), (180, 50), 255, 4)
    marks = {g.box.left: g.mark for g in open_(drawn).glyphs if g.end == g.start + 1}
    assert [marks[left] for left in sorted(marks)] == [None, Mark.SEPARATOR, None, Mark.DASH]


def test_what_lies_outside_the_field_is_a_neighbors():
    drawn = digit(digit(canvas(), "4", 15), "9", 150)
    lattice = open_(drawn, box=Box(5, 10, 120, 90))
    assert {(g.start, g.end) for g in lattice.glyphs} == {(0, 1)}
    assert lattice.glyphs[0].box.right < 120


@pytest.mark.parametrize("pixels", [0, 1, 4])
def test_without_ink_there_is_nothing_to_cut(pixels):
    drawn = canvas()
    drawn[50, 50 : 50 + pixels] = 255
    lattice = segment_open(field_ink(drawn), speck=6)
    assert (lattice.cuts, lattice.glyphs) == ((), ())


def test_a_field_that_is_all_ink_is_cut_without_a_fault():
    lattice = open_(np.full((60, 200), 255, np.uint8))
    obeys(lattice)


def test_of_a_field_full_of_dots_only_the_largest_pieces_are_cut():
    drawn = digit(np.zeros((120, 900), np.uint8), "4", 400)
    for x in range(6, 900, 12):
        for y in range(6, 120, 12):
            cv2.circle(drawn, (x, y), 3, 255, -1)
    ink = field_ink(drawn)
    assert is_crowded(ink, speck=3) and not is_crowded(ink, speck=3, box=Box(0, 0, 60, 60))
    lattice = segment_open(ink, speck=3)
    obeys(lattice)
    assert len(lattice.cuts) <= 100
    largest = max(lattice.glyphs, key=lambda one: one.box.area * (one.end - one.start == 1))
    assert largest.box.left >= 380
    assert not is_crowded(field_ink(digit(canvas(), "4", 15)), speck=3)


def test_the_height_of_digits_is_not_that_of_their_marks():
    drawn = digit(digit(canvas(), "4", 15), "9", 90)
    tall = digit_height(components(drawn > 0))
    cv2.circle(drawn, (72, 70), 4, 255, -1)
    assert digit_height(components(drawn > 0)) == tall


def test_the_height_of_a_broken_digit_is_that_of_its_parts():
    drawn = digit(digit(canvas(), "5", 15), "5", 90)
    tall = digit_height(components(drawn > 0))
    rows = np.flatnonzero(drawn.any(1))
    middle = (int(rows[0]) + int(rows[-1])) // 2
    drawn[middle - 2 : middle + 2] = 0
    assert digit_height(components(drawn > 0)) == tall


def test_a_wide_digit_is_looked_at_whole():
    drawn = canvas()
    cv2.ellipse(drawn, (140, 50), (60, 22), -20, 0, 360, 255, 5)
    cv2.line(drawn, (30, 15), (30, 85), 255, 5)
    lattice = open_(drawn)
    assert any(glyph.box.width > 115 for glyph in lattice.glyphs)


@given(st.text("0123456789", min_size=1, max_size=6), st.integers(20, 45), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_the_lattice_covers_all_ink_and_every_cut_can_be_reached(text, pitch, pen):
    drawn = np.zeros((100, 320), np.uint8)
    for place, one in enumerate(text):
        digit(drawn, one, 10 + pitch * place, pen=pen)
    before = drawn.copy()
    lattice = open_(drawn)
    obeys(lattice)
    covered = np.zeros(drawn.shape, bool)
    for glyph in lattice.glyphs:
        if glyph.end == glyph.start + 1:
            box = glyph.box
            covered[box.top : box.bottom, box.left : box.right] = True
    assert not ((drawn > 0) & ~covered).any()
    np.testing.assert_array_equal(drawn, before)


@pytest.mark.parametrize(
    ("stroke", "mark"),
    [
        ((96, 30, 24, 5), Mark.REST),  # the bar of a 5, lifted: at the top, beside its digit
        ((96, 50, 24, 5), Mark.DASH),  # a minus stands at half the height
        ((60, 76, 22, 3), Mark.REST),  # what is left of the rule below a digit
        ((98, 66, 7, 7), Mark.SEPARATOR),
        ((97, 64, 6, 16), Mark.SEPARATOR),  # a comma
        ((96, 75, 6, 6), Mark.SEPARATOR),  # a point below the line is not flat
        ((98, 64, 22, 5), Mark.DASH),  # a dash at the foot of the digits may be a point
    ],
)
def test_a_rest_of_a_digit_or_of_the_rule_is_told_from_a_sign(stroke, mark):
    drawn = canvas()
    digit(drawn, "4", 55)
    digit(drawn, "8", 125)
    x, y, w, h = stroke
    drawn[y : y + h, x : x + w] = 255
    lattice = open_(drawn)
    marks = {glyph.mark for glyph in lattice.glyphs if glyph.box.height == h}
    assert marks == {mark}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_ink_at_all_gives_a_lattice_that_can_be_crossed(seed):
    rng = np.random.default_rng(seed)
    drawn = canvas()
    for _ in range(int(rng.integers(1, 9))):
        points = rng.integers([0, 0], [220, 100], (int(rng.integers(2, 5)), 2))
        cv2.polylines(drawn, [points.astype(np.int32)], False, 255, int(rng.integers(1, 12)))
    lattice = open_(drawn)
    if lattice.glyphs:
        obeys(lattice)
    cells_of(drawn)


def leaning_pair():
    """Draw two leaning strokes joined by a thin bar: no upright column parts them."""
    drawn = canvas()
    for x in (60, 105):
        cv2.line(drawn, (x, 80), (x + 48, 20), 255, 6)
    cv2.line(drawn, (84, 50), (129, 50), 255, 2)
    return drawn


def test_a_cut_leans_as_the_writing_does():
    lattice = open_(leaning_pair())
    last = max(one.end for one in lattice.glyphs)
    pairs = [
        (one.box, other.box)
        for one in lattice.glyphs
        for other in lattice.glyphs
        if one.start == 0 and one.end == other.start and other.end == last
    ]
    # Each has a whole stroke, though no upright column lies between them.
    assert any(
        other.left < one.right and one.top == other.top and one.bottom == other.bottom
        for one, other in pairs
    )


@pytest.mark.parametrize("lean", [-0.2, 0.0, 0.4, 0.8])
def test_the_lean_of_strokes_is_found(lean):
    drawn = canvas()
    for x in (60, 100, 140):
        cv2.line(drawn, (x, 80), (round(x + 60 * lean), 20), 255, 4)
    assert slant_of(components(drawn > 0), 60) == pytest.approx(lean, abs=0.11)
