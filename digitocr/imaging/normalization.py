"""Glyph ink → the image the classifier expects: MNIST's own normalization, in one function.

Training and reading both call `normalize`; a model's card names the `VERSION` it was trained
with. A 20-pixel box, centre of mass in the middle of 28x28, anti-aliased, as LeCun et al.
describe it, and two things that MNIST did not need: a stroke too thin to survive the shrinking
is widened first (a 300 dpi hairline would come out grey), and a stroke that is faint is
brought to full ink.

References
----------
LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86 (1998) 2278-2324.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.types import GLYPH_SIZE, NORMALIZATION, GlyphImage, Gray

VERSION = NORMALIZATION
SIZE = GLYPH_SIZE

Intensity = NDArray[np.uint8]  # (H, W); 0 is paper, 255 is full ink


def normalize(
    glyph: Intensity,
    *,
    box: int = 20,
    least_stroke: float = 1.8,
    edge_share: float = 0.06,
) -> GlyphImage:
    """Bring a glyph to MNIST's size, place, stroke and contrast.

    Parameters
    ----------
    glyph : (H, W) uint8
        Ink intensity: 0 is paper, 255 is full ink; any size. Not changed.
    box : int, pixels
        Longer side of the ink in the result.
    least_stroke : float, pixels of the result
        A thinner stroke is widened to this. MNIST's thinnest hands write about so.
    edge_share : float
        Share of the strongest ink below which a pixel does not count for the extent.

    Returns
    -------
    (28, 28) float32, 0 paper to 1 ink; all zero where there is no ink.

    Raises
    ------
    ValueError
        If `glyph` is not a two-dimensional uint8 array.
    """
    if glyph.ndim != 2 or glyph.dtype != np.uint8:
        raise ValueError(f"glyph must be (H, W) uint8, not {glyph.shape} {glyph.dtype}")
    result: GlyphImage = np.zeros((SIZE, SIZE), np.float32)
    peak = int(glyph.max()) if glyph.size else 0
    if peak == 0:
        return result
    inside = cv2.threshold(glyph, int(peak * edge_share), 255, cv2.THRESH_BINARY)[1]
    left, top, width, height = cv2.boundingRect(inside)
    ink = glyph[top : top + height, left : left + width]
    scale = box / max(width, height)
    if scale < 1.0:
        ink = _widened(ink, peak, scale, least_stroke=least_stroke)
        height, width = ink.shape
        scale = box / max(width, height)
    if max(width, height) != box:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
        ink = cv2.resize(ink, size, interpolation=method)
    _place(_full_contrast(ink), result)
    return result


def normalize_all(glyphs: Sequence[Intensity] | Intensity) -> NDArray[np.float32]:
    """Normalize every glyph: (N, 28, 28) float32, also for none."""
    result: NDArray[np.float32] = np.zeros((len(glyphs), SIZE, SIZE), np.float32)
    for row, glyph in zip(result, glyphs, strict=True):
        row[:] = normalize(glyph)
    return result


def _widened(ink: Intensity, peak: int, scale: float, *, least_stroke: float) -> Intensity:
    """Widen strokes that would be thinner than `least_stroke` pixels after scaling.

    The width of a stroke is twice its area over its outline. The outline is counted in steps
    along rows and columns, which at a mean slope are 4/pi times as many as its length.
    """
    mask = cv2.copyMakeBorder(
        cv2.threshold(ink, peak // 2, 1, cv2.THRESH_BINARY)[1], 1, 1, 1, 1, cv2.BORDER_CONSTANT
    )
    area = cv2.countNonZero(mask)
    steps = cv2.norm(mask[1:], mask[:-1], cv2.NORM_L1)
    steps += cv2.norm(mask[:, 1:], mask[:, :-1], cv2.NORM_L1)
    stroke = 2.0 * area / steps * 4.0 / np.pi
    missing = round(least_stroke / scale - stroke)
    if missing < 1:
        return ink
    room = cv2.copyMakeBorder(
        ink, missing, missing, missing, missing, cv2.BORDER_CONSTANT, value=0
    )
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1))
    wide: Intensity = cv2.dilate(room, pen)
    left, top, width, height = cv2.boundingRect(wide)
    return wide[top : top + height, left : left + width]


def _full_contrast(ink: Intensity, *, core_share: float = 0.35) -> NDArray[np.float32]:
    """Stretch the ink so that the body of the stroke is 1.

    The body is the median of what is above `core_share` of the strongest pixel: full ink in
    MNIST, so its own images pass unchanged, while a grey stroke is lifted as a whole.
    """
    levels = ink[ink > int(ink.max()) * core_share]
    body = float(np.partition(levels, levels.size // 2)[levels.size // 2])
    stretched: NDArray[np.float32] = np.minimum(ink * np.float32(1.0 / body), np.float32(1.0))
    return stretched


def _place(ink: NDArray[np.float32], result: GlyphImage) -> None:
    """Write the ink into the result, its centre of mass in the middle, nothing outside."""
    height, width = ink.shape
    columns, rows = ink.sum(axis=0), ink.sum(axis=1)
    total = float(columns.sum())
    center_x = float(columns @ np.arange(width)) / total
    center_y = float(rows @ np.arange(height)) / total
    middle = SIZE / 2
    left = min(max(0, round(middle - center_x)), SIZE - width)
    top = min(max(0, round(middle - center_y)), SIZE - height)
    result[top : top + height, left : left + width] = ink


def ink_intensity(
    gray: Gray,
    *,
    noise_spread: float = 4.0,
    least_contrast: float = 2.0,
    faintest_share: float = 0.15,
    palest_share: float = 0.08,
    weakest_share: float = 0.3,
    speck_share: float = 0.2,
) -> Intensity:
    """Find the ink of a picture that holds a single character, dark on light or light on dark.

    The paper is what the rim of the picture shows most. What is not the character is taken
    away: noise of the paper, specks, and lines of a box along the border.

    Parameters
    ----------
    gray : (H, W) uint8
        Of either polarity. Not changed.
    noise_spread : float
        Deviations of the paper (median absolute, as standard ones) that are not ink yet.
    least_contrast : float
        Dark and light must lie this many of their own deviations apart, or there is only
        paper: pure noise cut in two lies 1.9 apart.
    faintest_share, palest_share, weakest_share : float
        Shares of the strongest ink: what is below the first is noise where the paper has much
        of it, below the second a pixel is no part of a stroke, below the third at its
        strongest a whole component is none.
    speck_share : float
        A component smaller than this share of the largest one's longer side is a speck.

    Returns
    -------
    (H, W) uint8, 0 paper to 255 full ink; all zero for an even picture.

    Raises
    ------
    ValueError
        If `gray` is not a two-dimensional uint8 array.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8:
        raise ValueError(f"gray must be (H, W) uint8, not {gray.shape} {gray.dtype}")
    nothing: Intensity = np.zeros(gray.shape, np.uint8)
    if not gray.size or gray.min() == gray.max():
        return nothing
    light: Gray = 255 - gray if _paper_is_light(gray) else gray
    threshold, _ = cv2.threshold(light, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    counts = np.bincount(light.ravel(), minlength=256)  # 256 levels are quicker than pixels
    below, above = counts.copy(), counts.copy()
    below[int(threshold) + 1 :] = above[: int(threshold) + 1] = 0
    (paper_mean, paper_spread), (ink_mean, ink_spread) = (
        _mean_spread(below),
        _mean_spread(above),
    )
    if ink_mean - paper_mean < least_contrast * np.hypot(paper_spread, ink_spread):
        return nothing
    paper = _median_level(below)
    half_steps = np.abs(2 * _LEVELS - round(2 * paper)).astype(np.int64)
    deviation = 1.4826 * _median_level(np.bincount(half_steps, below).astype(np.int64)) / 2
    peak = float(light.max()) - paper
    floor = min(noise_spread * deviation, faintest_share * peak)
    gain = np.float32(255.0 / (peak - floor))
    above_paper = _LEVELS.astype(np.float32) - np.float32(paper + floor)
    levels = np.clip(above_paper * gain, 0, 255).round().astype(np.uint8)
    ink: Intensity = cv2.LUT(light, levels)
    strokes = cv2.threshold(ink, int(255 * palest_share), 255, cv2.THRESH_BINARY)[1]
    kept = _character(strokes, ink, weakest=255 * weakest_share, speck_share=speck_share)
    rim = cv2.dilate(kept, np.ones((3, 3), np.uint8))  # the soft edge of the strokes
    result: Intensity = cv2.bitwise_and(ink, rim)
    return result


_LEVELS = np.arange(256, dtype=np.float64)


def _mean_spread(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Give the mean and the standard deviation of counted levels."""
    total = int(counts.sum())
    mean = float(counts @ _LEVELS) / total
    return mean, float(np.sqrt(max(0.0, float(counts @ (_LEVELS - mean) ** 2) / total)))


def _median_level(counts: NDArray[np.int64]) -> float:
    """Give the median of counted levels, between two of them for an even number."""
    total = np.cumsum(counts)
    middle = [(int(total[-1]) - 1) // 2, int(total[-1]) // 2]
    return float(np.searchsorted(total, middle, side="right").mean())


def _paper_is_light(gray: Gray, *, rim_share: float = 0.12) -> bool:
    """Decide by what there is more of, in the whole picture and again along its rim."""
    h, w = gray.shape
    rim = max(1, round(rim_share * min(h, w)))
    middle = (int(gray.max()) + int(gray.min())) / 2
    inside = gray[rim : h - rim, rim : w - rim]
    whole = _lightness(gray, middle)
    border = (whole - _lightness(inside, middle)) / max(1, gray.size - inside.size)
    return whole / gray.size + border > 0


def _lightness(gray: Gray, middle: float) -> int:
    """Count the pixels above the middle, less those below."""
    return int((gray > middle).sum()) - int((gray < middle).sum())


def _character(
    strokes: Intensity, ink: Intensity, *, weakest: float, speck_share: float
) -> Intensity:
    """Keep the components that may be strokes of the character."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    if count <= 2:
        return strokes
    extent = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    area = stats[:, cv2.CC_STAT_AREA]
    strongest = np.zeros(count, np.uint8)
    np.maximum.at(strongest, labels.ravel(), ink.ravel())
    good = strongest >= weakest
    good[0] = False
    lines = _border_lines(labels, stats) & good
    if area[good & ~lines].sum() >= 0.3 * area[lines].sum():
        good &= ~lines
    specks = good & (extent < speck_share * extent[good].max())
    if area[specks].sum() < 0.3 * area[good].sum():
        good &= ~specks
    kept: Intensity = np.where(good[labels], strokes, 0).astype(np.uint8)
    return kept


def _border_lines(
    labels: NDArray[np.int32],
    stats: NDArray[np.int32],
    *,
    long: float = 0.5,
    thin: float = 0.1,
    beside: float = 0.8,
) -> NDArray[np.bool_]:
    """Mark components that run along the border, thin and long: what is left of a box.

    A stroke that only ends at the border is none: less than `beside` of it lies there.
    """
    h, w = labels.shape
    width, height, area = stats[:, 2], stats[:, 3], stats[:, 4]
    edge = round(1.5 * thin * min(h, w))
    inner = np.bincount(labels[edge : h - edge, edge : w - edge].ravel(), minlength=len(stats))
    spans = np.maximum(width / w, height / h) >= long
    thickness = area / (width + height)
    marked: NDArray[np.bool_] = (
        (inner <= (1 - beside) * area) & spans & (thickness < max(1.5, thin * min(h, w)))
    )
    return marked
