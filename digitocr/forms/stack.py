"""A stack of filled scans of one form → which of them fit, and where each lies on one frame.

No page is the truth: every page is matched with a few others by its features, the one that most
pages fit without being bent is the center, and its frame, turned level and brought to a
resolution for reading, is that of the template. What pages are laid by from then on is the
print they share, by the same measurement that reading uses, so a page that does not fit here
is one that could not be read with the template either.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from digitocr.imaging.landmarks import (
    Features,
    View,
    apply,
    find_features,
    from_features,
    resize,
    view_of,
)
from digitocr.types import MM_PER_INCH, Gray, Homography, Page, Points

MOST_SIDE = 3600  # pixels: a longer page is shrunken; A4 at 300 dpi is 3508
MOST_CENTERS = 12  # pages that are tried as the center of the stack
MOST_OF_THEM = 0.6  # share of the pages that ends the search for a center
LEAST_PAGES = 5
TEMPLATE_DPI = (150.0, 200.0)  # the template has the first that is as fine as most scans
GUESSED_DPI = 150.0
PAPERS_MM = ((210.0, 297.0), (215.9, 279.4), (148.0, 210.0), (297.0, 420.0), (105.0, 148.0),
             (215.9, 355.6), (139.7, 215.9))  # fmt: skip
PAPER_TOLERANCE = 0.04
AGREED = 0.8  # share of the scans that say the same resolution
LEAST_LINE_MM = 15.0
MOST_SKEW_DEG = 20.0
THREADS = 4
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """A page of the stack, with what it is called before people and what it is found by."""

    source: str
    page: Page
    view: View
    features: Features | None


@dataclass(frozen=True, slots=True)
class Unfit:
    """A page that is not of the form, and why."""

    source: str
    cause: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The page of the template: its size in pixels, and how sure its resolution is."""

    width: int
    height: int
    dpi: float
    dpi_known: bool


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Pages that show the same print: where each lies on the frame, page → template.

    `from_center` lays the page on which they were gathered.
    """

    frame: Frame
    members: tuple[tuple[Scanned, Homography], ...]
    from_center: Homography


def scanned(source: str, page: Page) -> Scanned:
    """Make a page ready to be matched; a very large one is shrunken."""
    scale = min(1.0, MOST_SIDE / max(page.image.shape))
    dpi = None if page.dpi is None else page.dpi * scale
    page = replace(page, image=resize(page.image, scale), dpi=dpi)
    view = view_of(page.image)
    return Scanned(source, page, view, find_features(view))


def turned(one: Scanned, quarters: int) -> Scanned:
    """Turn a page by quarters of a turn, against the clock."""
    image = np.ascontiguousarray(np.rot90(one.page.image, quarters))
    return scanned(one.source, replace(one.page, image=image))


def in_threads(work: Callable[[Given], Made], values: Iterable[Given]) -> list[Made]:
    """Do the same to every value, some at once: OpenCV lets other threads run."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, values))


def gather(pages: Sequence[Scanned], blank: Scanned | None = None) -> Group | None:
    """Find the pages that show the same print, and one frame for them.

    Parameters
    ----------
    blank
        The empty form, where there is one: it is the center then.

    Returns
    -------
    None where no two pages match.
    """
    if blank is not None:
        return _group(blank, [blank, *pages], _matches(blank, [blank, *pages]), blank)
    best: dict[int, Homography] = {}
    first = 0
    for index in _candidates(len(pages)):
        if index in best:
            continue
        found = _matches(pages[index], pages)
        if len(found) > len(best):
            best, first = found, index
        if len(best) >= MOST_OF_THEM * len(pages):
            break
    if len(best) < 2:
        return None
    center = _least_bent(pages, best)
    back: Homography = np.linalg.inv(best[center]).astype(np.float64)
    starts = {index: back @ matrix for index, matrix in best.items()}
    starts[first] = back
    return _group(pages[center], pages, starts)


def _candidates(count: int) -> list[int]:
    """Spread the pages that are tried first over the stack."""
    most = min(count, MOST_CENTERS)
    return [round(place) for place in np.linspace(0, count - 1, most)]


def _matches(center: Scanned, pages: Sequence[Scanned]) -> dict[int, Homography]:
    """Lay every page on the center by features: index → homography, page → center."""
    dpi = _guessed_dpi(center.page.image)

    def onto(one: Scanned) -> Homography | None:
        return np.eye(3) if one is center else from_features(one.features, center.features, dpi)

    matrices = in_threads(onto, pages)
    return {index: matrix for index, matrix in enumerate(matrices) if matrix is not None}


def _least_bent(pages: Sequence[Scanned], maps: dict[int, Homography]) -> int:
    """Choose the page onto which the others come with the least bending, and upright."""
    turns = {index: _quarter(matrix, pages[index]) for index, matrix in maps.items()}
    upright = Counter(turns.values()).most_common(1)[0][0]
    level = [index for index in maps if turns[index] == upright]

    def bending(index: int) -> float:
        back = np.linalg.inv(maps[index])
        return float(np.median([_bend(back @ maps[i], pages[i]) for i in maps]))

    return min(level, key=bending)


def _quarter(matrix: Homography, one: Scanned) -> int:
    """Say by how many quarter turns a map turns a page."""
    h, w = one.page.image.shape
    middle, right = apply(matrix, np.array([[w / 2, h / 2], [w / 2 + 10, h / 2]], np.float64))
    return round(math.atan2(*(right - middle)[::-1]) / (math.pi / 2)) % 4


