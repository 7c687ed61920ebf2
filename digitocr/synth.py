"""Draw known digits as a pen would have left them, and pages as a scanner would.

The handwriting is a packaged part of MNIST (`synth_digits.txt` says whose it is). MNIST has
28 × 28 pixels a digit, with the gray of its edges kept: enlarged smoothly and cut at a level of
that gray, it has clean strokes at any resolution, and the level is the width of the pen. A
skeleton drawn with a round pen was not taken: it loses the pressure and grows spurs.

Randomness comes in as `rng`; the same generator draws the same page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.resources import PACKAGE
from digitocr.types import Box, Gray, VoidMark

Strokes = NDArray[np.float32]  # (H, W); 0.0 paper, 1.0 full ink
DIGITS_FILE = "synth_digits.npz"
DECIMAL_MARK = "."
MNIST_HEIGHT = 20  # MNIST digits fill a square of 20 of their 28 pixels


class Damage(StrEnum):
    """What happens to a page on its way through the world and a scanner."""

    SKEW = "skew"
    PERSPECTIVE = "perspective"
    TURN = "turn"
    SCALE = "scale"
    FAINT = "faint"
    UNEVEN = "uneven"
    BLUR = "blur"
    NOISE = "noise"
    SPECKLE = "speckle"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True)
class Hand:
    """How one person writes.

    Attributes
    ----------
    shapes
        For every digit, the packed images that this person's digits look like.
    slant
        Sideways per unit of height; positive leans to the right.
    level
        Gray of MNIST's edge that becomes the edge of the stroke; higher is a finer pen.
    gray
        Gray value of full ink.
    size
        Height of a digit as a share of the height of its box.
    """

    shapes: tuple[tuple[int, ...], ...]
    slant: float
    level: float
    gray: int
    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """Strokes, where their top left corner goes, and the digit they are, if one is named.

    `strokes` are (H, W) with 0 for paper; full ink is 1.0, or 255 in whole numbers.
    """

    strokes: NDArray[np.float32 | np.uint8]
    left: int
    top: int
    label: str = ""

    @property
    def width(self) -> int:
        return int(self.strokes.shape[1])

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + int(self.strokes.shape[0])

    def moved(self, x: int, y: int) -> Stamp:
        """Move by whole pixels."""
        return Stamp(self.strokes, self.left + x, self.top + y, self.label)

    def over(
        self, canvas: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32 | np.uint8]]:
        """Give the part of a canvas that lies below, to write on, and the strokes over it.

        Strokes beside the canvas are lost; where all are, both parts are empty.
        """
        h, w = canvas.shape
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = max(left, min(self.right, w)), max(top, min(self.bottom, h))
        strokes = self.strokes[
            top - self.top : bottom - self.top, left - self.left : right - self.left
        ]
        return canvas[top:bottom, left:right], strokes


@lru_cache(maxsize=1)
def _packed() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    with np.load(PACKAGE / DIGITS_FILE) as file:
        return np.asarray(file["x"], np.uint8), np.asarray(file["y"], np.uint8)


@lru_cache(maxsize=1)
def _packed_thickness() -> NDArray[np.float32]:
    """Ink over outline of each packed image: how thick its strokes are."""
    images = _packed()[0].astype(np.float32)
    across = np.abs(np.diff(images, axis=2)).sum(axis=(1, 2))
    down = np.abs(np.diff(images, axis=1)).sum(axis=(1, 2))
    return np.asarray(images.sum(axis=(1, 2)) / np.hypot(across, down), np.float32)


def draw_hand(rng: np.random.Generator, *, likeness: int = 6) -> Hand:
    """Make up a person who writes.

    Parameters
    ----------
    likeness : int
        Shapes kept for each digit: one at random and those most like it, because a person's
        sevens are all crossed or all plain.
    """
    images, labels = _packed()
    thickness = _packed_thickness()
    rank = float(rng.uniform(0.15, 0.7))  # above that MNIST's loops are filled
    shapes = []
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        # One pen: of the images of a digit, the third about as thick as this person writes.
        third = len(members) // 3
        start = round(rank * (len(members) - third))
        order = np.argsort(thickness[members], kind="stable")
        members = members[order[start : start + third]]
        flat = images[members].reshape(len(members), -1).astype(np.float32)
        first = int(rng.integers(len(members)))
        near = np.argsort(((flat - flat[first]) ** 2).sum(axis=1), kind="stable")[:likeness]
        shapes.append(tuple(int(members[i]) for i in near))
    return Hand(
        shapes=tuple(shapes),
        slant=float(rng.uniform(-0.08, 0.14)),
        level=float(rng.uniform(0.42, 0.62)),
        gray=int(rng.integers(20, 85)),
        size=float(rng.uniform(0.62, 0.74)),
    )


def draw_digit(
    digit: int,
    height_px: float,
    rng: np.random.Generator,
    *,
    hand: Hand | None = None,
    drawn_px: float = 100,
) -> Strokes:
    """Draw one handwritten digit, cropped to its ink.

    Parameters
    ----------
    digit : int
        0 to 9.
    height_px : float
        Height of a tall digit; a flat one stays lower, as it was written.
    hand : Hand, optional
        Who writes; without it, anyone.
    drawn_px : float
        The digit is drawn at least this tall, and at least twice as tall as asked for, then
        averaged down, for smooth edges.

    Returns
    -------
    (H, W) float32, 0 paper, 1 full ink.

    Raises
    ------
    ValueError
        If `digit` is not a digit or `height_px` is below 4.
    """
    if not 0 <= digit <= 9:
        raise ValueError(f"digit must be 0 to 9, is {digit}")
    if height_px < 4:
        raise ValueError(f"height_px must be at least 4, is {height_px}")
    hand = hand or draw_hand(rng)
    images, _ = _packed()
    source = images[hand.shapes[digit][int(rng.integers(len(hand.shapes[digit])))]]
    source = source.astype(np.float32) / 255
    rows = np.flatnonzero(source.max(axis=1) > 0.3)
    tall = max(rows[-1] - rows[0] + 1, MNIST_HEIGHT - 4)
    supersampling = max(2, int(np.ceil(drawn_px / height_px)))
    scale = height_px * supersampling / tall
    slant = hand.slant + float(rng.normal(0, 0.025))
    angle = float(rng.normal(0, 0.025))
    stretch = float(rng.uniform(0.94, 1.04))
    side = int(np.ceil(MNIST_HEIGHT * 1.9 * scale))
    linear = np.array([[scale * stretch, -scale * slant], [0, scale]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ linear
    # Pixel centers: 13.5 is the middle of 28 pixels.
    offset = (side - 1) / 2 - linear @ np.array([13.5, 13.5])
    large = cv2.warpAffine(
        source, np.column_stack([linear, offset]), (side, side), flags=cv2.INTER_CUBIC
    )
    # Half a pixel of MNIST: below that its stairs show, above it loops close.
    large = cv2.GaussianBlur(large, (0, 0), 0.5 * scale)
    level = hand.level + float(rng.normal(0, 0.02))
    edge = np.clip((large - level) * scale * 0.6 + 0.5, 0, 1)
    pressure = 1 - 0.16 * _clouds((side, side), 5 * scale, rng)
    small = cv2.resize(
        edge * pressure,
        None,
        fx=1 / supersampling,
        fy=1 / supersampling,
        interpolation=cv2.INTER_AREA,
    )
    return _cropped(np.clip(small, 0, 1).astype(np.float32))


def draw_void_mark(
    mark: VoidMark, height_px: float, rng: np.random.Generator, *, hand: Hand
) -> Strokes:
    """Draw the X or the dash that a person puts into a position left empty."""
    h = height_px * float(rng.uniform(0.75, 0.95))
    w = h * float(rng.uniform(0.6, 0.85))
    wobble = h * 0.05

    def line(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        points = [(x0, y0), middle, (x1, y1)]
        return [(x + rng.normal(0, wobble), y + rng.normal(0, wobble)) for x, y in points]

    if mark is VoidMark.X:
        lines = [line(w + hand.slant * h, 0, 0, h), line(hand.slant * h, 0, w, h)]
    else:
        lines = [line(0, h / 2, w, h / 2)]
    return _draw_lines(lines, _pen_width(height_px, hand))


def draw_tick(height_px: float, rng: np.random.Generator, *, hand: Hand) -> Strokes:
    """Draw what a person ticks a box with: a cross, a check mark, or a stroke."""
    kind = rng.random()
    if kind < 0.6:
        return draw_void_mark(VoidMark.X, height_px, rng, hand=hand)
    h = height_px * float(rng.uniform(0.75, 1.0))
    w = h * float(rng.uniform(0.7, 0.95))
    if kind < 0.85:
        low = (0.35 * w, h)
        points = [[(0.0, 0.55 * h), low], [low, (w, 0.0)]]
    else:
        points = [[(0.0, h), (0.5 * w, 0.5 * h), (w, 0.0)]]
    wobble = rng.normal(0, 0.03 * h, (4, 2))
    lines = [
        [(x + wobble[i][0], y + wobble[i][1]) for i, (x, y) in enumerate(line)]
        for line in points
    ]
    return _draw_lines(lines, _pen_width(height_px, hand))


def draw_decimal_mark(height_px: float, rng: np.random.Generator, *, hand: Hand) -> Strokes:
    """Draw a point as a short press of the pen."""
    width = _pen_width(height_px, hand) * float(rng.uniform(1.15, 1.4))
    tail = width * 0.25
    return _draw_lines([[(0, 0), (tail * float(rng.normal(0, 1)), tail)]], width)


def write_number(
    page: Gray,
    text: str,
    box: Box,
    rng: np.random.Generator,
    *,
    hand: Hand | None = None,
    cells: int | None = None,
    void: VoidMark | None = None,
    touching: float = 0.0,
) -> Gray:
    """Write a number into its place on a page.

    Parameters
    ----------
    page : (H, W) uint8
        Not changed.
    text : str
        Digits and at most one decimal mark. In cells the mark is printed, so not written.
    box : Box
        The field, in pixels of `page`.
    cells : int, optional
        Printed positions, of equal width; the number stands in the last ones. Without cells
        the number is written freely.
    void : VoidMark, optional
        Put into the cells that stay empty.
    touching : float
        Probability that a digit runs into the one before it; without cells only.

    Raises
    ------
    ValueError
        If `text` holds anything else, or more digits than there are cells.
    """
    if text.count(DECIMAL_MARK) > 1 or not set(text) <= set("0123456789" + DECIMAL_MARK):
        raise ValueError(f"text must be digits and one decimal mark, is {text!r}")
    hand = hand or draw_hand(rng)
    if cells is None:
        stamps = _write_freely(text, box, rng, hand, touching)
    else:
        stamps = _write_in_cells(text.replace(DECIMAL_MARK, ""), box, rng, hand, cells, void)
    written = page.copy()
    for stamp in stamps:
        _press(written, stamp, hand.gray)
    return written


def write_ticks(
    page: Gray, ticked: str, box: Box, rng: np.random.Generator, *, hand: Hand | None = None
) -> Gray:
    """Tick boxes of a row.

    Parameters
    ----------
    page : (H, W) uint8
        Not changed.
    ticked : str
        A character a position, `1` where it is ticked; boxes are square, in their middles.

    Raises
    ------
    ValueError
        If `ticked` holds anything but 0 and 1.
    """
    if not ticked or set(ticked) - {"0", "1"}:
        raise ValueError(f"ticked must be a 0 or 1 for each box, is {ticked!r}")
    hand = hand or draw_hand(rng)
    pitch = box.width / len(ticked)
    side = min(pitch, box.height)
    written = page.copy()
    for place, mark in enumerate(ticked):
        if mark == "0":
            continue
        strokes = draw_tick(side * float(rng.uniform(0.8, 1.1)), rng, hand=hand)
        strokes = _fit(strokes, 1.25 * side, 1.25 * side)
        x = box.left + (place + 0.5) * pitch + float(rng.normal(0, 0.06)) * side
        y = (box.top + box.bottom) / 2 + float(rng.normal(0, 0.06)) * side
        _press(written, _centered(strokes, x, y), hand.gray)
    return written


def degrade(gray: Gray, damage: Damage, strength: float, rng: np.random.Generator) -> Gray:
    """Damage a page in one way.

    Parameters
    ----------
    gray : (H, W) uint8
        Not changed.
    strength : float
        From 0, nothing, to 1, as bad as an office's scanner or phone makes it: 3° of skew,
        2.5 % of perspective, a third of the ink left, half the light in one corner, half
        the resolution, JPEG at quality 20. A turn is by 180° at any strength above 0.

    Raises
    ------
    ValueError
        If `strength` is not from 0 to 1.
    """
    check_strength(strength)
    if strength == 0:
        return gray.copy()
    return _DAMAGES[damage](gray, strength, rng)


def check_strength(strength: float) -> None:
    """Refuse a strength that is not from 0 to 1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be 0 to 1, is {strength}")


