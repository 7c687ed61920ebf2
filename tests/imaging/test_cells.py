from __future__ import annotations

import cv2
import numpy as np
import pytest

from digitocr.imaging.cells import find_cells, rows_of_boxes
from digitocr.imaging.combs import decimal_dot, find_combs, find_rules
from digitocr.imaging.lines import find_lines
from digitocr.types import Box

DPI = 150.0


@pytest.fixture
def page():
    return np.full((400, 600), 255, np.uint8)


def lines_of(picture, pages=None):
    return find_lines(picture, pages or [picture], DPI)


def boxes(picture, left, top, count, step=48, side=48, gray=100):
    for x in range(left, left + count * step, step):
        cv2.rectangle(picture, (x, top), (x + side, top + 52), gray, 2)


def test_boxes_side_by_side_are_one_row_and_those_apart_are_too(page):
    boxes(page, 60, 60, 4)
    boxes(page, 60, 200, 3, step=54, side=42)
    rows = rows_of_boxes(find_cells(lines_of(page)), lines_of(page))
    assert [len(row) for row in rows] == [4, 3]
    for row, (left, right) in zip(rows, ((60, 252), (60, 210)), strict=True):
        assert abs(row[0].left - left) <= 3 and abs(row[-1].right - right) <= 3


@pytest.mark.parametrize("gray", [30, 150, 215])
def test_light_lines_part_cells_as_dark_ones_do(page, gray):
    boxes(page, 60, 60, 3, gray=gray)
    assert len(find_cells(lines_of(page))) == 3


def test_a_longer_line_parts_two_fields(page):
    boxes(page, 60, 100, 6)
    cv2.line(page, (204, 40), (204, 152), 60, 2)
    cv2.line(page, (60, 40), (348, 40), 60, 2)
    rows = rows_of_boxes(find_cells(lines_of(page)), lines_of(page))
    assert sorted(len(row) for row in rows if row[0].top > 80) == [3, 3]


def test_a_comb_has_its_ticks_and_a_ruler_is_none(page):
    cv2.line(page, (60, 120), (260, 120), 60, 2)
    for x in range(60, 261, 40):
        cv2.line(page, (x, 120), (x, 100), 60, 2)
    cv2.line(page, (60, 300), (300, 300), 60, 2)
    for x in range(60, 301, 6):
        cv2.line(page, (x, 300), (x, 290), 60, 1)
    lines = lines_of(page)
    (comb,) = [one for one in find_combs(lines, []) if one.base < 200]
    assert len(comb.ticks) == 6
    assert all(abs(x - 60 - 40 * i) <= 2 for i, x in enumerate(comb.ticks))
    assert abs(comb.base - 120) <= 2 and comb.tick_top <= 104
    assert [one for one in find_combs(lines, []) if one.base >= 200] == []


def test_rules_are_found_drawn_and_dotted_and_not_under_cells(page):
    cv2.line(page, (60, 100), (360, 100), 60, 2)
    for x in range(60, 360, 9):
        cv2.circle(page, (x, 200), 1, 30, -1)
    boxes(page, 60, 260, 5)
    lines = lines_of(page)
    found = find_rules(lines, find_cells(lines))
    assert [round(rule.base / 100) for rule in found] == [1, 2]
    assert all(rule.left < 75 and rule.right > 340 for rule in found)


def test_what_is_on_one_page_only_is_no_line(page):
    boxes(page, 60, 60, 3)
    written = page.copy()
    cv2.line(written, (84, 64), (84, 110), 0, 3)
    lines = lines_of(page, [page, page, written, page, page])
    assert len(find_cells(lines)) == 3


def test_a_point_is_seen_at_its_divider_only(page):
    boxes(page, 60, 60, 3)
    cv2.circle(page, (156, 126), 4, 0, -1)
    lines, box = lines_of(page), Box(60, 60, 204, 112)
    assert decimal_dot(lines, box, 156)
    assert not decimal_dot(lines, box, 108)


def test_pictures_are_left_as_they_are(page):
    boxes(page, 60, 60, 3)
    before = page.copy()
    lines_of(page)
    assert np.array_equal(page, before)


def test_a_letter_that_stands_over_a_line_does_not_part_the_row(page):
    boxes(page, 60, 60, 6)
    cv2.line(page, (108, 40), (108, 57), 0, 2)  # the stem of a 1 in the label above
    lines = lines_of(page)
    (row,) = rows_of_boxes(find_cells(lines), lines)
    assert len(row) == 6


def zero_in(picture, left, top):
    """Draw a zero with straight sides and a tail that touches the right line of its box."""
    cv2.rectangle(picture, (left + 12, top + 12), (left + 34, top + 40), 0, 3)
    cv2.line(picture, (left + 34, top + 30), (left + 47, top + 30), 0, 3)


@pytest.mark.parametrize("places", [(2,), (0,), (4,), (1, 2), (0, 4)])
@pytest.mark.parametrize("step", [48, 56])
def test_a_digit_that_all_wrote_does_not_break_its_row(page, places, step):
    boxes(page, 60, 60, 5, step=step)
    for place in places:
        zero_in(page, 60 + place * step, 60)
    lines = lines_of(page)
    cells = find_cells(lines)
    assert len(cells) < 5  # what is written broke a cell: there is something to mend
    (row,) = rows_of_boxes(cells, lines)
    assert [round((cell.left - 60) / step) for cell in row] == [0, 1, 2, 3, 4]


def test_a_row_does_not_go_on_where_no_position_is_printed(page):
    boxes(page, 60, 60, 3)
    zero_in(page, 204, 60)  # beside the last box, on paper
    boxes(page, 60, 200, 2)
    cv2.rectangle(page, (156, 200), (240, 252), 100, 2)  # a wider box
    lines = lines_of(page)
    assert [len(row) for row in rows_of_boxes(find_cells(lines), lines)] == [3, 2, 1]
