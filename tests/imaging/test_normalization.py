import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.normalization import ink_intensity, normalize, normalize_all


def drawn(size=60, pen=5, ink=255):
    """Draw a 2 as ink intensity."""
    points = np.array([[15, 20], [20, 12], [32, 10], [40, 18], [34, 32], [14, 50], [44, 50]])
    glyph = np.zeros((size, size), np.uint8)
    scaled = np.round(points * (size / 60) * 16).astype(np.int32)
    cv2.polylines(glyph, [scaled], False, ink, pen, cv2.LINE_AA, shift=4)
    return glyph


def extent(image, threshold=0.05):
    rows, columns = np.nonzero(image > threshold)
    return rows.max() - rows.min() + 1, columns.max() - columns.min() + 1


def test_no_ink_gives_an_all_zero_image():
    for shape in ((0, 0), (1, 1), (40, 30)):
        assert not normalize(np.zeros(shape, np.uint8)).any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_any_ink_gives_a_picture_of_the_agreed_shape_and_range(seed, h, w):
    glyph = np.random.default_rng(seed).integers(0, 256, (h, w)).astype(np.uint8)
    before = glyph.copy()
    image = normalize(glyph)
    assert image.shape == (28, 28) and image.dtype == np.float32
    assert image.min() >= 0.0 and image.max() <= 1.0
    assert image.any() == glyph.any()
    np.testing.assert_array_equal(glyph, before)


def test_the_longer_side_becomes_20_pixels():
    for size in (12, 24, 60, 200):
        height, width = extent(normalize(drawn(size, pen=max(1, size // 12))))
        assert max(height, width) in (19, 20)


def test_the_center_of_mass_lies_in_the_middle():
    image = normalize(drawn())
    rows, columns = np.indices(image.shape)
    assert abs((rows * image).sum() / image.sum() - 14) <= 0.5
    assert abs((columns * image).sum() / image.sum() - 14) <= 0.5


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_where_the_glyph_stands_makes_no_difference(top, left):
    glyph = drawn(40, pen=3)
    moved = np.pad(glyph, ((top, 40 - top), (left, 40 - left)))
    np.testing.assert_array_equal(normalize(moved), normalize(glyph))


def test_normalizing_twice_changes_next_to_nothing():
    for size, pen in ((28, 3), (60, 5), (120, 8)):
        once = normalize(drawn(size, pen))
        twice = normalize((once * 255).round().astype(np.uint8))
        assert np.abs(twice - once).mean() < 0.01


def test_faint_ink_is_brought_to_full_ink():
    strong, faint = normalize(drawn(ink=255)), normalize(drawn(ink=40))
    assert np.abs(strong - faint).mean() < 0.01
    assert faint.max() == 1.0


def test_a_hairline_at_high_resolution_keeps_a_stroke_that_can_be_seen():
    image = normalize(drawn(240, pen=2))
    assert image.max() == 1.0
    assert (image > 0.5).sum() > 50


def test_many_glyphs_are_normalized_like_each_one():
    glyphs = [drawn(40, 3), drawn(60, 5), np.zeros((5, 5), np.uint8)]
    together = normalize_all(glyphs)
    assert together.shape == (3, 28, 28)
    for row, glyph in zip(together, glyphs, strict=True):
        np.testing.assert_array_equal(row, normalize(glyph))
    assert normalize_all([]).shape == (0, 28, 28)


@pytest.mark.parametrize("wrong", [np.zeros((3, 4, 5), np.uint8), np.zeros((4, 4), np.float32)])
def test_another_kind_of_array_is_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        normalize(wrong)
    with pytest.raises(ValueError, match="uint8"):
        ink_intensity(wrong)


@pytest.mark.parametrize("size", [16, 28, 60, 150])
@pytest.mark.parametrize("ink", [50, 255])
def test_both_polarities_give_the_same_ink(size, ink):
    light_on_dark = drawn(size, pen=max(1, size // 12), ink=ink)
    dark_on_light = 255 - light_on_dark
    before = dark_on_light.copy()
    found = ink_intensity(dark_on_light)
    np.testing.assert_array_equal(found, ink_intensity(light_on_dark))
    np.testing.assert_array_equal(dark_on_light, before)
    assert found.max() == 255 and found[0, 0] == 0


def test_clean_ink_passes_through_unchanged():
    glyph = drawn(28, pen=2)
    assert np.abs(normalize(ink_intensity(glyph)) - normalize(glyph)).mean() < 0.002


def test_a_noisy_paper_and_its_specks_do_not_become_ink():
    rng = np.random.default_rng(3)
    glyph = drawn(50, pen=4, ink=90).astype(np.float32)
    noisy = np.clip(190 + rng.normal(0, 5, glyph.shape) - glyph, 0, 255).astype(np.uint8)
    noisy[46:48, 46:48] = 60
    found = ink_intensity(noisy)
    near = cv2.dilate((glyph > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not found[~near].any()
    assert found[glyph > 80].min() > 100


def test_a_box_line_along_the_border_is_taken_away():
    framed = 255 - drawn(60, pen=5)
    framed[0:2, :] = 0
    framed[:, 0:2] = 0
    assert np.abs(normalize(ink_intensity(framed)) - normalize(drawn(60, pen=5))).mean() < 0.01


def test_a_lone_stroke_from_border_to_border_is_kept():
    one = np.zeros((28, 28), np.uint8)
    one[:, 13:16] = 255
    np.testing.assert_array_equal(ink_intensity(one), one)


def test_a_thin_stroke_that_ends_at_the_border_is_no_box_line():
    two = np.zeros((28, 28), np.uint8)
    cv2.ellipse(two, (10, 9), (6, 6), 0, 90, 280, 255, 1)  # broken off from what follows
    rest = np.zeros_like(two)
    cv2.polylines(rest, [np.array([(20, 0), (19, 9), (10, 25), (26, 22)])], False, 255, 1)
    found = ink_intensity(np.maximum(two, rest))
    assert (found[rest > 0] > 0).all()
    assert (found[two > 0] > 0).all()


def test_the_pale_side_of_a_stroke_is_kept_on_clean_paper():
    nine = np.zeros((28, 28), np.uint8)
    cv2.circle(nine, (11, 8), 6, 30, 1)  # an eighth as dark as the stem
    cv2.line(nine, (17, 4), (13, 27), 255, 2)
    found = ink_intensity(255 - nine)
    assert (found[nine > 0] > 0).mean() > 0.95


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_has_no_ink(level):
    assert not ink_intensity(np.full((28, 28), level, np.uint8)).any()


def test_paper_noise_alone_has_no_ink():
    rng = np.random.default_rng(1)
    paper = np.clip(200 + rng.normal(0, 5, (40, 40)), 0, 255).astype(np.uint8)
    assert not ink_intensity(paper).any()
