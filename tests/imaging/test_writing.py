from itertools import pairwise

import cv2
import numpy as np
import pytest

from digitocr.imaging.isolation import FieldImage
from digitocr.imaging.prints import MARGIN_MM, PER_MM, Printed
from digitocr.imaging.segmentation import components
from digitocr.imaging.writing import cells_of, find_writing
from digitocr.types import Box, Field, FieldKind, FieldType

EDGE = round(MARGIN_MM * PER_MM)
BOX = Box(EDGE, EDGE, EDGE + 168, EDGE + 72)  # four cells of 5.3 mm, 9 mm high
SIZE = (72 + 2 * EDGE, 168 + 2 * EDGE)
KINDS = (FieldKind.BOXED, FieldKind.COMB, FieldKind.OPEN)


def field(kind=FieldKind.BOXED):
    cells = None if kind is FieldKind.OPEN else 4
    return Field("a", 1, BOX, kind, FieldType.INTEGER, cells=cells)


def printed(kind=FieldKind.BOXED, shade=90):
    gray = np.full(SIZE, 255, np.uint8)
    top = {FieldKind.BOXED: BOX.top, FieldKind.COMB: BOX.bottom - 24}.get(kind, BOX.bottom)
    if kind is FieldKind.BOXED:
        cv2.line(gray, (BOX.left, BOX.top), (BOX.right, BOX.top), shade, 2)
    cv2.line(gray, (BOX.left, BOX.bottom), (BOX.right, BOX.bottom), shade, 2)
    if kind is not FieldKind.OPEN:
        for x in range(BOX.left, BOX.right + 1, 42):
            cv2.line(gray, (x, top), (x, BOX.bottom), shade, 2)
    return gray


def image(gray, empty):
    known = None if empty is None else Printed.of(empty)
    return FieldImage(gray, known, BOX, (0.0, 0.0), 1.0, 1.0, 0.0)


def find(gray, kind=FieldKind.BOXED, *, reference=True, others=()):
    before = gray.copy()
    found = find_writing(image(gray, printed(kind) if reference else None), field(kind), others)
    np.testing.assert_array_equal(gray, before)
    return found


