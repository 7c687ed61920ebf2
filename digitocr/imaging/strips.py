"""A crop's line of writing → a strip of fixed height, as the sequence network expects it.

A network of fixed height wants digits of about one size, and in bare crops they are anything
from a twentieth to all of the height. Three ways were thought of: the whole crop, scaled
(digits in much paper come out 6 pixels high: unreadable); a network that looks at several
scales (several times the cost); and cropping to the line of writing, which is done here. What
tells writing from rules, margins and patterns is how often darkness changes *along* a row: a
printed rule changes twice, a pattern changes in every row alike. In crops that are taller than
wide, what stands out of the paper as digits do counts first (`cell_lines`). The strip itself
keeps rules, sides of boxes and neighbors: the network has learned them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.cell_lines import find_cell_lines, without_lines
from digitocr.types import STRIP_HEIGHT as HEIGHT
from digitocr.types import STRIP_WIDTHS as WIDTHS
from digitocr.types import Box, Gray, Strip


@dataclass(frozen=True, slots=True, eq=False)
class WrittenLine:
    """A line of writing: the part of the crop that it is in, and its strip."""

    box: Box
    strip: Strip


def normalize_strip(gray: Gray) -> Strip:
    """Bring the line of writing of a crop to a strip of fixed height; see `find_lines`."""
    return find_lines(gray)[0].strip


def find_lines(
    gray: Gray, *, most: int = 1, least_contrast: int = 20, pale: bool = True
) -> tuple[WrittenLine, ...]:
    """Find lines of writing in a crop and bring them to strips of fixed height.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark ink on lighter paper, of any size. Not changed.
    most : int
        Lines wanted. A crop that is not taller than wide has one.
    least_contrast : int, gray levels
        Ink this much darker than its paper is full ink, or paper's grain would become ink.
    pale
        Whether what is much paler than the rest may be writing too. Where cells are printed it
        is print.

    Returns
    -------
    At least one, the likeliest first. A strip is (HEIGHT, W) uint8, W from 16 to the widest of
    `WIDTHS`; 0 paper to 255 ink.

    Raises
    ------
    ValueError
        If `gray` is not a two-dimensional uint8 array, or is empty.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ValueError(f"gray must be (H, W) uint8, not {gray.shape} {gray.dtype}")
    small, shrink = _shrunken(gray)
    paper = _paper(small)
    found = []
    boxes = _stand_out(small, most=most, pale=pale)
    if len(boxes) < most:
        busy = _writing(small, paper, least_contrast, most=most, pale=pale)
        boxes += [box for box in busy if all(_shared(box, one) <= 0.5 for one in boxes)]
    for box in boxes[:most]:
        top, left = int(box.top / shrink), int(box.left / shrink)
        bottom = max(top + 1, round(box.bottom / shrink))
        right = max(left + 1, round(box.right / shrink))
        line = Box(left, top, right, bottom)
        behind = paper[box.top : box.bottom, box.left : box.right]
        found.append(_written(gray, line, behind, least_contrast))
    return tuple(found)


def look_elsewhere(
    gray: Gray,
    line: Box,
    *,
    least_contrast: int = 20,
    pale: bool = True,
    least: float = 0.3,
    over: float = 0.15,
) -> tuple[WrittenLine, ...]:
    """Give what else may be the line of writing, where what was found is none.

    A dark or a dotted rule may have been taken for it: what is above or below is looked at for
    itself, and all of the crop.

    Parameters
    ----------
    line
        What was found.
    least_contrast, pale
        As of `find_lines`.
    least
        Of the crop's height: a lower part is not looked at.
    over
        Of the height of `line`: the room around it, which belongs to both.
    """
    h, w = gray.shape
    room = round(over * line.height)
    top, bottom = max((0, line.top + room), (line.bottom - room, h), key=lambda s: s[1] - s[0])
    found = []
    if least * h <= bottom - top < h:
        inner = find_lines(gray[top:bottom], least_contrast=least_contrast, pale=pale)[0]
        found.append(WrittenLine(inner.box.moved(0, top), inner.strip))
    small, _ = _shrunken(gray)
    found.append(_written(gray, Box(0, 0, w, h), _paper(small), least_contrast))
    return tuple(found)


