import cv2
import numpy as np
import pytest

from digitocr.imaging.strips import (
    HEIGHT,
    WIDTHS,
    find_lines,
    find_small_line,
    normalize_strip,
)
from digitocr.types import Box


def written(text="3807", *, height=60, width=220, size=1.2, foot=45, ink=40, paper=210, pen=3):
    gray = np.full((height, width), paper, np.uint8)
    cv2.putText(gray, text, (30, foot), cv2.FONT_HERSHEY_SIMPLEX, size, ink, pen)
    return gray


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (5, 4), (13, 30), (64, 64), (452, 900), (40, 3000)]
)
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_a_crop_of_any_size_gives_a_strip(shape, fill):
    gray = {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, shape, np.uint8),
    }[fill]
    before = gray.copy()
    strip = normalize_strip(gray)
    assert strip.dtype == np.uint8 and strip.shape[0] == HEIGHT
    assert HEIGHT // 2 <= strip.shape[1] <= WIDTHS[-1]
    np.testing.assert_array_equal(gray, before)
    np.testing.assert_array_equal(strip, normalize_strip(gray))
    if fill != "noise":
        assert not strip.any()


def test_writing_is_bright_on_paper_of_nothing():
    strip = normalize_strip(written())
    assert np.quantile(strip, 0.98) == 255
    assert np.median(strip) == 0


def test_faint_writing_on_dark_paper_gives_the_strip_of_dark_writing_on_white():
    dark, faint = normalize_strip(written()), normalize_strip(written(ink=120, paper=160))
    assert dark.shape == faint.shape
    assert np.abs(dark.astype(int) - faint).mean() < 12


@pytest.mark.parametrize(("height", "foot"), [(60, 45), (140, 90), (140, 60), (200, 120)])
def test_digits_come_out_as_high_however_much_paper_is_around_them(height, foot):
    strip = normalize_strip(written(height=height, foot=foot))
    rows = np.flatnonzero((strip > 128).any(axis=1))
    assert 18 <= rows[-1] - rows[0] + 1 <= 28


def test_a_large_digit_before_small_ones_is_not_cut():
    # The zeros change most along their rows; the 5 sticks out of these by its half.
    gray = written("000", height=110, foot=80, size=1.0)
    cv2.putText(gray, "5", (2, 84), cv2.FONT_HERSHEY_SIMPLEX, 2.6, 40, 3)
    line = find_lines(gray)[0].box
    rows = np.flatnonzero((gray[:, :28] < 100).any(axis=1))
    assert line.top <= rows[0] and rows[-1] < line.bottom


@pytest.mark.parametrize(("ink", "rule"), [(150, 40), (160, 20), (175, 0)])
def test_beside_a_strong_rule_faint_digits_are_all_in_the_line(ink, rule):
    gray = written(ink=ink)
    digits = np.flatnonzero((gray < 200).any(axis=0))
    rows = np.flatnonzero((gray < 200).any(axis=1))
    gray[50:54, 80:] = rule
    (line,) = find_lines(gray)
    assert line.box.left <= digits[0] and line.box.right > digits[-1]
    assert line.box.top <= rows[0] and rows[-1] < line.box.bottom <= 54


def test_paler_digits_at_an_end_are_in_the_line():
    gray = written("38")
    cv2.putText(gray, "07", (95, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 165, 3)
    (line,) = find_lines(gray)
    assert line.box.right > np.flatnonzero((gray < 200).any(axis=0))[-1]


def test_where_cells_are_printed_what_is_pale_is_print():
    gray = written("38", ink=40)
    cv2.putText(gray, "8", (140, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 165, 3)  # a guide
    ends = {pale: find_lines(gray, pale=pale)[0].box.right for pale in (False, True)}
    assert ends[False] < 140 < ends[True]


def test_a_rule_does_not_take_the_place_of_the_writing():
    gray = written(height=120, foot=60, ink=90)
    gray[100:104] = 0  # solid
    gray[110:114, ::8] = 0  # dotted
    strip = normalize_strip(gray)
    inked = (strip > 60).any(axis=0)
    assert np.count_nonzero(np.diff(inked.astype(int)) == 1) >= 3  # four digits apart


@pytest.mark.parametrize(
    "gray", [np.zeros((0, 5), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))]
)
def test_what_is_no_gray_crop_is_refused(gray):
    with pytest.raises(ValueError, match="gray must be"):
        normalize_strip(gray)


@pytest.mark.parametrize("text", ["0", "8", "47", "116"])
@pytest.mark.parametrize("black", [0, 50])
def test_small_writing_in_a_tall_cell_is_found(text, black):
    cell = np.full((250, 120), 225, np.uint8)
    cell[:, :black] = 12
    cell[:, black + 4 : black + 6] = cell[:, 114:116] = 60  # its sides
    cell[240:242, black:] = 150  # a rule
    cv2.putText(cell, text, (62, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 70, 2)
    found = find_lines(cell)[0]
    assert 88 <= found.box.top <= 98 and 108 <= found.box.bottom <= 120
    strip = found.strip
    np.testing.assert_array_equal(strip, normalize_strip(cell))
    right_of_side = round((58 - found.box.left) * HEIGHT / found.box.height)
    rows = np.flatnonzero((strip[:, right_of_side:] > 128).any(axis=1))
    assert 12 <= rows[-1] - rows[0] + 1 <= 28


def test_more_lines_are_given_where_they_are_asked_for_and_a_wide_crop_has_one():
    cell = np.full((250, 120), 225, np.uint8)
    cv2.putText(cell, "1942", (30, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 70, 2)
    cv2.putText(cell, "30", (50, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 70, 2)
    assert len(find_lines(cell)) == 1
    found = find_lines(cell, most=3)
    assert [line.box.top < 100 for line in found] == [False, True]
    assert len(find_lines(written(), most=3)) == 1


def test_the_small_line_of_a_cell_is_framed_and_a_crop_that_is_a_line_has_none():
    cell = np.full((250, 120), 225, np.uint8)
    cell[:, :40] = 12
    cv2.putText(cell, "47", (62, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 70, 2)
    rows, columns = np.nonzero((cell < 150) & (np.arange(120) >= 45))
    line = find_small_line(cell)
    assert 45 <= line.left <= columns.min() and columns.max() < line.right
    assert line.top <= rows.min() and rows.max() < line.bottom
    assert line.height <= 1.5 * (rows.max() + 1 - rows.min())
    assert find_small_line(written()) is None
    digit = np.full((60, 50), 225, np.uint8)
    cv2.putText(digit, "4", (8, 52), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 70, 3)
    assert find_small_line(digit) is None


def test_the_small_line_of_any_crop_lies_inside_it(any_crops):
    lines = [
        (find_small_line(gray), Box(0, 0, gray.shape[1], gray.shape[0])) for gray in any_crops
    ]
    assert all(line.common(whole) == line.area for line, whole in lines if line is not None)
    assert sum(line is not None for line, _ in lines) > 20