def scan_like(gray: Gray, rng: np.random.Generator, *, strength: float = 0.35) -> Gray:
    """Make a drawn page look scanned: a little of what happens to every page."""
    for damage, share in (
        (Damage.SKEW, 1.0),
        (Damage.FAINT, 0.4),
        (Damage.UNEVEN, 0.5),
        (Damage.BLUR, 0.8),
        (Damage.NOISE, 0.8),
        (Damage.SPECKLE, 0.5),
        (Damage.JPEG, 0.8),
    ):
        amount = strength * share * float(rng.uniform(0.4, 1.0))
        gray = degrade(gray, damage, min(amount, 1.0), rng)
    return gray


def _write_in_cells(
    text: str,
    box: Box,
    rng: np.random.Generator,
    hand: Hand,
    cells: int,
    void: VoidMark | None,
) -> list[Stamp]:
    if len(text) > cells:
        raise ValueError(f"text has {len(text)} digits, the field {cells} cells")
    pitch = box.width / cells
    height = hand.size * box.height
    stamps = []
    for cell, char in enumerate(text.rjust(cells)):
        if char == " " and void is None:
            continue
        size = height * float(rng.uniform(0.94, 1.06))
        if char != " ":
            strokes = draw_digit(int(char), size, rng, hand=hand)
        elif void is not None:
            strokes = draw_void_mark(void, size, rng, hand=hand)
        strokes = _fit(strokes, 0.86 * pitch, 0.9 * box.height)
        x = box.left + (cell + 0.5 + float(rng.normal(0, 0.04))) * pitch
        y = (box.top + box.bottom) / 2 + float(rng.normal(0, 0.03)) * box.height
        stamps.append(_centered(strokes, x, y))
    return stamps