def _bend(matrix: Homography, one: Scanned) -> float:
    """Measure how far a map is from a similarity, as a share of the page."""
    h, w = one.page.image.shape
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h], [w / 2, h / 2]], np.float64)
    mapped = apply(matrix, corners)
    similar, _ = cv2.estimateAffinePartial2D(corners, mapped, ransacReprojThreshold=1e9)
    if similar is None:
        return math.inf
    off = np.column_stack([corners, np.ones(len(corners))]) @ similar.T - mapped
    size = float(np.ptp(mapped, axis=0).max())
    return float(np.sqrt((off**2).sum(1).mean())) / max(size, 1.0)


def _scale(matrix: Homography, one: Scanned) -> float:
    """Measure how much a map enlarges the middle of a page."""
    h, w = one.page.image.shape
    points = np.array([[w / 2, h / 2], [w / 2 + 10, h / 2], [w / 2, h / 2 + 10]], np.float64)
    middle, right, down = apply(matrix, points)
    area = abs(float(np.linalg.det(np.array([right - middle, down - middle]))))
    return math.sqrt(area) / 10


def _group(
    center: Scanned,
    pages: Sequence[Scanned],
    maps: dict[int, Homography],
    blank: Scanned | None = None,
) -> Group:
    image = center.page.image
    dpi, known = _dpi_of_center(center, [(pages[i], matrix) for i, matrix in maps.items()])
    scan_dpis = [dpi / _scale(matrix, pages[i]) for i, matrix in maps.items()]
    usual = float(np.quantile(scan_dpis, 0.75))
    wanted = next((one for one in TEMPLATE_DPI if usual <= 1.1 * one), TEMPLATE_DPI[-1])
    scale = wanted / dpi
    h, w = image.shape
    frame = Frame(round(w * scale), round(h * scale), wanted, known)
    level = _leveling(image, dpi)
    to_frame = np.diag([scale, scale, 1.0]) @ level
    members = tuple(
        (pages[i], to_frame @ matrix) for i, matrix in maps.items() if pages[i] is not blank
    )
    return Group(frame, members, to_frame)


def _guessed_dpi(image: Gray) -> float:
    """Guess the resolution of a page from the proportions of paper."""
    short, long = sorted(image.shape)
    ratio = long / short
    a4, letter = PAPERS_MM[0], PAPERS_MM[1]
    paper = min((a4, letter), key=lambda one: abs(ratio - one[1] / one[0]))
    return float(long / paper[1] * MM_PER_INCH)


def _dpi_of_center(
    center: Scanned, members: Sequence[tuple[Scanned, Homography]]
) -> tuple[float, bool]:
    """Say the resolution of the center, and whether a scan said it.

    What a file says is believed where it makes the page a usual size of paper, and where
    nearly all files say the same.
    """
    every = [
        (one.page.dpi * _scale(matrix, one), _is_paper(one.page.image, one.page.dpi))
        for one, matrix in members
        if one.page.dpi is not None
    ]
    said = [dpi for dpi, usual in every if usual]
    if said:
        return float(np.median(said)), True
    if every:
        middle = float(np.median([dpi for dpi, _ in every]))
        same = sum(abs(dpi / middle - 1) < PAPER_TOLERANCE for dpi, _ in every)
        if same >= AGREED * len(members):
            return middle, True
    return _guessed_dpi(center.page.image), False


def _is_paper(image: Gray, dpi: float) -> bool:
    short, long = (side / dpi * MM_PER_INCH for side in sorted(image.shape))
    return any(
        abs(short / one[0] - 1) < PAPER_TOLERANCE and abs(long / one[1] - 1) < PAPER_TOLERANCE
        for one in PAPERS_MM
    )


def _leveling(image: Gray, dpi: float) -> Homography:
    """Find the affine map that makes printed lines level and upright, about the middle."""
    scale = min(1.0, 150.0 / dpi)
    small = resize(image, scale)
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD)
    segments = detector.detect(small)[0]
    h, w = image.shape
    if segments is None:
        return np.eye(3)
    ends: Points = segments.reshape(-1, 4).astype(np.float64)
    along = ends[:, 2:] - ends[:, :2]
    length = np.hypot(*along.T)
    kept = length > LEAST_LINE_MM / MM_PER_INCH * dpi * scale
    angle = np.arctan2(along[:, 1], along[:, 0])
    level = _usual_angle(angle[kept], length[kept])
    upright = _usual_angle(angle[kept] - np.pi / 2, length[kept])
    if level is None:
        level = upright if upright is not None else 0.0
    if upright is None or abs(upright - level) > math.radians(2.0):
        upright = level
    # Columns are where the page's own axes point; its inverse takes them to level and upright.
    axes = np.array(
        [[math.cos(level), -math.sin(upright)], [math.sin(level), math.cos(upright)]]
    )
    turn = np.linalg.inv(axes)
    middle = np.array([w / 2, h / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = middle - turn @ middle
    return matrix


def _usual_angle(angles: Points, lengths: Points) -> float | None:
    """Find the median angle near 0, by length; None where hardly a line runs there."""
    near = (angles + np.pi / 2) % np.pi - np.pi / 2
    kept = np.abs(near) < math.radians(MOST_SKEW_DEG)
    if kept.sum() < 2:
        return None
    order = np.argsort(near[kept])
    total = np.cumsum(lengths[kept][order])
    return float(near[kept][order][np.searchsorted(total, total[-1] / 2)])
