import cv2
import numpy as np
import pytest

from digitocr.imaging.cell_lines import find_cell_lines
from digitocr.imaging.strips import find_lines
from digitocr.types import Box


def cell(*, height=160, width=64, paper=215):
    return np.full((height, width), paper, np.uint8)


def put(gray, text, left, foot, *, size=0.45, ink=110):
    """Write a text; give the rows and columns that it covers."""
    alone = np.full(gray.shape, 255, np.uint8)
    cv2.putText(alone, text, (left, foot), cv2.FONT_HERSHEY_SIMPLEX, size, 0, 1)
    np.minimum(gray, np.where(alone < 128, ink, gray), out=gray)
    rows, columns = np.nonzero(alone < 128)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def holds(box, written, *, room=2):
    left, top, right, bottom = written
    return (
        box.left <= left + room
        and box.top <= top + room
        and box.right >= right - room
        and box.bottom >= bottom - room
        and box.height <= 2 * (bottom - top)
    )


@pytest.mark.parametrize("text", ["0", "5", "47"])
@pytest.mark.parametrize("lean", [-14, 0, 9])
def test_one_small_number_is_found_beside_a_margin_that_leans(text, lean):
    gray = cell()
    margin = np.array([[0, 0], [18 + lean, 0], [18 - lean, 159], [0, 159]])
    cv2.fillPoly(gray, [margin], 12)
    cv2.line(gray, (60, 0), (60, 159), 70, 1)
    written = put(gray, text, 36, 62)
    found = find_cell_lines(gray, most=3)
    assert holds(found[0], written), (found, written)


@pytest.mark.parametrize("foot", [50, 54])
def test_a_large_digit_is_of_one_line_with_a_smaller_one(foot):
    gray = cell(height=60, width=62)
    small = put(gray, "9", 8, 42, size=1.0)
    large = put(gray, "6", 28, foot, size=1.9)
    (found, *_) = find_cell_lines(gray, most=3)
    assert holds(found, (small[0], min(small[1], large[1]), large[2], large[3]))


@pytest.mark.parametrize("ink", [160, 180])
@pytest.mark.parametrize("size", [0.45, 0.8, 1.1])
def test_a_paler_digit_beside_strong_ones_is_of_their_line(ink, size):
    gray = cell()
    strong = put(gray, "47", 10, 80, ink=40)
    pale = put(gray, "1", 31, 80 + round(8 * (size - 0.45)), ink=ink, size=size)
    (found,) = find_cell_lines(gray, most=1)
    left, right, bottom = strong[0], pale[2], max(strong[3], pale[3])
    assert holds(found, (left, min(strong[1], pale[1]), right, bottom))


def test_the_pale_side_of_a_cell_is_not_of_the_line():
    gray = cell()
    put(gray, "47", 30, 80, ink=40)
    gray[60:100, 62:] = 170
    (found,) = find_cell_lines(gray, most=1)
    assert found.right < 60


def test_one_faint_digit_is_found_in_grainy_paper():
    for seed in range(5):
        gray = cell()
        written = put(gray, "6", 30, 90, size=0.6, ink=165)
        grain = np.random.default_rng(seed).normal(0, 5, gray.shape)
        noisy = np.clip(gray + grain, 0, 255).astype(np.uint8)
        assert any(holds(box, written, room=3) for box in find_cell_lines(noisy, most=2))


def test_a_number_with_a_gap_is_one_line_and_what_is_far_is_another():
    gray = cell(width=110)
    first, second = put(gray, "3", 20, 60, size=0.7), put(gray, "00", 46, 60, size=0.7)
    below = put(gray, "71", 30, 130, size=0.5)
    both = (first[0], min(first[1], second[1]), second[2], max(first[3], second[3]))
    found = find_cell_lines(gray, most=4)
    assert len(found) == 2
    assert holds(found[0], both) and holds(found[1], below)


@pytest.mark.parametrize("fill", [0, 127, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (64, 8), (200, 61)])
def test_nothing_is_found_where_nothing_is_written(fill, shape):
    gray = np.full(shape, fill, np.uint8)
    assert find_cell_lines(gray, most=4) == []


def test_rules_and_sides_are_no_lines_of_writing():
    gray = cell()
    for at in range(10, 160, 30):
        gray[at] = 140
    gray[:, 3:5] = gray[:, 60:62] = 60
    written = put(gray, "8", 30, 92)
    found = find_cell_lines(gray, most=4)
    assert len(found) == 1 and holds(found[0], written)


def test_any_crop_gives_boxes_inside_it_and_stays_as_it_is(any_crops):
    for gray in any_crops:
        before = gray.copy()
        whole = Box(0, 0, gray.shape[1], gray.shape[0])
        assert all(box.common(whole) == box.area for box in find_cell_lines(gray, most=4))
        np.testing.assert_array_equal(gray, before)


def test_lines_of_a_tall_crop_are_given_once():
    gray = cell(height=320, width=130)
    put(gray, "5", 60, 150, size=0.8)
    boxes = [line.box for line in find_lines(gray, most=4)]
    assert len(boxes) == len(set(boxes))
    assert boxes[0].top >= 125 and boxes[0].bottom <= 160