def _write_freely(
    text: str, box: Box, rng: np.random.Generator, hand: Hand, touching: float
) -> list[Stamp]:
    height = hand.size * box.height
    floor = box.bottom - (box.height - height) * float(rng.uniform(0.3, 0.6))
    x = 0.0
    placed: list[tuple[Strokes, float, float]] = []
    for place, char in enumerate(text):
        size = height * float(rng.uniform(0.95, 1.05))
        mark = char == DECIMAL_MARK
        strokes = (
            draw_decimal_mark(size, rng, hand=hand)
            if mark
            else draw_digit(int(char), size, rng, hand=hand)
        )
        gap = height * float(rng.uniform(0.1, 0.24))
        if place and not mark and text[place - 1] != DECIMAL_MARK and rng.random() < touching:
            gap = -_clearance(placed[-1][0], strokes) - height * 0.04
        x += gap if place else 0.0
        drift = height * float(rng.normal(0, 0.025))
        # A digit lower than the others stands on the line, as a point does.
        placed.append((strokes, x, floor - strokes.shape[0] + drift))
        x += strokes.shape[1]
    if not placed:
        return []
    room = 0.94 * box.width
    shrink = min(1.0, room / x)
    start = box.left + 0.03 * box.width + (room - shrink * x) * float(rng.uniform(0.25, 0.75))
    stamps = []
    for strokes, left, top in placed:
        h, w = strokes.shape
        small = _fit(strokes, shrink * w, shrink * h)
        y = floor - shrink * (floor - top)
        stamps.append(Stamp(small, round(start + shrink * left), round(y)))
    return stamps


