"""Lay a page onto its template: estimate the homography, refine it, measure what is left.

Two rungs give a first homography (`landmarks`): printed anchors, then features of the
empty form. Where the form has a reference, the first estimate is then refined and judged by
the same measurement: blocks of the printed form are looked for around the place where they
should be. Their displacements mend the homography, and what is left of them is the residual.
A page on which too few blocks are found is another page, whatever the first rung said: this
is what keeps a page from being read in the wrong place. Anchors alone cannot do that, because
forms of one house share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.errors import RegistrationError
from digitocr.imaging.binarization import Darkness, darkness
from digitocr.imaging.landmarks import (
    Features,
    Markers,
    View,
    apply,
    find_features,
    find_markers,
    find_squares,
    from_anchors,
    from_features,
    is_sane,
    resize,
    view_of,
)
from digitocr.types import (
    MM_PER_INCH,
    Box,
    Gray,
    Homography,
    Page,
    PageTemplate,
    Points,
    RegisteredPage,
)

MATCH_DPI = 100.0  # blocks are compared at this resolution
BLOCK_MM = 11.0
BLOCK_PITCH_MM = 6.0
MOST_BLOCKS = 40
FLAT = 1e-3  # standard deviation of the darkness of paper that has nothing on it
GOOD_SCORE = 0.55  # normalized correlation of a block that was found
# How far blocks are looked for: far in a picture that many times smaller first, and then near.
FAR_MM, SHRINK = 6.0, 2
NEAR_SEARCH_MM = 2.0
# Where writing covers a block, it is known by what of it nobody writes in: this share at least,
# with print on it (standard deviation of the darkness).
LEAST_UNWRITTEN, LEAST_PRINT = 0.25, 0.03
LEAST_SUPPORT = 0.7  # share of blocks that must be found near their places
TIE = 0.03  # forms whose support differs by less are not told apart
NEAR_MM = 1.0
BOX_REACH_MM = 0.9  # how far from its place the line of a box may be
BOX_DARKNESS = 0.12


@dataclass(frozen=True, eq=False)
class Reference:
    """A page template made ready to be found: everything that is computed once a form.

    `scale` is match pixels per template pixel; `blocks` are left, top of square blocks of
    `side` match pixels in `dark`, the darkness of the empty form; `dark_small` is the same
    `SHRINK` times as small. `unwritten` is 1 where nobody writes, and 0 in the fields.
    """

    template: PageTemplate
    scale: float
    dark: Darkness | None
    dark_small: Darkness | None
    blocks: NDArray[np.intp]
    side: int
    boxes: tuple[Box, ...] = ()
    unwritten: Darkness | None = None

    @cached_property
    def features(self) -> Features | None:
        """Features of the empty form: what a page without anchors is found by, and no other."""
        empty = self.template.reference
        return None if empty is None else find_features(view_of(empty))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How well a page lies on a template."""

    reference: Reference
    homography: Homography
    residual: float  # template pixels, RMS
    marks: NDArray[np.float64]  # printed blocks (or anchors); see `RegisteredPage`

    @property
    def support(self) -> float:
        """Share of the printed blocks that were found in their places."""
        return float(self.marks[:, 2].mean())

    by_print: bool = True  # judged by the print of the empty form, not by anchors alone

    @property
    def residual_mm(self) -> float:
        return self.residual / self.reference.template.dpi * MM_PER_INCH