def _written(gray: Gray, line: Box, paper: Gray, least_contrast: int) -> WrittenLine:
    """Make the strip of a line, `paper` being what is behind it, of any size."""
    width = round(line.width * HEIGHT / line.height)
    width = min(max(width, HEIGHT // 2), WIDTHS[-1])
    inked = gray[line.top : line.bottom, line.left : line.right]
    written: NDArray[np.uint8] = cv2.subtract(
        _resized(paper, width, HEIGHT), _resized(inked, width, HEIGHT)
    )
    full = _full_ink(written, least_contrast)
    strip: Strip = cv2.convertScaleAbs(written, alpha=255 / full)
    h, w = gray.shape
    inside = Box(line.left, line.top, min(line.right, w), min(line.bottom, h))
    return WrittenLine(inside, strip)


def find_small_line(gray: Gray, *, most: float = 0.5, trim: float = 0.1) -> Box | None:
    """Find the line of writing in a tall crop that is mostly something else.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark ink on lighter paper, of any size. Not changed.
    most
        Of the crop's height: a higher line is no small one.
    trim
        Of the line's height: by which the room around it is less than that of a strip.

    Returns
    -------
    The line, with little room around it; None where the crop is about as high as its line.
    """
    if not is_tall(gray):
        return None
    line = find_lines(gray)[0].box
    if line.height > most * gray.shape[0]:
        return None
    less = min(round(trim * line.height), (min(line.width, line.height) - 1) // 2)
    return Box(line.left + less, line.top + less, line.right - less, line.bottom - less)


def is_tall(gray: Gray) -> bool:
    """Say whether a crop is so tall that its line of writing may be a small part of it."""
    h, w = gray.shape
    return bool(h > 0.8 * w)


def _shrunken(gray: Gray, *, height: int = 64, area: int = 64 * 192) -> tuple[Gray, float]:
    """Shrink a crop to what is enough to find writing in: tall ones less than wide ones."""
    h, w = gray.shape
    shrink = min(1.0, max(height / h, float(np.sqrt(area / (h * w)))))
    return _resized(gray, round(w * shrink), round(h * shrink)), shrink


def _stand_out(
    small: Gray, *, most: int, pale: bool, margin: float = 0.2, side: float = 0.4
) -> list[Box]:
    """Find the lines of a tall crop by their components; `margin`, `side` as in `_writing`."""
    if not is_tall(small):
        return []
    h, w = small.shape
    found = []
    for line in find_cell_lines(small, most=most, pale=pale):
        up, out = max(1, round(margin * line.height)), 1 + round(side * line.height)
        left, top = max(0, line.left - out), max(0, line.top - up)
        found.append(Box(left, top, min(w, line.right + out), min(h, line.bottom + up)))
    return found


def _shared(a: Box, b: Box) -> float:
    """Give the area of two boxes that both have, over that of either."""
    both = a.common(b)
    return both / (a.area + b.area - both)


def _writing(
    small: Gray,
    paper: Gray,
    least_contrast: int,
    *,
    most: int,
    pale: bool,
    margin: float = 0.14,
    side: float = 0.35,
) -> list[Box]:
    """Find the lines of writing, likeliest first, with some paper around them.

    `margin` is left above and below, `side` at either end, as shares of a line's height.
    """
    dark: NDArray[np.uint8] = cv2.subtract(paper, small)
    h, w = dark.shape
    tall = is_tall(small)
    if tall:
        # A cell of a register: the scanner's black margin, and lines along its sides.
        margins = (paper < 0.45 * np.quantile(paper, 0.9)).astype(np.uint8)
        margins = cv2.dilate(margins, np.ones((5, 5), np.uint8)) > 0
        dark[margins] = 0
        dark = without_lines(dark, np.flatnonzero(margins.mean(axis=0) < 0.5))
        margin *= 2
    level = _full_ink(dark, least_contrast, share=0.985)
    if pale and not tall:  # the darkest may be a rule, beside which digits are next to nothing
        level = min(level, max(least_contrast + 1, round(1.5 * _full_ink(_changes(dark), 1))))
    if tall:  # where a small digit is one pixel in a thousand
        least_contrast //= 2
        level = int(0.7 * _full_ink(dark, least_contrast, share=0.9993))
        level = max(level, _full_ink(dark, least_contrast, share=0.997))
    runs = _writing_rows(
        dark,
        level,
        least_contrast,
        least_height=0.03 if tall else 0.15,
        cut_off=0.2 if tall else 1.0,
    )
    if tall and runs[0][1] - runs[0][0] > h // 2:
        # Noisy paper is busy everywhere: writing is what stands out of it.
        standing_out = _writing_rows(
            dark, level, least_contrast, share=0.5, least_height=0.03, cut_off=0.2
        )
        runs = [runs[0], *standing_out]
    found = []
    for top, bottom in runs[: most if tall else 1]:
        ink = level
        if tall and bottom - top < h // 2:
            inner = dark[top:bottom]
            ink = _full_ink(inner, least_contrast, share=0.99)
            first, last = _writing_rows(
                inner, ink, least_contrast, least_height=0.4, cut_off=1.0
            )[0]
            top, bottom = top + first, top + last
        busy = dark[top:bottom]
        first, last = _whole_digits(dark > ink // 2, top, bottom)
        room = max(1, round(margin * (bottom - top)))
        top, bottom = max(0, min(top - room, first)), min(h, max(bottom + room, last))
        if pale and not tall:
            columns = _written_columns(busy, least_contrast)
        else:
            columns = np.flatnonzero((dark[top:bottom] > ink // 2).any(axis=0))
        left, right = 0, w
        if len(columns):
            room = round(side * (bottom - top))
            left, right = max(0, int(columns[0]) - room), min(w, int(columns[-1]) + 1 + room)
        found.append(Box(left, top, right, bottom))
    return found


def _written_columns(
    rows: NDArray[np.uint8], least_contrast: int, *, share: float = 0.35
) -> NDArray[np.intp]:
    """Find the columns where darkness changes along the rows by a `share` of what strokes do.

    How dark they are does not count: beside a strong rule or in a shadow faint digits are next
    to nothing, and a number without its first ones is another number.
    """
    changes = _changes(rows)
    full = _full_ink(changes, least_contrast // 2)
    return np.flatnonzero((changes > share * full).any(axis=0))


def _whole_digits(
    ink: NDArray[np.bool_],
    top: int,
    bottom: int,
    *,
    inside: float = 0.35,
    tallest: float = 2.5,
    broadest: float = 2.0,
) -> tuple[int, int]:
    """Widen rows to the whole of digits that they cut: a large 5 before small zeros.

    Of a component at least `inside` of its height must lie in the rows, and it may be `tallest`
    times as tall as they are and `broadest` times as broad as tall, or it is a rule.
    """
    stats = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)[2][1:]
    first, height, width = (
        stats[:, one] for one in (cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH)
    )
    last = first + height
    within = np.minimum(last, bottom) - np.maximum(first, top)
    cut = (within >= inside * height) & (height <= tallest * (bottom - top))
    cut &= (width <= broadest * height) & (within >= 0.4 * (bottom - top))
    if not cut.any():
        return top, bottom
    return min(top, int(first[cut].min())), max(bottom, int(last[cut].max()))


def _resized(image: Gray, width: int, height: int) -> Gray:
    width, height = max(1, width), max(1, height)
    if image.shape == (height, width):
        return image
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    resized: Gray = cv2.resize(image, (width, height), interpolation=method)
    return resized


def _paper(gray: Gray) -> Gray:
    """Fill in what is thinner than an eighth of the height: the paper behind the strokes.

    A black margin is broader and stays: nothing is written on it.
    """
    h, w = gray.shape
    half = _resized(gray, w // 2, h // 2) if min(h, w) >= 32 else gray
    reach = max(5, half.shape[0] // 4) | 1
    filled = cv2.morphologyEx(half, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    smooth = cv2.blur(filled, (reach, reach), borderType=cv2.BORDER_REPLICATE)
    return _resized(smooth, w, h)


def _full_ink(dark: NDArray[np.uint8], least: int, *, share: float = 0.985) -> int:
    """Find the darkness that only the darkest pixels exceed."""
    counts = np.cumsum(np.bincount(dark.ravel(), minlength=256))
    return max(least, int(np.searchsorted(counts, share * counts[-1])))


def _changes(dark: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Say how much darkness changes from a column to the next; of one alone, how dark it is."""
    if dark.shape[1] < 2:
        return dark
    return np.asarray(cv2.absdiff(dark[:, 1:], dark[:, :-1]), np.uint8)


def _writing_rows(
    dark: NDArray[np.uint8],
    level: int,
    least_contrast: int,
    *,
    faint: float = 0.3,
    share: float = 0.2,
    least_height: float,
    cut_off: float,
) -> list[tuple[int, int]]:
    """Find the rows of lines of writing, likeliest first: top and bottom, excluded.

    Of the runs of rows where darkness changes often the one with the most changes counts, the
    taller and the more in the middle the better: a dotted rule changes often, but is low. One
    at the crop's edge counts `cut_off` times as much.
    """
    h = len(dark)
    if level <= least_contrast:
        return [(0, h)]
    floor = int(faint * level)
    clipped: NDArray[np.uint8] = np.minimum(dark, level)
    clipped[clipped < floor] = 0
    profile = _changes(clipped).sum(axis=1, dtype=np.float64)
    reach = max(1, h // 12) | 1
    padded = np.pad(profile, reach // 2, mode="edge")
    profile = np.convolve(padded, np.full(reach, 1 / reach), "valid")
    quiet = np.interp(0.1 * (h - 1), np.arange(h), np.sort(profile))  # a tenth is below it
    profile = np.maximum(profile - 0.8 * quiet, 0.0)
    busy = np.zeros(h + 2, np.int8)
    busy[1:-1] = profile > share * profile.max()
    runs = np.flatnonzero(np.diff(busy)).reshape(-1, 2)
    if not len(runs):
        return [(0, h)]

    def worth(run: NDArray[np.int64]) -> float:
        start, stop = run
        central = 1.0 - 0.8 * abs((start + stop) / 2 / h - 0.5)
        whole = cut_off if (start == 0) != (stop == h) else 1.0
        return float(profile[start:stop].sum() * (stop - start) ** 2 * central * whole)

    found = []
    for run in sorted(runs, key=worth, reverse=True):
        top, bottom = (int(row) for row in run)
        missing = max(0, round(least_height * h) - (bottom - top))
        found.append((max(0, top - missing // 2), min(h, bottom + missing - missing // 2)))
    return found
