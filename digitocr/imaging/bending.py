"""Bend a registered page a little, so that its print lies on that of the empty form.

A homography leaves paper that is stretched or was drawn unevenly through a scanner some tenths
of a millimetre off in places. Blocks all over the page are compared with the empty form; how
far each is off, weighed by how surely that can be said either way, gives a smooth field.
"""

from __future__ import annotations

import cv2
import numpy as np

from digitocr.imaging.binarization import Darkness, darkness
from digitocr.imaging.registration import best_offset
from digitocr.types import MM_PER_INCH, Gray

MATCH_DPI = 120.0
BLOCK_MM = 14.0
PITCH_MM = 9.0
SEARCH_MM = 1.2
GOOD_SCORE = 0.5
SMOOTH_MM = 12.0
LEAST_PRINT = 0.02  # mean slope of the darkness, by which a direction can be told
STIFFNESS = 0.03  # weight of staying where it is


def bend(laid: Gray, blank: Gray, dpi: float) -> Gray:
    """Bend a page onto the empty form; both in the same frame. Neither is changed."""
    h, w = laid.shape
    scale = min(1.0, MATCH_DPI / dpi)
    here, there = _dark(laid, scale, dpi), _dark(blank, scale, dpi)
    per_mm = dpi * scale / MM_PER_INCH
    side, search = round(BLOCK_MM * per_mm), max(2, round(SEARCH_MM * per_mm))
    pitch = round(PITCH_MM * per_mm)
    tops = np.arange(search, max(here.shape[0] - side - search, search + 1), pitch)
    lefts = np.arange(search, max(here.shape[1] - side - search, search + 1), pitch)
    shifts = np.zeros((len(tops), len(lefts), 2), np.float32)
    weights = np.zeros_like(shifts)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            block = there[top : top + side, left : left + side]
            sure = np.array(_slopes(block), np.float32)
            if sure.max() < LEAST_PRINT:
                continue
            around = here[
                top - search : top + side + search, left - search : left + side + search
            ]
            if around.shape != (side + 2 * search, side + 2 * search):
                continue
            offset, score = best_offset(block, around)
            if score < GOOD_SCORE:
                continue
            shifts[i, j] = offset - search
            weights[i, j] = np.where(sure >= LEAST_PRINT, score**2, 0.0)
    spread = SMOOTH_MM / PITCH_MM
    total = cv2.GaussianBlur(weights, (0, 0), spread, borderType=cv2.BORDER_REFLECT)
    pulled = cv2.GaussianBlur(shifts * weights, (0, 0), spread, borderType=cv2.BORDER_REFLECT)
    smooth = (pulled / (total + STIFFNESS) / scale).astype(np.float32)
    # Node (i, j) stands at the middle of its block.
    x = (np.arange(w, dtype=np.float32) * scale - lefts[0] - side / 2) / pitch
    y = (np.arange(h, dtype=np.float32) * scale - tops[0] - side / 2) / pitch
    nodes_x, nodes_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    field = cv2.remap(
        smooth, nodes_x, nodes_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    columns, rows = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    bent: Gray = cv2.remap(
        laid, columns + field[..., 0], rows + field[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return bent


def _dark(gray: Gray, scale: float, dpi: float) -> Darkness:
    h, w = gray.shape
    size = (round(w * scale), round(h * scale))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else gray
    dark = darkness(small, reach=round(dpi * scale * 0.2), margins=False)
    blurred: Darkness = cv2.GaussianBlur(dark, (0, 0), 1.0)
    return blurred


def _slopes(block: Darkness) -> tuple[float, float]:
    """Say how much a block changes along rows and along columns."""
    return float(np.abs(np.diff(block, axis=1)).mean()), float(
        np.abs(np.diff(block, axis=0)).mean()
    )
