"""Where a number stands: on plain paper, a rule, in a box, a comb, cells, a register.

A layout takes a line of writing and plans the crop around it; `numbers` draws the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from digitocr.synth import Stamp
from digitocr.training.composition.characters import Strokes, draw_lines, draw_sign, smooth
from digitocr.training.composition.hands import Hands
from digitocr.training.composition.handwriting import Style, write
from digitocr.training.composition.paper import Rule


class Layout(StrEnum):
    """Where a number is written."""

    PLAIN = "plain"
    RULE = "rule"
    BOX = "box"
    COMB = "comb"
    CELLS = "cells"
    CHEQUE = "cheque"
    TABLE = "table"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A crop before it is drawn, in its pixels."""

    width: int
    height: int
    stamps: tuple[Stamp, ...]
    rules: tuple[Rule, ...] = ()
    pattern: float = 0.0
    crowded: float = 0.15  # chance of something cut off, at each side
    black: tuple[int, int] = (0, 0)  # margins left and right
    words: tuple[tuple[Strokes, int, int, float], ...] = ()


def in_cells(
    layout: Layout,
    digits: str,
    hands: Hands,
    style: Style,
    rng: np.random.Generator,
    *,
    void: bool | None = None,
) -> Plan:
    """Lay out a comb or boxed cells: a digit in each, the empty ones first, last or crossed."""
    spare = int(rng.integers(0, 4)) if rng.random() < 0.5 else 0
    count = max(1, len(digits) + spare if digits else int(rng.integers(1, 7)))
    ahead = rng.random() < 0.8
    chars = digits.rjust(count) if ahead else digits.ljust(count)
    marked = rng.random() < 0.6 if void is None else void
    sign = str(rng.choice(["×", "x", "X", "-"], p=[0.3, 0.25, 0.2, 0.25]))
    h = style.height
    pitch = h * float(rng.uniform(0.85, 1.9))
    tall = h * float(rng.uniform(1.12, 1.8 if layout is Layout.CELLS else 1.4))
    if layout is Layout.CELLS and rng.random() < 0.2:
        tall = h * float(rng.uniform(1.8, 2.8))
    low = float(rng.uniform(0.35, 0.7)) * (tall - h)
    gap = h * float(rng.uniform(0.08, 0.35)) if layout is Layout.CELLS else 0.0
    gap = gap if rng.random() < 0.25 else 0.0
    outer = h * float(rng.uniform(0.02, 0.35))
    stamps = []
    for place, char in enumerate(chars):
        middle = outer + place * (pitch + gap) + pitch / 2
        floor = outer + h + low + h * float(rng.normal(0, 0.07))
        if char != " ":
            stamp = _fitted(write(char, hands, style, rng)[0], 1.04 * pitch)
        elif marked and rng.random() < 0.93:
            size = min(h, 1.2 * pitch) * float(rng.uniform(0.7, 1.1))
            stamp = _void(sign, replace(style, height=size), hands, rng)
        else:
            continue
        left = middle - stamp.width / 2 + pitch * float(rng.normal(0, 0.06))
        stamps.append(stamp.moved(round(left), round(floor)))
    if layout is Layout.COMB:
        rules = _comb(count, pitch, tall, outer, style, rng)
    else:
        rules = _cells(count, pitch, tall, outer, gap, style, rng)
    width = round(count * (pitch + gap) - gap + 2 * outer) + 1
    plan = Plan(width, round(tall + 2 * outer) + 1, tuple(stamps), tuple(rules), crowded=0.06)
    return _cut(plan, style, rng)


def _void(sign: str, style: Style, hands: Hands, rng: np.random.Generator) -> Stamp:
    """Write the mark of an empty position: a cross, an x of someone's hand, a dash."""
    if sign in ("x", "X") and hands.knows(sign):
        return _fitted(write(sign, hands, style, rng)[0], 1.2 * style.height)
    return draw_sign("-" if sign == "-" else "×", style.height, style.pen, rng)


