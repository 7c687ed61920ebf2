"""Printed places to write in, and what was written there → proposed fields, best first known.

Print does not change from page to page, and writing does: a place where many pages are written
on is a field, and a ruler, a logo or a word in a box is none. How the place is printed says
what kind of field it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

import cv2
import numpy as np

from digitocr.forms.median import MISSED_SHARE, writing_of
from digitocr.forms.settling import Settled
from digitocr.forms.stack import in_threads
from digitocr.imaging import cells, combs
from digitocr.imaging.codes import Code, read_codes
from digitocr.imaging.combs import Comb, RuledLine
from digitocr.imaging.lines import Lines, find_lines
from digitocr.types import MM_PER_INCH, Box, Field, FieldKind, FieldType, Ink, VoidMark

POSITION_MM = ((2.8, 13.5), (3.5, 26.0))  # least and most width, height of one digit's box
MOST_WIDE = 1.45  # width to height of a digit's box
END_MM = 0.2  # the end of a row may be this far from where its positions say
CELL_MM = ((8.0, 150.0), (4.0, 22.0))  # of a cell to write a number in
INSET_MM = 0.6  # writing this near to a line may be the line, a little off
WRITTEN_MM2 = 1.2  # of ink in a field that is written on: a 1 has twice that
PRINTED_GRAY = 205  # on white paper
BESIDE_MM = 1.0  # around print that nobody writes on
CROSSING = 0.6  # share of the pages with writing around what looks like print
PRINTED = 0.006  # share of a place that print takes
FREE = 0.55  # share of a cell beside what is printed in it
SURE, LIKELY = 0.5, 0.1  # shares of the pages that are written on there
OPEN_WRITTEN = 0.25  # least share for cells and rules, of which forms have others than fields
RULE_WRITTEN = 0.3
HEIGHT_MM = (5.5, 13.0)  # of a field over a rule or comb
ROOM_MM = 0.8  # over the highest writing
QUIET = 0.02  # share of a row of pixels below which hardly anything is written there
DIGIT_MM = 4.0  # narrowest digit of an open field
CODED, IN_CODE = 5, 0.2  # pages that are looked at for codes; share of a field that is one
TICK_BOX_MM = 6.0  # a lone box this small is for a cross


class Sureness(StrEnum):
    """How sure a proposal is."""

    SURE = "sure"
    LIKELY = "likely"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field that may be one; `written` is the share of the pages written on there."""

    field: Field
    written: float
    sureness: Sureness
    why: str
    notes: tuple[str, ...] = ()  # what else was seen, for who edits the template


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is written where, and what is printed: masks in the frame of the template.

    `crossing`: nearly all pages are written on around here; what looks like print there are
    strokes of all that cross. `codes`: bar and QR codes, which may be others on every page.
    """

    writing: tuple[Ink, ...]
    printed: Ink
    crossing: Ink
    lines: Lines
    codes: tuple[Box, ...] = ()

    def pixels(self, mm: float) -> int:
        return self.lines.pixels(mm)

    def written(self, box: Box) -> float:
        """Share of the pages that are written on in a box."""
        least = WRITTEN_MM2 * (self.lines.dpi / MM_PER_INCH) ** 2
        inner = _inset(box, self.pixels(INSET_MM))
        return float(np.mean([_part(mask, inner).sum() >= least for mask in self.writing]))

    def printed_share(self, box: Box) -> float:
        part = _part(self.printed, _inset(box, self.pixels(INSET_MM)))
        return float(part.mean()) if part.size else 0.0


def evidence_of(settled: Settled) -> Evidence:
    """Find lines, print and writing of the pages."""
    dpi, images = settled.frame.dpi, [page.image for page in settled.pages]
    lines = find_lines(settled.blank, images, dpi)
    speck = np.ones((2, 2), np.uint8)

    def written(image: np.ndarray) -> Ink:
        mask = writing_of(image, settled.blank, dpi).astype(np.uint8)
        return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, speck) > 0)

    # What is dark on all pages, of many on all but a few, is print, and seldom a stroke of all.
    few = int(MISSED_SHARE * len(images))
    light = [np.full_like(settled.blank, 0) for _ in range(few + 1)]
    for image in images:
        # Widened by a pixel: print that is a pixel off still lies on itself.
        rest = cv2.erode(image, np.ones((3, 3), np.uint8))
        for place, one in enumerate(light):
            light[place], rest = np.maximum(one, rest), np.minimum(one, rest)
    straight = cv2.dilate((lines.across | lines.down | lines.ticks).astype(np.uint8), speck)
    writing = in_threads(written, images)
    side = 2 * lines.pixels(BESIDE_MM) + 1
    near = np.zeros(settled.blank.shape, np.uint8)
    for mask in writing:
        near += cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))
    crossing: Ink = near >= CROSSING * len(writing)
    printed: Ink = (light[few] < PRINTED_GRAY) & (straight == 0) & ~crossing
    codes = tuple(_around_code(one) for image in images[:CODED] for one in read_codes(image))
    return Evidence(tuple(writing), printed, crossing, lines, codes)


def _around_code(code: Code) -> Box:
    (left, top), (right, bottom) = code.corners.min(axis=0), code.corners.max(axis=0)
    return Box(int(left), int(top), int(right) + 1, int(bottom) + 1)


def propose(evidence: Evidence, page: int) -> tuple[Proposal, ...]:
    """Propose the fields of a page, in the order of reading."""
    lines = evidence.lines
    found = cells.find_cells(lines)
    proposals = [
        one
        for comb in combs.find_combs(lines, found)
        if (one := _from_comb(comb, evidence)) is not None
    ]
    for row in cells.rows_of_boxes(found, lines):
        proposals += _from_row(row, evidence)
    taken = [*found, *(one.field.box for one in proposals)]
    for rule in combs.find_rules(lines, taken):
        one = _from_rule(rule, evidence)
        if one is not None:
            proposals.append(one)
    proposals = [
        one
        for one in proposals
        if not any(_shared(one.field.box, code) > IN_CODE for code in evidence.codes)
    ]
    return named(_without_overlaps(proposals), page)


def _from_row(row: Sequence[Box], evidence: Evidence) -> list[Proposal]:
    """Propose a row of positions as one field, and other cells each as its own."""
    if not all(_is_position(box, evidence) for box in row):
        return [one for box in row if (one := _from_cell(box, evidence)) is not None]
    row = _without_labels(row, evidence)
    if not row:
        return []
    box = _around(row, evidence)
    written = evidence.written(box)
    printed = sum(evidence.printed_share(cell) > PRINTED for cell in row)
    if 2 * printed >= len(row) and written < SURE:
        return []
    if len(row) == 1 and written < LIKELY:
        return []
    if len(row) == 1 and _is_tick_box(box, evidence):
        return [_mark(box, written)]
    return [_positions(box, len(row), FieldKind.BOXED, written, evidence)]


def _without_labels(row: Sequence[Box], evidence: Evidence) -> Sequence[Box]:
    """Take cells off the ends of a row in which something is printed and nothing written."""

    def label(box: Box) -> bool:
        return evidence.printed_share(box) > PRINTED and evidence.written(box) < LIKELY

    kept = [place for place, box in enumerate(row) if not label(box)]
    return row[kept[0] : kept[-1] + 1] if kept else []


def _around(row: Sequence[Box], evidence: Evidence) -> Box:
    """Give the box of a row whose positions are equally wide.

    Cells are grown by the lines around them: positions share those, or stand apart. The lines
    between positions say best how wide they are; an end beside a black panel, or under a thick
    frame, is where they say.
    """
    top = int(np.median([box.top for box in row]))
    bottom = int(np.median([box.bottom for box in row]))
    gaps = [b.left - a.right for a, b in pairwise(row)]
    half = float(np.mean(gaps)) / 2 if gaps else 0.0
    left, right = row[0].left - half, row[-1].right + half
    if len(row) > 2:
        between = [(a.right + b.left) / 2 for a, b in pairwise(row)]
        pitch, start = np.polyfit(np.arange(1, len(row)), between, 1)
        slack = END_MM * evidence.lines.dpi / MM_PER_INCH
        left = left if abs(left - start) <= slack else float(start)
        end = float(start + pitch * len(row))
        right = right if abs(right - end) <= slack else end
    return Box(round(left), top, round(right), bottom)


def _is_position(box: Box, evidence: Evidence) -> bool:
    (least_w, most_w), (least_h, most_h) = (
        tuple(evidence.pixels(mm) for mm in pair) for pair in POSITION_MM
    )
    return (
        least_w <= box.width <= most_w
        and least_h <= box.height <= most_h
        and box.width <= MOST_WIDE * box.height
    )


def _is_tick_box(box: Box, evidence: Evidence) -> bool:
    side = evidence.pixels(TICK_BOX_MM)
    return box.width <= side and box.height <= side


def _mark(box: Box, written: float) -> Proposal:
    field = Field(
        name="", page=1, box=box, kind=FieldKind.MARK, type=FieldType.CODE, cells=1,
        min_length=1, max_length=1,
    )  # fmt: skip
    return Proposal(field, written, Sureness.LIKELY, "a small box by itself")


def _positions(
    box: Box, count: int, kind: FieldKind, written: float, evidence: Evidence
) -> Proposal:
    edges = np.linspace(box.left, box.right, count + 1)[1:-1]
    points = [
        place
        for place, x in enumerate(edges, 1)
        if combs.decimal_dot(evidence.lines, box, round(x))
    ]
    decimals = count - points[0] if len(points) == 1 else 0
    field = Field(
        name="",
        page=1,
        box=box,
        kind=kind,
        type=FieldType.DECIMAL if decimals else FieldType.INTEGER,
        cells=count,
        max_length=count,
        void_marks=(VoidMark.X, VoidMark.DASH) if count > 1 else (),
        decimals=decimals,
    )
    sureness = (
        Sureness.SURE if written >= SURE else Sureness.LIKELY if written >= LIKELY
        else Sureness.LOOK
    )  # fmt: skip
    return Proposal(
        field, written, sureness, f"{count} positions in a row" if count > 1 else "a box"
    )


def _from_cell(cell: Box, evidence: Evidence) -> Proposal | None:
    """Propose a cell to write a number in, beside what is printed in it."""
    (least_w, most_w), (least_h, most_h) = (
        tuple(evidence.pixels(mm) for mm in pair) for pair in CELL_MM
    )
    if not (least_w <= cell.width <= most_w and least_h <= cell.height <= most_h):
        return None
    box, why = cell, "a cell"
    if evidence.printed_share(cell) > PRINTED / 4:
        part = _free_part(cell, evidence)
        if part is None or part.width < max(least_w, FREE * cell.width):
            return None
        box, why = part, "a cell beside print"
    written = evidence.written(box)
    return _open(box, written, why, evidence) if written >= OPEN_WRITTEN else None


def _free_part(cell: Box, evidence: Evidence) -> Box | None:
    """Find the widest part of a cell that nothing is printed in."""
    inner = _inset(cell, evidence.pixels(INSET_MM))
    inked: Ink = np.asarray(_part(evidence.printed, inner).any(0))
    places = np.flatnonzero(np.concatenate([[True], inked, [True]]))
    gaps = np.diff(places)
    widest = int(np.argmax(gaps))
    margin = evidence.pixels(1.0)
    left, right = int(places[widest]), int(places[widest + 1])
    left = cell.left if left == 0 else inner.left + left + margin
    right = cell.right if right == len(inked) + 1 else inner.left + right - 1 - margin
    return Box(left, cell.top, right, cell.bottom) if right > left else None


def _open(box: Box, written: float, why: str, evidence: Evidence) -> Proposal:
    most = int(np.clip(box.width // evidence.pixels(DIGIT_MM), 1, 12))
    field = Field(
        name="", page=1, box=box, kind=FieldKind.OPEN, type=FieldType.INTEGER, max_length=most
    )
    return Proposal(field, written, Sureness.LIKELY, why)


def _from_comb(comb: Comb, evidence: Evidence) -> Proposal | None:
    left, right = comb.ticks[0], comb.ticks[-1]
    top = _top_of_writing(left, right, comb.base, evidence)
    box = Box(left, max(0, min(top, comb.tick_top)), right, comb.base)
    written = evidence.written(box)
    if written < LIKELY:
        return None
    return _positions(box, len(comb.ticks) - 1, FieldKind.COMB, written, evidence)


def _from_rule(rule: RuledLine, evidence: Evidence) -> Proposal | None:
    top = _top_of_writing(rule.left, rule.right, rule.base, evidence)
    box = Box(rule.left, max(0, top), rule.right, rule.base)
    if evidence.printed_share(box) > PRINTED / 4:
        part = _free_part(box, evidence)
        if part is None or part.width < evidence.pixels(CELL_MM[0][0]):
            return None
        box = part
    written = evidence.written(box)
    return (
        _open(box, written, "a line to write on", evidence) if written >= RULE_WRITTEN else None
    )


def _top_of_writing(left: int, right: int, base: int, evidence: Evidence) -> int:
    """Say how high over its line a field reaches: what was written, and no print."""
    low, high = (evidence.pixels(mm) for mm in HEIGHT_MM)
    top = max(0, base - high)
    foot = base - evidence.pixels(INSET_MM)
    across = evidence.lines.across[top : foot - low // 2, left:right].mean(1) > 0.5
    rows = np.sum([mask[top:foot, left:right].sum(1) for mask in evidence.writing], axis=0)
    # What everyone writes in the same place looks like print, and is where much is written.
    quiet = rows < QUIET * (right - left) * len(evidence.writing)
    print_rows = (evidence.printed[top:foot, left:right].mean(1) > 0.01) & quiet
    print_rows[: len(across)] |= across
    blocked = np.flatnonzero(print_rows[: max(0, foot - low - top)])
    if len(blocked):
        top += int(blocked[-1]) + 1
    rows = rows[len(rows) - (foot - top) :]
    if not rows.any():
        return base - low
    total = np.cumsum(rows[::-1])
    reach = int(np.searchsorted(total, 0.98 * total[-1])) + (base - foot)
    return max(top, base - int(np.clip(reach + evidence.pixels(ROOM_MM), low, high)))


def _without_overlaps(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Of proposals that lie on each other keep what is surer: positions before open ones."""
    rank = [FieldKind.BOXED, FieldKind.COMB, FieldKind.MARK, FieldKind.OPEN]
    kept: list[Proposal] = []
    for one in sorted(
        proposals, key=lambda p: (rank.index(p.field.kind), -p.written, -(p.field.cells or 0))
    ):
        if all(_shared(one.field.box, other.field.box) < 0.15 for other in kept):
            kept.append(one)
    return kept


