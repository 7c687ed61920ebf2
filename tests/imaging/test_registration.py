from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.errors import RegistrationError
from digitocr.imaging.landmarks import apply
from digitocr.imaging.registration import best_offset, prepare, register
from digitocr.types import MM_PER_INCH, Anchor, PageTemplate

CORNERS = np.array([[100, 150], [700, 150], [100, 950], [700, 950], [430, 500.0]])
LIMIT_MM = 0.8


def fit(page, *templates):
    return register(page, [prepare(t) for t in templates], max_residual_mm=LIMIT_MM)


def off_mm(registered, matrix):
    """Say how far, at worst, corners of the template come back from where they are."""
    back = apply(registered.homography, apply(matrix, CORNERS))
    dpi = registered.template.dpi
    return float(np.hypot(*(back - CORNERS).T).max()) / dpi * MM_PER_INCH


def noisy(image, seed=0, strength=10):
    rng = np.random.default_rng(seed)
    return np.clip(image + rng.normal(0, strength, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def form(draw_form):
    template, _ = draw_form()
    return template


@pytest.fixture(scope="module")
def reference(form):
    return prepare(form)


@given(st.floats(-2e-4, 2e-4), st.floats(-2e-4, 2e-4), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_homography_undone_returns_the_points_it_began_with(x, y, seed):
    rng = np.random.default_rng(seed)
    matrix = np.eye(3)
    matrix[:2] += rng.normal(0, 0.2, (2, 3)) * [1, 1, 100]
    matrix[2, :2] = x, y
    if abs(np.linalg.det(matrix)) > 0.1:
        points = rng.uniform(0, 1000, (5, 2))
        back = apply(np.linalg.inv(matrix), apply(matrix, points))
        np.testing.assert_allclose(back, points, atol=1e-4)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_block_is_found_where_it_was_put(left, top, seed):
    rng = np.random.default_rng(seed)
    block = rng.random((16, 16)).astype(np.float32)
    around = np.zeros((36, 36), np.float32)
    around[top : top + 16, left : left + 16] = block
    offset, score = best_offset(block, around)
    assert np.abs(offset - (left, top)).max() <= 0.5 and score > 0.99


@pytest.mark.parametrize("shade", [0.0, 0.3, 1.0])
def test_print_is_not_found_on_a_plain_surface(shade):
    block = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    assert best_offset(block, np.full((36, 36), shade, np.float32))[1] < 0.1


@pytest.mark.slow
@given(
    turns=st.integers(0, 3),
    skew_deg=st.floats(-10, 10),
    scale=st.floats(0.5, 2.0),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_a_page_is_laid_right_however_it_was_scanned(
    form, reference, lay, page_of, turns, skew_deg, scale, seed
):
    image, matrix = lay(form.reference, turns=turns, skew_deg=skew_deg, scale=scale)
    page = page_of(noisy(image, seed))
    before = page.image.copy()
    found = register(page, [reference], max_residual_mm=LIMIT_MM)
    assert off_mm(found, matrix) < 0.3
    assert found.residual / form.dpi * MM_PER_INCH < 0.3
    assert found.image is page.image and found.template is form
    np.testing.assert_array_equal(page.image, before)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("anchors", ["square", "aruco", None])
def test_every_way_up_is_found(draw_form, lay, page_of, anchors, turns):
    template, image = draw_form(anchors=anchors)
    turned, matrix = lay(image, turns=turns, skew_deg=1.5)
    assert off_mm(fit(page_of(turned), template), matrix) < 0.3


@pytest.mark.parametrize("bend", [0.02, -0.02])
def test_a_photographed_page_is_laid_right(form, reference, lay, page_of, bend):
    image, matrix = lay(form.reference, bend=bend, skew_deg=-3)
    found = register(page_of(image), [reference], max_residual_mm=LIMIT_MM)
    assert off_mm(found, matrix) < 0.3


@pytest.mark.parametrize("reference", [True, False])
def test_a_page_whose_markers_lie_far_from_the_corners_is_laid(draw_form, page_of, reference):
    template, image = draw_form(anchors="aruco", reference=reference)
    table = np.full((1900, 1500), 70, np.uint8)
    table[400:1500, 350:1150] = image
    matrix = np.array([[1, 0, 350], [0, 1, 400], [0, 0, 1]], np.float64)
    assert off_mm(fit(page_of(table), template), matrix) < 0.3


@pytest.mark.parametrize("skip", [(0,), (3,), (0, 1, 2), (0, 1, 2, 3)])
def test_missing_anchors_are_made_up_for_by_the_print(draw_form, form, lay, page_of, skip):
    image, matrix = lay(draw_form(skip=skip)[1], skew_deg=2)
    assert off_mm(fit(page_of(image), form), matrix) < 0.3


@pytest.mark.parametrize("anchors", ["square", "aruco"])
@pytest.mark.parametrize("skip", [(), (1,)])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_anchors_alone_are_enough_even_if_one_is_missing(
    draw_form, boxes_of, lay, page_of, anchors, skip, scale
):
    template, image = draw_form(anchors=anchors, skip=skip, reference=False)
    turned, matrix = lay(image, skew_deg=-4, scale=scale)
    reference = prepare(template, boxes_of())
    found = register(page_of(noisy(turned)), [reference], max_residual_mm=LIMIT_MM)
    assert off_mm(found, matrix) < 0.3


@pytest.mark.parametrize("turns", range(4))
def test_aruco_anchors_alone_tell_up_from_down(draw_form, lay, page_of, turns):
    template, image = draw_form(anchors="aruco", reference=False)
    turned, matrix = lay(image, turns=turns)
    assert off_mm(fit(page_of(turned), template), matrix) < 0.3


@pytest.mark.parametrize("turns", range(4))
def test_three_corners_alone_tell_up_from_down(draw_form, lay, page_of, turns):
    template, image = draw_form(skip=(3,), reference=False)
    template = replace(template, anchors=template.anchors[:3])
    turned, matrix = lay(image, turns=turns)
    assert off_mm(fit(page_of(turned), template), matrix) < 0.3


@pytest.mark.parametrize("turns", range(4))
def test_four_like_squares_and_boxes_tell_up_from_down(
    draw_form, boxes_of, lay, page_of, turns
):
    template, image = draw_form(reference=False)
    turned, matrix = lay(image, turns=turns)
    reference = prepare(template, boxes_of())
    found = register(page_of(turned), [reference], max_residual_mm=LIMIT_MM)
    assert off_mm(found, matrix) < 0.3


def test_another_form_with_the_same_squares_is_refused_by_its_boxes(
    draw_form, boxes_of, page_of
):
    template, _ = draw_form(reference=False)
    other = page_of(draw_form(2)[1])
    with pytest.raises(RegistrationError, match="no page of a known form"):
        register(other, [prepare(template, boxes_of())], max_residual_mm=LIMIT_MM)


@pytest.mark.parametrize("turns", range(4))
def test_four_like_squares_and_nothing_else_are_not_guessed_by(draw_form, lay, page_of, turns):
    template, image = draw_form(reference=False)
    with pytest.raises(RegistrationError, match="both ways up"):
        fit(page_of(lay(image, turns=turns)[0]), template)


@pytest.mark.slow
def test_of_many_forms_the_right_one_is_found(draw_form, lay, page_of):
    templates = [draw_form(seed)[0] for seed in range(3)]
    for template in templates:
        image, _ = lay(template.reference, turns=2, skew_deg=1)
        assert fit(page_of(image), *templates).template is template


def test_print_goes_before_anchors_that_forms_share(draw_form, page_of):
    known, image = draw_form(1)
    bare, _ = draw_form(2, reference=False)
    assert fit(page_of(image), bare, known).template is known


@pytest.mark.parametrize("reference", [True, False])
def test_a_page_that_fits_two_forms_alike_is_refused(draw_form, page_of, reference):
    one, image = draw_form(reference=reference)
    two = replace(one, number=2)
    with pytest.raises(RegistrationError, match="two forms equally well"):
        fit(page_of(image), one, two)


@pytest.mark.parametrize("anchors", ["square", "aruco", None])
def test_a_page_of_another_form_fits_none(draw_form, form, page_of, anchors):
    _, image = draw_form(7, anchors=anchors)
    with pytest.raises(RegistrationError, match="no page of a known form"):
        fit(page_of(image), form)


def random_page(kind):
    rng = np.random.default_rng(3)
    match kind:
        case "noise":
            return rng.integers(0, 256, (1100, 800)).astype(np.uint8)
        case "squares":
            image = np.full((1100, 800), 255, np.uint8)
            for x, y in rng.integers(0, 760, (30, 2)):
                image[y : y + 30, x : x + 30] = 0
            return image
        case "one pixel":
            return np.zeros((1, 1), np.uint8)
        case "a line":
            return np.zeros((1, 500), np.uint8)
        case shade:
            return np.full((1100, 800), int(shade), np.uint8)


@pytest.mark.parametrize("kind", ["noise", "squares", "0", "128", "255", "one pixel", "a line"])
def test_what_is_no_form_is_refused(draw_form, form, page_of, kind):
    bare, _ = draw_form(anchors="aruco", reference=False)
    with pytest.raises(RegistrationError):
        fit(page_of(random_page(kind)), form, bare)


def test_without_forms_nothing_fits(form, page_of):
    with pytest.raises(RegistrationError, match="--forms"):
        fit(page_of(form.reference))


def test_a_crooked_page_is_refused_with_how_far_it_is_off(form, reference, page_of):
    # Every row is moved by another amount, up to 1.4 mm: no homography lays that flat.
    image = form.reference.copy()
    for y in range(len(image)):
        image[y] = np.roll(image[y], round(8 * np.sin(y / 50)))
    with pytest.raises(RegistrationError):
        register(page_of(image), [reference], max_residual_mm=0.2)


def test_a_form_with_too_little_print_is_judged_by_its_anchors(page_of):
    image = np.full((1100, 800), 255, np.uint8)
    places = ((60, 60), (740, 60), (60, 1040))
    for x, y in places:
        image[y - 15 : y + 15, x - 15 : x + 15] = 0
    anchors = tuple(Anchor("square", place, 30) for place in places)
    found = fit(page_of(image), PageTemplate(1, 800, 1100, 150, image, anchors))
    assert off_mm(found, np.eye(3)) < 0.3


@pytest.mark.parametrize("dpi", [100, 200, 400])
def test_the_resolution_of_the_scan_makes_no_difference(form, reference, lay, page_of, dpi):
    image, matrix = lay(form.reference, scale=dpi / form.dpi)
    found = register(page_of(image, dpi), [reference], max_residual_mm=LIMIT_MM)
    assert off_mm(found, matrix) < 0.3
