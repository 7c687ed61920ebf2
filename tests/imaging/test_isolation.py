from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.isolation import FieldImage, isolate, spread
from digitocr.imaging.prints import MARGIN_MM, READING_DPI, print_of
from digitocr.types import Box, Document, Field, FieldKind, FieldType, RegisteredPage

BOX = Box(200, 400, 420, 450)
FIELD = Field("a", 1, BOX, FieldKind.OPEN, FieldType.INTEGER)
TARGET = (260, 425)  # center of a disc written into the field


@pytest.fixture(scope="module")
def form(draw_form):
    return draw_form()[0]


def registered(template, image, matrix, residual=0.5, marks=None):
    return RegisteredPage(
        Document("0" * 64, 1),
        1,
        template,
        image,
        np.linalg.inv(matrix),
        residual,
        np.empty((0, 3)) if marks is None else marks,
    )


def dotted(template, at=TARGET):
    image = template.reference.copy()
    image[BOX.top : BOX.bottom, BOX.left : BOX.right] = 255
    clean = image.copy()
    cv2.circle(image, at, 8, 0, -1)
    return replace(template, reference=clean), image


def center(found):
    """Find the disc in a field's image, in template pixels."""
    box = found.box
    inside = np.zeros_like(found.gray)
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    inside[rows, columns] = found.gray[rows, columns] < 100
    y, x = (v.mean() for v in np.nonzero(inside))
    return found.origin[0] + x / found.scale, found.origin[1] + y / found.scale


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("scale", [0.7, 100 / 150, 1.0, 200 / 150, 400 / 150])
def test_a_field_is_cut_from_where_it_is_at_one_resolution(form, lay, turns, scale):
    template, image = dotted(form)
    page, matrix = lay(image, turns=turns, skew_deg=3, scale=scale)
    before = page.copy()
    found = isolate(spread(registered(template, page, matrix)), FIELD)
    margin = MARGIN_MM / 25.4 * READING_DPI
    assert found.scale == pytest.approx(READING_DPI / template.dpi)
    assert found.gray.shape[1] == pytest.approx(BOX.width * found.scale + 2 * margin, abs=1)
    assert found.gray.shape == found.printed.gray.shape
    np.testing.assert_allclose(center(found), TARGET, atol=1.5)
    assert not found.misplaced
    np.testing.assert_array_equal(page, before)


@pytest.mark.parametrize("shift", [(3, 0), (-3, 2), (0, -4), (5, 5)])
def test_paper_that_is_off_in_places_is_followed_by_its_print(form, shift):
    # What is scanned lies `shift` pixels from where the homography has it.
    template, image = dotted(form)
    moved = cv2.warpAffine(
        image, np.float64([[1, 0, shift[0]], [0, 1, shift[1]]]), (800, 1100), borderValue=255
    )
    page = registered(template, moved, np.eye(3), residual=2.5)
    found = isolate(spread(page), FIELD)
    np.testing.assert_allclose(center(found), TARGET, atol=1.2)
    assert found.shift_mm == pytest.approx(np.hypot(*shift) / template.dpi * 25.4, abs=0.15)


def test_print_computed_before_gives_the_same_picture(form):
    template, image = dotted(form)
    page = registered(template, image, np.eye(3))
    known = print_of(template, FIELD.box)
    found = isolate(spread(page, prints={FIELD.box: known}), FIELD)
    again = isolate(spread(page), FIELD)
    assert found.printed is known.printed
    assert (found.shift, found.score, found.box) == (again.shift, again.score, again.box)
    np.testing.assert_array_equal(found.gray, again.gray)
    np.testing.assert_array_equal(found.printed.gray, again.printed.gray)


def test_without_a_reference_a_field_is_where_the_homography_says(form):
    template, image = dotted(form)
    page = registered(replace(template, reference=None), image, np.eye(3))
    found = isolate(spread(page), FIELD)
    assert found.printed is None and (found.score, found.shift_mm) == (1.0, 0.0)
    np.testing.assert_allclose(center(found), TARGET, atol=1.0)


@pytest.mark.parametrize("other", ["noise", "another form", "upside down"])
def test_a_field_whose_print_is_not_there_is_misplaced(form, draw_form, other):
    image = {
        "noise": np.random.default_rng(0).integers(0, 256, (1100, 800)).astype(np.uint8),
        "another form": np.roll(draw_form(5)[1], 33, 0),
        "upside down": np.ascontiguousarray(form.reference[::-1, ::-1]),
    }[other]
    assert isolate(spread(registered(form, image, np.eye(3))), FIELD).misplaced


