"""Field image → its writing: the ink that is not print, and what is doubtful about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from digitocr.imaging.binarization import (
    Darkness,
    binarize,
    darkness,
    solid,
    stroke_darkness,
)
from digitocr.imaging.blots import find_broad, least_breadth, may_hold
from digitocr.imaging.form_removal import close_strokes, line_mask, subtract_form
from digitocr.imaging.isolation import FieldImage
from digitocr.imaging.prints import PER_MM, REACH_MM, SLACK_PIXELS, Printed
from digitocr.imaging.segmentation import (
    Component,
    FieldInk,
    bounds,
    components,
    share_inside,
    strengthen,
)
from digitocr.imaging.strikes import is_struck
from digitocr.types import Box, Field, FieldKind, Ink

SPECK_MM = 0.55
LINE_MM = 0.9  # printed lines are thinner
LINE_ZONE_MM = 1.3  # how far from its place a printed line may lie
LEAST_LEVEL = 0.17  # writing is darker than this against its paper; print-through is not
TRACE_LEVEL = 0.07  # a field said to be blank holds no strokes darker than this
FAINT_LEVEL = 0.11  # what is darker than this and no ink may be writing too faint to read
FAINT_SIDE_MM = 2.5
BESIDE_SIDE_MM = 1.0  # what is written beside a field and smaller than this may be dust
BLOT_MM = 1.8  # strokes, and loops that ran full, are narrower
MOST_PEN_MM = 1.0  # that a blot is measured by
SLIVER_MM = 0.3  # no pen writes thinner; what removing a printed line leaves is
FULL_SHARE = (
    0.25  # of a field that is print no paler than faint writing: it hides what is written
)
LEAST_REACHING = 0.05  # share of a piece in the field by which it reaches into it
LEAST_INSIDE = 0.6  # share of a piece that lies in its field, though it runs over the edge


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """The writing of a field.

    `faint`: there are strokes too faint beside the rest to be taken for ink, or black areas
    and blots that cover what may be under them, or all is struck out. `clipped`: a piece of
    the writing runs out of the field.
    """

    field: FieldInk
    faint: bool
    clipped: bool


def cells_of(image: FieldImage, field: Field) -> list[Box]:
    """Divide the box of a boxed or comb field into its printed positions."""
    box, count = image.box, field.cells or 1
    edges = [round(box.left + i * box.width / count) for i in range(count + 1)]
    return [Box(left, box.top, right, box.bottom) for left, right in pairwise(edges)]


def find_writing(image: FieldImage, field: Field, others: Sequence[Box] = ()) -> Writing:
    """Take paper and print out of a field; what is left is its writing.

    Parameters
    ----------
    others
        Boxes of the form's other fields, in template pixels: what is written in them is
        theirs.
    """
    reach = round(REACH_MM * PER_MM)
    cells = cells_of(image, field) if field.kind is not FieldKind.OPEN else []
    black = solid(image.gray, reach=reach)
    dark = darkness(image.gray, reach=reach, margins=False)
    dark[black] = 0.0
    left, printed = dark, image.printed
    if printed is not None:
        left = subtract_form(dark, printed.dark, printed.wide)
    expected = _expected_print(image, cells)
    smooth = cv2.blur(left, (3, 3))
    inside = smooth[image.box.top : image.box.bottom, image.box.left : image.box.right]
    level = stroke_darkness(inside, share=0.006)
    covered = _is_covered(image, black) or _is_full_of_print(image, printed)
    if level < LEAST_LEVEL:
        nothing = np.zeros(dark.shape, bool)
        pale = binarize(left, level=LEAST_LEVEL / 0.6)
        return Writing(
            strengthen(nothing, dark, 1.0),
            faint=covered or _has_faint(smooth, nothing, expected, image, least=TRACE_LEVEL),
            clipped=printed is not None
            and _is_beside(components(pale), image, others, printed, blank=True),
        )
    ink = binarize(left, level=level)
    ink = _without_lines(ink, image, cells)
    whole = dark > 0.45 * level
    ink = close_strokes(ink, whole, reach=2 * SLACK_PIXELS + round(0.4 * PER_MM))
    written = strengthen(ink, np.where(ink, dark, left), level)
    faint = (
        covered
        or _has_faint(smooth, ink, expected, image)
        or _has_blot(written, image)
        or _is_struck(written, image)
    )
    no_digits = all(share_inside(one, image.box) < LEAST_INSIDE for one in written.pieces)
    beside = printed is not None and _is_beside(
        written.pieces, image, others, printed, blank=no_digits
    )
    return Writing(written, faint, beside or _is_clipped(written.pieces, image))


def _without_lines(ink: Ink, image: FieldImage, cells: Sequence[Box]) -> Ink:
    """Take out lines near where the field's own are printed; `cells` are its positions."""
    box, zone = image.box, round(LINE_ZONE_MM * PER_MM)
    near = np.zeros(ink.shape, bool)
    for y in (box.top, box.bottom):
        near[max(0, y - zone) : y + zone] = True
    length = 0.75 * box.width / len(cells) if cells else 0.45 * box.width
    across = line_mask(ink, across=round(length), down=0, thickness=round(LINE_MM * PER_MM))
    lines = across & near
    if cells:
        beside = np.zeros(ink.shape, bool)
        for cell in cells:
            for x in (cell.left, cell.right):
                beside[:, max(0, x - zone) : x + zone] = True
        down = line_mask(
            ink, across=0, down=round(0.8 * box.height), thickness=round(LINE_MM * PER_MM)
        )
        lines |= down & beside
    wide: Ink = cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    result: Ink = ink & ~wide
    return result