def prepare(
    template: PageTemplate, boxes: Sequence[Box] = (), fields: Sequence[Box] = ()
) -> Reference:
    """Compute once what every registration against this page template needs.

    Parameters
    ----------
    boxes
        Where the form has boxes printed, in template pixels: all there is to know a page by
        besides its anchors, where there is no picture of the empty form.
    fields
        Where people write, in template pixels: print that is covered there is not missing.
    """
    scale = min(1.0, MATCH_DPI / template.dpi)
    side = round(BLOCK_MM / MM_PER_INCH * template.dpi * scale)
    if template.reference is None:
        nothing = np.empty((0, 2), np.intp)
        return Reference(template, scale, None, None, nothing, side, tuple(boxes))
    small = resize(template.reference, scale)
    dark = _match_darkness(small, template.dpi * scale)
    blocks = _choose_blocks(dark, side)
    h, w = dark.shape
    dark_small = cv2.resize(dark, (w // SHRINK, h // SHRINK), interpolation=cv2.INTER_AREA)
    unwritten = np.ones_like(dark)
    for field in fields:
        top, bottom = round(field.top * scale), round(field.bottom * scale)
        left, right = round(field.left * scale), round(field.right * scale)
        unwritten[max(0, top) : bottom, max(0, left) : right] = 0
    unwritten = cv2.erode(unwritten, np.ones((5, 5), np.uint8))  # writing runs over, a little
    return Reference(template, scale, dark, dark_small, blocks, side, unwritten=unwritten)


def register(
    page: Page,
    references: Sequence[Reference],
    *,
    max_residual_mm: float,
    view: View | None = None,
) -> RegisteredPage:
    """Find which template a page is, and lay it onto that.

    Parameters
    ----------
    references
        Every page template that the page may be, from `prepare`.
    max_residual_mm : millimetres of paper
        A page whose printed blocks lie further off than this (RMS) does not fit.
    view
        Of the page, where there is one already.

    Raises
    ------
    RegistrationError
        If the page fits none of them, or two of them equally well.
    """
    view = view or view_of(page.image)
    templates = [one.template for one in references]
    squares = find_squares(view)
    markers = find_markers(view, templates, in_corners=True)
    fits = _judge_anchors(view, references, squares, markers, max_residual_mm)
    good = [fit for fit in fits if _fits(fit, max_residual_mm)]
    if not any(fit.by_print for fit in good):
        rest = [one for one in references if all(fit.reference is not one for fit in good)]
        markers = find_markers(view, templates)
        fits += _judge_anchors(view, rest, squares[:0], markers, max_residual_mm)
        good = [fit for fit in fits if _fits(fit, max_residual_mm)]
    if not good:
        found = find_features(view)
        for reference in references:
            by_features = from_features(found, reference.features, reference.template.dpi)
            if by_features is not None:
                fits += _judge(view, reference, by_features)
        good = [fit for fit in fits if _fits(fit, max_residual_mm)]
    if not good:
        raise RegistrationError(_cause(fits, max_residual_mm))
    best = _choose(good)
    return RegisteredPage(
        document=page.document,
        number=page.number,
        template=best.reference.template,
        image=page.image,
        homography=best.homography,
        residual=best.residual,
        marks=best.marks,
        color=page.color,
    )


def _judge_anchors(
    view: View,
    references: Sequence[Reference],
    squares: Points,
    markers: Markers,
    max_residual_mm: float,
) -> list[Fit]:
    """Judge every form by its anchors, up and down; one found with all its print only once."""
    fits: list[Fit] = []
    for reference in references:
        for start in from_anchors(view, reference.template, squares, markers):
            found = _judge(view, reference, start)
            fits += found
            if any(
                fit.by_print and fit.support == 1.0 and _fits(fit, max_residual_mm)
                for fit in found
            ):
                break
    return fits


def _choose(good: Sequence[Fit]) -> Fit:
    """Choose the fit that is right, or refuse to guess.

    Found print is better evidence than found anchors, which forms of one house share.
    """
    printed = [fit for fit in good if fit.by_print]
    candidates = printed or good
    best = max(candidates, key=lambda fit: fit.support)
    same = [fit for fit in candidates if fit.support > best.support - TIE]
    if any(fit.reference is not best.reference for fit in same):
        raise RegistrationError(
            "fits two forms equally well; give --forms the right one alone, or tell them "
            'apart by reference = "blank.png" or aruco anchors of their own'
        )
    # Anchors at all four corners do not tell up from down, where there are no boxes to do it.
    if not printed and len(same) > 1:
        raise RegistrationError(
            'fits its form both ways up; add reference = "blank.png" to the form, or a fifth '
            "anchor"
        )
    return best


def _fits(fit: Fit, max_residual_mm: float) -> bool:
    return fit.support >= LEAST_SUPPORT and fit.residual_mm <= max_residual_mm


def _cause(fits: Sequence[Fit], max_residual_mm: float) -> str:
    near = max(fits, key=lambda fit: fit.support, default=None)
    if near is None or near.support < LEAST_SUPPORT:
        share = f"; at best {near.support:.0%} of a form was found" if near else ""
        return f"is no page of a known form{share}; see --forms, or rescan the sheet"
    return (
        f"the printed form lies {near.residual_mm:.1f} mm off where it should be "
        f"(at most {max_residual_mm:.1f}); rescan the sheet flat"
    )


def coverage(page: RegisteredPage) -> tuple[float, float]:
    """Say what share of the sheet lies on the scan, and what share of the scan it takes."""
    h, w = page.image.shape
    sheet = _outline(page)
    whole = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    common, _ = cv2.intersectConvexConvex(sheet, whole)
    area = float(cv2.contourArea(sheet))
    return float(common) / max(area, 1.0), float(common) / (h * w)


def without(page: RegisteredPage) -> Gray:
    """Paint the sheet over, as bright as its paper: what is left is what lies beside it."""
    rest = page.image.copy()
    outline = np.round(_outline(page)).astype(np.int32)
    cv2.fillPoly(rest, [outline], int(np.quantile(page.image, 0.8)))
    return rest


def _outline(page: RegisteredPage) -> NDArray[np.float32]:
    template = page.template
    w, h = template.width, template.height
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float64)
    back = np.linalg.inv(page.homography).astype(np.float64)
    return apply(back, corners).astype(np.float32)


def _match_darkness(gray: Gray, dpi: float) -> Darkness:
    dark = darkness(gray, reach=round(dpi * 0.2), margins=False)
    # Hairlines of one pixel jump between scans; a little blur makes them comparable.
    blurred: Darkness = cv2.GaussianBlur(dark, (0, 0), 1.0)
    return blurred


def _choose_blocks(dark: Darkness, side: int) -> NDArray[np.intp]:
    """Pick squares of the form that can be found again in both directions, spread over it."""
    corner = cv2.cornerMinEigenVal(dark, 7)
    # A very black corner must not outweigh ten plain ones.
    corner = np.sqrt(np.maximum(corner, 0.0))
    total = cv2.boxFilter(corner, -1, (side, side), anchor=(0, 0), normalize=False)
    h, w = dark.shape
    pitch = max(4, round(side * BLOCK_PITCH_MM / BLOCK_MM))
    tops, lefts = np.arange(2, h - side - 2, pitch), np.arange(2, w - side - 2, pitch)
    if not len(tops) or not len(lefts):
        return np.empty((0, 2), np.intp)
    grid = total[np.ix_(tops, lefts)]
    order = np.argsort(-grid, axis=None)
    least = 0.15 * float(np.quantile(grid, 0.98))
    chosen: list[tuple[int, int]] = []
    for index in order:
        row, column = np.unravel_index(index, grid.shape)
        top, left = int(tops[row]), int(lefts[column])
        if grid[row, column] <= least or len(chosen) >= MOST_BLOCKS:
            break
        apart = [max(abs(left - x), abs(top - y)) >= side * 0.9 for x, y in chosen]
        if all(apart):
            chosen.append((left, top))
    return np.array(chosen, np.intp).reshape(-1, 2)


# ---------------------------------------------------------------- refining and judging


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """The darkness of a page laid onto a form, `margin` pixels wider at every side.

    It is `shrink` times as small as the darkness of the form, and blocks are looked for
    `search` pixels around their places.
    """

    dark: Darkness
    margin: int
    shrink: int
    search: int


def refine(view: View, reference: Reference, start: Homography) -> Fit | None:
    """Refine a first homography, page → template, by the print, and say how well it fits."""
    return next(iter(_judge(view, reference, start)), None)


def _judge(view: View, reference: Reference, start: Homography) -> list[Fit]:
    """Refine a first homography by the printed blocks, and say how well it fits."""
    if not is_sane(start):  # noise for marks: all of a page on one line
        return []
    if reference.dark is None or len(reference.blocks) < 6:
        fit = _judge_by_anchors(view, reference, start)
        return [] if fit is None else [fit]
    matrix = start
    centers: Points = (reference.blocks + reference.side / 2.0).astype(np.float64)
    to_match = np.diag([reference.scale, reference.scale, 1.0])
    per_mm = reference.template.dpi * reference.scale / MM_PER_INCH
    for shrink in (SHRINK, 1):
        laid = _lay(view, reference, matrix, shrink=shrink)
        shift, score = _shifts(laid, reference)
        found = score >= GOOD_SCORE
        if found.sum() < max(5, 0.2 * len(found)):
            near = found & (np.hypot(*shift.T) < NEAR_MM * per_mm)
            return [Fit(reference, matrix, float("inf"), _marks(reference, centers, near))]
        update = _fit_shifts(centers[found] + shift[found], centers[found], per_mm)
        if update is None:
            return [_measured(_lay(view, reference, matrix), reference, matrix)]
        matrix = np.linalg.inv(to_match) @ update @ to_match @ matrix
    return [_measured(laid, reference, matrix, update)]


def measured(
    image: Gray, reference: Reference, homography: Homography
) -> NDArray[np.float64] | None:
    """Measure how the print of a page lies that was laid before; see `RegisteredPage.marks`.

    None where the form has no print to measure by.
    """
    if reference.dark is None or len(reference.blocks) < 6:
        return None
    laid = _lay(view_of(image), reference, homography)
    return _measured(laid, reference, homography).marks


def _measured(
    laid: _Laid, reference: Reference, matrix: Homography, update: Homography | None = None
) -> Fit:
    """Say how well a page fits; `update` moves it from where it was laid before."""
    per_mm = reference.template.dpi * reference.scale / MM_PER_INCH
    shift, score = _shifts(laid, reference, update)
    distance = np.hypot(*shift.T)
    found = score >= GOOD_SCORE
    near = found & (distance < NEAR_MM * per_mm)
    residual = float(np.sqrt(np.mean(distance[found] ** 2))) if found.any() else float("inf")
    centers: Points = (reference.blocks + reference.side / 2.0).astype(np.float64)
    marks = _marks(reference, centers, near, np.where(found[:, None], shift, np.nan))
    return Fit(reference, matrix, residual / reference.scale, marks)


def _marks(
    reference: Reference, centers: Points, near: NDArray[np.bool_], shifts: Points | None = None
) -> Points:
    """List where blocks are on the template, which were found there, and how far off."""
    if shifts is None:
        shifts = np.full_like(centers, np.nan)
    off = shifts / reference.scale
    return np.column_stack([centers / reference.scale, near.astype(np.float64), off])


def _lay(view: View, reference: Reference, matrix: Homography, *, shrink: int = 1) -> _Laid:
    """Lay a page onto a form by a homography, page → template.

    `shrink` lays it that many times as small: quick, for long searches.
    """
    assert reference.dark is not None
    dpi = reference.template.dpi * reference.scale / shrink
    search_mm = FAR_MM if shrink > 1 else NEAR_SEARCH_MM
    search = round(search_mm * dpi / MM_PER_INCH) + 2
    margin = search if shrink > 1 else 2 * search  # it may be moved by as much again
    h, w = (side // shrink + 2 * margin for side in reference.dark.shape)
    to_page = np.diag([1 / view.scale, 1 / view.scale, 1.0])
    to_laid = np.diag([reference.scale / shrink, reference.scale / shrink, 1.0])
    to_laid[:2, 2] = margin
    laid = cv2.warpPerspective(
        view.image,
        to_laid @ matrix @ to_page,
        (w, h),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _Laid(_match_darkness(laid, dpi), margin, shrink, search)


def _shifts(
    laid: _Laid, reference: Reference, update: Homography | None = None
) -> tuple[Points, NDArray[np.float64]]:
    """Look for every block around its place: how far off it is, and how alike (–1 to 1).

    `update`, in pixels of the darkness of the form, moves the page before.
    """
    printed = reference.dark if laid.shrink == 1 else reference.dark_small
    assert printed is not None
    search, side = laid.search, reference.side // laid.shrink
    room = side + 2 * search
    shifts = np.zeros((len(reference.blocks), 2))
    scores = np.zeros(len(reference.blocks))
    if update is not None:
        update = update @ _moved(-laid.margin, -laid.margin)
    for i, (left, top) in enumerate((reference.blocks // laid.shrink).tolist()):
        block = printed[top : top + side, left : left + side]
        x, y = left - search, top - search
        if update is None:
            y, x = y + laid.margin, x + laid.margin
            around = laid.dark[y : y + room, x : x + room]
        else:
            around = cv2.warpPerspective(
                laid.dark,
                _moved(-x, -y) @ update,
                (room, room),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        offset, scores[i] = best_offset(block, around)
        if scores[i] < GOOD_SCORE and laid.shrink == 1 and reference.unwritten is not None:
            mask = reference.unwritten[top : top + side, left : left + side]
            if _is_evidence(block, mask):
                offset, scores[i] = best_offset(block, around, mask)
        shifts[i] = (offset - search) * laid.shrink
    return shifts, scores


def _is_evidence(block: Darkness, unwritten: Darkness) -> bool:
    """Say whether a block that people write in has enough print beside that to be known by."""
    share = float(unwritten.mean())
    return LEAST_UNWRITTEN <= share < 1.0 and (float(block[unwritten > 0].std()) >= LEAST_PRINT)


def _moved(x: float, y: float) -> Homography:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def best_offset(
    block: Darkness, around: Darkness, mask: Darkness | None = None
) -> tuple[NDArray[np.float64], float]:
    """Find `block` in `around`: x, y of its corner, to part of a pixel, and how alike.

    Likeness is normalized cross-correlation; the peak is placed by a parabola an axis. Where
    `mask` is 0 the block is not compared.
    """
    response = cv2.matchTemplate(around, block, cv2.TM_CCOEFF_NORMED, mask=mask)
    if mask is not None:
        response = np.where(np.isfinite(response), response, -1.0).astype(np.float32)
    _, score, _, (x, y) = cv2.minMaxLoc(response)
    under = around[y : y + block.shape[0], x : x + block.shape[1]]
    if mask is None and cv2.meanStdDev(under)[1].item() < FLAT:
        # Rounding makes a perfect likeness of what has nothing on it.
        response = np.where(_flat(around, block.shape), -1.0, response).astype(np.float32)
        _, score, _, (x, y) = cv2.minMaxLoc(response)
    if not np.isfinite(score):
        return np.array([x, y], np.float64), 0.0
    right = down = 0.0
    if 0 < x < response.shape[1] - 1:
        right = _peak(*response[y, x - 1 : x + 2].tolist())
    if 0 < y < response.shape[0] - 1:
        down = _peak(*response[y - 1 : y + 2, x].tolist())
    return np.array([x + right, y + down]), float(score)


def _flat(around: Darkness, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark where a block of a shape would lie on paper without anything on it."""
    size = shape[1], shape[0]
    values = around.astype(np.float64)
    mean, square = (
        cv2.boxFilter(one, -1, size, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        for one in (values, values**2)
    )
    rows, columns = around.shape[0] - shape[0] + 1, around.shape[1] - shape[1] + 1
    flat: NDArray[np.bool_] = (square - mean**2)[:rows, :columns] < FLAT**2
    return flat


def _peak(before: float, here: float, after: float) -> float:
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else min(max((before - after) / (2 * bend), -0.5), 0.5)


def _fit_shifts(found: Points, wanted: Points, per_mm: float) -> Homography | None:
    """Fit where blocks were found → where they should be, against outliers.

    With few blocks an affine map is all they can carry: a homography would swing at the
    corners.
    """
    tolerance = 0.8 * per_mm
    if len(found) >= 12:
        matrix, _ = cv2.findHomography(found, wanted, cv2.USAC_MAGSAC, tolerance)
        if matrix is not None and is_sane(matrix):
            return np.asarray(matrix, np.float64)
    affine, _ = cv2.estimateAffine2D(found, wanted, ransacReprojThreshold=tolerance)
    if affine is None:
        return None
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def _judge_by_anchors(view: View, reference: Reference, start: Homography) -> Fit | None:
    """Judge a form without a reference by whether its anchors keep their shape.

    Four points fit any homography exactly, so the residual is that of the best similarity:
    a flat scan keeps it small, and anything else is no flat scan of this form.
    """
    anchors = reference.template.anchors
    targets = np.array([anchor.center for anchor in anchors], np.float64)
    if len(targets) < 3:
        return None
    back: Points = apply(np.linalg.inv(start).astype(np.float64), targets)
    similar, _ = cv2.estimateAffinePartial2D(back, targets, method=cv2.LMEDS)
    if similar is None:
        return None
    matrix: Homography = np.vstack([similar, [0.0, 0.0, 1.0]]).astype(np.float64)
    off = apply(matrix, back) - targets
    residual = float(np.sqrt((off**2).sum(1).mean()))
    nowhere = np.full((len(targets), 2), np.nan)
    marks = np.column_stack([targets, np.ones(len(targets)), nowhere])
    if reference.boxes:
        marks = _found_boxes(view, reference, start)
    return Fit(reference, start, residual, marks, by_print=False)


def _found_boxes(view: View, reference: Reference, matrix: Homography) -> Points:
    """Say for every printed box whether lines run along most of its sides.

    Four squares look the same upside down, and on every form of a house; boxes do not.
    """
    scale = reference.scale
    frame = (
        np.diag([scale, scale, 1.0]) @ matrix @ np.diag([1 / view.scale, 1 / view.scale, 1.0])
    )
    template = reference.template
    size = (round(template.width * scale), round(template.height * scale))
    laid = cv2.warpPerspective(view.image, frame, size, borderMode=cv2.BORDER_REPLICATE)
    dark = _match_darkness(laid, template.dpi * scale)
    reach = max(2, round(BOX_REACH_MM / MM_PER_INCH * template.dpi * scale))
    rows = []
    for box in reference.boxes:
        left, right = round(box.left * scale), round(box.right * scale)
        top, bottom = round(box.top * scale), round(box.bottom * scale)
        sides = [dark[max(0, y - reach) : y + reach, left:right].max(0) for y in (top, bottom)]
        sides += [dark[top:bottom, max(0, x - reach) : x + reach].max(1) for x in (left, right)]
        inked = [float((side > BOX_DARKNESS).mean()) for side in sides if side.size]
        middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
        rows.append((*middle, float(np.median(inked or [0.0]) > 0.7), np.nan, np.nan))
    return np.array(rows, np.float64)