def extent(
    line: Sequence[Stamp], style: Style, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a line on y = 0; of an empty one, as if it were written."""
    if not line:
        wide = round(style.height * float(rng.uniform(0.7, 5.0)))
        return 0, -round(style.height), wide, 0
    return (
        min(stamp.left for stamp in line),
        min(stamp.top for stamp in line),
        max(stamp.right for stamp in line),
        max(stamp.bottom for stamp in line),
    )


def shifted(rule: Rule, x: float, y: float) -> Rule:
    """Move a rule."""
    start, end = rule.start, rule.end
    return replace(rule, start=(start[0] + x, start[1] + y), end=(end[0] + x, end[1] + y))


def _plain(line: Sequence[Stamp], style: Style, rng: np.random.Generator) -> Plan:
    left, top, right, bottom = extent(line, style, rng)
    before, above, after, below = _margins(style, rng)
    placed = [stamp.moved(before - left, above - top) for stamp in line]
    if line and rng.random() < 0.07:
        y = above + bottom - top + style.height * float(rng.uniform(0.03, 0.2))
        placed.append(_underline(right - left, style, rng).moved(before, round(y)))
    width, height = right - left + before + after, bottom - top + above + below
    return Plan(max(width, 8), max(height, 8), tuple(placed))


def _rule(line: Sequence[Stamp], style: Style, rng: np.random.Generator) -> Plan:
    plan = _plain(line, style, rng)
    baseline = max((s.bottom for s in plan.stamps if s.label), default=plan.height)
    h = style.height
    y = baseline + h * float(rng.uniform(-0.12, 0.2))
    start = -2.0 if rng.random() < 0.75 else plan.width * float(rng.uniform(0.0, 0.35))
    end = plan.width + 2.0 if rng.random() < 0.75 else plan.width * float(rng.uniform(0.6, 1))
    rules = _ruling(float(rng.normal(0, 0.006)), start, y, end, style, rng)
    kind = rng.random()
    if kind < 0.12:  # a double rule
        step = h * float(rng.uniform(0.1, 0.22))
        rules += [_lowered(rule, step) for rule in rules]
    elif kind < 0.42:  # the line above
        step = h * float(rng.uniform(1.15, 1.7))
        rules += [_lowered(rule, -step) for rule in rules]
    height = max(plan.height, round(min(y + 0.1 * h, plan.height + 0.3 * h)))
    return replace(plan, height=height, rules=tuple(rules))


def _box(line: Sequence[Stamp], style: Style, rng: np.random.Generator) -> Plan:
    left, top, right, bottom = extent(line, style, rng)
    h = style.height
    inner = rng.uniform(0.06, 0.55, 4) * h
    thick, dark = _line_of_form(style, rng)
    # The crop ends in the printed line, or a little beside it.
    outer = h * float(rng.uniform(0.0, 0.35)) if rng.random() < 0.55 else thick / 2
    x0, y0 = outer, outer
    x1, y1 = x0 + inner[0] + right - left + inner[2], y0 + inner[1] + bottom - top + inner[3]
    placed = [s.moved(round(x0 + inner[0]) - left, round(y0 + inner[1]) - top) for s in line]
    ends = [
        ((x0, y0), (x1, y0)),
        ((x0, y1), (x1, y1)),
        ((x0, y0), (x0, y1)),
        ((x1, y0), (x1, y1)),
    ]
    rules = [Rule(a, b, thick, dark) for a, b in ends if rng.random() > 0.12]
    width, height = round(x1 + outer) + 1, round(y1 + outer) + 1
    return _cut(Plan(width, height, tuple(placed), tuple(rules)), style, rng)


def _table(line: Sequence[Stamp], style: Style, rng: np.random.Generator) -> Plan:
    """Plan a cell of a register: tall, small writing, lines at its sides, a black margin."""
    left, top, right, bottom = extent(line, style, rng)
    h = style.height
    room = rng.uniform(0.15, 1.6, 2) * h
    width = round(right - left + room.sum())
    tall = rng.uniform(0.8, 6.0) if rng.random() < 0.5 else rng.uniform(4.0, 20.0)
    height = round(bottom - top + h * float(tall))
    y = float(rng.uniform(0.1, 0.75)) * (height - bottom + top)
    black = [0, 0]
    if rng.random() < 0.7:
        black[int(rng.random() < 0.25)] = round(width * float(rng.uniform(0.03, 0.8)))
    shift = black[0] + room[0]
    width += sum(black)
    placed = [stamp.moved(round(shift) - left, round(y) - top) for stamp in line]
    thick, dark = _line_of_form(style, rng)
    rules = [
        Rule((x, -4.0), (x + float(rng.normal(0, 1)), height + 4.0), thick, dark)
        for x in (black[0] + 0.06 * h, width - black[1] - 0.06 * h - thick)
        if rng.random() < 0.6
    ]
    if rng.random() < 0.5:
        step = h * float(rng.uniform(0.9, 2.2))
        pale = float(rng.uniform(0.08, 0.4))
        dash = (1.5, 3.0) if rng.random() < 0.4 else (0.0, 0.0)
        for at in np.arange(float(rng.uniform(0, step)), height, step):
            rules.append(Rule((black[0], at), (width, at), 1.0, pale, dash))
    if rng.random() < 0.3:
        at = float(rng.uniform(0.01, 0.1)) * height
        rules.append(Rule((black[0], at), (width, at), thick, dark))
    if line and rng.random() < 0.3:
        at = y + bottom - top + h * float(rng.uniform(0.05, 0.3))
        placed.append(_underline(right - left, style, rng).moved(round(shift), round(at)))
    if line and rng.random() < 0.22:
        placed.append(_check_mark(placed[: len(line)], style, rng))
    plan = Plan(width, height, tuple(placed), tuple(rules), crowded=0.35)
    return replace(plan, black=(black[0], black[1]))


OPEN: dict[Layout, Callable[[Sequence[Stamp], Style, np.random.Generator], Plan]] = {
    Layout.PLAIN: _plain,
    Layout.RULE: _rule,
    Layout.BOX: _box,
    Layout.CHEQUE: lambda line, style, rng: (
        _rule(line, style, rng) if rng.random() < 0.4 else _plain(line, style, rng)
    ),
    Layout.TABLE: _table,
}


def _underline(wide: int, style: Style, rng: np.random.Generator) -> Stamp:
    """Draw a line by hand, about as wide as a number, below y = 0."""
    start, end = np.sort(rng.uniform(-0.1, 1.1, 2)) if rng.random() < 0.3 else (-0.02, 1.02)
    xs = np.linspace(start, end, 5) * wide
    ys = style.height * (
        float(rng.normal(0, 0.03)) * xs / max(wide, 1) + rng.normal(0, 0.015, 5)
    )
    return Stamp(draw_lines([smooth(np.column_stack([xs, ys]))], style.pen), round(xs[0]), 0)


def _check_mark(line: Sequence[Stamp], style: Style, rng: np.random.Generator) -> Stamp:
    """Write what says that a row was checked: a small cross after a number, or below it."""
    left, _, right, bottom = extent(line, style, rng)
    h = style.height
    sign = str(rng.choice(["+", "×"]))
    mark = draw_sign(sign, h * float(rng.uniform(0.65, 1.05)), style.pen, rng)
    if rng.random() < 0.6:
        x = right + h * float(rng.uniform(0.05, 0.6))
        return mark.moved(round(x), bottom + round(h * float(rng.uniform(-0.4, 0.35))))
    x = left + float(rng.uniform(-0.1, 0.8)) * (right - left)
    return mark.moved(round(x), bottom - mark.top + round(h * float(rng.uniform(0.2, 0.5))))


def _margins(style: Style, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Paper left, above, right and below of the writing; below 0 the crop cuts into it."""
    kind = rng.random()
    low, high = (-0.03, 0.14) if kind < 0.3 else (0.1, 0.5) if kind < 0.8 else (0.4, 1.5)
    sides = rng.uniform(low, high, 4)
    loose = rng.random(4) < 0.12
    sides[loose] = rng.uniform(0.3, 3.0, int(loose.sum()))
    sides[[1, 3]] = np.minimum(sides[[1, 3]], 1.2)
    left, top, right, bottom = np.round(sides * style.height).astype(int).tolist()
    return left, top, right, bottom


def _fitted(stamp: Stamp, width: float) -> Stamp:
    """Shrink a digit that is too wide for its cell."""
    h, w = stamp.strokes.shape
    if w <= width:
        return stamp
    scale = width / w
    size = (max(2, round(w * scale)), max(2, round(h * scale)))
    strokes = np.asarray(
        cv2.resize(stamp.strokes, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    return Stamp(strokes, 0, -len(strokes), stamp.label)


def _comb(
    count: int, pitch: float, tall: float, outer: float, style: Style, rng: np.random.Generator
) -> list[Rule]:
    thick, dark = _line_of_form(style, rng)
    low, right = outer + tall, outer + count * pitch
    tick = tall * float(rng.uniform(0.12, 0.6))
    rules = [
        Rule((outer + place * pitch, low - tick), (outer + place * pitch, low), thick, dark)
        for place in range(count + 1)
    ]
    if rng.random() < 0.85:
        rules.append(Rule((outer, low), (right, low), thick, dark))
    if rng.random() < 0.25:
        rules.append(Rule((outer, outer), (right, outer), thick, dark))
    return rules


def _cells(
    count: int,
    pitch: float,
    tall: float,
    outer: float,
    gap: float,
    style: Style,
    rng: np.random.Generator,
) -> list[Rule]:
    thick, dark = _line_of_form(style, rng)
    inner, pale = (thick, dark) if rng.random() < 0.5 else (0.6 * thick, 0.7 * dark)
    dash = (0.2 * style.height, 0.1 * style.height) if rng.random() < 0.15 else (0.0, 0.0)
    top, low = outer, outer + tall
    rules = []
    for place in range(count):
        left = outer + place * (pitch + gap)
        right = left + pitch
        rules += [Rule((left, y), (right, y), thick, dark) for y in (top, low)]
        if gap or place == 0:
            rules.append(Rule((left, top), (left, low), thick, dark))
        if gap or place == count - 1:
            rules.append(Rule((right, top), (right, low), thick, dark))
        elif rng.random() < 0.96:
            rules.append(Rule((right, top), (right, low), inner, pale, dash))
    return rules


def _cut(plan: Plan, style: Style, rng: np.random.Generator) -> Plan:
    """Let some crops of boxes lose a strip of a side, up to the writing."""
    if rng.random() < 0.6 or not plan.stamps:
        return plan
    left, top, right, bottom = extent(plan.stamps, style, rng)
    room = np.array([left, top, plan.width - right, plan.height - bottom], np.float64)
    lost = np.round(np.maximum(room, 0) * rng.uniform(0, 0.9, 4) * (rng.random(4) < 0.5))
    x, y, x2, y2 = lost.astype(int).tolist()
    return replace(
        plan,
        width=plan.width - x - x2,
        height=plan.height - y - y2,
        stamps=tuple(stamp.moved(-x, -y) for stamp in plan.stamps),
        rules=tuple(shifted(rule, -x, -y) for rule in plan.rules),
    )


def _line_of_form(style: Style, rng: np.random.Generator) -> tuple[float, float]:
    """Thickness and darkness of the printed lines of a form."""
    thick = float(rng.uniform(0.5, max(1.3, 0.09 * style.height)))
    return thick, float(rng.uniform(0.2, 0.97))


def _ruling(
    slope: float, start: float, y: float, end: float, style: Style, rng: np.random.Generator
) -> list[Rule]:
    """Draw one line to write on: solid, dotted or dashed."""
    thick, dark = _line_of_form(style, rng)
    kind, h = rng.random(), style.height
    dash = (0.0, 0.0)
    if kind > 0.8:
        dash = (thick, max(2.0, h * float(rng.uniform(0.06, 0.16))))
    elif kind > 0.65:
        dash = (h * float(rng.uniform(0.15, 0.6)), h * float(rng.uniform(0.08, 0.3)))
    return [Rule((start, y), (end, y + slope * (end - start)), thick, dark, dash)]


def _lowered(rule: Rule, by: float) -> Rule:
    return shifted(rule, 0.0, by)