def test_a_field_among_printed_marks_that_were_not_found_is_misplaced(form):
    places = [(x, y) for y in (380, 430, 900) for x in (180, 300, 440)]
    for found_near in (True, False):
        marks = np.array([(x, y, found_near or y == 900) for x, y in places], np.float64)
        page = registered(form, form.reference, np.eye(3), marks=marks)
        assert isolate(spread(page), FIELD).misplaced is not found_near


@given(
    st.tuples(*[st.integers(0, 300)] * 4),
    st.floats(0.5, 3.0),
    st.tuples(st.floats(-50, 900), st.floats(-50, 900)),
)
@settings(max_examples=100)
def test_boxes_round_trip_to_template_pixels(edges, scale, origin):
    left, top, width, height = edges
    box = Box(left, top, left + width + 1, top + height + 1)
    nothing = np.zeros((1, 1), np.uint8)
    image = FieldImage(nothing, None, box, origin, scale, 1.0, 0.0)
    there = image.in_image(box)
    back = image.in_template(there)
    for one, two in zip(
        (box.left, box.top, box.right, box.bottom),
        (back.left, back.top, back.right, back.bottom),
        strict=True,
    ):
        assert abs(one - two) <= 0.5 / scale + 1.5


def test_a_field_at_the_edge_of_the_page_is_cut_with_a_margin(form):
    edge = replace(FIELD, box=Box(0, 0, 100, 40))
    found = isolate(spread(registered(form, form.reference, np.eye(3))), edge)
    assert found.in_template(found.box) == edge.box


def test_a_fine_scan_keeps_hairlines_and_a_coarse_one_is_left_alone(form, lay):
    template, image = dotted(form)
    cv2.line(image, (300, 405), (300, 445), 0, 1)
    fine, matrix = lay(image, scale=4.0)
    sheet = spread(registered(template, fine, matrix))
    assert max(sheet.image.shape) < max(fine.shape)
    found = isolate(sheet, FIELD)
    x = round((300 - found.origin[0]) * found.scale)
    assert found.gray[found.box.top + 15, x - 2 : x + 4].min() < 120
    coarse = registered(template, image, np.eye(3))
    assert spread(coarse).image is image


@pytest.mark.parametrize("slope", [-0.03, -0.015, 0.015, 0.03])
def test_print_around_a_field_says_how_it_lies_on_paper_that_is_bent(form, slope):
    box = Box(540, 700, 740, 750)
    field = replace(FIELD, box=box)
    clean = form.reference.copy()
    clean[box.top : box.bottom, box.left : box.right] = 255
    page = clean.copy()
    for x in (box.left + 20, box.right - 20):
        cv2.circle(page, (x, 725), 8, 0, -1)
    lower = np.array([[1, 0, 0], [slope, 1, -400 * slope]])  # more and more to the right
    h, w = page.shape
    bent = cv2.warpAffine(page, lower, (w, h), borderValue=255)
    template = replace(form, reference=clean)
    x, y = (v.ravel().astype(float) for v in np.meshgrid(range(50, w, 100), range(50, h, 100)))
    marks = np.column_stack([x, y, np.ones_like(x), np.zeros_like(x), slope * (x - 400)])
    marks[::7, 2:] = 0, np.nan, np.nan  # not found
    marks[3, 4] += 12  # found on the line below
    known = registered(template, bent, np.eye(3), residual=4.0, marks=marks)

    def discs(page):
        found = isolate(spread(page), field)
        inside = cv2.connectedComponentsWithStats((found.gray < 100).astype(np.uint8))[3][1:]
        size = cv2.connectedComponentsWithStats((found.gray < 100).astype(np.uint8))[2][1:, 4]
        two = inside[np.argsort(-size)[:2]]
        return two[np.argsort(two[:, 0])][:, 1] / found.scale + found.origin[1]

    assert np.abs(discs(known) - 725).max() < 1.5
    unknown = discs(replace(known, marks=marks[:, :3]))
    assert np.ptp(unknown) > 2 * max(np.ptp(discs(known)), 1.0)


@pytest.mark.parametrize("wrong", [-15.0, 6.0, 40.0])
def test_one_piece_of_print_that_was_taken_for_another_moves_no_field(form, wrong):
    box = Box(540, 700, 740, 750)
    h, w = form.reference.shape
    empty = np.full((h, w), 255, np.uint8)  # nothing printed near the field speaks against it
    x, y = (v.ravel().astype(float) for v in np.meshgrid(range(50, w, 250), range(50, h, 250)))
    marks = np.column_stack([x, y, np.ones_like(x), np.zeros_like(x), np.zeros_like(x)])
    nearest = np.argmin(np.hypot(x - box.left - 100, y - box.top - 25))
    marks[nearest, 2:] = 0, wrong, 0.0
    known = registered(replace(form, reference=empty), empty, np.eye(3), 2.4, marks)
    assert np.hypot(*isolate(spread(known), replace(FIELD, box=box)).shift) < 1.5