def _clearance(first: Strokes, second: Strokes) -> float:
    """Columns by which `second`, standing on the same line, may move left until they touch."""
    h = min(first.shape[0], second.shape[0])
    before, after = first[-h:] > 0.5, second[-h:] > 0.5
    both = before.any(axis=1) & after.any(axis=1)
    if not both.any():
        return 0.0
    right = np.argmax(before[:, ::-1], axis=1)
    left = np.argmax(after, axis=1)
    # Not more than a third of the narrower one: deeper, and no one could read it.
    deepest = min(first.shape[1], second.shape[1]) / 3
    return float(min((right + left)[both].min(), deepest))


def _pen_width(height_px: float, hand: Hand) -> float:
    return max(height_px * (0.17 - 0.12 * hand.level), 1.0)


def _draw_lines(
    lines: list[list[tuple[float, float]]], width: float, *, supersampling: int = 4
) -> Strokes:
    points = np.array([point for line in lines for point in line])
    low, high = points.min(axis=0) - width, points.max(axis=0) + width
    w, h = np.ceil(high - low).astype(int) + 1
    canvas = np.zeros((h * supersampling, w * supersampling), np.float32)
    for line in lines:
        curve = _curve(np.array(line) - low)
        cv2.polylines(
            canvas,
            [np.round(curve * supersampling).astype(np.int32)],
            isClosed=False,
            color=1.0,
            thickness=max(round(width * supersampling), 1),
        )
    small = cv2.resize(canvas, (int(w), int(h)), interpolation=cv2.INTER_AREA)
    return _cropped(np.asarray(small, np.float32))


