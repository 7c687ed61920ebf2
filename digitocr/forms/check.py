"""Look over a form template for what would make it hard to read, before it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import cv2
import numpy as np

from digitocr.errors import RegistrationError
from digitocr.forms.fill import blank, dividers
from digitocr.imaging import registration
from digitocr.templates import FormTemplate
from digitocr.types import (
    MM_PER_INCH,
    Anchor,
    Box,
    Document,
    Field,
    FieldKind,
    FieldType,
    Gray,
    Page,
    PageTemplate,
    Rule,
)

LEAST_WIDTH_MM = 3.5  # of one digit: narrower, and writers run into the next
LEAST_HEIGHT_MM = 4.5
LEAST_MARGIN_MM = 4.0  # printers and scanners lose the rim of the sheet
LEAST_ANCHORS = 3
LEAST_SPREAD = 0.25  # of the page's height, across the line that anchors lie on
INK_SHARE = 0.004  # of a position, printed within its lines
DARK = 128
AMBIGUOUS_MM = 0.8  # of misplacement: what reading allows by default
LEAST_BLOCKS = 9  # places of the print to lay a page by; of these some are always covered
DENSITY = 0.6  # of an anchor's place that is dark when the anchor is there

RED, GREEN, BLUE = (40, 40, 210), (40, 140, 40), (190, 110, 30)


def check(form: FormTemplate) -> list[str]:
    """List what may go wrong with a form; empty if nothing is seen.

    Each line names the page or field, what is wrong, and what to do about it.
    """
    warnings: list[str] = []
    for page in form.pages:
        if page.ignore:
            continue
        fields = form.fields_of(page.number)
        warnings += [f"page {page.number}: {text}" for text in _check_page(page, fields)]
        for field in fields:
            warnings += [f"field '{field.name}': {text}" for text in _check_field(page, field)]
    warnings += _check_names(form)
    warnings += _check_aruco(form)
    return warnings


def check_among(form: FormTemplate, others: Sequence[FormTemplate]) -> list[str]:
    """List the pages of a form that could be taken for one of another form, or of itself.

    The empty form is laid onto every other as a scan would be: where that works, a filled page
    is told from the other by little, or not at all.
    """
    known = [(other, page) for other in (form, *others) for page in other.pages]
    prepared = {
        id(page): registration.prepare(page) for _, page in known if page.reference is not None
    }
    warnings = []
    for own in form.pages:
        for other, page in known:
            if page is own or own.reference is None or id(page) not in prepared:
                continue
            if own.identifier is not None and page.identifier is not None:
                continue  # a page code on both tells them apart
            scan = Page(Document("", 1), own.number, own.reference, own.dpi)
            try:
                laid = registration.register(
                    scan, [prepared[id(page)]], max_residual_mm=AMBIGUOUS_MM
                )
            except RegistrationError:
                continue
            share = float(laid.marks[:, 2].mean())
            warnings.append(
                f"page {own.number}: fits page {page.number} of {other} as well ({share:.0%} "
                "of its print is in place); print a page code or ArUco anchors of its own, or "
                "read the two in batches of their own"
            )
    return warnings


def overlay(form: FormTemplate, page: int = 1) -> Gray:
    """Draw the boxes, positions, names and anchors of a page on its empty picture.

    Returns
    -------
    (H, W, 3) uint8, blue, green, red, as OpenCV writes it.
    """
    template = form.page(page)
    image = cv2.cvtColor(blank(form, page), cv2.COLOR_GRAY2BGR)
    thick = max(round(template.dpi / 100), 1)
    for field in form.fields_of(page):
        box = field.box
        cv2.rectangle(image, (box.left, box.top), (box.right, box.bottom), RED, thick)
        for x in dividers(field)[1:-1]:
            cv2.line(image, (x, box.top), (x, box.bottom), GREEN, thick)
        size = template.dpi / 330
        place = (box.left + 3 * thick, box.top + round(template.dpi / 12))
        cv2.putText(image, field.name, place, cv2.FONT_HERSHEY_SIMPLEX, size, RED, thick)
    for anchor in template.anchors:
        left, top, right, bottom = _square(anchor)
        cv2.rectangle(image, (left, top), (right, bottom), BLUE, 2 * thick)
    return np.asarray(image, np.uint8)


def _check_page(page: PageTemplate, fields: tuple[Field, ...]) -> Iterator[str]:
    if not fields:
        yield "has no field; say `ignore = true` if it is not to be read"
    if not page.anchors and page.reference is None:
        yield (
            "has neither anchors nor a reference picture, so no scan can be laid onto it; "
            "give it one of the two"
        )
    if page.anchors:
        yield from _check_anchors(page, fields)
    if page.reference is not None:
        yield from _check_print(page)
    for one, other in combinations(fields, 2):
        if _overlap(one.box, other.box):
            yield f"the boxes of '{one.name}' and '{other.name}' overlap; move one of them"
    margin = LEAST_MARGIN_MM / MM_PER_INCH * page.dpi
    for field in fields:
        box = field.box
        if min(box.left, box.top, page.width - box.right, page.height - box.bottom) < margin:
            yield (
                f"'{field.name}' is less than {LEAST_MARGIN_MM:g} mm from the rim of the "
                "sheet, where printers and scanners lose ink; move it inward"
            )


def _check_anchors(page: PageTemplate, fields: tuple[Field, ...]) -> Iterator[str]:
    count = len(page.anchors)
    if count < LEAST_ANCHORS:
        helped = "" if page.reference is None else "; the reference picture has to help"
        yield (
            f"has {count} anchors, fewer than {LEAST_ANCHORS}{helped}; print one in each corner"
        )
    elif _spread(page) < LEAST_SPREAD * min(page.width, page.height):
        yield "its anchors lie in one row, so a tilt across it is not seen; use the corners"
    for anchor in page.anchors:
        box = Box(*_square(anchor))
        where = f"anchor at [{anchor.center[0]:g}, {anchor.center[1]:g}]"
        for field in fields:
            if _overlap(box, field.box):
                yield f"the {where} overlaps the box of '{field.name}'; move one of them"
        if page.reference is not None and not _is_printed(page.reference, box):
            yield f"the {where} is not on the reference picture; correct its center or size"


def _check_print(page: PageTemplate) -> Iterator[str]:
    """Count the places of the print that a page can be laid by."""
    blocks = len(registration.prepare(page).blocks)
    if blocks < LEAST_BLOCKS:
        helped = "" if len(page.anchors) < LEAST_ANCHORS else " beside its anchors"
        yield (
            f"has {blocks} places of print to lay a scan by{helped}, fewer than "
            f"{LEAST_BLOCKS}; print more text or lines over the whole sheet"
        )


def _check_field(page: PageTemplate, field: Field) -> Iterator[str]:
    mm = MM_PER_INCH / page.dpi
    height = field.box.height * mm
    if height < LEAST_HEIGHT_MM:
        yield f"its box is {height:.1f} mm high; give it at least {LEAST_HEIGHT_MM:g} mm"
    positions = field.cells or field.max_length
    if positions is not None:
        width = field.box.width * mm / positions
        if width < LEAST_WIDTH_MM:
            yield (
                f"a digit has {width:.1f} mm of its box; give it at least {LEAST_WIDTH_MM:g} mm"
            )
    if field.kind is FieldKind.OPEN:
        if field.max_length is None:
            yield "is open and has no max_length; say how many digits there may be at most"
        if field.void_marks:
            yield "is open, so its void_marks mean nothing; take them out"
    if field.required and field.min_length == 0 and field.type is not FieldType.DATE:
        yield "is required, but min_length = 0 allows it to be blank; set min_length"
    yield from _check_range(field)
    if page.reference is not None:
        share = _printed_share(page.reference, field)
        if share > INK_SHARE:
            yield (
                f"{share:.1%} of it is printed on within its lines, and may be read as ink; "
                "move the print or the box"
            )


def _check_range(field: Field) -> Iterator[str]:
    most = field.max_length or field.cells
    for check in field.checks:
        if check.rule is not Rule.RANGE or most is None:
            continue
        largest = (10**most - 1) / 10**field.decimals
        if check.min is not None and check.min > largest:
            yield f"min = {check.min:g} has no room in {most} digits; widen the field"
        if check.max is not None and check.max > largest:
            yield f"max = {check.max:g} has no room in {most} digits; widen the field"


def _check_names(form: FormTemplate) -> Iterator[str]:
    seen: dict[str, Field] = {}
    for field in form.fields:
        other = seen.setdefault(field.name.lower(), field)
        if other is not field:
            yield (
                f"field '{field.name}' (page {field.page}) and '{other.name}' (page "
                f"{other.page}) differ in case only; an export cannot keep them apart"
            )


def _check_aruco(form: FormTemplate) -> Iterator[str]:
    seen: dict[tuple[str | None, int], int] = {}
    for page in form.pages:
        for anchor in page.anchors:
            if anchor.id is None:
                continue
            other = seen.setdefault((anchor.dictionary, anchor.id), page.number)
            if other != page.number or _ids(page).count(anchor.id) > 1:
                yield (
                    f"page {page.number}: aruco id {anchor.id} is also on page {other}; "
                    "number all anchors of a form differently"
                )


def _ids(page: PageTemplate) -> list[int | None]:
    return [anchor.id for anchor in page.anchors]


def _square(anchor: Anchor) -> tuple[int, int, int, int]:
    (x, y), half = anchor.center, anchor.size / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.top < other.bottom
        and other.top < one.bottom
    )


def _spread(page: PageTemplate) -> float:
    """Measure how far the anchors reach across the line they lie on, in pixels."""
    points = np.array([anchor.center for anchor in page.anchors])
    points = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    across = points @ axes[1]
    return float(np.ptp(across))


def _is_printed(reference: Gray, box: Box) -> bool:
    part = reference[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right]
    inked = float((part < DARK).mean()) if part.size else 0.0
    return inked > DENSITY / 2


def _printed_share(reference: Gray, field: Field) -> float:
    """Measure the share of a field that carries print other than straight lines along it.

    Box lines, comb ticks and rules run along the box or across it; letters do not.
    """
    box = field.box
    part = reference[box.top : box.bottom, box.left : box.right]
    inked = (part < DARK).astype(np.uint8)
    # Shorter than a comb's tick and a position's rule, longer than the strokes of small print.
    down = max(round(0.3 * box.height), 5)
    along = max(round(0.5 * box.width / (field.cells or 2)), 5)
    lines = np.zeros_like(inked)
    for shape in ((down, 1), (1, along)):
        lines |= cv2.morphologyEx(inked, cv2.MORPH_OPEN, np.ones(shape, np.uint8))
    lines = cv2.dilate(lines, np.ones((3, 3), np.uint8))
    return float(((inked > 0) & (lines == 0)).mean())
