from __future__ import annotations

import cv2
import numpy as np

from digitocr.imaging.bending import bend


def printed():
    page = np.full((600, 800), 255, np.uint8)
    for row in range(60, 560, 60):
        for x, word in enumerate(("Clinic", "Visits", "Doses", "Week")):
            cv2.putText(page, word, (60 + 180 * x, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 20, 2)
    return page


def test_a_page_that_is_stretched_comes_back_onto_the_empty_form():
    blank = printed()
    stretch = np.array([[1.006, 0.0, -1.0], [0.0, 0.994, 1.5]])
    page = cv2.warpAffine(blank, stretch, (800, 600), borderValue=255)
    before = page.copy()
    bent = bend(page, blank, 150.0)

    def off(one):
        return np.abs(one.astype(int) - blank).mean()

    assert off(bent) < 0.75 * off(page)
    assert np.array_equal(page, before)


def test_a_page_that_lies_well_stays():
    blank = printed()
    assert np.abs(bend(blank, blank, 150.0).astype(int) - blank).mean() < 0.5


def test_an_empty_page_stays():
    blank = np.full((300, 400), 255, np.uint8)
    assert np.array_equal(bend(blank, blank, 150.0), blank)
