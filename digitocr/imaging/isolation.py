"""Registered page and field → that field's image, at one resolution for every page.

The homography of the page is good to some tenths of a millimetre on a flat scan; paper that is
stretched, curled or photographed is off by more in places. So every field is aligned once more
by what is printed around it, where the form has a reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.binarization import Darkness
from digitocr.imaging.drop_out import DroppedOut, drop_out
from digitocr.imaging.landmarks import apply
from digitocr.imaging.prints import (
    ALIGN_MARGINS_MM,
    LEAST_STRUCTURE,
    PER_MM,
    READING_DPI,
    FieldPrint,
    Printed,
    align_darkness,
    frame_of,
    print_of,
    surroundings,
)
from digitocr.imaging.registration import best_offset
from digitocr.types import (
    MM_PER_INCH,
    Box,
    Color,
    Field,
    Gray,
    Homography,
    Points,
    RegisteredPage,
)

# How far a field may be from its place: little on a flat scan, where a longer search could
# only lock onto the next row of a table; more where the page itself lies unevenly.
ALIGN_SEARCH_MM = (0.4, 1.6)
SEARCH_PER_RESIDUAL = 2.5
DROP_OUT_REACH_MM, DROP_OUT_SLACK_MM = 5.0, 0.5
OUTSIDE = 0.003  # of the scan's longer side, that a field may reach over its edge
# Paper that is curled lies off its homography by more than fields are looked for, and aslant:
# the print around says how.
BENT_MM = 0.1  # residual of a page from which on that is worth the trouble
AROUND_MM = 35.0  # how far print has a say (a standard deviation)
STIFFNESS = 40.0  # how much of it has to speak for a slope
LEAST_MARKS = 4
INSIDE_MM = 0.8  # from the edge of a field inward, where its printed lines are
TRUSTED_SCORE = 0.45
LOST_SCORE = 0.25  # print that is not found at all: the field may be somewhere else
NEAREST_MARKS = 5  # printed marks around a field that say whether it is where it should be
LEAST_FOUND = 0.5  # share of them that must have been found in their places


@dataclass(frozen=True, slots=True, eq=False)
class FieldImage:
    """A field cut out of a page at `READING_DPI`.

    `gray` is the field as scanned, with a margin around `box` (in pixels of `gray`);
    `printed` is the empty form in the same frame, or None where the form has no reference.
    `origin` (template pixels) and `scale` (pixels of `gray` a template pixel) lead back.
    `score` says how much alike the print around the field is, 1.0 where there was none to
    compare; `shift` (template pixels) and `shift_mm` say how far the field was moved to fit it.
    """

    gray: Gray
    printed: Printed | None
    box: Box
    origin: tuple[float, float]
    scale: float
    score: float
    shift_mm: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def misplaced(self) -> bool:
        return self.score < LOST_SCORE

    def in_template(self, box: Box) -> Box:
        """Take a box from pixels of `gray` to whole template pixels, never empty."""
        left = round(self.origin[0] + box.left / self.scale)
        top = round(self.origin[1] + box.top / self.scale)
        right = round(self.origin[0] + box.right / self.scale)
        bottom = round(self.origin[1] + box.bottom / self.scale)
        return Box(left, top, max(right, left + 1), max(bottom, top + 1))

    def in_image(self, box: Box) -> Box:
        """Take a box from template pixels to whole pixels of `gray`; it may lie outside."""
        left = round((box.left - self.origin[0]) * self.scale)
        top = round((box.top - self.origin[1]) * self.scale)
        right = round((box.right - self.origin[0]) * self.scale)
        bottom = round((box.bottom - self.origin[1]) * self.scale)
        return Box(left, top, max(right, left + 1), max(bottom, top + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A registered page shrunken to about twice the reading resolution, and no smaller.

    A warp samples four pixels; shrinking by area first keeps fine strokes of 600-dpi scans.
    """

    page: RegisteredPage
    image: Gray
    back: Homography  # template → pixels of `image`
    marks: Points  # of `page`, but for those that writing may have hidden
    boxes: tuple[Box, ...] = ()  # of the form's fields: what is written in them is no print
    prints: Mapping[Box, FieldPrint] = dataclasses.field(default_factory=dict)  # known before
    color: Color | None = None  # `image` in colors


