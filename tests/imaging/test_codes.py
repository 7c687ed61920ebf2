import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.imaging.codes import PageCode, draw_code, find_page_codes, read_codes

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", fullmatch=True)


def printed(text, symbology="QRCode", *, module=5, paper=255, ink=0):
    dark = draw_code(text, symbology)
    high = module if len(dark) > 1 else 60
    large = np.kron(dark, np.ones((high, module), bool))
    picture = np.where(large, ink, paper).astype(np.uint8)
    return cv2.copyMakeBorder(picture, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=paper)


@given(
    NAMES, st.integers(1, 999), st.integers(1, 99), st.from_regex(r"[0-9]{0,8}", fullmatch=True)
)
def test_a_page_code_comes_back_as_it_was_written(form, version, page, serial):
    code = PageCode(form, version, page, serial)
    assert PageCode.parsed(str(code)) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "digitocr",
        "digitocr/a/1",
        "digitocr/a/0/1",
        "digitocr/a/1/1/x",
        "x/a/1/1",
        "digitocr//1/1",
    ],
)
def test_other_texts_are_no_page_codes(text):
    assert PageCode.parsed(text) is None


@given(NAMES, st.integers(0, 3), st.floats(-12, 12))
@settings(max_examples=15, deadline=None)
def test_a_page_code_is_found_however_the_page_lies(form, turns, skew_deg):
    code = PageCode(form, 2, 1, "000123")
    page = np.full((1400, 1000), 250, np.uint8)
    mark = printed(str(code), module=4, paper=250)
    page[60 : 60 + len(mark), 500 : 500 + mark.shape[1]] = mark
    matrix = cv2.getRotationMatrix2D((500, 700), skew_deg, 0.9)
    page = cv2.warpAffine(page, matrix, (1000, 1400), borderValue=250)
    before = np.ascontiguousarray(np.rot90(page, turns))
    seen = before.copy()
    assert find_page_codes(seen) == (code,)
    np.testing.assert_array_equal(seen, before)


def test_a_page_without_a_code_has_none_and_one_with_another_code_too():
    assert find_page_codes(np.full((900, 700), 255, np.uint8)) == ()
    assert find_page_codes(printed("https://example.org")) == ()


def test_two_sheets_have_two_codes():
    one, other = (printed(str(PageCode("a", 1, page))) for page in (1, 2))
    assert {code.page for code in find_page_codes(np.hstack([one, other]))} == {1, 2}


@pytest.mark.parametrize(
    ("symbology", "text", "corrects", "checked"),
    [
        ("QRCode", "AB-12/xyz", True, True),
        ("DataMatrix", "AB-12", True, True),
        ("Code128", "AB-0471", False, True),
        ("EAN13", "4006381333931", False, True),
        ("Code39", "AB0471", False, False),
        ("ITF", "00471234", False, False),
    ],
)
def test_codes_are_read_and_know_how_far_to_be_trusted(symbology, text, corrects, checked):
    picture = printed(text, symbology)
    (code,) = read_codes(picture)
    assert code.text == text
    assert (code.corrects_errors, code.is_checked) == (corrects, checked)
    h, w = picture.shape
    assert abs(code.center[0] - w / 2) < 0.1 * w and abs(code.center[1] - h / 2) < 0.2 * h


def test_a_torn_code_is_not_read_at_all():
    picture = printed("0471234567", "Code128")
    picture[:, picture.shape[1] // 2 :] = 255
    assert read_codes(picture) == ()