def digit(gray, text, x, y=BOX.bottom - 14, *, shade=40, pen=4, scale=2.0):
    cv2.putText(gray, text, (round(x), round(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, shade, pen)
    return gray


def scanned(gray, seed=0):
    """Move by half a pixel, blur and add noise: as a scan of the same paper."""
    rng = np.random.default_rng(seed)
    moved = cv2.warpAffine(
        gray, np.float64([[1, 0, 0.5], [0, 1, 0.4]]), gray.shape[::-1], borderValue=255
    )
    noisy = moved * 0.93 + rng.normal(0, 4, gray.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def written(found):
    """List pieces as large as a digit's: ticks of a comb are left out with their cells."""
    return components(found.field.ink, least_area=100, least_side=8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", [True, False])
def test_a_blank_field_has_no_writing_and_no_doubt(kind, reference):
    found = find(scanned(printed(kind)), kind, reference=reference)
    assert not found.faint and not found.clipped
    assert not written(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("shade", [20, 120, 180])
def test_a_digit_is_the_writing_and_lines_are_not(kind, reference, shade):
    plain = digit(np.full(SIZE, 255, np.uint8), "5", BOX.left + 45, shade=shade)
    found = find(scanned(np.minimum(plain, printed(kind))), kind, reference=reference)
    if found.faint and not reference and shade > 120:
        return  # beside lines that are darker: not read, and said
    pieces = written(found)
    assert len(pieces) == 1 and not found.faint and not found.clipped
    rows, columns = np.nonzero(plain < 255)
    box = pieces[0].box
    assert abs(box.left - columns.min()) <= 3 and abs(box.right - columns.max()) <= 3
    assert abs(box.top - rows.min()) <= 3 and abs(box.bottom - rows.max()) <= 3
    assert found.field.intensity[found.field.ink].min() > 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_across_the_lower_line_stays_one_piece(kind):
    gray = digit(printed(kind), "7", BOX.left + 45, BOX.bottom + 6)
    found = find(scanned(gray), kind)
    pieces = components(found.field.ink, least_area=40)
    assert len(pieces) == 1 and not found.clipped
    assert pieces[0].box.bottom > BOX.bottom + 3


def test_a_faint_stroke_beside_dark_ink_is_flagged():
    gray = digit(printed(), "5", BOX.left + 87, shade=10)
    assert not find(scanned(gray)).faint
    faint = digit(gray.copy(), "5", BOX.left + 3, shade=205)
    assert find(scanned(faint)).faint


def test_a_faint_stroke_alone_is_read_or_flagged():
    for shade in range(120, 235, 10):
        found = find(scanned(digit(printed(), "5", BOX.left + 45, shade=shade)))
        assert found.faint or found.field.ink.any() or shade > 232, shade


@pytest.mark.parametrize("reference", [True, False])
def test_a_stroke_that_runs_out_of_the_picture_is_flagged(reference):
    gray = printed()
    cv2.line(gray, (BOX.left + 60, BOX.top + 10), (BOX.left + 70, SIZE[0]), 20, 5)
    assert find(scanned(gray), reference=reference).clipped


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (BOX.left + 45, BOX.bottom + 24),
        (BOX.left + 45, BOX.top + 20),
        (BOX.left - 26, BOX.bottom - 14),
        (BOX.right - 12, BOX.bottom - 14),
    ],
)
def test_a_digit_that_lies_across_its_box_by_half_is_flagged(x, y):
    assert find(scanned(digit(printed(), "8", x, y))).clipped


@pytest.mark.parametrize("among", [True, False])
def test_a_digit_beside_the_box_is_flagged_whether_there_are_others_or_not(among):
    gray = printed()
    cv2.putText(gray, "3", (0, BOX.bottom - 20), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 30, 3)
    if among:
        digit(gray, "5", BOX.left + 45)
    assert find(scanned(gray)).clipped


@pytest.mark.parametrize(("pen", "doubtful"), [(1, False), (4, True)])
def test_a_line_printed_darker_than_on_the_blank_is_no_writing_and_a_stroke_on_it_is(
    pen, doubtful
):
    gray = digit(printed(shade=200), "5", BOX.left + 45)
    cv2.line(gray, (BOX.left - 1, BOX.top + 8), (BOX.left - 1, BOX.top + 50), 20, pen)
    found = find_writing(image(gray, printed(shade=200)), field())
    assert found.clipped is doubtful


def test_what_is_written_in_the_next_field_is_not_of_this_one():
    gray = printed()
    cv2.putText(gray, "3", (60, SIZE[0] - 1), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 30, 3)
    below = Box(BOX.left, BOX.bottom, BOX.right, BOX.bottom + 72)
    assert find(scanned(gray)).clipped
    assert not find(scanned(gray), others=[below]).clipped


def test_words_below_a_field_that_is_filled_in_are_none_of_it():
    gray = digit(printed(), "5", BOX.left + 45)
    cv2.putText(gray, "3", (60, SIZE[0] - 1), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 30, 3)
    assert not find(scanned(gray)).clipped


@pytest.mark.parametrize("written_in_it", [True, False])
def test_a_field_full_of_print_is_in_doubt_whatever_is_seen_in_it(written_in_it):
    empty = printed()
    for x in range(BOX.left - 80, BOX.right, 12):
        cv2.line(empty, (x, BOX.top), (x + 72, BOX.bottom), 130, 2)
    gray = digit(empty.copy(), "5", BOX.left + 45, shade=90) if written_in_it else empty
    assert find_writing(image(scanned(gray), empty), field()).faint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", [True, False])
def test_a_field_that_is_all_black_is_in_doubt(kind, reference):
    assert find(np.zeros(SIZE, np.uint8), kind, reference=reference).faint


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("side_mm", [3.5, 6.0])
def test_a_digit_that_was_blotted_out_is_in_doubt(reference, side_mm):
    gray = digit(printed(), "5", BOX.left + 87)
    side = round(side_mm * PER_MM)
    gray[BOX.top + 8 : BOX.top + 8 + side, BOX.left + 6 : BOX.left + 6 + side] = 15
    found = find(scanned(gray), reference=reference)
    under = found.field.ink[
        BOX.top + 8 : BOX.top + 8 + side, BOX.left + 6 : BOX.left + 6 + side
    ]
    assert found.faint or under.sum() > 0.5 * side * side


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("among", [True, False])
@pytest.mark.parametrize("across_mm", [2.9, 3.3])
def test_a_round_blot_is_no_digit_but_in_doubt(kind, among, across_mm):
    gray = printed(kind)
    if among:
        gray = digit(digit(gray, "8", BOX.left + 2), "0", BOX.left + 87)
    assert not find(scanned(gray), kind).faint
    middle = BOX.left + 63, (BOX.top + BOX.bottom) // 2
    cv2.circle(gray, middle, round(across_mm / 2 * PER_MM), 40, -1)
    assert find(scanned(gray), kind).faint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", [True, False])
def test_a_number_that_is_struck_out_is_in_doubt(kind, reference):
    gray = digit(digit(printed(kind), "8", BOX.left + 2), "3", BOX.left + 87)
    assert not find(scanned(gray), kind, reference=reference).faint
    middle = (BOX.top + BOX.bottom) // 2
    cv2.line(gray, (BOX.left - 4, middle), (BOX.left + 124, middle + 3), 40, 4)
    assert find(scanned(gray), kind, reference=reference).faint


@pytest.mark.parametrize("kind", KINDS)
def test_one_pixel_is_no_writing(kind):
    gray = printed(kind)
    gray[BOX.top + 30, BOX.left + 60] = 0
    found = find(gray, kind)
    assert not components(found.field.ink, least_area=8) and not found.faint


@pytest.mark.parametrize("shade", [0, 90, 160, 255])
def test_a_field_of_one_shade_is_read_without_a_fault(shade):
    for kind in KINDS:
        find(np.full(SIZE, shade, np.uint8), kind)


def test_the_print_of_a_drop_out_form_takes_nothing_from_a_digit():
    light = printed(shade=215)
    gray = digit(light.copy(), "8", BOX.left + 40)
    found = find_writing(image(scanned(gray), light), field())
    assert len(components(found.field.ink, least_area=40)) == 1


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_cells_divide_the_box_without_gap_or_overlap(count):
    one = Field("a", 1, BOX, FieldKind.COMB, FieldType.INTEGER, cells=count)
    cells = cells_of(image(printed(), None), one)
    assert len(cells) == count
    assert (cells[0].left, cells[-1].right) == (BOX.left, BOX.right)
    for before, after in pairwise(cells):
        assert before.right == after.left and abs(before.width - after.width) <= 1
    assert {(cell.top, cell.bottom) for cell in cells} == {(BOX.top, BOX.bottom)}
