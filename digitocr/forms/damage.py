"""What happens to a filled form on its way into a computer, with every place on it still known.

Conditions that bend or turn the page say where each of its points went, so that it can be
measured whether a field was read from its own place. Strength goes from 0, nothing, to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr import synth
from digitocr.synth import Damage
from digitocr.types import MM_PER_INCH, Gray, Homography, Points

SKEW_DEG = 15.0
SCALE = 0.10
RESOLUTIONS_DPI = (600.0, 110.0, 75.0)  # at a third, two thirds and all of the strength
CORNER_SHIFT = 0.10  # of the page's side, by which a photograph moves its corners
CURL_MM = 3.0  # by which the middle of a page stands off a straight line
JPEG_QUALITY = (60, 4)
PAGE_RATIO = 0.72  # of the longer side of a photograph that the page takes

Place = Callable[[Points], Points]  # points of the page as filled in → of the scan


class Condition(StrEnum):
    """What the stress set does to pages, and `form fill --damage` to those it fills."""

    SKEW = "skew"
    TURN = "turn"
    SCALE = "scale"
    RESOLUTION = "resolution"
    PHOTO = "photo"
    CURL = "curl"
    PHOTOCOPY = "photocopy"
    FAINT = "faint"
    UNEVEN = "uneven"
    BLUR = "blur"
    NOISE = "noise"
    STAIN = "stain"
    STAMP = "stamp"
    COVERED = "covered"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True, eq=False)
class Spoiled:
    """A page after what happened to it, and where its points are now."""

    image: Gray
    place: Place


def spoil(
    page: Gray, condition: Condition, strength: float, rng: np.random.Generator, *, dpi: float
) -> Spoiled:
    """Do one thing to a page.

    Parameters
    ----------
    page : (H, W) uint8
        Not changed.
    dpi
        Pixels of the page per inch of paper.

    Raises
    ------
    ValueError
        If `strength` is not from 0 to 1.
    """
    synth.check_strength(strength)
    if strength == 0:
        return Spoiled(page.copy(), _stay)
    if condition in _BENDING:
        return _BENDING[condition](page, strength, rng, dpi)
    return Spoiled(_STAINING[condition](page, strength, rng), _stay)


def _stay(points: Points) -> Points:
    return points


def _by(matrix: Homography) -> Place:
    def place(points: Points) -> Points:
        moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
        result: Points = moved[:, :2] / moved[:, 2:]
        return result

    return place


def _warped(page: Gray, matrix: Homography, size: tuple[int, int], ground: int) -> Spoiled:
    way = cv2.INTER_AREA if abs(np.linalg.det(matrix[:2, :2])) < 0.8 else cv2.INTER_CUBIC
    image = cv2.warpPerspective(page, matrix, size, flags=way, borderValue=ground)
    return Spoiled(np.asarray(image, np.uint8), _by(matrix))


# ---------------------------------------------------------------- what moves the page


def _skew(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    h, w = page.shape
    angle = np.deg2rad(SKEW_DEG * strength * (1 if rng.random() < 0.5 else -1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, -low
    size = (int(np.ceil(high[0] - low[0])), int(np.ceil(high[1] - low[1])))
    return _warped(page, matrix, size, int(rng.choice([255, 240, 90, 20])))


def _turn(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    h, w = page.shape
    turns = min(3, int(np.ceil(3 * strength)))
    matrices = {
        1: [[-1, 0, w - 1], [0, -1, h - 1], [0, 0, 1]],
        2: [[0, -1, h - 1], [1, 0, 0], [0, 0, 1]],
        3: [[0, 1, 0], [-1, 0, w - 1], [0, 0, 1]],
    }
    size = (w, h) if turns == 1 else (h, w)
    return _warped(page, np.array(matrices[turns], np.float64), size, 255)


def _scale(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    """Print or copy it larger or smaller, on paper of the same size."""
    h, w = page.shape
    factor = 1 + SCALE * strength * (1 if rng.random() < 0.5 else -1)
    # Copiers hold the top left corner, printers the middle.
    hold = (0.5, 0.5) if rng.random() < 0.5 else (0.1, 0.1)
    matrix = np.diag([factor, factor, 1.0])
    matrix[:2, 2] = (1 - factor) * w * hold[0], (1 - factor) * h * hold[1]
    return _warped(page, matrix, (w, h), 255)


def _resolution(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    wanted = RESOLUTIONS_DPI[min(2, int(np.ceil(3 * strength)) - 1)]
    factor = wanted / dpi
    h, w = page.shape
    size = (round(w * factor), round(h * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(page, size, interpolation=way), np.uint8)
    return Spoiled(image, lambda points: (points + 0.5) * factor - 0.5)


def _photo(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    """Take a picture of it lying on a table: perspective, background, shadow, a little curl."""
    curled = _curl(page, 0.25 * strength, rng, dpi)
    h, w = curled.image.shape
    side = round(max(h, w) / PAGE_RATIO)
    out_w, out_h = round(side * min(1.0, w / h)), side
    middle = np.array([out_w, out_h]) / 2
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float64)
    moved = corners - [w / 2, h / 2]
    angle = np.deg2rad(float(rng.uniform(-6, 6)) * strength)
    moved = moved @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved *= 0.96
    moved += middle + rng.uniform(-1, 1, (4, 2)) * np.array([w, h]) * CORNER_SHIFT * strength
    matrix = np.asarray(
        cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32)),
        np.float64,
    )
    table = rng.uniform(60, 150) + 40 * (_clouds((out_h, out_w), side / 25, rng) - 0.5)
    grain = rng.normal(0, 6, (out_h, 1)) * np.ones((1, out_w))
    laid = cv2.warpPerspective(curled.image, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR)
    mask = cv2.warpPerspective(
        np.full((h, w), 255, np.uint8), matrix, (out_w, out_h), flags=cv2.INTER_LINEAR
    )
    share = mask.astype(np.float32) / 255
    picture = (table + grain) * (1 - share) + laid * share
    light = 1 - strength * 0.55 * _clouds((out_h, out_w), side / 2.5, rng)
    image = np.clip(picture * light, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.3 + 0.6 * strength), np.uint8)
    lens = _by(matrix)
    return Spoiled(image, lambda points: lens(curled.place(points)))


def _curl(page: Gray, strength: float, rng: np.random.Generator, dpi: float) -> Spoiled:
    """Bend the page as paper bends that was rolled, folded, or pulled in unevenly."""
    h, w = page.shape
    reach = CURL_MM / MM_PER_INCH * dpi * strength
    phase = float(rng.uniform(0, 0.5))
    along, across = float(rng.uniform(0.7, 1.0)), float(rng.uniform(0.2, 0.5))

    def bend(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        down = reach * along * np.sin(np.pi * (x / w + phase))
        right = reach * across * np.sin(np.pi * (y / h + phase))
        return right, down

    grid_y, grid_x = np.mgrid[0:h, 0:w].astype(np.float64)
    # Where a pixel of the bent page came from: the bend is smooth, three rounds undo it.
    from_x, from_y = grid_x, grid_y
    for _ in range(3):
        right, down = bend(from_x, from_y)
        from_x, from_y = grid_x - right, grid_y - down
    image = cv2.remap(
        page,
        from_x.astype(np.float32),
        from_y.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=255,
    )

    def place(points: Points) -> Points:
        right, down = bend(points[:, 0], points[:, 1])
        return points + np.column_stack([right, down])

    return Spoiled(np.asarray(image, np.uint8), place)


# ---------------------------------------------------------------- what lies on the page


def _photocopy(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
    """Copy it once or more: gray becomes black or white, with dirt from the glass."""
    copied = page.astype(np.float32)
    for _ in range(1 + round(2 * strength)):
        copied = cv2.GaussianBlur(copied, (0, 0), 0.5 + 0.4 * strength)
        copied = copied + rng.normal(0, 6, copied.shape)
        middle = 185 - 25 * strength
        steep = 12 + 30 * strength
        copied = np.clip(128 + (copied - middle) * steep / 10, 0, 255)
    image = np.asarray(copied, np.uint8)
    image = synth.degrade(image, Damage.SPECKLE, strength, rng)
    edge = round(0.012 * strength * max(image.shape))
    if edge and rng.random() < 0.5:
        image[:, :edge] = 30
    return image


def _stain(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
    """Spill coffee on it, and leave rings of cups."""
    h, w = page.shape
    shade = np.zeros((h, w), np.float32)
    for _ in range(1 + round(4 * strength)):
        center = (int(rng.integers(w)), int(rng.integers(h)))
        axes = tuple(int(v) for v in rng.uniform(0.03, 0.10, 2) * max(h, w))
        layer = np.zeros((h, w), np.float32)
        cv2.ellipse(layer, center, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        if rng.random() < 0.5:
            width = max(2, round(0.006 * max(h, w)))
            ring = np.zeros((h, w), np.float32)
            cv2.ellipse(ring, center, axes, 0, 0, 360, 1.0, width)
            layer = 0.3 * layer + 0.7 * ring
        layer = cv2.GaussianBlur(layer, (0, 0), 0.004 * max(h, w))
        shade = np.maximum(shade, layer * (0.6 + 0.4 * _clouds((h, w), max(h, w) / 30, rng)))
    return np.clip(page * (1 - 0.5 * strength * shade), 0, 255).astype(np.uint8)


def _stamp(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
    """Stamp it: RECEIVED in a frame, a little askew, over whatever is there."""
    h, w = page.shape
    ink = np.zeros((h, w), np.float32)
    unit = max(h, w) / 1754
    for _ in range(1 + round(2 * strength)):
        layer = np.zeros((round(110 * unit), round(420 * unit)), np.uint8)
        lh, lw = layer.shape
        line = max(2, round(5 * unit))
        cv2.rectangle(layer, (line, line), (lw - line, lh - line), 255, line)
        place, size = (round(30 * unit), round(72 * unit)), 1.9 * unit
        cv2.putText(layer, "RECEIVED", place, cv2.FONT_HERSHEY_DUPLEX, size, 255, line)
        matrix = cv2.getRotationMatrix2D((lw / 2, lh / 2), float(rng.uniform(-15, 15)), 1.0)
        matrix[:, 2] += rng.uniform(0, w - lw), rng.uniform(0.1 * h, 0.9 * h)
        ink = np.maximum(ink, cv2.warpAffine(layer, matrix, (w, h)) / np.float32(255))
    worn = ink * (0.5 + 0.5 * _clouds((h, w), 8 * unit, rng))
    stamped = page * (1 - worn * (0.25 + 0.55 * strength))
    return np.clip(stamped, 0, 255).astype(np.uint8)


def _covered(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
    """Lose corners, one to three of them: torn off, folded over, under a clip or a sticker."""
    h, w = page.shape
    covered = page.copy()
    for corner in rng.permutation(4)[: max(1, round(3 * strength))]:
        reach_x, reach_y = (rng.uniform(0.09, 0.13, 2) * w).astype(int)
        x, y = (0 if corner % 2 == 0 else w), (0 if corner < 2 else h)
        inward = (1 if x == 0 else -1), (1 if y == 0 else -1)
        shape = [(x, y), (x + inward[0] * reach_x, y), (x, y + inward[1] * reach_y)]
        if rng.random() < 0.5:
            shape.insert(2, (x + inward[0] * reach_x, y + inward[1] * reach_y))
        tone = int(rng.choice([255, 200, 120, 25]))
        cv2.fillPoly(covered, [np.array(shape, np.int32)], tone)
    return covered


def _jpeg(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
    best, worst = JPEG_QUALITY
    quality = round(best * (worst / best) ** strength)
    _, coded = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _clouds(
    shape: tuple[int, int], period: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth noise from 0 to 1 whose patches are `period` pixels wide."""
    h, w = shape
    grid = rng.random((max(round(h / period), 1) + 2, max(round(w / period), 1) + 2))
    smooth = cv2.resize(grid.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


def _of_synth(damage: Damage) -> Callable[[Gray, float, np.random.Generator], Gray]:
    def stain(page: Gray, strength: float, rng: np.random.Generator) -> Gray:
        return synth.degrade(page, damage, strength, rng)

    return stain


_BENDING: dict[Condition, Callable[[Gray, float, np.random.Generator, float], Spoiled]] = {
    Condition.SKEW: _skew,
    Condition.TURN: _turn,
    Condition.SCALE: _scale,
    Condition.RESOLUTION: _resolution,
    Condition.PHOTO: _photo,
    Condition.CURL: _curl,
}
_STAINING: dict[Condition, Callable[[Gray, float, np.random.Generator], Gray]] = {
    Condition.PHOTOCOPY: _photocopy,
    Condition.FAINT: _of_synth(Damage.FAINT),
    Condition.UNEVEN: _of_synth(Damage.UNEVEN),
    Condition.BLUR: _of_synth(Damage.BLUR),
    Condition.NOISE: _of_synth(Damage.NOISE),
    Condition.STAIN: _stain,
    Condition.STAMP: _stamp,
    Condition.COVERED: _covered,
    Condition.JPEG: _jpeg,
}
