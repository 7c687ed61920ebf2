"""What is broader than strokes is found as plain opening finds it, only sooner."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.blots import find_broad, least_breadth
from digitocr.imaging.segmentation import components


def opened(ink, side):
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side | 1, side | 1))
    padded = cv2.copyMakeBorder(ink.view(np.uint8), *[side] * 4, cv2.BORDER_CONSTANT, value=0)
    return cv2.morphologyEx(padded, cv2.MORPH_OPEN, element)[side:-side, side:-side] > 0


@given(st.integers(0, 2**32 - 1), st.integers(3, 25))
@settings(max_examples=200, deadline=None)
def test_broad_ink_is_what_opening_leaves(seed, side):
    rng = np.random.default_rng(seed)
    h, w = (int(n) for n in rng.integers(3, 60, 2))
    drawn = np.zeros((h, w), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        x, y, x2, y2 = (int(rng.integers(0, n)) for n in (w, h, w, h))
        if rng.random() < 0.6:
            cv2.circle(drawn, (x, y), int(rng.integers(1, 18)), 1, -1)
        else:
            cv2.line(drawn, (x, y), (x2, y2), 1, int(rng.integers(1, 22)))
    ink = drawn.view(bool)
    assert np.array_equal(find_broad(ink, side), opened(ink, side))


@pytest.mark.parametrize(("radius", "found"), [(6, False), (14, True)])
def test_a_disk_is_broad_beside_strokes(radius, found):
    drawn = np.zeros((80, 160), np.uint8)
    for x in (20, 50, 130):
        cv2.line(drawn, (x, 10), (x, 70), 1, 6)
    cv2.circle(drawn, (90, 40), radius, 1, -1)
    side = least_breadth(components(drawn > 0), most_pen=10, least=12)
    assert find_broad(drawn.view(bool), side).any() == found
