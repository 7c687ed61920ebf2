import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import apply_hysteresis_threshold, threshold_otsu

from digitocr.imaging.binarization import (
    binarize,
    darkness,
    inked_part,
    paper,
    ridge_darkness,
    solid,
    stroke_darkness,
)

REACH = 40


def written(*, ink=40, shade=230, size=(120, 200), pen=4):
    page = np.full(size, shade, np.uint8)
    cv2.line(page, (60, 30), (60, 90), ink, pen)
    cv2.line(page, (90, 40), (140, 85), ink, pen)
    return page


def strokes(page, shade=230):
    return page < shade


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.integers(3, 80))
@settings(max_examples=50, deadline=None)
def test_darkness_of_any_picture_is_from_0_to_1_and_leaves_it_alone(seed, h, w, reach):
    gray = np.random.default_rng(seed).integers(0, 256, (h, w)).astype(np.uint8)
    before = gray.copy()
    dark = darkness(gray, reach=reach)
    assert dark.shape == gray.shape and dark.dtype == np.float32
    assert dark.min() >= 0.0 and dark.max() <= 1.0
    ink = binarize(dark, level=stroke_darkness(dark))
    assert ink.shape == gray.shape and ink.dtype == bool
    assert 0.0 <= ridge_darkness(dark) <= 1.0
    np.testing.assert_array_equal(gray, before)


@pytest.mark.parametrize("shade", [80, 130, 200, 255])
def test_plain_paper_of_any_shade_has_no_ink(shade):
    assert not darkness(np.full((80, 90), shade, np.uint8), reach=REACH).any()


@pytest.mark.parametrize(("ink", "shade"), [(40, 230), (100, 230), (30, 120), (0, 255)])
def test_strokes_are_the_ink_and_nothing_else_is(ink, shade):
    page = written(ink=ink, shade=shade)
    dark = darkness(page, reach=REACH)
    marked = binarize(dark, level=stroke_darkness(dark))
    np.testing.assert_array_equal(marked, page < shade)


def test_strokes_are_found_in_a_shadow():
    page = written()
    light = np.linspace(0.45, 1.0, page.shape[1])
    dark = darkness((page * light).astype(np.uint8), reach=REACH)
    marked = binarize(dark, level=stroke_darkness(dark))
    assert (marked == strokes(page)).mean() > 0.995


def test_paper_under_a_stroke_is_as_bright_as_beside_it():
    ground = paper(written(), reach=REACH)
    assert np.abs(ground.astype(int) - 230).max() <= 2


def test_a_black_margin_is_no_ink_and_the_stroke_beside_it_is():
    page = written(size=(120, 260))
    page[:, :40] = 5
    marked = darkness(page, reach=REACH) > 0.5
    assert not marked[:, :38].any() and marked[50, 60]
    assert solid(page, reach=REACH)[:, :38].all()
    assert darkness(page, reach=REACH, margins=False)[:, :30].max() > 0.5


def test_a_stroke_is_no_solid_area():
    assert not solid(written(ink=0, pen=6), reach=REACH).any()


def test_half_dark_pixels_are_ink_only_where_they_hang_on_to_dark_ones():
    dark = np.zeros((9, 20), np.float32)
    dark[4, 2:6] = 0.9
    dark[4, 6:9] = 0.45
    dark[4, 14:18] = 0.45
    marked = binarize(dark, level=0.9)
    assert marked[4, 2:9].all() and marked.sum() == 7


@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_higher_level_never_marks_more_ink(one, two, seed):
    dark = np.random.default_rng(seed).random((30, 40)).astype(np.float32)
    low, high = (binarize(dark, level=level) for level in sorted((one, two)))
    assert not (high & ~low).any()


def test_how_dark_the_writing_is_does_not_depend_on_how_much_there_is():
    one, many = np.zeros((200, 300), np.float32), np.zeros((200, 300), np.float32)
    cv2.line(one, (20, 40), (20, 90), 0.6, 3)
    for x in range(20, 280, 20):
        cv2.line(many, (x, 40), (x, 190), 0.6, 3)
    assert ridge_darkness(one) == pytest.approx(ridge_darkness(many), abs=0.1)
    assert ridge_darkness(np.zeros((50, 50), np.float32)) == 0.0


def test_no_picture_has_no_writing():
    assert stroke_darkness(np.zeros((0, 5), np.float32)) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.0, 1.0))
@settings(deadline=None)
def test_how_dark_the_writing_is_is_the_quantile_that_numpy_finds(seed, side, share):
    dark = np.random.default_rng(seed).random((side, 7), np.float32)
    wanted = np.quantile(dark.astype(np.float64), 1.0 - share)
    assert stroke_darkness(dark, share=share) == pytest.approx(wanted, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_the_two_thresholds_mark_what_scikit_image_marks(seed, h, w):
    dark = np.random.default_rng(seed).random((h, w), np.float32)
    marked = apply_hysteresis_threshold(dark, 0.35 * 0.9, 0.9 * 0.95)
    assert np.array_equal(binarize(dark, level=0.9, low=0.35, high=0.95), marked)


@pytest.mark.parametrize("seed", range(5))
def test_strokes_are_parted_from_noise_where_scikit_image_parts_them(seed):
    rng = np.random.default_rng(seed)
    dark = np.clip(rng.normal(0.15, 0.03, (80, 200)), 0, 1).astype(np.float32)
    cv2.line(dark, (10, 40), (190, 50), 0.8, 5)
    smooth = cv2.blur(dark, (3, 3))
    ridges = smooth[(smooth >= cv2.dilate(smooth, np.ones((5, 5), np.uint8))) & (smooth > 0.08)]
    wanted = ridges[ridges > threshold_otsu(ridges)].mean()
    assert ridge_darkness(dark) == pytest.approx(wanted, abs=0.02)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_the_inked_part_holds_all_of_the_ink_and_a_margin_and_no_more(seed, h, w, margin):
    rng = np.random.default_rng(seed)
    ink = rng.random((h, w)) < rng.choice([0.0, 0.01, 0.2])
    part = inked_part(ink, margin=margin)
    assert ink[part].size and ink[part].sum() == ink.sum()
    if ink.any():
        rows, columns = np.nonzero(ink)
        assert part[0] == slice(max(0, rows.min() - margin), rows.max() + 1 + margin)
        assert part[1] == slice(max(0, columns.min() - margin), columns.max() + 1 + margin)
