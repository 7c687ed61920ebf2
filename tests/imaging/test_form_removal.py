import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.form_removal import close_strokes, line_mask, subtract_form, widen
from digitocr.imaging.segmentation import components


def crossed(*, thickness=3, skew=0):
    """Draw a 1 that stands across a printed line: all ink, and the stroke alone."""
    line, stroke = np.zeros((80, 120), np.uint8), np.zeros((80, 120), np.uint8)
    for x in range(2, 118):
        top = 40 + round(skew * x / 120)
        line[top : top + thickness, x] = 1
    cv2.line(stroke, (60, 15), (64, 65), 1, 5)
    return (line | stroke) > 0, stroke > 0


@pytest.mark.parametrize("thickness", [1, 2, 3, 4])
@pytest.mark.parametrize("skew", [0, 1, 2])
def test_a_line_through_a_stroke_goes_and_the_stroke_stays_one_piece(thickness, skew):
    ink, stroke = crossed(thickness=thickness, skew=skew)
    before = ink.copy()
    mask = line_mask(ink, across=54, down=0, thickness=7)
    removed = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    kept = close_strokes(ink & ~removed, ink, reach=thickness + 4)
    pieces = components(kept, least_area=12)
    assert len(pieces) == 1
    box = pieces[0].box
    assert box.top <= 16 and box.bottom >= 65 and box.width < 18
    assert (kept & stroke).sum() > 0.8 * stroke.sum()
    np.testing.assert_array_equal(ink, before)


def test_lines_are_found_in_both_directions_and_only_where_asked():
    ink = np.zeros((100, 100), bool)
    ink[50, 5:95] = True
    ink[5:95, 30] = True
    across = line_mask(ink, across=60, down=0, thickness=5)
    down = line_mask(ink, across=0, down=60, thickness=5)
    assert across[50, 10:90].all() and not across[:40].any()
    np.testing.assert_array_equal(down, line_mask(ink.T, across=60, down=0, thickness=5).T)
    assert not line_mask(ink, across=0, down=0, thickness=5).any()


def test_a_line_with_short_gaps_is_a_line_and_a_bar_or_a_dash_is_none():
    ink = np.zeros((60, 120), bool)
    ink[20, 5:115] = True
    ink[20, 40:43] = ink[20, 80:82] = False
    assert line_mask(ink, across=80, down=0, thickness=5)[20, 10:110].all()
    bar, dash = np.zeros_like(ink), np.zeros_like(ink)
    bar[20:34, 5:115] = True
    dash[20:23, 40:70] = True
    # An opening by an even side is a pixel off, so the rim of a bar may be taken.
    assert not line_mask(bar, across=80, down=0, thickness=5)[21:33].any()
    assert not line_mask(dash, across=80, down=0, thickness=5).any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_closing_keeps_what_is_kept_and_adds_scanned_ink_only(seed, reach):
    rng = np.random.default_rng(seed)
    ink = rng.random((30, 40)) < 0.5
    kept = ink & (rng.random((30, 40)) < 0.7)
    before = kept.copy()
    closed = close_strokes(kept, ink, reach=reach)
    assert not (kept & ~closed).any() and not (closed & ~ink).any()
    np.testing.assert_array_equal(kept, before)


def test_where_nothing_is_kept_nothing_is_closed():
    assert not close_strokes(np.zeros((9, 9), bool), np.ones((9, 9), bool), reach=3).any()


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.4])
def test_the_empty_form_subtracted_from_itself_leaves_nothing(gain):
    printed = np.zeros((80, 120), np.float32)
    cv2.rectangle(printed, (10, 10), (110, 70), 0.65, 3)
    dark = np.clip(printed * gain, 0, 1)
    dark = np.roll(dark, (1, 1), (0, 1))  # a pixel off
    before = dark.copy(), printed.copy()
    assert subtract_form(dark, printed, widen(printed, slack=2)).max() < 0.05
    np.testing.assert_array_equal(dark, before[0])
    np.testing.assert_array_equal(printed, before[1])


def test_writing_over_light_guides_stays_and_the_guides_go():
    eight = np.full((80, 120), 255, np.uint8)
    cv2.putText(eight, "8", (40, 65), cv2.FONT_HERSHEY_SIMPLEX, 2, 200, 3)
    guides = (1.0 - eight / 255.0).astype(np.float32)
    stroke = np.zeros((80, 120), np.uint8)
    cv2.line(stroke, (60, 10), (55, 70), 1, 5)
    left = subtract_form(
        np.maximum(guides, np.float32(0.9) * stroke), guides, widen(guides, slack=2)
    )
    assert left[stroke > 0].min() > 0.4
    assert left[stroke == 0].max() < 0.05


def test_a_page_without_print_is_left_as_it_is():
    dark = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    nothing = np.zeros_like(dark)
    left = subtract_form(dark, nothing, widen(nothing, slack=2))
    np.testing.assert_allclose(left, dark, atol=1e-6)