def spread(
    page: RegisteredPage,
    boxes: tuple[Box, ...] = (),
    prints: Mapping[Box, FieldPrint] | None = None,
) -> Sheet:
    """Make a registered page ready for cutting fields out of it.

    Parameters
    ----------
    boxes
        Of the form's fields: print is compared beside them where what is written there, or
        stuck on, hides it.
    prints
        The print of the form's fields, by box, as far as it is computed already.
    """
    prints = prints or {}
    marks = _seen_marks(page.marks, boxes)
    back = np.linalg.inv(page.homography).astype(np.float64)
    linear = page.homography[:2, :2] / page.homography[2, 2]
    per_template_pixel = 1.0 / np.sqrt(abs(np.linalg.det(linear)))
    shrink = int(per_template_pixel * page.template.dpi / READING_DPI / 1.25)
    if shrink < 2:
        return Sheet(page, page.image, back, marks, boxes, prints, page.color)
    h, w = page.image.shape
    small, color = (
        None
        if one is None
        else cv2.resize(one, (w // shrink, h // shrink), interpolation=cv2.INTER_AREA)
        for one in (page.image, page.color)
    )
    assert small is not None
    back = np.diag([(w // shrink) / w, (h // shrink) / h, 1.0]) @ back
    return Sheet(page, small, back, marks, boxes, prints, color)


def isolate(sheet: Sheet, field: Field) -> FieldImage:
    """Cut one field out of a registered page, aligned by the print around it."""
    template = sheet.page.template
    bent = _bent(sheet, field.box)
    middle = np.array([_middle(field.box)])
    sheet = replace(sheet, back=sheet.back @ bent)
    known = sheet.prints.get(field.box) or print_of(template, field.box)
    shift, score = _local_shift(sheet, field.box, known)
    if _is_lost(sheet, field.box) or _is_outside(sheet, field.box):
        score = 0.0
    left, top, scale, size = frame_of(template, field.box)
    place = (left + shift[0], top + shift[1])
    gray = _cut(sheet, *place, scale, size)
    printed = known.printed if known is not None else None
    dropped = _drop_out(sheet, place, scale, size, (left, top))
    if dropped is not None:
        gray, printed = dropped.gray, Printed.of(dropped.printed)
    edge = round((field.box.left - left) * scale)
    box = Box(edge, edge, size[0] - edge, size[1] - edge)
    moved_x, moved_y = apply(bent, middle + shift)[0] - middle[0]
    moved = (float(moved_x), float(moved_y))
    shift_mm = float(np.hypot(*moved)) / template.dpi * MM_PER_INCH
    return FieldImage(gray, printed, box, (left, top), scale, score, shift_mm, moved)


def _drop_out(
    sheet: Sheet,
    place: tuple[float, float],
    scale: float,
    size: tuple[int, int],
    origin: tuple[float, float],
) -> DroppedOut | None:
    """Take colored print out of a field, where both the form and the scan have colors."""
    template, color = sheet.page.template, sheet.color
    if template.color is None or color is None:
        return None
    frame = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]])
    printed = cv2.warpAffine(
        template.color, frame, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )
    cut = np.asarray(_cut(replace(sheet, image=color), *place, scale, size), np.uint8)
    return drop_out(
        cut,
        np.asarray(printed, np.uint8),
        reach=round(DROP_OUT_REACH_MM * PER_MM),
        slack=round(DROP_OUT_SLACK_MM * PER_MM),
    )


def view(sheet: Sheet, box: Box, *, dpi: float, margin_mm: float) -> Gray:
    """Cut a box and what is around it out of a page, at a resolution of its own."""
    template = sheet.page.template
    scale, margin = dpi / template.dpi, margin_mm / MM_PER_INCH * template.dpi
    size = (round((box.width + 2 * margin) * scale), round((box.height + 2 * margin) * scale))
    return _cut(sheet, box.left - margin, box.top - margin, scale, size)


def _middle(box: Box) -> tuple[float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _bent(sheet: Sheet, box: Box) -> Homography:
    """Find where a field lies on a page that is not flat: its place → where it is.

    A plane through how far off the print around it was found, weighed by its distance, and
    stiff where there is little of it; once more without what is far from the plane.
    """
    template, marks = sheet.page.template, sheet.page.marks
    per_mm = template.dpi / MM_PER_INCH
    flat = np.eye(3)
    if sheet.page.residual < BENT_MM * per_mm or marks.shape[1] < 5:
        return flat
    marks = marks[np.isfinite(marks[:, 3])]
    if len(marks) < LEAST_MARKS:
        return flat
    middle = np.array(_middle(box))
    away = (marks[:, :2] - middle) / per_mm / AROUND_MM
    off = marks[:, 3:5] / per_mm
    near = np.exp(-0.5 * (away**2).sum(1))
    # Begun from what most marks say: one that is wrong, alone nearby, would bend all to itself.
    weight = near * _agreement(off - _weighted_median(off, near), near)
    terms = np.column_stack([np.ones(len(away)), away])
    plane = np.zeros((3, 2))
    for _ in range(3):
        normal = terms.T * weight @ terms + np.diag([0.1, 1.0, 1.0]) / STIFFNESS
        plane = np.linalg.solve(normal, terms.T * weight @ off)
        weight = near * _agreement(off - terms @ plane, np.ones(len(near)))
    slope = plane[1:].T / AROUND_MM  # off in x and y, for each millimetre to the right and down
    linear = np.eye(2) + slope
    bent = np.eye(3)
    bent[:2, :2] = linear
    bent[:2, 2] = middle - linear @ middle + plane[0] * per_mm
    return bent


def _agreement(beside: Points, near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh marks by how far they lie beside what is usual, at least 0.05 mm (1 to 0)."""
    distance = np.hypot(*beside.T)
    usual = max(float(_weighted_median(distance[:, None], near)[0]), 0.05)
    weight: NDArray[np.float64] = 1 / (1 + (distance / (3 * usual)) ** 2)
    return weight


def _weighted_median(values: Points, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the value of each column that half of the weight lies below."""
    order = np.argsort(values, axis=0)
    below = np.cumsum(weight[order], axis=0)
    middle = (below < below[-1] / 2).sum(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    median: NDArray[np.float64] = ordered[middle, np.arange(values.shape[1])]
    return median


def _seen_marks(marks: Points, boxes: Sequence[Box]) -> Points:
    """Leave out print that was not found inside a field, where it says nothing.

    Light guides vanish below what is written there.
    """
    x, y = marks[:, 0], marks[:, 1]
    written = np.zeros(len(marks), bool)
    for one in boxes:
        written |= (x >= one.left) & (x < one.right) & (y >= one.top) & (y < one.bottom)
    seen: Points = marks[(marks[:, 2] > 0) | ~written]
    return seen


def _is_lost(sheet: Sheet, box: Box) -> bool:
    """Say whether most of the print around a field is not where it should be.

    Another version of a form may have a row more: its boxes then look like this field's,
    one row on, but the labels beside them do not.
    """
    marks = sheet.marks
    if len(marks) < NEAREST_MARKS:
        return False
    order = np.argsort(np.hypot(*(marks[:, :2] - np.array(_middle(box))).T))
    return float(marks[order[:NEAREST_MARKS], 2].mean()) < LEAST_FOUND


def _is_outside(sheet: Sheet, box: Box) -> bool:
    """Say whether part of a field lies outside the scan: what is written there is not seen."""
    corners = np.array(
        [(x, y) for x in (box.left, box.right) for y in (box.top, box.bottom)], np.float64
    )
    x, y = apply(sheet.back, corners).T
    h, w = sheet.image.shape
    slack = OUTSIDE * max(h, w)
    return bool(
        (x < -slack).any()
        or (y < -slack).any()
        or (x > w + slack).any()
        or (y > h + slack).any()
    )


def _cut(sheet: Sheet, left: float, top: float, scale: float, size: tuple[int, int]) -> Gray:
    """Warp a rectangle of the template, `scale` pixels a template pixel, out of the page."""
    place = np.array([[1 / scale, 0, left], [0, 1 / scale, top], [0, 0, 1]])
    cut: Gray = cv2.warpPerspective(
        sheet.image,
        sheet.back @ place,
        size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cut


def _local_shift(sheet: Sheet, box: Box, known: FieldPrint | None) -> tuple[np.ndarray, float]:
    """Find how far (template pixels) the print around a field lies from where it should."""
    template = sheet.page.template
    nothing = np.zeros(2), 1.0
    if known is None:
        return nothing
    scale = known.around[0].scale
    residual_mm = sheet.page.residual / template.dpi * MM_PER_INCH
    nearest_mm, farthest_mm = ALIGN_SEARCH_MM
    search_mm = min(nearest_mm + SEARCH_PER_RESIDUAL * residual_mm, farthest_mm)
    search = max(2, round(search_mm / MM_PER_INCH * template.dpi * scale))
    inward = INSIDE_MM / MM_PER_INCH * template.dpi
    best: float | None = None
    for number, margin_mm in enumerate(ALIGN_MARGINS_MM):
        is_known = number < len(known.around)
        there = known.around[number] if is_known else surroundings(template, box, margin_mm)
        if not there.is_comparable:
            continue
        dark, left, top = there.dark, there.left, there.top
        h, w = dark.shape
        around = _cut(
            sheet,
            left - search / scale,
            top - search / scale,
            scale,
            (w + 2 * search, h + 2 * search),
        )
        seen = align_darkness(around, template.dpi * scale)
        offset, score = best_offset(dark, seen)
        if score < TRUSTED_SCORE:  # writing may hide the print: once more without the fields
            beside = _beside_boxes(sheet.boxes, left, top, scale, dark.shape, inward)
            masked = best_offset(dark, seen, beside)
            if masked[1] >= TRUSTED_SCORE and dark[beside > 0].std() >= LEAST_STRUCTURE:
                offset, score = masked
        if score >= TRUSTED_SCORE:
            return (offset - search) / scale, score
        best = max(score, masked[1], 0.0)
    return nothing if best is None else (np.zeros(2), best)


def _beside_boxes(
    boxes: tuple[Box, ...],
    left: float,
    top: float,
    scale: float,
    shape: tuple[int, ...],
    inward: float,
) -> Darkness:
    """Mark with ones what lies in no field, for a part of the template at a scale.

    The rim of a field, `inward` template pixels wide, is no writing yet: its lines are there.
    """
    beside: Darkness = np.ones(shape, np.float32)
    if not boxes:
        return beside
    corners = np.array([(one.left, one.top, one.right, one.bottom) for one in boxes])
    inside = corners + np.array([inward, inward, -inward, -inward])
    placed = np.rint((inside - np.array([left, top, left, top])) * scale).astype(np.int64)
    h, w = shape
    near = (placed[:, :2] < (w, h)).all(axis=1) & (placed[:, 2:] > 0).all(axis=1)
    for x, y, right, bottom in placed[near].clip(min=0).tolist():
        beside[y:bottom, x:right] = 0.0
    return beside
