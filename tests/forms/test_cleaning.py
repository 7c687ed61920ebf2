"""What everyone writes alike is no print, and what is printed inside a position is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from digitocr.forms import cleaning, proposals
from digitocr.forms.proposals import Evidence, Proposal, Sureness
from digitocr.imaging.cells import find_cells, rows_of_boxes
from digitocr.imaging.lines import find_lines
from digitocr.types import Box, Field, FieldKind, FieldType

DPI = 150.0
SIDE, TOP, LEFT = 48, 60, 60
PLACES = 5


def printed_form(letters=""):
    """Draw a row of five boxes, with a letter in each if given."""
    page = np.full((200, 400), 255, np.uint8)
    for x in range(LEFT, LEFT + PLACES * SIDE, SIDE):
        cv2.rectangle(page, (x, TOP), (x + SIDE, TOP + 52), 100, 2)
    for place, letter in enumerate(letters):
        left = LEFT + place * SIDE + 14
        cv2.putText(page, letter, (left, TOP + 38), cv2.FONT_HERSHEY_DUPLEX, 0.9, 150, 1)
    return page


def written_on(page, rng, zeros):
    """Write a stroke of some slope into each box, and a zero always alike into some."""
    image = page.copy()
    for place in range(PLACES):
        x, y = LEFT + place * SIDE + SIDE // 2, TOP + 26
        if place in zeros:
            dx, dy = (int(n) for n in rng.integers(-3, 4, 2))
            axes = tuple(int(n) for n in np.array([11, 17]) + rng.integers(-3, 4, 2))
            cv2.ellipse(image, (x + dx, y + dy), axes, 8, 0, 360, 20, 4)
        else:
            ends = rng.integers(-17, 18, 4)
            start, end = (x + int(ends[0]), y + int(ends[1])), (x + int(ends[2]), y - 17)
            cv2.line(image, start, end, 20, 4)
    return cv2.GaussianBlur(image, (0, 0), 0.6)


def evidence(blank, images):
    lines = find_lines(blank, images, DPI)
    writing = tuple((image < 120) & (blank > 200) for image in images)
    near = np.sum([cv2.dilate(one.astype(np.uint8), np.ones((13, 13))) for one in writing], 0)
    nothing = np.zeros(blank.shape, bool)
    return Evidence(writing, nothing, near >= proposals.CROSSING * len(images), lines)


def proposal():
    box = Box(LEFT, TOP, LEFT + PLACES * SIDE, TOP + 52)
    field = Field("code", 1, box, FieldKind.BOXED, FieldType.INTEGER, cells=PLACES)
    return Proposal(field, 1.0, Sureness.SURE, "five positions")


def inside(place):
    left = LEFT + place * SIDE
    return slice(TOP + 6, TOP + 46), slice(left + 6, left + SIDE - 6)


@pytest.mark.parametrize("count", [5, 8, 20])
def test_a_digit_that_is_on_every_scan_leaves_the_blank_and_is_named(count):
    rng = np.random.default_rng(count)
    images = [written_on(printed_form(), rng, zeros=(2,)) for _ in range(count)]
    ghost = np.median(np.stack(images), axis=0).astype(np.uint8)
    assert (ghost[inside(2)] < 150).mean() > 0.1  # the median keeps it
    before = ghost.copy()
    clean, (done,) = cleaning.cleaned(ghost, images, [proposal()], evidence(ghost, images))
    for place in range(PLACES):
        assert (clean[inside(place)] > 230).all(), place
    assert any("position 3 nearly all scans have ink" in note for note in done.notes)
    assert (clean[TOP + 20, [LEFT, LEFT + SIDE, LEFT + PLACES * SIDE]] < 200).all()  # its lines
    assert np.array_equal(ghost, before)


@pytest.mark.parametrize("count", [5, 8, 20])
def test_letters_printed_inside_positions_stay_though_all_write_over_them(count):
    rng = np.random.default_rng(count)
    form = printed_form("DMY")
    images = [written_on(form, rng, zeros=()) for _ in range(count)]
    blank = np.median(np.stack(images), axis=0).astype(np.uint8)
    clean, (done,) = cleaning.cleaned(blank, images, [proposal()], evidence(blank, images))
    for place in range(3):
        printed = form[inside(place)] < 180
        assert (clean[inside(place)][printed] < 230).mean() > 0.8, place
    assert (clean[inside(4)] > 230).all()
    assert any("positions 1, 2, 3 something is printed" in note for note in done.notes)


def test_a_row_is_as_wide_as_its_positions_say_where_a_black_panel_ends_it():
    page = printed_form()
    page[TOP : TOP + 53, 10 : LEFT + 1] = 0  # the panel covers the first line
    page[TOP : TOP + 53, LEFT - 3 : LEFT + 1] = 30
    lines = find_lines(page, [page], DPI)
    row = max(rows_of_boxes(find_cells(lines), lines), key=len)
    box = proposals._around(row, evidence(page, [page]))
    assert len(row) == PLACES
    assert abs(box.left - LEFT) <= 2 and abs(box.right - LEFT - PLACES * SIDE) <= 2
    assert abs(box.width / PLACES - SIDE) <= 0.4