def _curve(points: NDArray[np.float64], *, steps: int = 16) -> NDArray[np.float64]:
    """Bend a line through three points (a parabola); a line of two stays straight."""
    if len(points) != 3:
        return points
    t = np.linspace(0, 1, steps)[:, None]
    control = 2 * points[1] - (points[0] + points[2]) / 2
    bent: NDArray[np.float64] = (
        (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * control + t**2 * points[2]
    )
    return bent


def _cropped(strokes: Strokes) -> Strokes:
    rows = np.flatnonzero(strokes.max(axis=1) > 0.08)
    columns = np.flatnonzero(strokes.max(axis=0) > 0.08)
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(strokes: Strokes, width: float, height: float) -> Strokes:
    """Shrink strokes, keeping their shape, to what fits."""
    h, w = strokes.shape
    scale = min(width / w, height / h, 1.0)
    if scale > 0.995:
        return strokes
    size = (max(round(w * scale), 1), max(round(h * scale), 1))
    return np.asarray(cv2.resize(strokes, size, interpolation=cv2.INTER_AREA), np.float32)


def _centered(strokes: Strokes, x: float, y: float) -> Stamp:
    h, w = strokes.shape
    return Stamp(strokes, round(x - w / 2), round(y - h / 2))


def _press(page: Gray, stamp: Stamp, ink_gray: int) -> None:
    """Put ink on a page that is ours to write on."""
    part, alpha = stamp.over(page)
    blend = part + (ink_gray - part.astype(np.float32)) * alpha
    part[:] = np.minimum(part, np.round(blend)).astype(np.uint8)


def _clouds(
    shape: tuple[int, int], period: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth noise from 0 to 1 whose patches are `period` pixels wide."""
    h, w = shape
    grid = rng.random((max(round(h / period), 1) + 2, max(round(w / period), 1) + 2))
    smooth = cv2.resize(grid.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


def _paper(gray: Gray) -> int:
    return int(np.median(gray))


def _warp(gray: Gray, homography: NDArray[np.float64]) -> Gray:
    h, w = gray.shape
    warped = cv2.warpPerspective(
        gray, homography, (w, h), flags=cv2.INTER_CUBIC, borderValue=_paper(gray)
    )
    return np.asarray(warped, np.uint8)


def _to_gray(values: NDArray[np.floating]) -> Gray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _skew(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    h, w = gray.shape
    skew_deg = 3.0 * strength * (1 if rng.random() < 0.5 else -1)
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((w / 2, h / 2), skew_deg, 1.0)
    matrix[0, 2] += rng.normal(0, 0.004) * w * strength
    matrix[1, 2] += rng.normal(0, 0.004) * h * strength
    return _warp(gray, matrix)


def _perspective(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    h, w = gray.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    moved = corners + inward * rng.random((4, 2)) * np.array([w, h]) * 0.025 * strength
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return _warp(gray, np.asarray(matrix, np.float64))


def _turn(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    return np.ascontiguousarray(gray[::-1, ::-1])


def _scale(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    factor = 1 - 0.5 * strength
    small = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _faint(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    paper = _paper(gray)
    return _to_gray(paper - (paper - gray.astype(np.float32)) * (1 - 0.67 * strength))


def _uneven(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    h, w = gray.shape
    direction = rng.uniform(0, 2 * np.pi)
    ramp = (
        np.cos(direction) * np.linspace(-0.5, 0.5, w, dtype=np.float32)[None, :]
        + np.sin(direction) * np.linspace(-0.5, 0.5, h, dtype=np.float32)[:, None]
    )
    clouds = _clouds((h, w), max(h, w) / 3, rng)
    light = 1 - strength * (0.3 * (ramp + 0.7) + 0.12 * clouds)
    return _to_gray(gray * light)


def _blur(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.6 * strength + 0.01), np.uint8)


def _noise(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    grain = rng.standard_normal(gray.shape, np.float32) * (16 * strength)
    return _to_gray(gray + grain)


def _speckle(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    """Dust: small dark and light specks, a few hundred on a page at full strength."""
    speckled = gray.copy()
    h, w = gray.shape
    radius = max(h, w) / 2400
    for _ in range(int(rng.poisson(400 * strength))):
        center = (int(rng.integers(w)), int(rng.integers(h)))
        tone = int(rng.integers(60, 200)) if rng.random() < 0.7 else _paper(gray)
        cv2.circle(speckled, center, round(radius * rng.uniform(0.3, 1.6)), tone, -1)
    return speckled


def _jpeg(gray: Gray, strength: float, rng: np.random.Generator) -> Gray:
    quality = round(95 - 75 * strength)
    _, coded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


_DAMAGES: dict[Damage, Callable[[Gray, float, np.random.Generator], Gray]] = {
    Damage.SKEW: _skew,
    Damage.PERSPECTIVE: _perspective,
    Damage.TURN: _turn,
    Damage.SCALE: _scale,
    Damage.FAINT: _faint,
    Damage.UNEVEN: _uneven,
    Damage.BLUR: _blur,
    Damage.NOISE: _noise,
    Damage.SPECKLE: _speckle,
    Damage.JPEG: _jpeg,
}
