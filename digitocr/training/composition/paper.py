"""Paper to write on: its tone and grain, security patterns, rules, boxes, print and margins.

What is printed is drawn from formulas and fonts, never from scans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from digitocr.training.composition.characters import Strokes
from digitocr.training.printing import FONTS

Tone = NDArray[np.float32]  # (H, W); 0.0 black, 255.0 white
Cover = NDArray[np.float32]  # (H, W); 0.0 nothing, 1.0 fully printed

HAIR = 1.38  # pixels: OpenCV's thinnest soft line
WORD_HEIGHT = 40  # pixels of the type that words are set in, before they are shrunken
# Words of forms, without figures: a printed figure would be a digit to read.
WORDS = (
    "Total", "Amount", "Summe", "Betrag", "Fr.", "No.", "Nr.", "kr", "Votes", "Valid", "Name",
    "Date", "Datum", "Fecha", "Monto", "Pesos", "Páguese a", "la suma de", "Pay to", "EUR",
    "CLP", "USD", "Rs.", "Code", "Student", "Row", "Løbe-Nr.", "Aar", "Trykt hos", "Serie",
    "Banco", "Cheque", "Konto", "BLZ", "Signature", "Firma", "page", "Side", "Jumlah",
    "Hal.", "paraf", "Nombre", "Kirkens", "Forlag", "only", "and", "cts.", "ID:", "):", ").",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A printed line: two ends, thickness, how dark (0 to 1), its dashes (0, 0 is solid)."""

    start: tuple[float, float]
    end: tuple[float, float]
    thick: float
    dark: float
    dash: tuple[float, float] = (0.0, 0.0)


def draw_paper(
    h: int, w: int, rng: np.random.Generator, *, unit: float, pattern: float, roughness: float
) -> Tone:
    """Draw paper as a scanner sees it.

    Parameters
    ----------
    unit : float
        Height of the writing, pixels: patterns are as coarse as they are on paper.
    pattern : float
        How dark the pattern is, from 0 (none) to 1 (black).
    roughness : float
        0 is white paper, 1 any paper.
    """
    white = float(rng.uniform(246, 255))
    if rng.random() < 0.75 * roughness:
        white = float(rng.uniform(205, 250) if rng.random() < 0.7 else rng.uniform(140, 210))
    tone: Tone = np.full((h, w), white, np.float32)
    if pattern > 0:
        for _ in range(1 if rng.random() < 0.45 else 2):
            cover = _PATTERNS[int(rng.integers(len(_PATTERNS)))](h, w, unit, rng)
            tone *= 1 - np.float32(pattern * float(rng.uniform(0.5, 1.0))) * cover
        if rng.random() < 0.3:
            tone *= 1 - np.float32(0.7 * pattern) * _watermark(h, w, unit, rng)
    if rng.random() < 0.25 * roughness:
        tone *= 1 - np.float32(rng.uniform(0.03, 0.2)) * fog(h, w, 3 * unit, rng)
    return tone


def print_rules(tone: Tone, rules: Sequence[Rule], rng: np.random.Generator) -> None:
    """Print lines on paper that is ours to print on, some of them worn."""
    by_dark: dict[float, list[Rule]] = {}
    for rule in rules:
        by_dark.setdefault(rule.dark, []).append(rule)
    for dark, same in by_dark.items():
        cover: Strokes = np.zeros(tone.shape, np.uint8)
        for rule in same:
            _draw_rule(cover, rule)
        inked = cover.astype(np.float32) * np.float32(dark / 255)
        if rng.random() < 0.25:  # worn print, or one that the scan did not catch everywhere
            inked *= 0.3 + 0.7 * fog(len(tone), tone.shape[1], 12, rng)
        tone *= 1 - inked


def print_strokes(tone: Tone, strokes: Strokes, left: int, top: int, dark: float) -> None:
    """Print strokes at a place; what falls beside the paper is lost."""
    h, w = strokes.shape
    above, before = max(top, 0), max(left, 0)
    below, after = min(top + h, tone.shape[0]), min(left + w, tone.shape[1])
    if below <= above or after <= before:
        return
    part = strokes[above - top : below - top, before - left : after - left]
    tone[above:below, before:after] *= 1 - part.astype(np.float32) * np.float32(dark / 255)


def print_word(height: float, rng: np.random.Generator) -> Strokes:
    """Set a word of a form in type, `height` pixels high."""
    words = _typeset_words()
    word = words[int(rng.integers(len(words)))]
    h, w = word.shape
    scale = height / h
    size = (max(2, round(w * scale)), max(2, round(h * scale)))
    return np.asarray(cv2.resize(word, size, interpolation=cv2.INTER_AREA), np.uint8)


