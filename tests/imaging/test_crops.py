import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.crops import find_crop_writing
from digitocr.imaging.segmentation import components
from digitocr.types import Box


def crop(text="52063", *, h=80, shade=40, paper=235, pen=4, left=20):
    gray = np.full((h, 60 + 30 * max(len(text), 2)), paper, np.uint8)
    if text:
        scale = h / 50
        cv2.putText(
            gray, text, (left, round(h * 0.75)), cv2.FONT_HERSHEY_SIMPLEX, scale, shade, pen
        )
    return gray


def pieces(found):
    return components(found.field.ink, least_area=found.speck**2, least_side=found.speck)


def find(gray):
    before = gray.copy()
    found = find_crop_writing(gray)
    np.testing.assert_array_equal(gray, before)
    return found


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0, 8.0])
@pytest.mark.parametrize(("shade", "paper"), [(40, 235), (150, 230), (20, 110)])
def test_a_clean_number_is_found_without_doubt_at_any_size(scale, shade, paper):
    gray = crop(shade=shade, paper=paper)
    sized = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = find(sized)
    assert not found.doubtful
    rows, columns = np.nonzero(np.abs(sized.astype(int) - paper) > 30)
    whole = found.in_crop(
        Box(
            min(p.box.left for p in pieces(found)),
            min(p.box.top for p in pieces(found)),
            max(p.box.right for p in pieces(found)),
            max(p.box.bottom for p in pieces(found)),
        )
    )
    slack = 3 * max(1.0, scale)
    assert abs(whole.left - columns.min()) <= slack
    assert abs(whole.right - columns.max()) <= slack
    assert abs(whole.top - rows.min()) <= slack
    assert abs(whole.bottom - rows.max()) <= slack


@pytest.mark.parametrize("paper", [90, 180, 255])
def test_a_blank_crop_has_no_writing_and_no_doubt(paper):
    found = find(crop("", paper=paper))
    assert not found.field.ink.any() and not found.doubtful


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (5, 900)])
@pytest.mark.parametrize("shade", [0, 255])
def test_a_crop_of_any_shape_is_looked_at_without_a_fault(shape, shade):
    find(np.full(shape, shade, np.uint8))


@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (30, 30), (1, 1)])
def test_a_crop_that_is_all_black_is_in_doubt(shape):
    assert find(np.zeros(shape, np.uint8)).doubtful


def test_a_digit_that_was_blotted_out_is_in_doubt():
    gray = crop("  5063")
    gray[20:64, 12:56] = 10
    found = find(gray)
    under = found.in_crop(pieces(found)[0].box)
    assert found.doubtful or under.left < 56


def test_a_thin_black_margin_is_left_out():
    gray = crop()
    gray[:, :5] = 0
    found = find(gray)
    assert min(p.box.left for p in pieces(found)) / found.scale > 10


def test_a_wide_black_margin_is_no_writing():
    found = find(np.pad(crop(), ((0, 0), (70, 0))))
    assert min(p.box.left for p in pieces(found)) / found.scale > 80


def test_rules_above_and_below_are_left_out():
    gray = crop()
    gray[8:10], gray[70:72] = 60, 60
    found = find(gray)
    assert min(p.box.top for p in pieces(found)) / found.scale > 12
    assert max(p.box.bottom for p in pieces(found)) / found.scale < 69


def test_a_digit_that_is_cut_off_at_the_side_is_in_doubt():
    gray = crop("52063", left=-6)
    assert find(np.ascontiguousarray(gray[:, 10:])).doubtful or (
        pieces(find(gray[:, 10:]))[0].box.left <= 1
    )


def test_a_second_line_of_digits_is_in_doubt():
    gray = np.vstack([crop("52063"), crop("71940")])
    assert find(gray).doubtful


