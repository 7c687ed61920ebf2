"""What stands in a crop and is no number: marks, words, scribbles, cut-off neighbors."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np

from digitocr.synth import Stamp
from digitocr.training.composition.characters import draw_lines, draw_sign, smooth
from digitocr.training.composition.hands import CLEAR_LETTERS, DIGITS, Hands
from digitocr.training.composition.handwriting import Style, write
from digitocr.training.composition.layouts import Plan, extent
from digitocr.training.composition.paper import print_word


class Content(StrEnum):
    """What a crop holds that holds no number."""

    BLANK = "blank"
    VOID = "void"
    WORD = "word"
    SCRIBBLE = "scribble"
    EDGES = "edges"
    STAMP = "stamp"


def no_digits(
    content: Content, hands: Hands, style: Style, rng: np.random.Generator
) -> list[Stamp]:
    """Write what is no number, on the baseline y = 0."""
    if content is Content.VOID:
        sign = str(rng.choice(["×", "×", "-", "-", "=", "~", "+"]))
        places = np.cumsum(rng.uniform(0.9, 2.0, int(rng.integers(1, 4)))) * style.height
        size = style.height * float(rng.uniform(0.8, 1.5))
        marks = [draw_sign(sign, size, style.pen, rng) for _ in places]
        return [mark.moved(round(x), 0) for mark, x in zip(marks, places, strict=True)]
    if content is Content.WORD:
        return write(_word(hands, rng), hands, _in_letters(hands, style, rng), rng)
    if content is Content.SCRIBBLE:
        room = np.array([style.height * float(rng.uniform(0.8, 4.0)), style.height])
        points = rng.random((int(rng.integers(9, 30)), 2)) * room - (0, style.height)
        if rng.random() < 0.5:  # to and fro rather than all over
            points[:, 0] = np.sort(points[:, 0])
        strokes = draw_lines([smooth(points)], style.pen)
        return [Stamp(strokes, 0, round(-style.height))]
    return []


def crowd(
    plan: Plan, hands: Hands, style: Style, rng: np.random.Generator, roughness: float
) -> Plan:
    """Let other writing and print reach in from the sides, cut off by them."""
    chance = rng.random(5) / max(roughness, 1e-6)
    h, w, size = plan.height, plan.width, style.height
    left, top, right, bottom = extent(plan.stamps, style, rng)
    if not plan.stamps:
        left, top, right, bottom = w // 2, h // 2, w // 2, h // 2
    stamps, words = list(plan.stamps), list(plan.words)
    room = {"left": left, "top": top, "right": w - right, "bottom": h - bottom}
    for side, drawn in zip(room, chance[:4], strict=True):
        across = side in ("left", "right")
        # Beside a number a piece of a stroke may pass for a 1: it keeps away and stays small.
        clear, most = (0.16, 0.22) if across else (0.06, 0.4)
        reach = min(room[side] - clear * size, size * float(rng.uniform(0.08, most)))
        if drawn >= plan.crowded or reach < 2:
            continue
        if rng.random() < 0.3:
            word = print_word(size * float(rng.uniform(0.25, 0.6)), rng)
            x, y = _beside(side, word.shape, reach, h, w, rng)
            words.append((word, x, y, float(rng.uniform(0.3, 0.95))))
            continue
        other = _in_letters(hands, style, rng) if hands.others and across else style
        text = _word(hands, rng)[:1] if hands.others and across else _digits_of(rng)
        line = write(text, hands, other, rng)
        x0, y0, x1, y1 = extent(line, style, rng)
        x, y = _beside(side, (y1 - y0, x1 - x0), reach, h, w, rng)
        stamps += [replace(s.moved(x - x0, y - y0), label="") for s in line]
    if chance[4] < 0.3 * plan.crowded and max(room["top"], room["bottom"]) > 1.1 * size:
        stamps += _other_line(plan, hands, style, rng, top, bottom)
    return replace(plan, stamps=tuple(stamps), words=tuple(words))


def _word(hands: Hands, rng: np.random.Generator) -> str:
    capitals = bool(rng.random() < 0.4)
    letters = [c for c in CLEAR_LETTERS if c.isupper() == capitals and hands.knows(c)]
    letters = letters or [c for c in CLEAR_LETTERS if hands.knows(c)]
    return "".join(rng.choice(letters, int(rng.integers(2, 8))))


def _in_letters(hands: Hands, style: Style, rng: np.random.Generator) -> Style:
    """Let someone write who wrote letters."""
    return replace(style, hand=hands.draw_letterer(rng))


def _digits_of(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(DIGITS), int(rng.integers(1, 6))))


def _beside(
    side: str, shape: tuple[int, ...], reach: float, h: int, w: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Place something so that no more of it than `reach` is inside the crop."""
    tall, wide = shape[0], shape[1]
    x = round(float(rng.uniform(-0.5 * wide, w - 0.5 * wide)))
    y = round(-0.2 * tall + float(rng.random()) * (h - 0.6 * tall))
    inside = round(min(reach, 0.45 * (wide if side in ("left", "right") else tall)))
    match side:
        case "left":
            return inside - wide, y
        case "right":
            return w - inside, y
        case "top":
            return x, inside - tall
        case _:
            return x, h - inside


def _other_line(
    plan: Plan, hands: Hands, style: Style, rng: np.random.Generator, top: int, bottom: int
) -> list[Stamp]:
    """Write a word above or below the number, smaller and apart from it."""
    above = top > plan.height - bottom
    if not hands.others:
        return []
    room = (top if above else plan.height - bottom) - 0.4 * style.height
    small = replace(style, height=min(0.6 * room, float(rng.uniform(0.5, 0.9)) * style.height))
    line = write(_word(hands, rng), hands, _in_letters(hands, small, rng), rng)
    left, high, _, low = extent(line, style, rng)
    y = -high if above else plan.height - low
    x = round(float(rng.uniform(plan.black[0], 0.6 * plan.width))) - left
    return [stamp.moved(x, y) for stamp in line if not stamp.label]
