import cv2
import numpy as np
import pytest

from digitocr.imaging.isolation import FieldImage
from digitocr.imaging.marks import is_cluttered, is_empty, left_over, look_at_boxes
from digitocr.imaging.prints import PER_MM, Printed
from digitocr.types import Box

SIDE = round(5.5 * PER_MM)
PITCH = round(13 * PER_MM)
MARGIN = round(2.5 * PER_MM)


def cells(count):
    return [
        Box(MARGIN + i * PITCH, MARGIN, MARGIN + (i + 1) * PITCH, MARGIN + SIDE)
        for i in range(count)
    ]


def square(cell):
    x = (cell.left + cell.right - SIDE) // 2
    return (x, cell.top), (x + SIDE, cell.bottom)


def empty(count, shift=0):
    picture = np.full((SIDE + 2 * MARGIN, count * PITCH + 2 * MARGIN), 250, np.uint8)
    for cell in cells(count):
        (x0, y0), (x1, y1) = square(cell)
        cv2.rectangle(picture, (x0 + shift, y0 + shift), (x1 + shift, y1 + shift), 175, 2)
    return picture


def ticked(picture, place, *, ink=60, thick=3):
    (x0, y0), (x1, y1) = square(cells(place + 1)[place])
    cv2.line(picture, (x0 + 6, y0 + 6), (x1 - 6, y1 - 6), ink, thick)
    cv2.line(picture, (x0 + 6, y1 - 6), (x1 - 6, y0 + 6), ink, thick)
    return picture


def field(picture, count, *, known=True):
    h, w = picture.shape
    box = Box(MARGIN, MARGIN, w - MARGIN, h - MARGIN)
    printed = Printed.of(empty(count)) if known else None
    return FieldImage(picture, printed, box, (0.0, 0.0), 1.0, 1.0, 0.0)


def chances(picture, count, **more):
    return [
        tick.probability for tick in look_at_boxes(field(picture, count, **more), cells(count))
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_empty_boxes_are_surely_empty(count):
    assert max(chances(empty(count), count)) < 0.001
    assert is_empty(field(empty(count), count))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_ticked_box_is_surely_ticked_and_its_neighbors_are_not(place):
    found = chances(ticked(empty(3), place), 3)
    assert found[place] > 0.999
    assert all(found[i] < 0.001 for i in range(3) if i != place)
    assert not is_empty(field(ticked(empty(3), place), 3))


def test_all_boxes_of_a_row_may_be_ticked():
    picture = empty(3)
    for place in range(3):
        ticked(picture, place)
    assert min(chances(picture, 3)) > 0.99


@pytest.mark.parametrize("shift", [-7, 5, 8])
def test_a_box_printed_beside_its_place_is_never_surely_ticked(shift):
    """Its own lines are left over: up to 1 mm, on paper that is bent."""
    assert max(chances(empty(2, shift), 2)) < 0.6


def test_a_faint_tick_is_in_doubt_and_a_fainter_one_is_none():
    found = [chances(ticked(empty(1), 0, ink=ink), 1)[0] for ink in (60, 190, 228, 246)]
    assert found[0] > 0.999 and found[-1] < 0.01
    assert found == sorted(found, reverse=True)


def test_a_box_blackened_beside_a_ticked_one_is_in_doubt():
    picture = ticked(empty(3), 2)
    (x0, y0), (x1, y1) = square(cells(1)[0])
    cv2.rectangle(picture, (x0, y0), (x1, y1), 50, -1)
    found = chances(picture, 3)
    assert found[0] < 0.9 and found[2] > 0.999


def test_dust_is_no_tick():
    picture = empty(2)
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, y = int(rng.integers(picture.shape[1])), int(rng.integers(picture.shape[0]))
        picture[y : y + 2, x : x + 2] = 90
    assert max(chances(picture, 2)) < 0.5


def test_a_stamp_over_a_row_is_clutter_and_a_tick_is_not():
    stamped = empty(3)
    cv2.line(stamped, (0, 5), (stamped.shape[1], SIDE + MARGIN), 70, 6)
    assert is_cluttered(field(stamped, 3), cells(3))
    assert not is_cluttered(field(ticked(empty(3), 1), 3), cells(3))
    assert not is_cluttered(field(empty(3), 3), cells(3))


def test_without_the_empty_form_the_middle_of_a_box_decides():
    boxes = [Box(*square(cell)[0], *square(cell)[1]) for cell in cells(3)]
    image = field(ticked(empty(3), 1), 3, known=False)
    found = [tick.is_marked for tick in look_at_boxes(image, boxes)]
    assert found == [False, True, False]


def test_inputs_are_left_alone():
    picture = ticked(empty(2), 0)
    before = picture.copy()
    left_over(field(picture, 2))
    look_at_boxes(field(picture, 2), cells(2))
    np.testing.assert_array_equal(picture, before)
