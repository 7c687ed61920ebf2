import cv2
import numpy as np
import pytest

from digitocr.imaging.binarization import darkness
from digitocr.imaging.drop_out import drop_out

RED, GREEN, BLUE = (0.9, 0.9, 0.15), (0.9, 0.2, 0.9), (0.15, 0.5, 0.9)  # darkness of B, G, R
BLACK = (1.0, 1.0, 1.0)
SIZE = (72, 168)
REACH, SLACK = 40, 4
PEN = np.s_[20:60, 80:85]  # a stroke down the middle


def paper():
    return np.full((*SIZE, 3), 248, np.uint8)


def inked(color, mask, ink, dark):
    """Lay ink where a mask is: it filters what is below it."""
    left = 1 - dark * np.asarray(ink) * mask[..., None]
    return np.rint(color * left).astype(np.uint8)


def hatch():
    mask = np.zeros(SIZE, np.float32)
    for x in range(-80, 200, 12):
        cv2.line(mask, (x, 0), (x + SIZE[0], SIZE[0]), 1.0, 2)
    return mask


def stroke():
    mask = np.zeros(SIZE, np.float32)
    mask[PEN] = 1.0
    return mask


def field(tint, ink, *, dark=0.7):
    form = inked(paper(), hatch(), tint, 0.6)
    return inked(form, stroke(), ink, dark), form


@pytest.mark.parametrize("tint", [RED, GREEN, BLUE])
def test_colored_print_goes_and_black_ink_over_it_stays(tint):
    page, form = field(tint, BLACK)
    dark = darkness(drop_out(page, form, reach=REACH, slack=SLACK).gray, reach=REACH)
    beside = dark.copy()
    beside[PEN[0], 76:89] = 0.0
    assert beside.max() < 0.1
    assert dark[PEN].min() > 0.5


@pytest.mark.parametrize(("tint", "ink"), [(RED, BLUE), (GREEN, BLUE), (BLUE, BLUE)])
def test_colored_ink_stays_also_where_its_color_is_that_of_the_print(tint, ink):
    page, form = field(tint, ink, dark=0.9)
    dark = darkness(drop_out(page, form, reach=REACH, slack=SLACK).gray, reach=REACH)
    off_print = cv2.dilate(hatch(), np.ones((2 * SLACK + 1,) * 2)) == 0
    before = darkness(cv2.cvtColor(page, cv2.COLOR_BGR2GRAY), reach=REACH)
    mask = (stroke() > 0) & off_print
    np.testing.assert_allclose(dark[mask], before[mask], atol=0.05)
    assert np.median(dark[PEN]) > 0.1


def test_on_a_gray_scan_of_a_colored_form_the_print_is_still_said_to_be_there():
    page, form = field(RED, BLACK)
    gray = cv2.cvtColor(cv2.cvtColor(page, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    found = drop_out(gray, form, reach=REACH, slack=SLACK)
    dark = darkness(found.gray, reach=REACH)
    printed = darkness(found.printed, reach=REACH)
    lines = (hatch() > 0) & (stroke() == 0)
    assert (dark - printed)[lines].max() < 0.1


def test_a_form_in_black_has_nothing_to_drop():
    page, form = field(BLACK, BLUE)
    assert drop_out(page, form, reach=REACH, slack=SLACK) is None
