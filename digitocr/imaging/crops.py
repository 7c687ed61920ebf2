"""A bare crop of a number → its writing: no form says where it is, how large, or on what.

Crops come with rules, boxes, black margins, patterned paper, a neighbor's strokes and whole
other lines. What is left out is remembered: a reading of a crop from which more than dust was
left out is for a person to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from digitocr.imaging.binarization import Darkness, binarize, darkness, ridge_darkness, solid
from digitocr.imaging.blots import find_broad, least_breadth
from digitocr.imaging.form_removal import close_strokes, line_mask
from digitocr.imaging.segmentation import (
    Component,
    FieldInk,
    bounds,
    components,
    digit_height,
    is_crowded,
    strengthen,
)
from digitocr.imaging.strikes import is_struck
from digitocr.types import Box, Gray, Ink

LEAST_HEIGHT = 90  # crops are enlarged to this, so that a stroke is more than two pixels wide
MOST_HEIGHT = 360  # and shrunken to this
GRAIN_PIXELS = 0.75  # of the crop as scanned
MOST_MARGIN = 0.5  # share of a crop that may be black margin
LEAST_PAPER = 60  # gray: what is darker over a large area is a margin
MARGIN_SHARE = 0.5  # of the gray of the paper: the same
TRACE_LEVEL = 0.06  # a crop said to be blank holds nothing darker than this
BLOT_HEIGHT = 0.45  # of the height of the digits: a blot is broader
MOST_PEN = 0.25  # of the same height
LEAST_SIDE = 8  # pixels of a crop as scanned: in fewer no digit can be seen
SMALL_SIDE = 16  # pixels of a crop as scanned; shorter is dust, however large the crop
LONG_SHARE = 0.45  # of a crop's width, that a rule takes
SEVERAL_TICKS = 3
OUTER_ROWS = 0.4  # of a crop, above and below, where the rules of a frame are
LEAST_PALE = 0.08  # and what is paler than the rest, than this
BORDERED = 0.6  # of the width of a crop, that a rule along its border takes
WIDEST = 1.6  # width over the height of the others, of a paler digit, or two that touch
LEAST_LEVEL = 0.15  # writing is darker than this against its paper


@dataclass(frozen=True, slots=True, eq=False)
class CropWriting:
    """The writing of a crop, enlarged or shrunken by `scale`.

    `speck`: pieces no longer than this many pixels are dust. `doubtful`: more than dust and
    lines was left out, or nothing was found where something is. `lined`: rules, margins or
    sides of boxes were left out. `second_line`: writing above or below the line was. `blotted`:
    a blot or a hole among the digits hides what is under it. `struck`: a line goes through the
    number from end to end. `origin`: left and top of what was looked at, in the crop.
    """

    field: FieldInk
    scale: float
    speck: int
    doubtful: bool
    lined: bool
    second_line: bool = False
    origin: tuple[int, int] = (0, 0)
    blotted: bool = False
    struck: bool = False

    def in_crop(self, box: Box) -> Box:
        """Take a box back to whole pixels of the crop, never empty."""
        left, top = int(box.left / self.scale), int(box.top / self.scale)
        right = max(left + 1, round(box.right / self.scale))
        inside = Box(left, top, right, max(top + 1, round(box.bottom / self.scale)))
        return inside.moved(*self.origin)


def find_crop_writing(gray: Gray, within: Box | None = None) -> CropWriting:
    """Find the line of digits in a crop.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark ink on lighter paper, of any size. Not changed.
    within : Box, optional
        The part of the crop that is looked at.
    """
    origin = (0, 0)
    if within is not None:
        gray = gray[within.top : within.bottom, within.left : within.right]
        origin = within.left, within.top
    scale = _scale(gray)
    sized = _resized(gray, scale)
    h, w = sized.shape
    speck = max(2, h // 28)
    # Scanned pencil is a string of specks: a little blur joins them.
    sized = cv2.GaussianBlur(sized, (0, 0), max(0.6, scale * GRAIN_PIXELS))
    reach = int(np.clip(min(h, w) // 2, 24, 80))
    # A margin is dark beside the paper, whatever its own gray.
    margin = max(LEAST_PAPER, round(MARGIN_SHARE * float(np.quantile(sized, 0.9))))
    dark = darkness(sized, reach=reach, least_paper=margin)
    covered = _is_covered(solid(sized, reach=reach, least_paper=margin))
    level = ridge_darkness(dark)
    if level < LEAST_LEVEL:
        nothing = np.zeros(dark.shape, bool)
        doubtful = covered or _has_traces(dark) or _has_small_traces(gray)
        none = strengthen(nothing, dark, 1.0)
        return CropWriting(none, scale, speck, doubtful, covered, origin=origin)
    found = _line_in(binarize(dark, level=level), speck)
    ink, clean, kept = found.ink, found.clean, found.kept
    written = _drawn(kept, ink.shape)
    if kept:
        faint = _has_faint(dark, written, ink & ~clean, level)
    else:
        faint = _has_traces(dark) or _has_small_traces(gray)
    # Where a part holds nothing, all of the crop is looked at before anything pale is.
    if faint and (kept or within is None):
        paler = _with_paler(dark, level, found, speck)
        if paler is not None:
            dark, kept = paler
            written = _drawn(kept, ink.shape)
    bordered = len(kept) < len(found.pieces) or not np.array_equal(clean, ink)
    field = strengthen(written, dark, level)
    blotted = bool(kept) and _has_blot(sized, kept, level)
    struck = bool(kept) and is_struck(ink | written, bounds(kept))
    doubtful = (
        covered
        or blotted
        or struck
        or is_crowded(field, speck=speck)
        or faint
        or found.doubtful_lines
        or found.second_line
        or found.cut_off
        or (bordered and any(_may_be_line(piece, h) for piece in kept))
        or any(piece.box.height >= 0.97 * h for piece in kept)
    )
    return CropWriting(
        field, scale, speck, doubtful, bordered, found.second_line, origin, blotted, struck
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What is ink at some level of darkness, without printed lines, and what of it is kept.

    `frame`: the printed rules; `pieces`: all that is no line, `kept`: the line of digits;
    `doubtful_lines`: a side of a box may have been a digit 1; `second_line`, `cut_off`: others
    stand above or below, or are cut off beside it.
    """

    ink: Ink
    frame: _Frame
    clean: Ink
    pieces: Sequence[Component]
    kept: Sequence[Component]
    doubtful_lines: bool
    second_line: bool
    cut_off: bool


