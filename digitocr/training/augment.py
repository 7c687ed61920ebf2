"""What scanning, pens and form removal do to a glyph, drawn at random.

A glyph is warped at a random working resolution, spoiled there, and goes through the one
normalization: so a gap, a rest of a box line or a coarse scan moves and scales the digit in
training exactly as it does in reading.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.normalization import normalize
from digitocr.types import GlyphImage

Intensity = NDArray[np.uint8]

NATIVE_SIDE = 20.0  # longer side of MNIST's ink
LEAST_SIDE, MOST_SIDE = 11.0, 52.0  # ink in pixels: 60 dpi scans to 250 dpi ones
_DAMAGES = [1, 2, 3, 4, 5, 7]  # places in the row of chances


def distort(
    glyph: Intensity, rng: np.random.Generator, *, clean: float = 0.1, spoiled: float = 0.6
) -> GlyphImage:
    """Spoil a glyph at random and normalize it.

    Parameters
    ----------
    glyph : (H, W) uint8, 0 paper to 255 ink
        Not changed.
    clean : float
        Share that is only normalized.
    spoiled : float
        Share of the others that is damaged beyond another pen and a soft edge.
    """
    if rng.random() < clean:
        return normalize(glyph)
    side = NATIVE_SIDE
    if rng.random() < 0.55:
        side = float(np.exp(rng.uniform(np.log(LEAST_SIDE), np.log(MOST_SIDE))))
    ink = _warp(glyph, side, rng)
    unit = side / NATIVE_SIDE
    chance = rng.random(12)
    if rng.random() >= spoiled:
        chance[_DAMAGES] = 1.0
    if chance[0] < 0.34:
        ink = _restroke(ink, unit, rng)
    if chance[1] < 0.18:
        _erase_line(ink, unit, rng)
    if chance[2] < 0.07:
        _cut_out(ink, unit, rng)
    if chance[3] < 0.07:
        ink = _clip(ink, rng)
    if chance[4] < 0.17:
        _add_edge_line(ink, unit, rng)
    if chance[5] < 0.1:
        _add_specks(ink, unit, rng)
    if chance[6] < 0.30:
        sigma = max(0.3, unit * rng.uniform(0.25, 0.9))
        ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), sigma), np.uint8)
    if chance[7] < 0.3:
        ink = _grain(ink, unit, rng)
    if chance[8] < 0.20:
        cut = float(rng.uniform(0.25, 0.6)) * float(ink.max())
        ink = np.asarray(cv2.threshold(ink, cut, 255, cv2.THRESH_BINARY)[1], np.uint8)
    elif chance[9] < 0.25:
        ink = _fade(ink, rng)
    image = normalize(ink)
    if not image.any():  # a dot that was spoiled away
        return normalize(glyph)
    if chance[10] < 0.2:
        image = np.roll(image, rng.integers(-1, 2, size=2), axis=(0, 1))
    if chance[11] < 0.1:
        image = image ** np.float32(rng.uniform(0.7, 1.4))
    return image


def move(
    image: GlyphImage,
    rng: np.random.Generator,
    *,
    angle_deg: float = 10.0,
    zoom: float = 0.1,
    shift: float = 0.1,
) -> GlyphImage:
    """Turn, scale and shift a normalized digit, as the tutorials do.

    Parameters
    ----------
    image : (28, 28) float32, 0 paper to 1 ink
        Not changed.
    angle_deg, zoom, shift
        Most to either side; the shift as a share of the picture's side.
    """
    h, w = image.shape
    angle = float(rng.uniform(-angle_deg, angle_deg))
    scale = 1.0 + float(rng.uniform(-zoom, zoom))
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle, scale)
    matrix[:, 2] += rng.uniform(-shift, shift, size=2) * (w, h)
    moved: GlyphImage = cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_LINEAR)
    return moved


def _warp(glyph: Intensity, side: float, rng: np.random.Generator) -> Intensity:
    """Rotate, shear, stretch and bend; the ink's longer side becomes about `side`."""
    left, top, width, height = cv2.boundingRect(glyph)
    longer = max(width, height, 1)
    canvas = int(side * 1.5) + 8
    angle = np.deg2rad(rng.normal(0.0, 8.0))
    shear = rng.normal(0.0, 0.14)
    scale = longer / side * np.exp(rng.normal(0.0, 0.1, size=2))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    matrix = np.diag(scale) @ turn
    center = np.array([left + (width - 1) / 2, top + (height - 1) / 2])
    middle = (canvas - 1) / 2
    steps = np.arange(canvas, dtype=np.float32) - np.float32(middle)
    map_x = matrix[0, 0] * steps[None, :] + matrix[0, 1] * steps[:, None] + center[0]
    map_y = matrix[1, 0] * steps[None, :] + matrix[1, 1] * steps[:, None] + center[1]
    if rng.random() < 0.75:
        knots = int(rng.integers(4, 8))
        bend = rng.normal(0.0, 1.0, size=(knots, knots, 2)).astype(np.float32)
        bend *= np.float32(rng.uniform(0.2, 1.1) * longer / NATIVE_SIDE)
        field = cv2.resize(bend, (canvas, canvas), interpolation=cv2.INTER_CUBIC)
        map_x = map_x + field[..., 0]
        map_y = map_y + field[..., 1]
    warped = cv2.remap(
        glyph, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_CUBIC
    )
    return np.asarray(warped, np.uint8)


