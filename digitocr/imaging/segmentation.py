"""Field ink → lattice of candidate glyphs.

Printed positions give the cuts of boxed and comb fields; components by contours give those of
open fields, with more cuts proposed where a component is too wide for one digit. Broken pieces
are joined, specks dropped, marks that stand for nothing are named. What is doubtful stays in
the lattice as a second glyph between the same cuts: the classifier decides, not a threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.binarization import Darkness, inked_part
from digitocr.imaging.normalization import normalize
from digitocr.types import Box, Glyph, GlyphImage, Ink, Lattice, Mark

Intensity = NDArray[np.uint8]

MAIN_WEIGHT = 0.2  # prior that the small pieces of a position do not belong to its digit
MOST_PIECES = 6  # of one digit in an open field
MOST_COMPONENTS = 60  # of a number, broken digits and all: noise and dots have thousands
WIDEST_DIGIT = 1.45  # width over the height of the line of digits
WIDEST_WHOLE = 1.9  # the same of one that is a single component
SLANTS = np.linspace(-0.3, 0.9, 25)
CLEAR_GAIN = 1.25  # by which a lean must be better than none
# Of what is left of a rule, of the height: how far above the baseline, and how high.
REST_ABOVE, REST_HIGH = 0.05, 0.12
# Of the cuts proposed, of the height: how far apart they are, how far from the sides; and how
# many for each height that a component is wide.
LEAST_PART, EDGE_PART, MOST_CUTS = 0.14, 0.12, 4.0
MOST_LOOPS = 1  # of a cross: one that lies over digits has several
STROKE_HIGH = 0.72  # from the baseline: a minus does not stand so high
NARROW, WIDE = 0.75, 0.95  # widths over height: of a digit that is not cut, of one that may be
# Prior that two components are one digit: side by side, one reaching under the other (an open
# 4), one above the other.
BESIDE, UNDER, ABOVE = 0.15, 0.5, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """A connected piece of ink: its box, its area and its pixels within the box."""

    box: Box
    area: int
    ink: Ink

    @property
    def at(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.box.top, self.box.bottom), slice(self.box.left, self.box.right)


@dataclass(frozen=True, slots=True, eq=False)
class FieldInk:
    """The writing of a field: what is ink, and how strong it is (0 to 255, 0 off the ink).

    `pieces` are the components of the ink, specks and all.
    """

    ink: Ink
    intensity: Intensity
    pieces: tuple[Component, ...]


def strengthen(ink: Ink, dark: Darkness, level: float) -> FieldInk:
    """Join ink and its darkness to what glyphs are cut from."""
    strength = np.zeros(ink.shape, np.uint8)
    part = inked_part(ink, margin=1)
    soft = (np.clip(dark[part] / max(level, 1e-3), 0.0, 1.0) * 255).astype(np.uint8)
    marked = ink[part].view(np.uint8)
    # Half-dark pixels around the ink are its anti-aliased edge.
    near = cv2.dilate(marked * 255, np.ones((3, 3), np.uint8))
    strength[part] = cv2.bitwise_and(np.maximum(soft, marked * 127), near)
    return FieldInk(ink, strength, tuple(components(ink)))


def components(ink: Ink, *, least_area: int = 1, least_side: int = 1) -> list[Component]:
    """Find connected pieces of ink, from left to right; specks are left out."""
    part = inked_part(ink)
    y, x = part[0].start, part[1].start
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        ink[part].view(np.uint8), 8, cv2.CV_32S, cv2.CCL_BBDT
    )
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[label])
        if area < least_area or max(width, height) < least_side:
            continue
        box = Box(x + left, y + top, x + left + width, y + top + height)
        found.append(
            Component(box, area, labels[top : top + height, left : left + width] == label)
        )
    return sorted(found, key=lambda c: (c.box.left, c.box.top))


def _without_specks(
    pieces: Sequence[Component], *, least_area: int, least_side: int
) -> list[Component]:
    return [
        one
        for one in pieces
        if one.area >= least_area and max(one.box.width, one.box.height) >= least_side
    ]


def share_inside(piece: Component, box: Box) -> float:
    """Say what share of a piece's ink lies in a box."""
    own = piece.box
    if (
        box.left <= own.left
        and box.top <= own.top
        and box.right >= own.right
        and box.bottom >= own.bottom
    ):
        return 1.0
    rows = slice(max(0, box.top - own.top), max(0, box.bottom - own.top))
    columns = slice(max(0, box.left - own.left), max(0, box.right - own.left))
    return int(np.count_nonzero(piece.ink[rows, columns])) / piece.area