def _has_faint(
    smooth: Darkness, ink: Ink, expected: Ink, image: FieldImage, *, least: float = FAINT_LEVEL
) -> bool:
    """Say whether strokes are left that are darker than paper and were not taken for ink.

    `expected` marks where print may leave something over.
    """
    near = cv2.dilate(ink.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    rest = (smooth > least) & ~near & ~expected
    box, edge = image.box, round(0.8 * PER_MM)
    area = rest[box.top + edge : box.bottom - edge, box.left + edge : box.right - edge]
    if not area.any():
        return False
    side = round(FAINT_SIDE_MM * PER_MM)
    return bool(components(area, least_area=round(0.6 * PER_MM**2), least_side=side))


def _expected_print(image: FieldImage, cells: Sequence[Box]) -> Ink:
    """Mark where the form has lines: known from the empty form, or from the positions."""
    expected = np.zeros(image.gray.shape, bool)
    zone = round(0.8 * PER_MM)
    if image.printed is not None:
        expected = image.printed.near.copy()
    for cell in cells:
        for x in (cell.left, cell.right):
            expected[:, max(0, x - zone) : x + zone] = True
    return expected


def _is_clipped(pieces: Sequence[Component], image: FieldImage) -> bool:
    """Say whether a piece that lies mostly in the field runs out of its picture."""
    h, w = image.gray.shape
    for piece in pieces:
        out = piece.area >= round(PER_MM**2) and (
            piece.box.left <= 0
            or piece.box.top <= 0
            or piece.box.right >= w
            or piece.box.bottom >= h
        )
        if out and share_inside(piece, image.box) > 0.5:
            return True
    return False


def _is_beside(
    pieces: Sequence[Component],
    image: FieldImage,
    others: Sequence[Box],
    printed: Printed,
    *,
    blank: bool,
) -> bool:
    """Say whether something is written beside the field that may belong to it.

    It may where it reaches into the field, where it stands level with it, and where the field
    itself is blank; what is written in another field is that field's. Only for forms whose
    print is known: a label beside the field would be taken for writing.
    """
    box = image.box
    lines = cv2.dilate((printed.dark > LEAST_LEVEL).astype(np.uint8), np.ones((3, 3), np.uint8))
    least_area, least_side = round(0.5 * PER_MM**2), round(BESIDE_SIDE_MM * PER_MM)
    for piece in pieces:
        if piece.area < least_area or max(piece.box.width, piece.box.height) < least_side:
            continue
        share = share_inside(piece, box)
        if share >= LEAST_INSIDE or _is_sliver(piece, lines.astype(bool)):
            continue
        level = min(piece.box.bottom, box.bottom) - max(piece.box.top, box.top)
        near = share > LEAST_REACHING or level > 0.5 * piece.box.height
        if (near or blank) and not any(
            share_inside(piece, image.in_image(other)) > 1 - LEAST_INSIDE for other in others
        ):
            return True
    return False


def _is_full_of_print(image: FieldImage, printed: Printed | None) -> bool:
    """Say whether print fills a field: what is taken for it may have been written."""
    if printed is None:
        return False
    box, edge = image.box, round(0.8 * PER_MM)
    inside = printed.dark[
        box.top + edge : box.bottom - edge, box.left + edge : box.right - edge
    ]
    return inside.size > 0 and float((inside > FAINT_LEVEL).mean()) > FULL_SHARE


def _is_sliver(piece: Component, lines: Ink) -> bool:
    """Say whether a piece is what removing a printed line left of it."""
    box = piece.box
    on_line = lines[box.top : box.bottom, box.left : box.right][piece.ink].all()
    return min(box.width, box.height) <= SLIVER_MM * PER_MM and bool(on_line)


def _has_blot(written: FieldInk, image: FieldImage) -> bool:
    """Say whether something broader than strokes lies in the field."""
    pieces = [one for one in written.pieces if share_inside(one, image.box) > 0.5]
    if not any(may_hold(one.ink, round(BLOT_MM * PER_MM)) for one in pieces):
        return False  # and how broad the pen is need not be known
    side = least_breadth(pieces, most_pen=MOST_PEN_MM * PER_MM, least=BLOT_MM * PER_MM)
    return any(find_broad(one.ink, side).any() for one in pieces)


def _is_struck(written: FieldInk, image: FieldImage) -> bool:
    """Say whether a line goes through all that is written in the field."""
    pieces = [one for one in written.pieces if share_inside(one, image.box) > 0.5]
    return bool(pieces) and is_struck(written.ink, bounds(pieces))


def _is_covered(image: FieldImage, black: Ink) -> bool:
    """Say whether a black area lies on the field: what is under it cannot be read."""
    box = image.box
    black = black[box.top : box.bottom, box.left : box.right]
    if image.printed is not None:
        own = image.printed.solid[box.top : box.bottom, box.left : box.right]
        black = black & ~own
    return bool(np.count_nonzero(black) > 2 * PER_MM**2)