def test_a_faint_digit_beside_dark_ones_is_in_doubt():
    gray = crop("5 063")
    cv2.putText(gray, "2", (52, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 175, 4)
    found = find(gray)
    assert found.doubtful or len(pieces(found)) > len(pieces(find(crop("5 063"))))


def test_a_faint_digit_beside_dark_ones_is_written_too():
    gray = crop("5206  ", shade=30)
    cv2.putText(gray, "3", (155, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 140, 4)
    assert len(pieces(find(gray))) == 5


@pytest.mark.parametrize("shade", [110, 150, 185])
def test_pale_digits_in_a_black_box_are_written(shade):
    gray = crop("527", h=90, shade=shade, left=30)
    cv2.rectangle(gray, (8, 8), (gray.shape[1] - 9, 82), 0, 4)
    found = find(gray)
    assert [p.box.width > 15 for p in pieces(found)] == [True] * 3
    assert found.lined


def test_a_box_around_a_digit_is_no_digit():
    gray = crop("52   ", h=90)
    cv2.putText(gray, "6", (118, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 40, 3)
    cv2.rectangle(gray, (106, 15), (153, 75), 40, 2)
    found = find(gray)
    assert len(pieces(found)) == 3
    assert all(piece.box.height < 60 for piece in pieces(found))


@pytest.mark.parametrize("tilt", [0, 2])
def test_a_rule_at_the_border_takes_no_digit_along(tilt):
    gray = crop("52   ", h=90, shade=30)
    h, w = gray.shape
    cv2.line(gray, (0, h - 4), (w - 1, h - 4 - tilt), 30, 9)
    cv2.putText(gray, "7", (110, 82), cv2.FONT_HERSHEY_SIMPLEX, 1.8, 30, 4)
    assert len(pieces(find(gray))) == 3


def test_a_shadow_along_the_side_is_no_digit():
    gray = crop("527", h=90)
    w = gray.shape[1]
    gray[:, w - 9 :] = 60
    gray[30:60, w - 11 :] = 60
    found = find(gray)
    assert len(pieces(found)) == 3
    assert found.doubtful


@pytest.mark.parametrize("height", [25, 60])
@pytest.mark.parametrize("shape", [(1000, 1500), (2000, 3000), (3000, 600)])
def test_a_small_number_in_a_large_crop_is_no_blank(shape, height):
    rng = np.random.default_rng(2)
    gray = np.clip(rng.normal(235, 3, shape), 0, 255).astype(np.uint8)
    blank = find(gray)
    assert not pieces(blank) and not blank.doubtful
    at = shape[1] // 8, shape[0] // 3
    cv2.putText(gray, "4172", at, cv2.FONT_HERSHEY_SIMPLEX, height / 22, 60, height // 12 + 1)
    found = find(gray)
    assert pieces(found) or found.doubtful


@pytest.mark.parametrize("radius", [14, 18, 22])
@pytest.mark.parametrize("pen", [3, 5])
def test_a_blot_among_the_digits_is_none_of_them(radius, pen):
    gray = crop("80663", pen=pen)
    assert not find(gray).blotted
    cv2.circle(gray, (110, 42), radius, 40, -1)
    found = find(gray)
    assert found.blotted and found.doubtful
    margin = crop("80663", pen=pen, left=40)
    margin[:, :30] = 20
    assert not find(margin).blotted


def test_a_crop_smaller_than_a_digit_is_no_blank():
    assert find(np.full((6, 40), 235, np.uint8)).doubtful
    assert not find(np.full((12, 40), 235, np.uint8)).doubtful


def test_a_number_too_faint_to_read_is_no_blank():
    for shade in range(150, 232, 8):
        found = find(crop(shade=shade, paper=240))
        assert found.doubtful or found.field.ink.any() or shade > 223, shade


@given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_boxes_of_the_writing_lie_in_the_crop(seed, h, w):
    rng = np.random.default_rng(seed)
    gray = np.full((h, w), 230, np.uint8)
    for _ in range(3):
        one, two = rng.integers([0, 0], [w, h], (2, 2)).tolist()
        cv2.line(gray, one, two, int(rng.integers(0, 120)), int(rng.integers(1, 6)))
    found = find(gray)
    for piece in components(found.field.ink):
        box = found.in_crop(piece.box)
        assert 0 <= box.left < box.right <= w + 1 and 0 <= box.top < box.bottom <= h + 1


def boxed(texts, *, pitch=60, high=84, thick=2, ticks=1.0):
    """Print a row of boxes and write a digit into each; `ticks` is how high its sides are."""
    w = pitch * len(texts) + 20
    gray = np.full((high + 24, w), 235, np.uint8)
    for at in (10, 10 + high) if ticks == 1.0 else (10 + high,):
        cv2.line(gray, (10, at), (w - 10, at), 60, thick)
    for place in range(len(texts) + 1):
        x = 10 + place * pitch
        cv2.line(gray, (x, 10 + high), (x, 10 + round(high * (1 - ticks))), 60, thick)
    for place, text in enumerate(texts):
        at = (26 + place * pitch, 74)
        cv2.putText(gray, text, at, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 30, 5)
    return gray


@pytest.mark.parametrize("thick", [2, 5, 8])
@pytest.mark.parametrize("ticks", [0.3, 1.0])
def test_of_a_row_of_boxes_and_of_a_comb_the_digits_are_left(thick, ticks):
    gray = boxed("2836", thick=thick, ticks=ticks)
    found = find_crop_writing(gray)
    boxes = [found.in_crop(piece.box) for piece in pieces(found)]
    assert len(boxes) == 4, boxes
    for place, box in enumerate(sorted(boxes, key=lambda one: one.left)):
        assert 10 + 60 * place < box.left and box.right < 12 + 60 * (place + 1)
    assert found.lined


@pytest.mark.parametrize("top", [26, 38])
def test_a_one_in_a_box_is_left_among_other_digits(top):
    gray = boxed(" 836")
    cv2.line(gray, (44, top), (42, 76), 30, 5)
    assert len(pieces(find_crop_writing(gray))) == 4


def test_the_lines_of_a_box_are_no_faint_strokes():
    assert not find_crop_writing(boxed("2836", thick=3)).doubtful


@pytest.mark.parametrize("ends", [(44, 44), (40, 50), (62, 24)])
@pytest.mark.parametrize("pen", [2, 5])
def test_a_number_that_is_struck_out_is_in_doubt(ends, pen):
    gray = crop("80663", left=30)
    assert not find(gray).struck
    cv2.line(gray, (24, ends[0]), (182, ends[1]), 40, pen)
    found = find(gray)
    assert found.struck and found.doubtful
    ruled = crop("80663", left=30)
    cv2.line(ruled, (0, 62), (gray.shape[1], 62), 40, pen)
    assert not find(ruled).struck