def segment_cells(field: FieldInk, cells: Sequence[Box], *, speck: int) -> Lattice:
    """Make the lattice of a boxed or comb field: a position between two cuts.

    Parameters
    ----------
    cells
        The printed positions, left to right, in pixels of the field.
    speck : pixels
        Pieces no longer than this are dust.

    Returns
    -------
    Lattice
        Cuts are the borders of the cells. Every position has one or two glyphs: all its ink,
        and its main piece alone where there are more; or one empty glyph.
    """
    owned: list[list[Component]] = [[] for _ in cells]
    least_area = max(4, speck * speck // 2)
    for piece in _without_specks(field.pieces, least_area=least_area, least_side=speck):
        for index, part in _share(piece, cells):
            owned[index].append(part)
    glyphs: list[Glyph] = []
    for index, (cell, pieces) in enumerate(zip(cells, owned, strict=True)):
        kept = [p for p in pieces if _is_writing(p, cell, pieces, speck)]
        glyphs += _cell_glyphs(field, index, cell, kept)
    cuts = (cells[0].left, *(cell.right for cell in cells))
    return Lattice(cuts, tuple(glyphs))


def _share(piece: Component, cells: Sequence[Box]) -> list[tuple[int, Component]]:
    """Give a piece to the cell that holds most of it, or part it where two digits touch."""
    box = piece.box
    level = Box(box.left, cells[0].top, box.right, cells[0].bottom)
    if share_inside(piece, level) < 0.4:
        return []
    shares = [
        share_inside(piece, Box(cell.left, box.top, cell.right, box.bottom)) for cell in cells
    ]
    best = int(np.argmax(shares))
    if shares[best] < 0.3:
        return []
    large = [i for i, share in enumerate(shares) if share > 0.25]
    if len(large) > 1 and piece.box.width > 1.05 * cells[best].width:
        return [(i, part) for i in large if (part := _part(piece, cells[i])) is not None]
    return [(best, piece)]


def _part(piece: Component, cell: Box) -> Component | None:
    left, right = max(piece.box.left, cell.left), min(piece.box.right, cell.right)
    ink = piece.ink[:, left - piece.box.left : right - piece.box.left]
    rows = np.flatnonzero(ink.any(1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    box = Box(left, piece.box.top + top, right, piece.box.top + bottom)
    ink = ink[top:bottom]
    return Component(box, int(ink.sum()), ink)


def _is_writing(piece: Component, cell: Box, pieces: Sequence[Component], speck: int) -> bool:
    """Tell writing from what line removal and dust leave at the edges of a cell."""
    largest = max(p.area for p in pieces)
    if piece.area < 0.02 * largest:
        return False
    thin = min(piece.box.width, piece.box.height) <= speck
    at_edge = (
        piece.box.right <= cell.left + 0.14 * cell.width
        or piece.box.left >= cell.right - 0.14 * cell.width
        or piece.box.bottom <= cell.top + 0.12 * cell.height
        or piece.box.top >= cell.bottom - 0.12 * cell.height
    )
    return not (at_edge and (thin or piece.area < 0.25 * largest))


def _cell_glyphs(
    field: FieldInk, index: int, cell: Box, pieces: Sequence[Component]
) -> list[Glyph]:
    if not pieces:
        return [Glyph(index, index + 1, cell, np.zeros((28, 28), np.float32))]
    line_height = max(p.box.height for p in pieces)
    whole = glyph(field, index, index + 1, pieces, mark=_cell_mark(pieces, cell.height))
    main = max(pieces, key=lambda p: p.area)
    rest = sum(p.area for p in pieces) - main.area
    if len(pieces) == 1 or rest > 0.3 * main.area or main.box.height < 0.7 * line_height:
        return [whole]
    alone = glyph(field, index, index + 1, [main], mark=_cell_mark([main], cell.height))
    return [replace(whole, weight=1 - MAIN_WEIGHT), replace(alone, weight=MAIN_WEIGHT)]


def glyph(
    field: FieldInk,
    start: int,
    end: int,
    pieces: Sequence[Component],
    *,
    mark: Mark | None = None,
    whole: bool = True,
) -> Glyph:
    """Cut the given pieces of ink, and nothing else, out of a field.

    Parameters
    ----------
    whole
        Whether nothing of the ink was cut off: what is no other mark may be a cross then.
    """
    box = bounds(pieces)
    ink = _drawn(pieces, box)
    return Glyph(start, end, box, _image(field, ink, box), mark, ink=ink, whole=whole)


def _image(field: FieldInk, ink: Ink, box: Box) -> GlyphImage:
    # The soft edge of a stroke lies one pixel outside its ink.
    own = cv2.copyMakeBorder(ink.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    mine = cv2.dilate(own * 255, np.ones((3, 3), np.uint8))
    left, top = max(0, box.left - 1), max(0, box.top - 1)
    cut = field.intensity[top : box.bottom + 1, left : box.right + 1]
    y, x = top - box.top + 1, left - box.left + 1
    h, w = cut.shape
    return normalize(np.asarray(cv2.bitwise_and(cut, mine[y : y + h, x : x + w]), np.uint8))


def bounds(pieces: Sequence[Component]) -> Box:
    """Find the box around all pieces."""
    return Box(
        min(p.box.left for p in pieces),
        min(p.box.top for p in pieces),
        max(p.box.right for p in pieces),
        max(p.box.bottom for p in pieces),
    )


def _drawn(pieces: Sequence[Component], box: Box) -> Ink:
    ink = np.zeros((box.height, box.width), bool)
    for piece in pieces:
        y, x = piece.box.top - box.top, piece.box.left - box.left
        ink[y : y + piece.box.height, x : x + piece.box.width] |= piece.ink
    return ink


# ---------------------------------------------------------------- marks


def _cell_mark(pieces: Sequence[Component], height: int) -> Mark | None:
    """Name a dash by its shape: it is flat beside the `height` of the position."""
    box = bounds(pieces)
    flat = box.height < 0.25 * height and box.width > 1.6 * box.height
    return Mark.DASH if flat and box.width > 0.2 * height else None


def with_crosses(lattice: Lattice, asked: Iterable[bool]) -> Lattice:
    """Name the crosses among the glyphs that are asked about.

    A skeleton takes as long as the rest of cutting a glyph out: nobody needs it of what the
    classifier surely takes for a digit.

    Parameters
    ----------
    asked
        Of every glyph, whether it matters that it is a cross.
    """
    glyphs = tuple(
        replace(glyph, mark=Mark.X)
        if matters
        and glyph.whole
        and glyph.mark is None
        and glyph.ink is not None
        and is_cross(glyph.ink)
        else glyph
        for glyph, matters in zip(lattice.glyphs, asked, strict=True)
    )
    return Lattice(lattice.cuts, glyphs)


def is_cross(ink: Ink, *, side: int = 36) -> bool:
    """Say whether ink is two strokes crossing: four ends around one crossing, hardly a loop.

    It only allows for a cross; whether it is no digit the classifier has to agree to.

    References
    ----------
    Zhang and Suen, Communications of the ACM 27 (1984) 236–239, for the skeleton.
    """
    h, w = ink.shape
    if not 0.35 < w / h < 2.8 or min(h, w) < 6:
        return False
    shape = (max(8, round(side * w / max(h, w))), max(8, round(side * h / max(h, w))))
    small = cv2.resize(ink.astype(np.uint8) * 255, shape, interpolation=cv2.INTER_AREA)
    drawn = cv2.copyMakeBorder((small > 80).astype(np.uint8), 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    contours, tree = cv2.findContours(drawn, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None:
        return False
    loops = [cv2.contourArea(c) for c, t in zip(contours, tree[0], strict=True) if t[3] >= 0]
    if max(loops, default=0.0) > 0.03 * side * side or len(loops) > MOST_LOOPS:
        return False
    from skimage.morphology import skeletonize  # takes half a second to import

    thin = skeletonize(drawn > 0)
    neighbors = cv2.filter2D(thin.astype(np.uint8), -1, np.ones((3, 3), np.uint8)) - 1
    crossings = np.argwhere(thin & (neighbors >= 3))
    ends = np.argwhere(thin & (neighbors == 1))
    if len(crossings) == 0 or len(ends) < 4:
        return False
    middle = np.argwhere(thin).mean(0)
    center = crossings[np.argmin(((crossings - middle) ** 2).sum(1))]
    return _four_arms(ends - center, least=0.2 * side)


def _four_arms(ends: NDArray[np.intp], *, least: float) -> bool:
    """Say whether the far ends lie in four directions, none of them too close or too wide."""
    radius = np.hypot(ends[:, 0], ends[:, 1])
    angle = np.degrees(np.arctan2(ends[:, 0], ends[:, 1]))
    chosen: list[float] = []
    for place in np.argsort(-radius):
        apart = [abs((angle[place] - a + 180) % 360 - 180) for a in chosen]
        if radius[place] >= least and min(apart, default=360.0) >= 35.0:
            chosen.append(float(angle[place]))
    if len(chosen) != 4:
        return False
    ring = np.sort(chosen)
    return bool(np.diff(np.append(ring, ring[0] + 360)).max() <= 155.0)


# ---------------------------------------------------------------- open fields


def segment_open(
    field: FieldInk, *, speck: int, box: Box | None = None, height: int | None = None
) -> Lattice:
    """Make the lattice of a field without printed positions.

    Parameters
    ----------
    speck : pixels
        Pieces no longer than this are dust.
    box
        Of the field, where it is known: what lies mostly outside is a neighbor's.
    height : pixels
        Of a digit, where it is known; else taken from the ink.

    Returns
    -------
    Lattice
        Cuts are columns between pieces, from left to right; glyphs are every run of up to
        six pieces that is no wider than a digit can be. Of a crowded field (`is_crowded`) only
        the largest pieces are in it.
    """
    found = _pieces_of_open(field, speck, box)
    if not found:
        return Lattice((), ())
    if len(found) > MOST_COMPONENTS:  # it would take seconds; see `is_crowded`
        found = sorted(found, key=lambda piece: -piece.area)[:MOST_COMPONENTS]
    height = height or digit_height(found)
    if box is not None:
        found = [piece for piece in found if not _reaches_in(piece, box, height)]
    slant = slant_of(found, height)
    pieces: list[_Piece] = []
    for place, component in enumerate(found):
        parts, width = _cut_wide(component, height, slant)
        cut = _cut_weight(width, height) if len(parts) > 1 else 1.0
        pieces += [
            _Piece(part, place, cut if i else 1.0, cut if i < len(parts) - 1 else 1.0)
            for i, part in enumerate(parts)
        ]
    pieces.sort(key=lambda p: (p.part.box.left + p.part.box.right, p.part.box.left))
    baseline = _baseline([piece.part for piece in pieces], height)
    glyphs: list[Glyph] = []
    for start in range(len(pieces)):
        for end in range(start + 1, len(pieces) + 1):
            run = [piece.part for piece in pieces[start:end]]
            width = bounds(run).width
            if end - start > 1 and width > WIDEST_WHOLE * height:
                break
            whole = pieces[start].left_cut == 1.0 and pieces[end - 1].right_cut == 1.0
            single = whole and len({piece.component for piece in pieces[start:end]}) == 1
            if end - start > 1 and width > WIDEST_DIGIT * height and not single:
                continue
            if end - start > MOST_PIECES and not whole:
                continue
            if end - start > 1 and _apart(run, height):
                continue
            mark = _open_mark(run, height, baseline) if whole else None
            if mark is not None and _is_rest(mark, bounds(run), found, height, baseline):
                mark = Mark.REST
            plain = glyph(field, start, end, run, mark=mark, whole=whole)
            glyphs.append(replace(plain, weight=_run_weight(pieces[start:end])))
    cuts = (*(p.part.box.left for p in pieces), max(p.part.box.right for p in pieces))
    return Lattice(cuts, tuple(glyphs))


def is_crowded(field: FieldInk, *, speck: int, box: Box | None = None) -> bool:
    """Say whether an open field has more pieces of ink than a number: the rest is not read."""
    return len(_pieces_of_open(field, speck, box)) > MOST_COMPONENTS


def _pieces_of_open(field: FieldInk, speck: int, box: Box | None) -> list[Component]:
    """Give the pieces of ink that are no dust, and of the field."""
    least_area = max(3, speck * speck // 2)
    found = _without_specks(field.pieces, least_area=least_area, least_side=speck)
    return [piece for piece in found if box is None or share_inside(piece, box) > 0.5]


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A piece of ink between cuts, and how likely a cut through ink is at its two sides.

    `component`: of which component of the field it is a part.
    """

    part: Component
    component: int
    left_cut: float
    right_cut: float


def _reaches_in(piece: Component, box: Box, height: int) -> bool:
    """Say whether a small piece comes over the edge of the field: a neighbor's stroke."""
    over = piece.box.top < box.top or piece.box.bottom > box.bottom
    return over and piece.box.height < 0.4 * height


def _cut_weight(width: int, height: int) -> float:
    """Say how likely a component of this width is cut at one of the places proposed."""
    return float(np.clip(0.04 + 0.7 * (width / height - WIDE), 0.04, 0.6))


def _run_weight(run: Sequence[_Piece]) -> float:
    """Say how likely it is, before looking, that these pieces make one digit.

    A cut costs the digits on both of its sides the root of its weight. Joining what a cut
    parted costs nothing, joining components costs the more the further they are apart.
    """
    weight = float(np.sqrt(run[0].left_cut * run[-1].right_cut))
    for before, after in pairwise(run):
        if before.right_cut < 1.0 and after.left_cut < 1.0:
            continue
        one, other = before.part.box, after.part.box
        overlap = min(one.right, other.right) - max(one.left, other.left)
        if overlap < 0.4 * min(one.width, other.width):
            weight *= BESIDE if overlap <= 0 else UNDER
        else:
            weight *= ABOVE
    return weight


def digit_height(pieces: Sequence[Component]) -> int:
    """Estimate the height of the digits of a line: the upper middle of its taller pieces.

    What stands above another piece is of one digit with it: the upper half of a broken 5.
    """
    heights = np.array(sorted(_stacked_height(piece, pieces) for piece in pieces))
    tall = heights[heights >= 0.45 * heights[-1]]
    return max(6, int(np.median(tall)))


def _stacked_height(piece: Component, pieces: Sequence[Component]) -> int:
    """Measure a piece with what is about as wide, and stands above or below it."""
    own = piece.box
    stacked = [
        other.box
        for other in pieces
        if min(own.right, other.box.right) - max(own.left, other.box.left)
        > 0.5 * max(own.width, other.box.width)
    ]
    return max(box.bottom for box in stacked) - min(box.top for box in stacked)


def _baseline(pieces: Sequence[Component], height: int) -> float:
    tall = [p for p in pieces if p.box.height > 0.5 * height]
    return float(np.median([p.box.bottom for p in tall or pieces]))


def _apart(run: Sequence[Component], height: int) -> bool:
    """Say whether pieces lie too far apart to be of one digit."""
    for before, after in pairwise(run):
        if after.box.left - before.box.right > 0.25 * height:
            return True
    return False


def _open_mark(run: Sequence[Component], height: int, baseline: float) -> Mark | None:
    box = bounds(run)
    low = box.top > baseline - 0.45 * height
    if box.height < 0.35 * height and box.width < 0.4 * height and low:
        return Mark.SEPARATOR
    comma = box.height < 0.6 * height and box.width < 0.35 * height
    if comma and box.top > baseline - 0.35 * height:
        return Mark.SEPARATOR
    if box.height < 0.38 * height and box.width > 1.1 * box.height:
        return Mark.DASH
    return None


def _is_rest(
    mark: Mark, box: Box, found: Sequence[Component], height: int, baseline: float
) -> bool:
    """Say whether a mark means nothing: it is of a digit, or of the rule below them.

    The stroke of a 5 that the pen lifted before stands at its top; a point, a comma or a minus
    stands beside digits, a minus at half their height, and a point is not flat.
    """
    if mark is Mark.DASH:
        high = (box.top + box.bottom) / 2 < baseline - STROKE_HIGH * height
        over = any(
            min(box.right, one.box.right) - max(box.left, one.box.left) > 0.5 * box.width
            for one in found
            if one.box.height > 0.5 * height and one.box != box
        )
        return box.width < height and (high or over)
    below = box.top >= baseline - REST_ABOVE * height
    return below and box.height <= REST_HIGH * height and box.width >= 2 * box.height


def slant_of(pieces: Sequence[Component], height: int) -> float:
    """Estimate how far writing leans: pixels to the left a pixel down, –0.3 to 0.9.

    The lean is right when upright strokes stand in few columns: when the squares of the
    column sums of the straightened ink are largest.

    References
    ----------
    Vinciarelli and Luettin, Pattern Recognition Letters 22 (2001) 1043–1050.
    """
    tall = [piece for piece in pieces if piece.box.height > 0.5 * height]
    if not tall:
        return 0.0
    ys, xs = np.nonzero(_drawn(tall, bounds(tall)))
    gains = []
    for lean in SLANTS:
        columns = np.round(xs + lean * ys).astype(int)
        sums = np.bincount(columns - columns.min()).astype(float)
        gains.append(float((sums**2).sum()))
    best = int(np.argmax(gains))
    upright = float(np.interp(0.0, SLANTS, gains))
    slant = float(SLANTS[best]) if gains[best] > CLEAR_GAIN * upright else 0.0
    return slant


def _cut_wide(component: Component, height: int, slant: float) -> tuple[list[Component], int]:
    """Part a component that is wider than a digit at the thin places of its strokes.

    Cuts lean as the writing does; also gives the width of the component, upright.
    """
    if component.box.height < 0.4 * height:
        return [component], component.box.width
    h, w = component.ink.shape
    shift = np.round(slant * (np.arange(h) - h / 2)).astype(int)
    offset = int(-shift.min())
    upright = np.zeros((h, w + int(np.ptp(shift))), bool)
    for y in range(h):
        upright[y, offset + shift[y] : offset + shift[y] + w] = component.ink[y]
    inked = np.flatnonzero(upright.any(0))
    first, last = int(inked[0]), int(inked[-1]) + 1
    if last - first < NARROW * height:
        return [component], last - first
    columns = [first + x for x in _cut_columns(upright[:, first:last], height)]
    edges = [0, *columns, upright.shape[1]]
    parts = []
    for left, right in pairwise(edges):
        mine = np.zeros_like(component.ink)
        for y in range(h):
            start = max(0, left - offset - shift[y])
            end = max(start, min(w, right - offset - shift[y]))
            mine[y, start:end] = component.ink[y, start:end]
        part = _whole(mine, component.box)
        if part is not None:
            parts.append(part)
    return parts, last - first


def _whole(ink: Ink, box: Box) -> Component | None:
    """Make a component of the ink within a box, cropped to it."""
    ys, xs = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(ys):
        return None
    top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
    inner = ink[top:bottom, left:right]
    place = Box(box.left + left, box.top + top, box.left + right, box.top + bottom)
    return Component(place, int(inner.sum()), inner)


def _cut_columns(ink: Ink, height: int) -> list[int]:
    """Propose columns where two digits may touch: little ink, and valleys of both outlines."""
    h, w = ink.shape
    amount = ink.sum(0).astype(np.float32)
    top = np.where(ink.any(0), ink.argmax(0), h).astype(np.float32)
    bottom = np.where(ink.any(0), h - ink[::-1].argmax(0), 0).astype(np.float32)
    thickness = np.maximum(bottom - top, 0.0)
    cost = amount / h + 0.5 * thickness / h
    cost = cv2.GaussianBlur(cost.reshape(1, -1), (0, 0), max(1.0, height / 25)).ravel()
    apart = max(3, round(LEAST_PART * height))
    columns: list[int] = []
    for x in np.argsort(cost):
        x = int(x)
        if not EDGE_PART * height <= x <= w - EDGE_PART * height:
            continue
        window = cost[max(0, x - apart // 2) : x + apart // 2 + 1]
        if cost[x] > window.min() + 1e-6 or any(abs(x - c) < apart for c in columns):
            continue
        columns.append(x)
        if len(columns) >= max(1, round(MOST_CUTS * w / height)):
            break
    return sorted(columns)
