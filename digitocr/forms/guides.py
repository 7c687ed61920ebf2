"""The guides of a field on paper: boxes, combs and lines, with what stands below them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from digitocr.forms.sheets import HINT_PT, Bar, Sheet, Text, Tone
from digitocr.templates import FieldEntry, TemplateEntry
from digitocr.types import Box

LINE_MM = 0.25
POINT_MM = 1.1  # the printed decimal point
MOST_PARTS = 4  # of a sum, that are named below its total


def label_of(form: TemplateEntry, entry: FieldEntry) -> str:
    """Say what a field is called on paper."""
    plain = entry.name.replace("_", " ").replace("-", " ")
    label = form.print.labels.get(entry.name) or entry.title or plain[:1].upper() + plain[1:]
    return label + (" *" if entry.required else "")


def choices_of(form: TemplateEntry, entry: FieldEntry) -> list[str]:
    """Name the boxes of a row of boxes to tick."""
    cells = entry.cells or 1
    given = form.print.choices.get(entry.name)
    return given or [str(place) for place in range(1, cells + 1)]


def notes_of(form: TemplateEntry, entry: FieldEntry) -> list[str]:
    """List what stands below the positions of a field: a word each, or one for all."""
    if (hint := form.print.hints.get(entry.name)) is not None:
        return [hint]
    if entry.kind == "mark" and (entry.cells or 1) > 1:
        return choices_of(form, entry)
    if entry.type == "date":
        return list(entry.date_format)
    for rule in form.rules:
        if rule.equals == entry.name:
            parts = [label_of(form, f) for f in form.fields if f.name in rule.of]
            short = " + ".join(part.removesuffix(" *") for part in parts)
            return [f"= {short}" if len(parts) <= MOST_PARTS else "= all of these together"]
    return []


def add_field(form: TemplateEntry, sheet: Sheet, entry: FieldEntry, box: Box) -> None:
    """Print the guides of a field, and what stands below them."""
    line = sheet.mm(LINE_MM)
    edges = np.linspace(box.left, box.right, (entry.cells or 1) + 1)
    if entry.kind == "mark":
        side = min(box.height, edges[1] - edges[0])
        for start, end in pairwise(edges):
            x, y = (start + end - side) / 2, (box.top + box.bottom - side) / 2
            _frame(sheet, x, y, x + side, y + side, line)
    elif entry.kind in ("boxed", "barcode"):
        _frame(sheet, box.left, box.top, box.right, box.bottom, line)
        for x in edges[1:-1]:
            sheet.bars.append(Bar(x - line / 2, box.top, x + line / 2, box.bottom))
    else:
        sheet.bars.append(
            Bar(box.left, box.bottom - line / 2, box.right, box.bottom + line / 2)
        )
        for x in edges if entry.kind == "comb" else ():
            top = box.bottom - box.height / 3
            sheet.bars.append(Bar(x - line / 2, top, x + line / 2, box.bottom))
    if entry.decimals and entry.cells and entry.decimals < entry.cells:
        x, half = edges[-1 - entry.decimals], sheet.mm(POINT_MM) / 2
        y = box.bottom
        sheet.bars.append(Bar(x - half, y - half, x + half, y + half, Tone.SOFT))
    _add_notes(form, sheet, entry, box, edges.tolist())


def _add_notes(
    form: TemplateEntry, sheet: Sheet, entry: FieldEntry, box: Box, edges: Sequence[float]
) -> None:
    notes = notes_of(form, entry)
    baseline = box.bottom + sheet.mm(0.9) + sheet.points(HINT_PT) * 0.8
    if len(notes) == len(edges) - 1 and len(notes) > 1:
        for note, (start, end) in zip(notes, pairwise(edges), strict=True):
            middle = (start + end) / 2
            sheet.texts.append(Text(middle, baseline, note, HINT_PT, Tone.SOFT, align="center"))
    elif notes:
        text = notes[0] if len(notes) == 1 else "".join(notes)
        sheet.texts.append(Text(box.left, baseline, text, HINT_PT, Tone.SOFT))


def _frame(
    sheet: Sheet, left: float, top: float, right: float, bottom: float, line: float
) -> None:
    half = line / 2
    for y in (top, bottom):
        sheet.bars.append(Bar(left - half, y - half, right + half, y + half))
    for x in (left, right):
        sheet.bars.append(Bar(x - half, top - half, x + half, bottom + half))
