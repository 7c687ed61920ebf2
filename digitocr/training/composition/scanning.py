"""What ink looks like on paper, and what a scanner makes of both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.training.composition.characters import Strokes
from digitocr.training.composition.paper import Tone, fog
from digitocr.types import Box, Gray

LEAST_CONTRAST = 34.0  # gray levels between ink and paper that a person still reads

LEAST_LEVELS = 15.0  # of gray between a digit and its paper, once it is scanned
SURE_SPREADS = 1.8  # of the paper's lower fifth, the same


class Tool(StrEnum):
    """What a number is written with."""

    BALLPOINT = "ballpoint"
    FELT = "felt"
    FOUNTAIN = "fountain"
    PENCIL = "pencil"
    FADED = "faded"


@dataclass(frozen=True, slots=True)
class Ink:
    """How dark strokes are (0 as the paper, 1 black), and of what."""

    tool: Tool
    dark: float


# Share of numbers written with each, and how dark it is, from and to.
_TOOLS: dict[Tool, tuple[float, float, float]] = {
    Tool.BALLPOINT: (0.40, 0.45, 0.9),
    Tool.FELT: (0.17, 0.75, 0.97),
    Tool.FOUNTAIN: (0.15, 0.5, 0.92),
    Tool.PENCIL: (0.18, 0.25, 0.72),
    Tool.FADED: (0.10, 0.16, 0.42),
}


def draw_ink(rng: np.random.Generator) -> Ink:
    """Choose what to write with, and how dark it is."""
    chosen = int(np.searchsorted(np.cumsum([row[0] for row in _TOOLS.values()]), rng.random()))
    tool = list(_TOOLS)[min(chosen, len(_TOOLS) - 1)]
    _, least, most = _TOOLS[tool]
    return Ink(tool, float(rng.uniform(least, most)))


def lay_ink(
    tone: Tone, strokes: Strokes, ink: Ink, rng: np.random.Generator, *, pen: float
) -> None:
    """Put ink on paper that is ours to write on.

    Parameters
    ----------
    strokes : (H, W) uint8
        As large as the paper. Not changed.
    pen : float
        Width of the stroke, pixels: grain and gaps are as fine as that.
    """
    left, top, w, h = cv2.boundingRect(strokes)
    if w == 0:
        return
    part = strokes[top : top + h, left : left + w]
    cover = part.astype(np.float32) * np.float32(1 / 255)
    if ink.tool is Tool.PENCIL:
        grain = rng.random((h, w), np.float32)
        if pen > 3:
            grain = cv2.GaussianBlur(grain, (0, 0), min(0.2 * pen, 1.0))
            grain = (grain - 0.5) * np.float32(2.2) + np.float32(0.5)
        rough = float(rng.uniform(0.5, 1.6))
        cover *= np.clip(1.25 - np.float32(rough) * grain, 0.05, 1)
    elif ink.tool is not Tool.FELT:
        even = float(rng.uniform(0.3, 0.8)) if ink.tool is Tool.FADED else 0.7
        cover *= even + (1 - even) * fog(h, w, 5 * pen, rng)
    if ink.tool in (Tool.BALLPOINT, Tool.FADED) and rng.random() < 0.25:
        cover *= _gaps(part, pen, rng)
    dark = max(ink.dark, LEAST_CONTRAST / float(tone.mean() + 1))
    tone[top : top + h, left : left + w] *= 1 - np.float32(min(dark, 0.97)) * cover


def scan(
    tone: Tone, rng: np.random.Generator, *, contrast: float, pen: float, roughness: float
) -> Gray:
    """Scan paper: light, focus, noise, contrast, compression.

    Parameters
    ----------
    contrast : float
        Between ink and paper, 0 to 1: noise is not to drown the writing.
    pen : float
        Width of its strokes, pixels: nor is blur.
    roughness : float
        0 is a good scanner, 1 any.
    """
    h, w = tone.shape
    chance = rng.random(10) / max(roughness, 1e-6)
    if chance[0] < 0.25:
        tone = tone * _light(h, w, rng)
    if chance[1] < 0.08:
        _shadow_edge(tone, rng)
    if chance[2] < 0.6:
        sigma = float(rng.uniform(0.3, 0.4 + 0.28 * min(pen, 5.0)))
        tone = cv2.GaussianBlur(tone, (0, 0), sigma)
    if chance[3] < 0.45:
        amount = float(rng.uniform(0.5, min(14.0, 2 + 22.0 * contrast)))
        tone = tone + np.float32(amount) * rng.standard_normal((h, w), np.float32)
    gray = np.clip(tone, 0, 255).astype(np.uint8)
    if chance[4] < 0.15:
        _specks(gray, rng, pen=pen)
    if chance[5] < 0.2:
        gray = _harden(gray, rng)
    elif chance[5] < 0.29:
        gray = _binarize(gray, rng)
    if chance[6] < 0.4:
        quality = int(rng.integers(22, 93))
        _, coded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
        gray = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return gray


def is_legible(gray: Gray, strokes: Strokes, box: Box) -> bool:
    """Say whether a digit is darker than its paper by more than the paper varies.

    Parameters
    ----------
    strokes : (H, W) uint8
        All that was written, as large as the image.
    """
    margin = box.height // 6
    rows = slice(max(0, box.top - margin), box.bottom + margin)
    columns = slice(max(0, box.left - margin), box.right + margin)
    part, drawn = gray[rows, columns], strokes[rows, columns]
    ink, paper = part[drawn >= 160], part[drawn < 16]
    if not len(ink) or len(paper) < 8:
        return True
    ink, paper = (np.sort(values[:: 1 + len(values) // 200]) for values in (ink, paper))
    middle = float(paper[len(paper) // 2])
    spread = middle - float(paper[len(paper) // 5])
    least = max(LEAST_LEVELS, SURE_SPREADS * spread)
    dark, pale = (middle - float(ink[round(q * (len(ink) - 1))]) for q in (0.5, 0.75))
    return dark >= least and pale >= 0.5 * least


def _light(h: int, w: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Uneven light: a ramp and a patch."""
    dark = rng.uniform(float(rng.uniform(0.5, 0.95)), 1.0, (2, 2)).astype(np.float32)
    ramp = cv2.resize(dark, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.minimum(ramp / ramp.max(), 1), np.float32)