def stamp_edge(h: int, w: int, rng: np.random.Generator, *, unit: float) -> Cover:
    """Draw a piece of a round or square stamp that reaches in from a side."""
    cover: Strokes = np.zeros((h, w), np.uint8)
    thick = max(1, round(unit * float(rng.uniform(0.05, 0.14))))
    side = unit * float(rng.uniform(1.2, 4.0))
    x = float(rng.choice([-0.55, 0.55])) * side + float(rng.choice([0, w]))
    y = float(rng.uniform(0, h))
    if rng.random() < 0.6:
        for ring in (1.0, 0.82)[: int(rng.integers(1, 3))]:
            cv2.circle(cover, (round(x), round(y)), round(side * ring), 255, thick, cv2.LINE_AA)
        word = print_word(0.25 * side, rng)
        _paste(cover, word, round(x - word.shape[1] / 2), round(y))
    else:
        box = cv2.boxPoints(((x, y), (2 * side, side), float(rng.uniform(-15, 15))))
        cv2.polylines(cover, [np.round(box).astype(np.int32)], True, 255, thick, cv2.LINE_AA)
        word = print_word(0.45 * side, rng)
        _paste(cover, word, round(x - word.shape[1] / 2), round(y - word.shape[0] / 2))
    worn = 0.25 + 0.75 * fog(h, w, 0.4 * unit + 2, rng)
    stamped: Cover = cover.astype(np.float32) / 255 * worn
    return stamped


def fog(h: int, w: int, period: float, rng: np.random.Generator) -> Cover:
    """Smooth noise from 0 to 1 whose patches are `period` pixels wide."""
    grid = rng.random(
        (max(1, round(h / period)) + 2, max(1, round(w / period)) + 2), np.float32
    )
    smooth = cv2.resize(grid, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, np.float32)


def _paste(cover: Strokes, word: Strokes, left: int, top: int) -> None:
    h, w = word.shape
    above, before = max(top, 0), max(left, 0)
    below, after = min(top + h, cover.shape[0]), min(left + w, cover.shape[1])
    if below > above and after > before:
        room = cover[above:below, before:after]
        np.maximum(
            room, word[above - top : below - top, before - left : after - left], out=room
        )


