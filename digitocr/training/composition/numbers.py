"""Crops of numbers whose truth is known, composed of digits in one writer's hand.

What a reader of whole numbers is trained and its constants are chosen on: touching digits,
rules, boxes and combs, X marks in empty positions, cheque paper, cut-off neighbors, pencil and
old ink, at 75 to 300 dpi; and crops that hold no number. Everything is drawn: no scan is in
them, least of all one that is measured on.

`hands` has the writers, `handwriting` what their pens do, `paper` what is printed, `scanning`
the ink and the scanner. Here is where the digits stand and what stands around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.synth import Stamp
from digitocr.training.composition import hands as hands_module
from digitocr.training.composition.characters import INKED, SIGNS, Strokes
from digitocr.training.composition.clutter import Content, crowd, no_digits
from digitocr.training.composition.hands import DIGITS, Hands
from digitocr.training.composition.handwriting import (
    RAISED,
    Style,
    draw_style,
    press,
    touches,
    write,
)
from digitocr.training.composition.layouts import OPEN, Layout, Plan, in_cells, shifted
from digitocr.training.composition.paper import (
    draw_paper,
    print_rules,
    print_strokes,
    stamp_edge,
)
from digitocr.training.composition.scanning import Ink, draw_ink, is_legible, lay_ink, scan
from digitocr.types import Box, Gray

TOUCHING = 0.55  # of the open numbers of two digits or more; four in ten of all
LENGTHS = (0.07, 0.14, 0.18, 0.17, 0.16, 0.11, 0.07, 0.05, 0.03, 0.02)  # of 1 to 10 digits
CLIPPED = 0.05  # of a digit that may lie beside the crop
NONES = 3000  # crops without a number in the testing set


_LAYOUT_SHARES = {
    Layout.PLAIN: 0.22,
    Layout.RULE: 0.17,
    Layout.BOX: 0.10,
    Layout.COMB: 0.07,
    Layout.CELLS: 0.15,
    Layout.CHEQUE: 0.19,
    Layout.TABLE: 0.10,
}
_CONTENT_SHARES = {
    Content.BLANK: 0.38,
    Content.VOID: 0.16,
    Content.WORD: 0.20,
    Content.SCRIBBLE: 0.10,
    Content.EDGES: 0.11,
    Content.STAMP: 0.05,
}
_Choice = TypeVar("_Choice", bound=StrEnum)
_IN_CELLS = (Layout.COMB, Layout.CELLS)


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """A crop and its truth.

    `text`: its digits; signs are not in it. `kind`: the layout, or `none-` and what the crop
    holds. `boxes`: of the digits, in reading order, in pixels of the image. `touching`: two
    neighboring digits share ink. `owners`, as large as the image: 1 where the first digit is
    written, 2 where the second, and 0 elsewhere; of ink that two share, the first one's.
    """

    image: Gray
    text: str
    kind: str
    boxes: tuple[Box, ...]
    touching: bool
    owners: NDArray[np.uint8]


def compose(
    hands: Hands,
    rng: np.random.Generator,
    *,
    layout: Layout | None = None,
    text: str | None = None,
    touching: float = TOUCHING,
    roughness: float = 1.0,
    signs: bool = True,
) -> Composed:
    """Draw a crop with one number, written in one hand.

    Parameters
    ----------
    layout : Layout, optional
        Where it is written; without it, anywhere.
    text : str, optional
        Its digits; without it, a number of 1 to 10 digits.
    touching : float
        Chance that digits touch, where neither comb nor cells keep them apart.
    roughness : float
        0 is clean paper and a good scanner, 1 is anything.
    signs : bool
        Write separators, currency and dashes with some of the numbers.
    """
    layout = layout or _pick(_LAYOUT_SHARES, rng)
    digits = draw_text(rng, short=layout is Layout.TABLE) if text is None else text
    ink, style = draw_ink(rng), draw_style(hands, rng)
    if layout in _IN_CELLS:
        plan = in_cells(layout, digits, hands, style, rng)
    else:
        written = digits
        if signs and rng.random() < (0.65 if layout is Layout.CHEQUE else 0.22):
            written = _with_signs(digits, hands, rng)
        line = write(written, hands, style, rng, touching=rng.random() < touching)
        plan = OPEN[layout](line, style, rng)
    plan = _on_pattern(plan, layout, ink, rng, roughness)
    plan = crowd(plan, hands, style, rng, roughness)
    image, boxes, owners = _draw(plan, style, ink, rng, roughness)
    ordered = [stamp for stamp in plan.stamps if stamp.label]
    touch = any(touches(a, b) for a, b in pairwise(ordered))
    return Composed(image, digits, layout.value, boxes, touch, owners)


def compose_none(
    hands: Hands,
    rng: np.random.Generator,
    *,
    content: Content | None = None,
    layout: Layout | None = None,
    roughness: float = 1.0,
) -> Composed:
    """Draw a crop that holds no number: paper, marks, letters, scribbles, cut-off writing."""
    content = content or _pick(_CONTENT_SHARES, rng)
    layout = layout or _pick(_LAYOUT_SHARES, rng)
    ink, style = draw_ink(rng), draw_style(hands, rng)
    if content is Content.WORD and not hands.others:
        content = Content.SCRIBBLE
    if layout in _IN_CELLS and content in (Content.WORD, Content.SCRIBBLE):
        layout = Layout.BOX
    if layout in _IN_CELLS:
        plan = in_cells(layout, "", hands, style, rng, void=content is Content.VOID)
    else:
        plan = OPEN[layout](no_digits(content, hands, style, rng), style, rng)
    plan = _on_pattern(plan, layout, ink, rng, roughness)
    plan = crowd(plan, hands, style, rng, 6.0 if content is Content.EDGES else roughness)
    image, _, none = _draw(plan, style, ink, rng, roughness, stamped=content is Content.STAMP)
    return Composed(image, "", f"none-{content.value}", (), False, none)


def testing_set(
    folder: str, count: int, seed: int, *, nones: int = NONES
) -> tuple[tuple[Composed, ...], tuple[Composed, ...]]:
    """Compose what is measured on: `count` numbers, and crops that hold none.

    The numbers have 2 to 10 of MNIST's test digits in one writer's hand, on fairly clean
    paper; in four of ten, digits touch.
    """
    hands = hands_module.load(folder, "test")
    numbers = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        digits = "".join(rng.choice(list(DIGITS), int(rng.integers(2, 11))))
        numbers.append(
            compose(
                hands,
                rng,
                layout=Layout.PLAIN,
                text=digits,
                touching=float(index % 5 < 2),
                roughness=0.25,
                signs=False,
            )
        )
    empty = [
        compose_none(hands, np.random.default_rng([seed, count + i])) for i in range(nones)
    ]
    return tuple(numbers), tuple(empty)


def draw_text(rng: np.random.Generator, *, short: bool = False) -> str:
    """Choose the digits of a number: any, round amounts, dates, repeated and leading ones.

    Most `short` ones have one to three digits, as what counts the rows of a register.
    """
    length = 1 + int(np.searchsorted(np.cumsum(LENGTHS), rng.random() * sum(LENGTHS)))
    if short and rng.random() < 0.7:
        return str(int(rng.integers(10 ** int(rng.integers(1, 4)))))
    digits = "".join(rng.choice(list(DIGITS), length))
    kind = rng.random()
    if kind < 0.16 and length > 1:
        zeros = int(rng.integers(1, length))
        digits = digits[: length - zeros] + "0" * zeros
    elif kind < 0.24:
        day, month = int(rng.integers(1, 32)), int(rng.integers(1, 13))
        year = str(int(rng.integers(1850, 2035)))
        digits = (year, f"{day:02}{month:02}{year}", f"{day:02}{month:02}")[
            int(rng.integers(3))
        ]
    elif kind < 0.36 and length > 1:
        place = int(rng.integers(length - 1))
        digits = digits[: place + 1] + digits[place] + digits[place + 2 :]
    elif kind < 0.42:
        digits = "0" + digits[1:]
    return digits


def _pick(shares: dict[_Choice, float], rng: np.random.Generator) -> _Choice:
    place = np.searchsorted(np.cumsum(list(shares.values())), rng.random())
    return list(shares)[min(int(place), len(shares) - 1)]


def _with_signs(digits: str, hands: Hands, rng: np.random.Generator) -> str:
    """Write a number as an amount: separators, cents, a currency, a dash at its end."""
    whole, cents = digits, ""
    if len(digits) > 2 and rng.random() < 0.3:
        raised = RAISED if rng.random() < 0.25 else str(rng.choice([".", ","]))
        whole, cents = digits[:-2], raised + digits[-2:]
    if len(whole) > 3 and rng.random() < 0.75:
        mark = str(rng.choice([".", ",", " ", "'"], p=[0.5, 0.2, 0.22, 0.08]))
        head = len(whole) % 3 or 3
        groups = [whole[:head], *(whole[i : i + 3] for i in range(head, len(whole), 3))]
        whole = mark.join(groups)
    end = ""
    if not cents and rng.random() < 0.5:
        end = str(rng.choice(["-", ".-", ",-", "=", ".", ",", ",=", " -"]))
    start = ""
    if rng.random() < 0.16:
        start = str(rng.choice(["$", "$", "€", "£", "#", "Fr.", "Rs", "="]))
        start = start if all(c in SIGNS or hands.knows(c) for c in start) else ""
    return start + whole + cents + end


def _on_pattern(
    plan: Plan, layout: Layout, ink: Ink, rng: np.random.Generator, roughness: float
) -> Plan:
    """Choose how dark the pattern of the paper is, never so dark that ink drowns."""
    if layout is Layout.CHEQUE:
        pattern = float(rng.uniform(0.07, 0.42))
    elif rng.random() < 0.13 * roughness:
        pattern = float(rng.uniform(0.03, 0.16))
    else:
        return plan
    return replace(plan, pattern=min(pattern, 0.45 * ink.dark))


def _draw(
    plan: Plan,
    style: Style,
    ink: Ink,
    rng: np.random.Generator,
    roughness: float,
    *,
    stamped: bool = False,
) -> tuple[Gray, tuple[Box, ...], NDArray[np.uint8]]:
    """Draw a plan, turn it, scan it; give the boxes of its digits too, and their ink."""
    h, w = plan.height, plan.width
    digits = [stamp for stamp in plan.stamps if stamp.label]
    warp = _warp(plan, digits, rng, roughness)
    pad = 0
    if warp is not None:
        corners = np.array([[0, 0], [w, 0], [0, h], [w, h]], np.float64)
        pad = int(np.abs(_through(warp, corners) - corners).max()) + 2
    tone = draw_paper(
        h + 2 * pad,
        w + 2 * pad,
        rng,
        unit=style.height,
        pattern=plan.pattern,
        roughness=roughness,
    )
    print_rules(tone, [shifted(rule, pad, pad) for rule in plan.rules], rng)
    for strokes, left, top, dark in plan.words:
        print_strokes(tone, strokes, left + pad, top + pad, dark)
    written: Strokes = np.zeros(tone.shape, np.uint8)
    for stamp in plan.stamps:
        press(written, stamp.moved(pad, pad))
    owners = np.zeros(tone.shape, np.uint8)
    for number, stamp in enumerate(digits, start=1):
        room, part = stamp.moved(pad, pad).over(owners)
        room[(part >= INKED) & (room == 0)] = number
    lay_ink(tone, written, ink, rng, pen=style.pen)
    if stamped or rng.random() < 0.02 * roughness:
        cover = stamp_edge(len(tone), tone.shape[1], rng, unit=style.height)
        tone *= 1 - np.float32(rng.uniform(0.2, 0.7)) * cover
    black = float(rng.uniform(3, 60))
    for side, margin in enumerate(plan.black):
        if margin:
            part = tone[:, : margin + pad] if side == 0 else tone[:, -margin - pad :]
            part[:] = np.minimum(part, black)
    if warp is not None:
        # From the padded paper straight into the crop.
        inner = warp - [[0, 0, warp[0, :2].sum() * pad], [0, 0, warp[1, :2].sum() * pad]]
        tone = cv2.warpAffine(tone, inner, (w, h), borderMode=cv2.BORDER_REPLICATE)
        written = cv2.warpAffine(written, inner, (w, h))
        owners = cv2.warpAffine(owners, inner, (w, h), flags=cv2.INTER_NEAREST)
    boxes = tuple(_box_of(stamp, warp, h, w) for stamp in digits)
    contrast = ink.dark * float(tone.mean()) / 255
    image = scan(tone, rng, contrast=contrast, pen=style.pen, roughness=roughness)
    if not all(is_legible(image, written, box) for box in boxes):
        image = scan(tone, rng, contrast=contrast, pen=style.pen, roughness=0.0)
    return image, boxes, owners


def _warp(
    plan: Plan, digits: Sequence[Stamp], rng: np.random.Generator, roughness: float
) -> NDArray[np.float64] | None:
    """Turn and shear a crop, as far as its digits stay inside."""
    if rng.random() >= 0.4 * roughness:
        return None
    angle = np.deg2rad(float(np.clip(rng.normal(0, 2.0), -6, 6)))
    shear = float(rng.normal(0, 0.03))
    h, w = plan.height, plan.width
    middle = np.array([(w - 1) / 2, (h - 1) / 2])
    corners = [_corners(stamp) for stamp in digits]
    points = np.concatenate([*corners, np.zeros((0, 2))])
    slack = CLIPPED * h - min(float(points.min(initial=0.0)), 0.0)
    for _ in range(4):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.array([[1.0, shear], [0.0, 1.0]])
        warp = np.column_stack([linear, middle - linear @ middle])
        moved = _through(warp, points)
        if (moved >= -slack).all() and (moved <= (w - 1 + slack, h - 1 + slack)).all():
            return warp
        angle, shear = angle / 2, shear / 2
    return None


def _through(warp: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = points @ warp[:, :2].T + warp[:, 2]
    return moved


def _corners(stamp: Stamp) -> NDArray[np.float64]:
    """Centres of the outermost pixels of a stamp."""
    x, y = (stamp.left, stamp.right - 1), (stamp.top, stamp.bottom - 1)
    return np.array([(a, b) for a in x for b in y], np.float64)


def _box_of(stamp: Stamp, warp: NDArray[np.float64] | None, h: int, w: int) -> Box:
    """Frame the ink of a digit, inside the image."""
    left, top, right, bottom = stamp.left, stamp.top, stamp.right, stamp.bottom
    if warp is not None:
        # The hull of the ink: turned corners of its box would make the box too large.
        ink = cv2.findNonZero((stamp.strokes >= INKED).astype(np.uint8))
        hull = cv2.convexHull(ink)[:, 0].astype(np.float64)
        points = _through(warp, hull + np.array([left, top]))
        left, top = np.floor(points.min(axis=0)).astype(int).tolist()
        right, bottom = (np.ceil(points.max(axis=0)).astype(int) + 1).tolist()
    left, top = min(max(left, 0), w - 1), min(max(top, 0), h - 1)
    return Box(left, top, max(left + 1, min(right, w)), max(top + 1, min(bottom, h)))
