"""The picture of the empty form, without what is written inside its fields.

A median over the pages leaves ghosts where nearly everyone writes the same digit in the same
place: the year, or a leading zero. Inside a field, what is there on every page is print only if
it is as steady as print is: in its place on each page to a pixel, and no thinner than it is on
one page. What many hands, or one, have written again and again is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from digitocr.forms.median import MISSED_SHARE
from digitocr.forms.proposals import INSET_MM, PRINTED_GRAY, Evidence, Proposal
from digitocr.types import MM_PER_INCH, Box, FieldKind, Gray, Ink

STEADY = 0.94  # of the pages are dark where print is, as far as it is on all of them
STEADY_WIDTH = 0.5  # of what is dark within a pixel on all pages, that is so to the pixel
CROSSED = 0.1  # of a piece of ink that has to lie where most pages are written on
AROUND = 2  # pixels around print that are left as they are: its soft edge
LEAST_MM2 = 0.6  # of ink in one place on all pages that is worth a word


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What all pages have in common inside one position: steady print, and other ink."""

    box: Box
    printed: Ink
    drawn_mm2: float  # of it, what is no straight line
    other_mm2: float


def cleaned(
    picture: Gray, images: Sequence[Gray], proposals: Sequence[Proposal], evidence: Evidence
) -> tuple[Gray, tuple[Proposal, ...]]:
    """Take writing out of the picture of the empty form, field by field.

    Returns
    -------
    The picture, and the proposals, with a note where something was taken out that is on every
    page, or was left because it is printed.
    """
    clean = _with_lines(picture, images, evidence)
    stack = np.stack(images)
    done = []
    for one in proposals:
        # What lines were thought to be inside a box were strokes: it has none.
        lines = evidence.lines.across if one.field.kind is not FieldKind.BOXED else None
        places = [_look(box, stack, evidence) for box in _positions(one, evidence)]
        for place in places:
            _clean(clean, picture, stack, place, lines)
        done.append(replace(one, notes=(*one.notes, *_notes(places))))
    return clean, tuple(done)


def _with_lines(picture: Gray, images: Sequence[Gray], evidence: Evidence) -> Gray:
    """Draw lines as most pages have them: thin ones are a pixel off on some."""
    lines = evidence.lines.across | evidence.lines.down
    drawn = picture.copy()
    usual = np.median(np.stack([image[lines] for image in images]), axis=0)
    drawn[lines] = np.minimum(drawn[lines], usual.astype(np.uint8))
    return drawn


def _positions(one: Proposal, evidence: Evidence) -> list[Box]:
    """List the insides of a field's positions, without the lines around them.

    Over a comb or a rule nothing is printed: there it reaches a little beyond the field.
    """
    box, count = one.field.box, one.field.cells or 1
    inset = evidence.pixels(INSET_MM)
    above = 0 if one.field.kind is FieldKind.BOXED else evidence.pixels(2 * INSET_MM)
    edges = np.linspace(box.left, box.right, count + 1).round().astype(int)
    found = []
    for left, right in pairwise(edges):
        x, y = (min(inset, (size - 1) // 2) for size in (int(right - left), box.height))
        top = max(0, box.top + y - above)
        found.append(Box(max(0, int(left) + x), top, int(right) - x, box.bottom - y))
    return found


def _look(box: Box, stack: np.ndarray, evidence: Evidence) -> Inside:
    """Say what all pages have in common in a place, and which of it is print."""
    dark = stack[:, box.top : box.bottom, box.left : box.right] < PRINTED_GRAY
    element = np.ones((3, 3), np.uint8)
    wide = sum(cv2.dilate(one.astype(np.uint8), element) for one in dark)
    common = (np.asarray(wide) >= len(stack) - int(MISSED_SHARE * len(stack))).astype(np.uint8)
    narrow = cv2.erode(common, element) > 0
    share = dark.mean(0)
    crossing = evidence.crossing[box.top : box.bottom, box.left : box.right]
    printed = np.zeros(common.shape, bool)
    count, labels = cv2.connectedComponentsWithAlgorithm(common, 8, cv2.CV_32S, cv2.CCL_SAUF)
    for label in range(1, count):
        piece = labels == label
        core = piece & narrow
        steady = core.sum() >= STEADY_WIDTH * piece.sum() and share[core].mean() >= STEADY
        if steady or crossing[piece].mean() < CROSSED:
            printed |= piece
    straight = (evidence.lines.across | evidence.lines.down).astype(np.uint8)
    beside = cv2.dilate(straight[box.top : box.bottom, box.left : box.right], element) == 0
    drawn, other = printed & beside, (common > 0) & ~printed & beside
    per_mm2 = (evidence.lines.dpi / MM_PER_INCH) ** 2
    return Inside(box, printed, float(drawn.sum()) / per_mm2, float(other.sum()) / per_mm2)


def _clean(
    clean: Gray, picture: Gray, stack: np.ndarray, place: Inside, lines: Ink | None
) -> None:
    """Leave of a place what is printed there, and its paper."""
    box = place.box
    part = slice(box.top, box.bottom), slice(box.left, box.right)
    side = 2 * AROUND + 1
    kept = cv2.dilate(place.printed.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    if lines is not None:
        kept |= lines[part]
    lightest = np.maximum(picture[part], stack[:, part[0], part[1]].max(0))
    tint = int(np.quantile(lightest, 0.5))
    clean[part] = np.where(kept, clean[part], np.maximum(lightest, tint))


def _notes(places: Sequence[Inside]) -> list[str]:
    notes = []
    written = [i for i, place in enumerate(places, 1) if place.other_mm2 >= LEAST_MM2]
    printed = [i for i, place in enumerate(places, 1) if place.drawn_mm2 >= LEAST_MM2]
    several = len(places) > 1
    if written:
        where = f"in {_named(written)} " if several else ""
        notes.append(
            f"{where}nearly all scans have ink in one place, that is no print by its edges: "
            "taken for writing, and out of the blank"
        )
    if printed:
        where = f"in {_named(printed)} " if several else ""
        notes.append(f"{where}something is printed; it stays in the blank, and is not read")
    return notes


def _named(places: Sequence[int]) -> str:
    numbers = ", ".join(map(str, places))
    return f"position {numbers}" if len(places) == 1 else f"positions {numbers}"
