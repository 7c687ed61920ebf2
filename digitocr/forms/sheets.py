"""What is printed on a page: texts, bars, anchors and codes, with their places in pixels.

Lengths are pixels of the template, so that what is printed is where it is read; the sizes of
texts are in points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from digitocr.types import MM_PER_INCH, Anchor, Box

POINTS_AN_INCH = 72.0
TITLE_PT, HEADING_PT, LABEL_PT, TEXT_PT, HINT_PT, TINY_PT = 18.0, 11.0, 10.5, 9.0, 7.5, 6.5


class Tone(StrEnum):
    """Colors by what they are for."""

    BLACK = "black"  # anchors and codes
    INK = "ink"
    SOFT = "soft"
    GUIDE = "guide"  # boxes: the drop-out color
    TINT = "tint"  # behind headings


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; x is where it begins, or ends, or its middle."""

    x: float
    baseline: float
    text: str
    size: float
    tone: Tone = Tone.INK
    bold: bool = False
    align: str = "left"


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle; lines are thin ones."""

    left: float
    top: float
    right: float
    bottom: float
    tone: Tone = Tone.GUIDE


Measure = Callable[[str, float, bool], float]  # text, points, bold → width in points


@dataclass(slots=True)
class Sheet:
    """One page as it is printed; filled while it is laid out."""

    number: int
    width: int
    height: int
    dpi: float
    anchors: tuple[Anchor, ...]
    identifier: Box
    texts: list[Text] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    boxes: dict[str, Box] = field(default_factory=dict)  # by name of field

    def mm(self, length: float) -> float:
        """Give a length of paper in pixels."""
        return length / MM_PER_INCH * self.dpi

    def points(self, length: float) -> float:
        """Give a size of text in pixels."""
        return length / POINTS_AN_INCH * self.dpi


def code_square(box: Box) -> Box:
    """Say where in its box the modules of a page code are: a square at its top, kept quiet."""
    side = min(box.width, box.height)
    quiet = round(0.08 * side)
    left = box.left + (box.width - side) // 2
    return Box(left + quiet, box.top + quiet, left + side - quiet, box.top + side - quiet)