def _restroke(ink: Intensity, unit: float, rng: np.random.Generator) -> Intensity:
    """Another pen: thicker, or thinner as long as most of the stroke survives."""
    if rng.random() < 0.6:
        size = max(2, round(unit * rng.uniform(1.3, 3.0)))
        pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return np.asarray(cv2.dilate(ink, pen), np.uint8)
    size = max(2, round(unit * rng.uniform(1.2, 2.2)))
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    thin = np.asarray(cv2.erode(ink, pen), np.uint8)
    opened = np.asarray(cv2.dilate(thin, pen), np.uint8)
    survives = int(cv2.sumElems(opened)[0]) > 0.93 * int(cv2.sumElems(ink)[0])
    return thin if survives else ink


def _erase_line(ink: Intensity, unit: float, rng: np.random.Generator) -> None:
    """Take a straight band out, as the removal of a printed line does."""
    thick = max(1, round(unit * rng.uniform(0.8, 2.4)))
    margin = ink.shape[0] // 6
    at = int(rng.integers(margin, ink.shape[0] - margin))
    if rng.random() < 0.7:
        ink[at : at + thick] = 0
    else:
        ink[:, at : at + thick] = 0


def _cut_out(ink: Intensity, unit: float, rng: np.random.Generator) -> None:
    width, height = (max(1, round(unit * s)) for s in rng.uniform(1.5, 4.5, size=2))
    x, y = rng.integers(0, ink.shape[0] - max(width, height), size=2)
    ink[y : y + height, x : x + width] = 0


def _clip(ink: Intensity, rng: np.random.Generator) -> Intensity:
    """Lose a strip of one side, as at the border of a crop."""
    left, top, width, height = cv2.boundingRect(ink)
    if min(width, height) < 2:
        return ink
    lost = rng.uniform(0.02, 0.1)
    inside = ink[top : top + height, left : left + width].copy()
    match int(rng.integers(4)):
        case 0:
            return inside[int(lost * height) :]
        case 1:
            return inside[: height - int(lost * height)]
        case 2:
            return inside[:, int(lost * width) :]
        case _:
            return inside[:, : width - int(lost * width)]


def _add_edge_line(ink: Intensity, unit: float, rng: np.random.Generator) -> None:
    """Add a rest of a box line beside the glyph, seldom touching it."""
    left, top, width, height = cv2.boundingRect(ink)
    thick = max(1, round(unit * rng.uniform(0.4, 1.6)))
    shade = int(rng.integers(90, 256))
    gap = unit * rng.uniform(-0.5, 4.0)
    start, end = np.sort(rng.uniform(-0.15, 1.15, size=2))
    slope = rng.normal(0.0, 0.02)
    match int(rng.integers(4)):
        case 0 | 1 as side:
            y = top - gap if side == 0 else top + height + gap
            a = (left + start * width, y)
            b = (left + end * width, y + slope * width)
        case side:
            x = left - gap if side == 2 else left + width + gap
            end = min(end, start + 0.6)  # a longer one beside a digit is a 1
            a = (x, top + start * height)
            b = (x + slope * height, top + end * height)
    ends = [(round(p[0]), round(p[1])) for p in (a, b)]
    cv2.line(ink, ends[0], ends[1], shade, thick)


def _add_specks(ink: Intensity, unit: float, rng: np.random.Generator) -> None:
    for x, y in rng.integers(0, ink.shape[0], size=(int(rng.integers(1, 5)), 2)):
        radius = max(0, round(unit * rng.uniform(0.1, 0.8)))
        cv2.circle(ink, (int(x), int(y)), radius, int(rng.integers(60, 256)), -1)


def _grain(ink: Intensity, unit: float, rng: np.random.Generator) -> Intensity:
    """Uneven ink: pencil on rough paper, a dry pen."""
    h, w = ink.shape
    coarse = rng.uniform(0.35, 1.0, size=(6, 6)).astype(np.float32)
    factor = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    factor = factor + rng.normal(0.0, 0.18, size=(h, w)).astype(np.float32)
    grained: Intensity = np.clip(ink * factor, 0, 255).astype(np.uint8)
    return grained


def _fade(ink: Intensity, rng: np.random.Generator) -> Intensity:
    """Faint ink whose palest part is lost with the background."""
    floor = rng.uniform(0.0, 0.3) * 255.0
    shade = rng.uniform(0.12, 0.8)
    faded = (ink.astype(np.float32) - floor) * shade
    faint: Intensity = np.clip(faded, 0, 255).astype(np.uint8)
    return faint if faint.max() > 8 else ink
