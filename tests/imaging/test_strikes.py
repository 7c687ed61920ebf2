"""A line from end to end of a number strikes it out; bars of digits and rules do not."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.strikes import is_struck
from digitocr.types import Box

NUMBER = Box(20, 15, 300, 75)


def digits(text="52063"):
    drawn = np.zeros((90, 320), np.uint8)
    for place, digit in enumerate(text):
        at = 22 + 56 * place, 73
        cv2.putText(drawn, digit, at, cv2.FONT_HERSHEY_SIMPLEX, 2.6, 1, 4)
    return drawn


def struck(drawn, number=NUMBER):
    return is_struck(drawn.view(bool), number)


@given(
    st.text("0123456789", min_size=5, max_size=5),
    st.floats(0.35, 0.65),
    st.floats(-0.6, 0.6),
    st.integers(2, 6),
)
@settings(max_examples=100, deadline=None)
def test_a_line_through_a_number_is_found_level_or_slanting(text, middle, slope, pen):
    drawn = digits(text)
    assert not struck(drawn)
    slope *= min(middle, 1 - middle) / 0.35
    ends = (middle - slope / 2, middle + slope / 2)
    left, right = (round(NUMBER.top + end * NUMBER.height) for end in ends)
    cv2.line(drawn, (NUMBER.left - 4, left), (NUMBER.right + 4, right), 1, pen)
    assert struck(drawn)


def test_rules_and_bars_strike_nothing_out():
    for height in (NUMBER.top + 3, NUMBER.bottom - 3):
        ruled = digits()
        cv2.line(ruled, (0, height), (319, height), 1, 4)
        assert not struck(ruled)
    half = digits()
    cv2.line(half, (NUMBER.left, 45), (NUMBER.left + NUMBER.width // 2, 45), 1, 4)
    assert not struck(half)
    four = np.zeros((90, 320), np.uint8)
    cv2.line(four, (20, 50), (70, 50), 1, 4)
    assert not struck(four, Box(20, 15, 70, 75))
    assert not struck(np.zeros((90, 320), np.uint8))


@given(st.integers(-20, 20), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_a_line_alone_is_a_dash(climb, pen):
    drawn = np.zeros((90, 320), np.uint8)
    cv2.line(drawn, (24, 45 + climb), (296, 45 - climb), 1, pen)
    rows, columns = np.nonzero(drawn)
    there = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert not struck(drawn, there)
