import cv2
import numpy as np
import pytest

from digitocr.imaging.landmarks import (
    THUMBNAIL_SIDE,
    VIEW_SIDE,
    View,
    find_markers,
    resize,
    resize_to,
    view_of,
)


def photographed(image, share):
    """Put a page that takes a share of it into the middle of a dark table's picture."""
    h, w = image.shape
    rows, columns = round(h / share), round(w / share)
    table = np.full((rows, columns), 70, np.uint8)
    top, left = (rows - h) // 2, (columns - w) // 2
    table[top : top + h, left : left + w] = image
    return table, np.array([left, top])


@pytest.mark.parametrize("shape", [(2001, 1403), (1600, 1200), (799, 643), (4003, 21)])
@pytest.mark.parametrize("scale", [0.7, 0.4, 0.19])
def test_a_picture_made_smaller_keeps_its_shades_where_they_were(shape, scale):
    h, w = shape
    y, x = np.mgrid[:h, :w]
    image = (60 + 120 * y / h + 60 * x / w).astype(np.uint8)
    before = image.copy()
    small = resize(image, scale)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    assert small.shape == size[::-1]
    wanted = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    assert cv2.absdiff(small, wanted).max() <= 2
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(3508, 2480), (2001, 1403), (900, 1300), (300, 200)])
def test_both_copies_of_a_page_are_what_each_would_be_alone(shape):
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    view = view_of(image)
    for copy in (view.image, view.thumbnail):
        np.testing.assert_array_equal(copy, resize_to(image, copy.shape[::-1]))
    assert max(view.image.shape) <= VIEW_SIDE and max(view.thumbnail.shape) <= THUMBNAIL_SIDE


def test_no_picture_is_made_larger():
    image = np.zeros((9, 7), np.uint8)
    assert resize(image, 1.5) is image


@pytest.mark.parametrize("turns", range(4))
def test_markers_in_the_corners_of_a_page_are_found_there_whichever_way_up(
    draw_form, lay, turns
):
    template, image = draw_form(anchors="aruco")
    page, matrix = lay(image, turns=turns, skew_deg=1, scale=2)
    found = find_markers(view_of(page), [template], in_corners=True)
    assert found.keys() == {(a.dictionary, a.id) for a in template.anchors}
    for anchor in template.anchors:
        x, y, z = matrix @ [*anchor.center, 1]
        off = np.array(found[anchor.dictionary, anchor.id]) - np.array([x, y]) / z
        assert np.hypot(*off) < 3


@pytest.mark.parametrize("share", [0.8, 0.6])
def test_markers_that_lie_further_in_are_found_by_looking_everywhere(draw_form, share):
    template, image = draw_form(anchors="aruco")
    picture, corner = photographed(image, share)
    found = find_markers(View(picture, 1.0, picture), [template])
    for anchor in template.anchors:
        off = np.array(found[anchor.dictionary, anchor.id]) - corner - np.array(anchor.center)
        assert np.hypot(*off) < 2


def test_all_of_a_page_is_looked_at_where_its_corners_hold_some_markers_only(draw_form):
    template, image = draw_form(anchors="aruco")
    # The page lies in the upper left corner of its picture: one marker there, three further in.
    table = np.full((1600, 1400), 70, np.uint8)
    table[:1100, :800] = image
    found = find_markers(View(table, 1.0, table), [template], in_corners=True)
    assert found.keys() == {(a.dictionary, a.id) for a in template.anchors}


def test_the_corners_of_a_page_without_markers_hold_none(draw_form):
    template, _ = draw_form(anchors="aruco")
    _, other = draw_form()
    assert find_markers(view_of(other), [template], in_corners=True) == {}