def _shared(one: Box, other: Box) -> float:
    """Share of the smaller box that lies in the other."""
    return one.common(other) / min(one.area, other.area)


def named(proposals: Sequence[Proposal], page: int) -> tuple[Proposal, ...]:
    """Put proposals into the order of reading and name them by row, and place in it."""
    rows: list[list[Proposal]] = []
    for one in sorted(proposals, key=lambda p: p.field.box.top + p.field.box.bottom):
        middle = (one.field.box.top + one.field.box.bottom) / 2
        if rows and any(p.field.box.top <= middle < p.field.box.bottom for p in rows[-1]):
            rows[-1].append(one)
        else:
            rows.append([one])
    ordered = []
    for number, row in enumerate(rows, 1):
        row.sort(key=lambda p: p.field.box.left)
        for place, one in enumerate(row, 1):
            name = f"{f'p{page}_' if page > 1 else ''}r{number:02}"
            name += f"_{place}" if len(row) > 1 else ""
            field = replace(one.field, name=name, page=page, title=name)
            ordered.append(replace(one, field=field))
    return tuple(ordered)


def _inset(box: Box, by: int) -> Box:
    x, y = min(by, (box.width - 1) // 2), min(by, (box.height - 1) // 2)
    return Box(box.left + x, box.top + y, box.right - x, box.bottom - y)


def _part(mask: Ink, box: Box) -> Ink:
    return mask[max(0, box.top) : box.bottom, max(0, box.left) : box.right]