def _shadow_edge(tone: Tone, rng: np.random.Generator) -> None:
    """Darken one side, as the fold of a book or the lid of the scanner does."""
    h, w = tone.shape
    reach = max(2, round(float(rng.uniform(0.03, 0.25)) * (w if rng.random() < 0.7 else h)))
    fall = np.linspace(float(rng.uniform(0.3, 0.8)), 1.0, reach, dtype=np.float32)
    match int(rng.integers(4)):
        case 0:
            tone[:, :reach] *= fall[: tone[:, :reach].shape[1]]
        case 1:
            tone[:, -reach:] *= fall[::-1][-tone[:, -reach:].shape[1] :]
        case 2:
            tone[:reach] *= fall[: len(tone[:reach]), None]
        case _:
            tone[-reach:] *= fall[::-1][-len(tone[-reach:]) :, None]


def _specks(gray: Gray, rng: np.random.Generator, *, pen: float) -> None:
    """Dust, dark or light, smaller than the pen."""
    h, w = gray.shape
    darkest, lightest = int(gray.min()), int(gray.max())
    for _ in range(int(rng.poisson(6))):
        x, y = int(rng.integers(w)), int(rng.integers(h))
        tone = int(rng.integers(darkest, lightest + 1)) if rng.random() < 0.7 else lightest
        cv2.circle(gray, (x, y), round(float(rng.uniform(0, 0.5)) * pen), tone, -1)


def _harden(gray: Gray, rng: np.random.Generator) -> Gray:
    """Stretch the contrast, as a copier does: paper turns white, ink nearly black."""
    low, high = np.percentile(gray[::2, ::2], [1, 60])
    if high - low < 12:
        return gray
    low = low + float(rng.uniform(-0.1, 0.35)) * (high - low)
    high = high - float(rng.uniform(0.0, 0.25)) * (high - low)
    table = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(gray, table), np.uint8)


def _binarize(gray: Gray, rng: np.random.Generator) -> Gray:
    """Make black and white of gray, by one threshold or by a local one."""
    if rng.random() < 0.6:
        level, black = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        paper = float(np.median(gray))
        if paper - level < 10:
            return gray
        level += float(rng.uniform(-0.2, 0.35)) * (paper - level)
        black = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)[1]
        return np.asarray(black, np.uint8)
    side = max(15, 2 * (min(gray.shape) // 3) + 1)
    offset = float(rng.uniform(8, 22))
    return np.asarray(
        cv2.adaptiveThreshold(
            gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, side, offset
        ),
        np.uint8,
    )


def _gaps(strokes: Strokes, pen: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Let the pen fail in a few places, along short scratches through the strokes."""
    h, w = strokes.shape
    kept = np.ones((h, w), np.float32)
    ys, xs = np.nonzero(strokes > 128)
    if not len(ys):
        return kept
    for place in rng.integers(0, len(ys), int(rng.integers(1, 7))):
        x, y = int(xs[place]), int(ys[place])
        dx, dy = rng.uniform(-3 * pen, 3 * pen, 2)
        ends = (round(x + dx), round(y + dy)), (round(x - dx), round(y - dy))
        thick = max(1, round(pen * float(rng.uniform(0.2, 0.6))))
        cv2.line(kept, *ends, float(rng.uniform(0.1, 0.6)), thick)
    return kept