def _draw_rule(cover: Strokes, rule: Rule) -> None:
    start, end = np.array(rule.start), np.array(rule.end)
    length = float(np.hypot(*(end - start)))
    on, off = rule.dash
    pieces = [(0.0, length)]
    if off > 0:
        pieces = [(at, min(at + on, length)) for at in np.arange(0.0, length, on + off)]
    along = (end - start) / max(length, 1e-6)
    # OpenCV's soft lines are 1.4, 3.4, 5.4 ... pixels wide: between, the wider one is paler.
    steps = int(max(rule.thick - HAIR, 0) // 2)
    rest = (rule.thick - HAIR) / 2 - steps
    for a, b in pieces:
        first, last = (
            np.round((start + along * at) * 16).astype(int).tolist() for at in (a, b)
        )
        for wide, shade in ((steps + 1, rest), (steps, min(1.0, rule.thick / HAIR))):
            if shade > 0:
                thick = max(1, 2 * wide)
                cv2.line(cover, first, last, 255 * shade, thick, cv2.LINE_AA, shift=4)


@lru_cache(maxsize=1)
def _typeset_words() -> tuple[Strokes, ...]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    set_words: list[Strokes] = []
    for place, word in enumerate(WORDS * 2):
        name = FONTS[(7 * place) % len(FONTS)]
        font = ImageFont.truetype(folder / f"{name}.ttf", WORD_HEIGHT)
        left, top, right, bottom = (round(side) for side in font.getbbox(word))
        image = Image.new("L", (max(2, right - left), max(2, bottom - top)), 0)
        ImageDraw.Draw(image).text((-left, -top), word, 255, font=font)
        set_words.append(np.asarray(image, np.uint8))
    return tuple(set_words)


def _axes(h: int, w: int, rng: np.random.Generator, tilt: float) -> tuple[Cover, Cover]:
    """Coordinates of every pixel, turned by up to `tilt` radians."""
    angle = float(rng.uniform(-tilt, tilt))
    x = np.arange(w, dtype=np.float32)[None, :]
    y = np.arange(h, dtype=np.float32)[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _ridges(phase: Cover, share: float) -> Cover:
    """Lines where the phase is whole, about `share` of a period wide."""
    wave = np.cos(np.float32(2 * np.pi) * phase)
    level = float(np.cos(np.pi * share))
    lines: Cover = np.clip((wave - np.float32(level)) / np.float32(max(1 - level, 0.2)), 0, 1)
    return lines


def _period(unit: float, rng: np.random.Generator) -> float:
    return max(2.6, unit * float(rng.uniform(0.07, 0.3)))


def _waves(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Wavy lines side by side, as the rasters of cheques."""
    x, y = _axes(h, w, rng, 0.15 if rng.random() < 0.7 else 1.6)
    period = _period(unit, rng)
    length = unit * float(rng.uniform(0.6, 4.0))
    depth = float(rng.uniform(0.0, 0.18)) * length / period
    bend = depth * np.sin(x / length + float(rng.uniform(0, 6)))
    bend = bend + 0.3 * depth * np.sin(y / length + x / (2.3 * length))
    return _ridges(y / period + bend.astype(np.float32), float(rng.uniform(0.25, 0.6)))


def _guilloche(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Two families of wavy lines through each other."""
    return np.maximum(_waves(h, w, 1.6 * unit, rng), _waves(h, w, 1.6 * unit, rng))


def _arcs(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Rings around a point somewhere, a little wavy."""
    x, y = _axes(h, w, rng, 0.1)
    dx = x - np.float32(rng.uniform(-0.5 * w, 1.5 * w))
    dy = y - np.float32(rng.uniform(-2.0 * h, 3.0 * h))
    squash = np.float32(rng.uniform(0.5, 2.0))
    radius = np.sqrt(dx * dx * squash + dy * dy)
    wobble = float(rng.uniform(0.0, 0.5)) * np.sin(
        np.arctan2(dy, dx) * int(rng.integers(6, 30))
    )
    phase = radius / _period(1.4 * unit, rng) + wobble.astype(np.float32)
    return _ridges(phase, float(rng.uniform(0.2, 0.5)))


def _hatch(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Straight lines, or two of them crossed."""
    _, y = _axes(h, w, rng, 1.6)
    lines = _ridges(y / np.float32(_period(unit, rng)), float(rng.uniform(0.2, 0.5)))
    if rng.random() < 0.4:
        _, y = _axes(h, w, rng, 1.6)
        lines = np.maximum(lines, _ridges(y / np.float32(_period(unit, rng)), 0.3))
    return lines


def _screen(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Dots of a printer's screen."""
    x, y = _axes(h, w, rng, 0.8)
    period = np.float32(max(2.4, unit * float(rng.uniform(0.06, 0.16))))
    turn = np.float32(2 * np.pi) / period
    dots: Cover = np.clip(
        np.cos(x * turn) + np.cos(y * turn) + np.float32(rng.uniform(-1, 0.5)), 0, 1
    )
    return dots


def _weave(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Coarse grain, as woven or recycled paper."""
    side = float(rng.uniform(1.0, 3.0))
    shape = (int(h / side) + 2, int(w / side) + 2)
    grain = rng.random(shape, np.float32)
    return np.asarray(cv2.resize(grain, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _bands(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Slow gray gradients."""
    x, y = _axes(h, w, rng, 1.6)
    length = np.float32(unit * rng.uniform(1.5, 8.0))
    band: Cover = (0.5 + 0.5 * np.sin(x / length + np.float32(rng.uniform(0, 6)))) + 0 * y
    return band


def _small_print(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Lines of tiny words all over."""
    cover: Strokes = np.zeros((h, w), np.uint8)
    height = max(4.0, unit * float(rng.uniform(0.12, 0.22)))
    word = print_word(height, rng)
    step = word.shape[1] + round(height)
    for row, top in enumerate(range(-3, h, round(height * 1.9) + 1)):
        for left in range(-(row * 17) % step - step, w, step):
            _paste(cover, word, left, top)
    return np.asarray(cover, np.float32) / np.float32(255)


def _watermark(h: int, w: int, unit: float, rng: np.random.Generator) -> Cover:
    """Large pale letters across the paper, or shapes cut off by its sides."""
    cover: Strokes = np.zeros((h, w), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        word = print_word(unit * float(rng.uniform(0.7, 2.6)), rng)
        left, top = int(rng.integers(-word.shape[1] // 2, w)), int(rng.integers(-h // 2, h))
        _paste(cover, word, left, top)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(-40, 40)), 1.2)
    turned = cv2.warpAffine(cover, turn, (w, h))
    return np.asarray(turned, np.float32) / np.float32(255)


_PATTERNS: tuple[Callable[[int, int, float, np.random.Generator], Cover], ...] = (
    _waves,
    _waves,
    _guilloche,
    _arcs,
    _hatch,
    _screen,
    _weave,
    _bands,
    _small_print,
)
