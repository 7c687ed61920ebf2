"""Pages laid on one frame → the empty form, and where they were written on.

Print is dark in the same place on every page; writing is not. What is dark within a pixel of
its place on nearly all pages is print, and has its median there. Elsewhere four fifths of the
pages may be darker than what is taken: where everyone writes the same year into the same boxes,
a plain median would keep a ghost of it, and reading would then take that out of the digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from digitocr.imaging.binarization import paper
from digitocr.types import MM_PER_INCH, Gray, Homography, Ink

PAPER_REACH_MM = 25.0  # shadows are wider, gray panels of forms narrower
BRIGHT_SHARE = 0.8  # of the pages are darker than what is taken for paper
MISSED_SHARE = 0.1  # of the pages may lack the print of a place: torn, or bent
PRINT_LEVEL = 0.1  # darkness of print that is kept; drop-out boxes are light
WRITTEN_LEVEL = 0.22  # darker than the empty form by this much is writing
SLACK_MM = 0.25  # print may be off by this much
ROWS_AT_ONCE = 64


def lay(image: Gray, homography: Homography, width: int, height: int, dpi: float) -> Gray:
    """Warp a page into the frame, its paper white.

    Parameters
    ----------
    homography
        Page → frame.
    """
    h, w = image.shape
    # A warp samples four pixels; shrinking by area first keeps fine strokes of fine scans.
    linear = homography[:2, :2] / homography[2, 2]
    shrink = max(1, int(1 / max(np.sqrt(abs(np.linalg.det(linear))), 1e-6) / 1.25))
    if shrink > 1:
        image = cv2.resize(image, (w // shrink, h // shrink), interpolation=cv2.INTER_AREA)
        homography = homography @ np.diag([w / (w // shrink), h / (h // shrink), 1.0])
    laid = cv2.warpPerspective(
        image,
        homography,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    ground = paper(laid, reach=round(PAPER_REACH_MM / MM_PER_INCH * dpi)).astype(np.float32)
    white: Gray = np.clip(laid * (255.0 / np.maximum(ground, 60.0)), 0, 255).astype(np.uint8)
    return white


def blank_of(laid: Sequence[Gray]) -> Gray:
    """Take the writing out of pages that lie on each other.

    Parameters
    ----------
    laid : of (H, W) uint8
        Three or more pages, from `lay`. Not changed.
    """
    last = len(laid) - 1
    half, bright = last // 2, round(BRIGHT_SHARE * last)
    most = last - int(MISSED_SHARE * len(laid))
    element = np.ones((3, 3), np.uint8)
    # Widened by a pixel, print that is a pixel off still lies on itself.
    wide = [cv2.erode(one, element) for one in laid]
    median, lightest, near = (np.empty_like(laid[0]) for _ in range(3))
    for top in range(0, laid[0].shape[0], ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        part = np.partition(np.stack([one[rows] for one in laid]), (half, bright), axis=0)
        median[rows], lightest[rows] = part[half], part[bright]
        near[rows] = np.partition(np.stack([one[rows] for one in wide]), most, axis=0)[most]
    # `near` is a pixel wider than the print; narrowed again it says where print is.
    is_print = cv2.dilate(near, element) < 255 * (1 - PRINT_LEVEL)
    blank: Gray = np.where(is_print, median, lightest)
    return blank


def writing_of(laid: Gray, blank: Gray, dpi: float) -> Ink:
    """Mark what is written on a page: what is dark where the empty form is not."""
    side = 2 * max(1, round(SLACK_MM / MM_PER_INCH * dpi)) + 1
    wide = cv2.erode(blank, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    darker = cv2.subtract(wide, laid)
    # On print nothing is said: it is darker on one scan than on another.
    marked: Ink = (darker > 255 * WRITTEN_LEVEL) & (wide > 255 * (1 - WRITTEN_LEVEL))
    return marked