def _line_in(ink: Ink, speck: int) -> _Found:
    """Find the line of digits in ink, and the printed lines beside it."""
    h, w = ink.shape
    frame = _find_frame(ink)
    clean, doubtful_lines = _without_lines(ink, frame)
    pieces = _pieces(clean, speck)
    kept, second_line, cut_off = _main_line(pieces, h, w)
    if not np.array_equal(clean, ink):
        kept = _without_rests(kept, frame, h)
    return _Found(ink, frame, clean, pieces, kept, doubtful_lines, second_line, cut_off)


def _with_paler(
    dark: Darkness, level: float, found: _Found, speck: int
) -> tuple[Darkness, list[Component]] | None:
    """Look for digits that are paler than what the level was taken from.

    Print is darker than pencil, and a pen fades. Gives the darkness, with that of the paler
    strokes raised to the level, and all the pieces of the line; None where nothing is found.
    """
    h, w = dark.shape
    seen = cv2.dilate(found.ink.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    rest = np.where(seen, np.float32(0.0), dark)
    paler = ridge_darkness(rest)
    if not LEAST_PALE <= paler < level:
        return None
    pale = binarize(rest, level=paler)
    before = _drawn(found.kept, dark.shape)
    both = _line_in(pale | before, speck)
    heights = [piece.box.height for piece in both.kept if not _is_bar(piece, h)]
    tall = [height for height in heights if height >= 0.45 * max(heights)]
    if not tall:
        return None
    height = float(np.median(tall))

    def is_digit(piece: Component) -> bool:
        alike = 0.5 * height <= piece.box.height <= 1.35 * height
        inside = piece.box.left > 1 and piece.box.right < w - 1
        bar = _is_bar(piece, h) and (bool(found.kept) or piece.box.height < 0.75 * height)
        return alike and inside and not bar and piece.box.width <= WIDEST * height

    new = [piece for piece in both.kept if not before[piece.at][piece.ink].any()]
    digits = [piece for piece in new if is_digit(piece)]
    area = sum(piece.area for piece in digits)
    if all(_is_bar(piece, h) for piece in digits) or area < 0.5 * sum(p.area for p in new):
        return None
    kept = sorted([*found.kept, *digits], key=lambda piece: (piece.box.left, piece.box.top))
    near = cv2.dilate(pale.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    raised = np.where(near, np.minimum(dark * np.float32(level / paler), 1.0), dark)
    return raised, kept


def _pieces(ink: Ink, speck: int) -> list[Component]:
    return components(ink, least_area=max(4, speck * speck // 2), least_side=speck)


def _drawn(pieces: Sequence[Component], shape: tuple[int, ...]) -> Ink:
    written = np.zeros(shape, bool)
    for piece in pieces:
        box = piece.box
        written[box.top : box.bottom, box.left : box.right] |= piece.ink
    return written


def _has_faint(dark: Darkness, written: Ink, lines: Ink, level: float) -> bool:
    """Say whether strokes beside the digits, and beside lines, were too faint to be ink."""
    rows = np.flatnonzero(written.any(1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    height = bottom - top
    smooth = cv2.blur(dark, (3, 3))
    weak = binarize(smooth, level=level, low=0.25, high=0.4)[top:bottom]
    known = (written | lines)[top:bottom].astype(np.uint8)
    near = cv2.dilate(known, np.ones((7, 7), np.uint8)) > 0
    found = components(weak & ~near, least_area=height, least_side=round(0.4 * height))
    return bool(found)


def _scale(gray: Gray) -> float:
    h = gray.shape[0]
    if h < LEAST_HEIGHT:
        return float(min(6.0, LEAST_HEIGHT / h))
    return float(min(1.0, MOST_HEIGHT / h))


def _resized(gray: Gray, scale: float) -> Gray:
    if scale == 1.0:
        return gray
    h, w = gray.shape
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    resized: Gray = cv2.resize(gray, size, interpolation=method)
    return resized


def _is_covered(black: Ink) -> bool:
    """Say whether a black area is more than a margin: what is under it cannot be read."""
    h, w = black.shape
    inner = any(
        box.left > 0 and box.top > 0 and box.right < w and box.bottom < h
        for box in (piece.box for piece in components(black))
    )
    return inner or float(black.mean()) > MOST_MARGIN


def _has_traces(dark: Darkness, *, side: int | None = None) -> bool:
    """Say whether a crop in which nothing was read has strokes all the same.

    `side`: pixels that they are long, at least.
    """
    marked = cv2.blur(dark, (5, 5)) > TRACE_LEVEL
    side = side or max(6, min(dark.shape) // 14)
    return bool(components(marked, least_area=side, least_side=side))


def _has_blot(sized: Gray, kept: Sequence[Component], level: float) -> bool:
    """Say whether something broader than strokes lies among the digits.

    What reaches the border is a margin.
    """
    height = digit_height(kept)
    side = least_breadth(kept, most_pen=MOST_PEN * height, least=BLOT_HEIGHT * height)
    paper = float(np.quantile(sized, 0.9))
    black = (sized < paper * (1.0 - 0.6 * level)).astype(np.uint8)
    h, w = sized.shape
    line = bounds(kept)
    return any(
        one.box.left > 0
        and one.box.right < w
        and one.box.top > 0
        and one.box.bottom < h
        and line.common(one.box) > 0.5 * one.box.area
        for one in components(find_broad(black.view(bool), side))
    )


def _has_small_traces(gray: Gray, *, wide: int = 3 * MOST_HEIGHT) -> bool:
    """Say whether a large crop has strokes that vanish when it is shrunken.

    Of one that is smaller than any digit nobody can say that it has none.
    """
    h, w = gray.shape
    if h <= MOST_HEIGHT:
        return bool(min(h, w) < LEAST_SIDE)
    tiles = (
        gray[top : top + MOST_HEIGHT, left : left + wide]
        for top in range(0, h, MOST_HEIGHT)
        for left in range(0, w, wide)
    )
    return any(
        _has_traces(
            darkness(cv2.GaussianBlur(tile, (0, 0), GRAIN_PIXELS), reach=80), side=SMALL_SIDE
        )
        for tile in tiles
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Printed rules above and below a number, with the sides of boxes between them.

    `top`, `bottom`: the rows between the rules; those of the crop where a rule is missing.
    """

    lines: Ink
    top: int
    bottom: int
    has_top: bool
    has_bottom: bool


def _find_frame(ink: Ink) -> _Frame:
    """Find rules in the outer rows, and what runs straight from one rule to the other."""
    h, w = ink.shape
    thickness = max(4, h // 9)
    length = max(16, round(min(LONG_SHARE * w, 1.2 * h)))
    runs = line_mask(ink, across=length, down=0, thickness=thickness)
    lines = np.zeros(ink.shape, bool)
    top, bottom, above, below = 0, h, False, False
    busy = np.concatenate([[False], runs.any(axis=1), [False]])
    for first, last in np.flatnonzero(np.diff(busy)).reshape(-1, 2).tolist():
        if runs[first:last].any(axis=0).mean() < LONG_SHARE:
            continue
        if last <= OUTER_ROWS * h:
            top, above = max(top, last), True
        elif first >= (1 - OUTER_ROWS) * h:
            bottom, below = min(bottom, first), True
        else:
            continue
        lines[first:last] |= runs[first:last]
    if not above and (deep := _border_rule(ink)):
        top, above = deep, True
        lines[:deep] |= ink[:deep]
    if not below and (deep := _border_rule(ink[::-1])):
        bottom, below = h - deep, True
        lines[-deep:] |= ink[-deep:]
    if (above or below) and bottom - top > 0.3 * h:
        lines |= _sides(ink, top, bottom, thickness)
    return _Frame(lines, top, bottom, above, below)


def _border_rule(ink: Ink) -> int:
    """Count the rows that a rule takes along the upper border; 0 where there is none."""
    h, w = ink.shape
    most = h // 5
    runs = np.where(ink[:most].all(axis=0), most, ink[:most].argmin(axis=0))
    short = runs[(runs > 0) & (runs < most)]
    if len(short) < BORDERED * w:
        return 0
    return int(min(most, round(1.3 * float(np.median(short))) + 1))


def _sides(ink: Ink, top: int, bottom: int, thickness: int) -> Ink:
    """Mark what is straight, thin and as long as the rules are apart."""
    inner = ink[top:bottom]
    high = bottom - top
    found = line_mask(inner, across=0, down=max(8, round(0.9 * high)), thickness=thickness)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    first = stats[:, cv2.CC_STAT_TOP]
    last = first + stats[:, cv2.CC_STAT_HEIGHT]
    slack = max(1, high // 10)
    whole = (first <= slack) & (last >= high - slack)
    whole[0] = False  # what is no line
    sides = np.zeros(ink.shape, bool)
    sides[top:bottom] = whole[labels]
    return sides


def _without_lines(ink: Ink, frame: _Frame) -> tuple[Ink, bool]:
    """Take out rules and sides of boxes; say whether a side may have been a digit 1."""
    h, w = ink.shape
    thickness = max(3, h // 16)
    across = line_mask(ink, across=max(16, round(LONG_SHARE * w)), down=0, thickness=thickness)
    framed = frame.has_top and frame.has_bottom
    if framed:  # what crosses many digits is none
        across[frame.top : frame.bottom] = False
    down = line_mask(ink, across=0, down=max(16, round(0.84 * h)), thickness=thickness)
    marked = (across | down | frame.lines).astype(np.uint8)
    lines = cv2.dilate(marked, np.ones((3, 3), np.uint8)) > 0
    if not lines.any():
        return ink, False
    kept = close_strokes(ink & ~lines, ink, reach=thickness + 2)
    columns = np.flatnonzero(down.any(0))
    inner = columns[(columns > 0.06 * w) & (columns < 0.94 * w)]
    boxed = framed or (across[: h // 4].any() and across[-(h // 4) :].any())
    return kept, bool(len(inner)) and not boxed


def _without_rests(pieces: Sequence[Component], frame: _Frame, h: int) -> list[Component]:
    """Leave out what is left of printed lines: upright bars that are no digit 1.

    Ticks of a comb, which stand on the rule below: half as high as the digits, or several of
    one height below theirs; hairlines, half as thick as the pen; and, where a rule above or
    below was not found, sides of a box: the first or the last piece, far above the digits.
    """
    bars = [piece for piece in pieces if _is_bar(piece, h)]
    others = [piece for piece in pieces if not _is_bar(piece, h)]
    if not bars or not others:
        return list(pieces)
    tallest = max(piece.box.height for piece in others)
    pen = float(np.median([_thickness(piece) for piece in others]))
    left, right = min(p.box.left for p in pieces), max(p.box.right for p in pieces)
    on_rule = [b for b in bars if frame.has_bottom and b.box.bottom >= frame.bottom - 2]
    low = [b for b in on_rule if b.box.height <= 0.8 * tallest]

    def is_rest(piece: Component) -> bool:
        height = piece.box.height
        alike = sum(abs(one.box.height - height) <= 0.15 * height for one in low)
        tick = piece in low and (height <= 0.5 * tallest or alike >= SEVERAL_TICKS)
        outer = piece.box.left == left or piece.box.right == right
        side = outer and height > 1.4 * tallest and not (frame.has_top and frame.has_bottom)
        return tick or side or piece.area < 0.5 * pen * height

    rests = {id(piece) for piece in bars if is_rest(piece)}
    return [piece for piece in pieces if id(piece) not in rests]


def _thickness(piece: Component) -> float:
    """Measure the thickest place of a piece."""
    padded = np.pad(piece.ink.astype(np.uint8), 1)
    return 2.0 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max()) - 1.0


def _is_bar(piece: Component, h: int) -> bool:
    """Say whether a piece is straight, thin and upright."""
    box = piece.box
    thin = box.width <= max(4, h // 9) and box.height > 1.5 * box.width
    return thin and piece.area > 0.6 * box.width * box.height


def _may_be_line(piece: Component, h: int) -> bool:
    """Say whether a straight upright piece may be the rest of a printed box and no 1."""
    box = piece.box
    thin = box.width <= max(3, h // 16) and box.height > 0.2 * h
    return thin and piece.area > 0.75 * box.width * box.height


def _main_line(
    pieces: Sequence[Component], h: int, w: int
) -> tuple[list[Component], bool, bool]:
    """Choose the line of digits.

    Returns
    -------
    The pieces kept; whether others stand above or below; whether some are cut off beside it.
    """
    pieces = [piece for piece in pieces if not _is_box(piece, pieces)]
    inner = [piece for piece in pieces if not _is_edge(piece, h, w)]
    if not inner:
        return [], False, any(not _is_margin(piece.box, h, w) for piece in pieces)

    def worth(piece: Component) -> float:
        middle = (piece.box.top + piece.box.bottom) / 2
        return (
            piece.box.height
            * min(piece.box.width, piece.box.height)
            * (1.0 - 0.8 * abs(middle / h - 0.5))
        )

    seed = max(inner, key=worth)
    top, bottom = seed.box.top, seed.box.bottom
    for piece in sorted(inner, key=lambda p: -p.area):
        overlap = min(bottom, piece.box.bottom) - max(top, piece.box.top)
        tall = piece.box.height > 0.4 * seed.box.height
        if tall and overlap > 0.5 * min(piece.box.height, bottom - top):
            top, bottom = min(top, piece.box.top), max(bottom, piece.box.bottom)
    height = bottom - top
    kept, second_line, lost = [], False, False
    for piece in inner:
        middle = (piece.box.top + piece.box.bottom) / 2
        if top - 0.05 * height <= middle <= bottom + 0.12 * height:
            kept.append(piece)
        elif piece.box.height > 0.35 * height and piece.box.width > 0.1 * height:
            second_line = True
    for piece in pieces:
        cut_off = _is_edge(piece, h, w) and not _is_margin(piece.box, h, w)
        overlap = min(bottom, piece.box.bottom) - max(top, piece.box.top)
        lost |= cut_off and overlap > 0.4 * height
    return kept, second_line, lost


def _is_margin(box: Box, h: int, w: int) -> bool:
    """Say whether a piece runs along a side of the crop."""
    at_side = box.left <= 1 or box.right >= w - 1
    at_end = box.top <= 1 or box.bottom >= h - 1
    upright = at_side and box.height > 0.85 * h and box.width < 0.05 * w
    return upright or (at_end and box.width > 0.85 * w)


def _is_edge(piece: Component, h: int, w: int) -> bool:
    """Say whether a piece is a margin, or a small rest cut off at the side of the crop."""
    box = piece.box
    if _is_margin(box, h, w) or _is_shadow(piece, h, w):
        return True
    at_side = box.left <= 0 or box.right >= w
    at_end = box.top <= 0 or box.bottom >= h
    flat = at_end and box.height < 0.22 * h
    return (at_side and box.width < 0.07 * h and box.height < 0.6 * h) or flat


def _is_shadow(piece: Component, h: int, w: int) -> bool:
    """Say whether a narrow piece runs all along a side of the crop: a margin with a shadow."""
    sides = [
        column
        for column, there in ((0, piece.box.left <= 0), (-1, piece.box.right >= w))
        if there
    ]
    along = max((int(piece.ink[:, column].sum()) for column in sides), default=0)
    return along > 0.85 * h and piece.box.width < 0.2 * w


def _is_box(piece: Component, pieces: Sequence[Component]) -> bool:
    """Say whether a piece is a printed box: along its four sides alone, around another."""
    box = piece.box
    room = max(2, round(0.12 * min(box.width, box.height)))
    if 2 * room >= min(box.width, box.height):
        return False
    within = [
        one
        for one in pieces
        if box.left + room <= one.box.left
        and one.box.right <= box.right - room
        and box.top + room <= one.box.top
        and one.box.bottom <= box.bottom - room
    ]
    if not any(one.box.height > 0.3 * box.height for one in within):
        return False
    inside = np.count_nonzero(piece.ink[room:-room, room:-room])
    return bool(inside < 0.1 * piece.area)
