"""A form that is drawn, and a page that is warped by a homography that is known."""

import cv2
import numpy as np
import pytest

from digitocr.forms.fill import draw_aruco
from digitocr.types import Anchor, Box, Document, Page, PageTemplate

DPI = 150
PAPER_PLACES = ((60, 60), (740, 60), (60, 1040), (740, 1040))


def _anchors(kind):
    size = 30 if kind == "square" else 60
    ids = range(4) if kind == "aruco" else [None] * 4
    return tuple(
        Anchor(kind, center, size, i, "4x4_50" if kind == "aruco" else None)
        for i, center in zip(ids, PAPER_PLACES, strict=True)
    )


def _rows(seed):
    rng = np.random.default_rng(seed)
    for row in range(14):
        y = 150 + 60 * row + int(rng.integers(-8, 9))
        word = "".join(chr(c) for c in rng.integers(97, 123, 11))
        x = 60 + int(rng.integers(0, 80))
        yield x, y, word, 420 + int(rng.integers(0, 90)), int(rng.integers(2, 6))


@pytest.fixture(scope="session")
def boxes_of():
    """Say where the rows of boxes of the drawn form are."""

    def boxes(seed=0):
        return [Box(left, y, left + 40 * n, y + 40) for _, y, _, left, n in _rows(seed)]

    return boxes


@pytest.fixture(scope="session")
def draw_form():
    """Draw an empty form of 800 × 1100 pixels; another seed is another form."""

    def draw(seed=0, *, anchors="square", skip=(), reference=True):
        image = np.full((1100, 800), 255, np.uint8)
        marks = () if anchors is None else _anchors(anchors)
        for number, anchor in enumerate(marks):
            side = int(anchor.size)
            left, top = (int(c - side / 2) for c in anchor.center)
            if number not in skip:
                stamp = 0 if anchors == "square" else draw_aruco(anchor, side)
                image[top : top + side, left : left + side] = stamp
        for x, y, word, left, cells in _rows(seed):
            cv2.putText(image, word, (x, y + 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2, 16)
            for cell in range(cells):
                corner = (left + 40 * cell, y)
                cv2.rectangle(image, corner, (corner[0] + 40, y + 40), 90, 2)
        return PageTemplate(1, 800, 1100, DPI, image if reference else None, marks), image

    return draw


@pytest.fixture(scope="session")
def lay():
    """Turn, skew, scale and shift a picture; give the page and template → page."""

    def laid(image, *, turns=0, skew_deg=0.0, scale=1.0, bend=0.0, paper=255):
        h, w = image.shape
        angle = np.radians(90 * turns + skew_deg)
        turn = (
            np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        )
        matrix = np.eye(3)
        matrix[:2, :2] = turn
        matrix[2, :2] = bend / max(h, w), -bend / max(h, w)
        corners = np.array([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]]) @ matrix.T
        corners = corners[:, :2] / corners[:, 2:]
        low, high = corners.min(0), corners.max(0)
        matrix = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]]) @ matrix
        size = tuple(int(v) for v in np.ceil(high - low))
        # An area's worth of blur keeps fine lines when the page is made smaller.
        source = cv2.GaussianBlur(image, (0, 0), 0.5 / scale) if scale < 0.9 else image
        return cv2.warpPerspective(
            source, matrix, size, flags=cv2.INTER_CUBIC, borderValue=paper
        ), matrix

    return laid


@pytest.fixture(scope="session")
def page_of():
    def page(image, dpi=None):
        return Page(Document("0" * 64, 1), 1, image, dpi)

    return page


@pytest.fixture
def any_crops():
    """Crops of any size: noise, soft noise, and noise below plain paper."""
    rng = np.random.default_rng(6)
    crops = []
    for number in range(300):
        shape = tuple(rng.integers(1, 120, 2))
        gray = rng.integers(0, 256, shape).astype(np.uint8)
        if number % 3 == 1:
            gray = cv2.GaussianBlur(gray, (0, 0), 3)
        elif number % 3 == 2:
            gray[: shape[0] // 2] = 220
        crops.append(gray)
    return crops
