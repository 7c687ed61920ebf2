"""Fields and `[print]` → where everything is printed: sheets of texts, bars, anchors and codes.

Nothing here draws: `printing` does, from the same sheets for the empty form's picture and for
paper.
"""

from __future__ import annotations

import zlib

from digitocr.errors import TemplateError
from digitocr.forms import guides
from digitocr.forms.sheets import (
    HEADING_PT,
    HINT_PT,
    LABEL_PT,
    POINTS_AN_INCH,
    TEXT_PT,
    TINY_PT,
    TITLE_PT,
    Bar,
    Measure,
    Sheet,
    Text,
    Tone,
)
from digitocr.templates import FieldEntry, TemplateEntry
from digitocr.types import MM_PER_INCH, Anchor, Box

PAPER_MM = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}
ANCHOR_MM = 8.0
ANCHOR_CENTER_MM = 11.5  # from both rims: printers keep four or five millimetres white
SIDE_MM = 19.0  # from the rim to what is printed between the anchors
CODE_MM = 18.0
CODE_TOP_MM = 7.5
SERIAL_MM = 3.5  # below the code, for its serial in plain digits
FOOT_MM = 24.0  # kept free at the foot, for the anchors
GAP_MM = 5.0  # between rows
COLUMN_GAP_MM = 8.0
LABEL_GAP_MM = 4.0
LEAST_CELL_MM = 5.0
TICK_MM = 5.5
CHOICE_MM = 13.0  # from one box to tick to the next, at least
LABEL_MM = (60.0, 20.0)  # room for a bar code that is stuck on
OPEN_DIGIT_MM = 6.0
ARUCO_IDS, DICTIONARY = 100, "4x4_100"
NO_BOX = [0, 0, 1, 1]  # of a field that is still to be laid out


def lay_out(form: TemplateEntry, measure: Measure) -> list[Sheet]:
    """Lay a form out: fields without a box in rows below each other, page after page.

    Parameters
    ----------
    form
        With every field's kind and cells filled in; fields at `draw.NO_BOX` have no place yet.
    measure
        Says how wide a text is, in points.

    Raises
    ------
    TemplateError
        If a field does not fit the page.
    """
    return _Layout(form, measure).run()


class _Layout:
    """The state of laying out: the sheet, the column and the row that come next."""

    def __init__(self, form: TemplateEntry, measure: Measure) -> None:
        self.form, self.print, self.measure = form, form.print, measure
        self.dpi = float(form.print.dpi)
        self.sheets: list[Sheet] = []
        self.column = 0
        self.y = self.top = 0.0

    def run(self) -> list[Sheet]:
        self.add_sheet()
        for entry in self.form.fields:
            while len(self.sheets) < entry.page:
                self.add_sheet()
            if entry.box == NO_BOX:
                self.flow(entry)
            else:
                self.place_fixed(entry)
        for sheet in self.sheets:
            self.add_foot(sheet)
            for text in sheet.texts:  # also those that had no need to be fitted
                self.measure(text.text, text.size, text.bold)
        return self.sheets

    def mm(self, length: float) -> float:
        return length / MM_PER_INCH * self.dpi

    def points(self, length: float) -> float:
        return length / POINTS_AN_INCH * self.dpi

    def text_width(self, text: str, size: float, bold: bool = False) -> float:
        return self.points(self.measure(text, size, bold))

    # ------------------------------------------------------------ sheets

    def add_sheet(self) -> None:
        number = len(self.sheets) + 1
        if 4 * number > ARUCO_IDS:
            raise TemplateError(
                f"form '{self.form.name}': has more than {ARUCO_IDS // 4} pages; make two forms"
            )
        width_mm, height_mm = PAPER_MM[self.print.paper]
        if self.print.landscape:
            width_mm, height_mm = height_mm, width_mm
        width, height = round(self.mm(width_mm)), round(self.mm(height_mm))
        near, size = round(self.mm(ANCHOR_CENTER_MM)), round(self.mm(ANCHOR_MM) / 2) * 2
        corners = [(x, y) for y in (near, height - near) for x in (near, width - near)]
        # Forms begin at different numbers, so that a covered page code is no loss.
        start = 4 * (zlib.crc32(self.form.name.encode()) + number)
        anchors = tuple(
            Anchor("aruco", corner, size, (start + i) % ARUCO_IDS, DICTIONARY)
            for i, corner in enumerate(corners)
        )
        side, top = round(self.mm(CODE_MM)), round(self.mm(CODE_TOP_MM))
        right = width - round(self.mm(SIDE_MM))
        code = Box(right - side, top, right, top + side + round(self.mm(SERIAL_MM)))
        sheet = Sheet(number, width, height, self.dpi, anchors, code)
        self.sheets.append(sheet)
        self.column = 0
        self.y = self.top = self.add_head(sheet)

    @property
    def sheet(self) -> Sheet:
        return self.sheets[-1]

    @property
    def bottom(self) -> float:
        return self.sheet.height - self.mm(FOOT_MM)

    def column_edges(self) -> tuple[float, float]:
        left, right = self.mm(SIDE_MM), self.sheet.width - self.mm(SIDE_MM)
        gap, count = self.mm(COLUMN_GAP_MM), self.print.columns
        width = (right - left - gap * (count - 1)) / count
        start = left + self.column * (width + gap)
        return start, start + width

    def add_head(self, sheet: Sheet) -> float:
        left, right = self.mm(SIDE_MM), sheet.identifier.left - self.mm(4)
        first = sheet.number == 1
        size = TITLE_PT if first else HEADING_PT
        baseline = self.mm(8.0) + self.points(size) * 0.8
        for line in self.wrapped(self.form.title or self.form.name, right - left, size, True):
            sheet.texts.append(Text(left, baseline, line, size, Tone.INK, bold=True))
            baseline += self.points(size) * 1.2
        if first:
            baseline += self.mm(0.5)
            for line in self.wrapped(self.instructions(), right - left, TEXT_PT):
                sheet.texts.append(Text(left, baseline, line, TEXT_PT, Tone.SOFT))
                baseline += self.points(TEXT_PT) * 1.3
        end = max(baseline, sheet.identifier.bottom) + self.mm(2.5)
        edge = sheet.width - self.mm(SIDE_MM)
        sheet.bars.append(Bar(left, end, edge, end + self.mm(0.35), Tone.INK))
        return end + self.mm(5.5)

    def instructions(self) -> str:
        if self.print.instructions is not None:
            return self.print.instructions
        kinds = {entry.kind for entry in self.form.fields}
        said = ["Please use a black or blue pen."]
        if kinds & {"boxed", "comb"}:
            said.append("Write one digit in each box, clear of the lines, without gaps.")
        if any("x" in entry.void_marks for entry in self.form.fields):
            said.append("Put an X through boxes that stay empty.")
        if "mark" in kinds:
            said.append("Tick boxes with a cross.")
        if any(entry.required for entry in self.form.fields):
            said.append("Fill in every field with a star (*).")
        return " ".join(said)

    def add_foot(self, sheet: Sheet) -> None:
        baseline = sheet.height - self.mm(10.5)
        pages = f" · page {sheet.number} of {len(self.sheets)}"
        name = f"{self.form.name} · version {self.form.version}{pages}"
        left, right = self.mm(SIDE_MM), sheet.width - self.mm(SIDE_MM)
        sheet.texts.append(Text(right, baseline, name, TINY_PT, Tone.SOFT, align="right"))
        room = right - left - self.text_width(name, TINY_PT) - self.mm(8)
        for line in self.wrapped(self.print.footer, room, HINT_PT)[:3]:
            sheet.texts.append(Text(left, baseline, line, HINT_PT, Tone.SOFT))
            baseline += self.points(HINT_PT) * 1.2

    # ------------------------------------------------------------ fields

    def size_of(self, entry: FieldEntry) -> tuple[float, float]:
        """Say how wide and high a field is to be, in pixels."""
        if (given := self.print.sizes_mm.get(entry.name)) is not None:
            return self.mm(given[0]), self.mm(given[1])
        cell_w, cell_h = (self.mm(length) for length in self.print.cell_mm)
        cells = entry.cells or 1
        if entry.kind == "mark":
            return (self.pitch_of(entry) * cells if cells > 1 else self.mm(TICK_MM)), self.mm(
                TICK_MM
            )
        if entry.kind == "barcode":
            return self.mm(LABEL_MM[0]), self.mm(LABEL_MM[1])
        if entry.kind == "open":
            return self.mm(OPEN_DIGIT_MM) * ((entry.max_length or 6) + 1), cell_h
        return cell_w * cells, cell_h

    def pitch_of(self, entry: FieldEntry) -> float:
        widest = max(
            self.text_width(text, HINT_PT) for text in guides.choices_of(self.form, entry)
        )
        return max(self.mm(CHOICE_MM), widest + self.mm(3))

    def label_width(self) -> float:
        """Say how wide the column of labels is: as the widest, within reason."""
        left, right = self.column_edges()
        widths = [
            self.text_width(guides.label_of(self.form, e), LABEL_PT)
            for e in self.form.fields
            if e.box == NO_BOX
        ]
        most = 0.42 * (right - left)
        return min(max(widths, default=0.0), most) + self.mm(LABEL_GAP_MM)

    def flow(self, entry: FieldEntry) -> None:
        """Put a field into the next row, in the next column or on the next page if need be."""
        heading = self.print.headings.get(entry.name)
        width, height = self.size_of(entry)
        below = self.mm(3.2) if guides.notes_of(self.form, entry) else 0.0
        head = self.mm(11.0) if heading else 0.0
        left, right = self.column_edges()
        labels = self.label_width()
        above = 0.0
        if left + labels + width > right:  # the label goes above
            least = self.mm(LEAST_CELL_MM) * (entry.cells or 1)
            if entry.kind in ("boxed", "comb") and left + labels + least <= right:
                width = right - left - labels
            else:
                above = self.points(LABEL_PT) * 1.5
                if entry.kind in ("boxed", "comb") and least <= right - left:
                    width = min(width, right - left)
        if left + (0.0 if above else labels) + width > right + 1:
            raise TemplateError(
                f"form '{self.form.name}': field '{entry.name}' is wider than its column; give "
                "it fewer cells, or [print] fewer columns, or landscape = true"
            )
        self.find_room(head + above + height + below, entry)
        left, right = self.column_edges()
        if heading:
            self.add_heading(heading, left, right)
        self.y += above
        x = left if above else left + labels
        box = self.rounded(x, self.y, x + width, self.y + height)
        self.sheet.boxes[entry.name] = box
        lines = self.wrapped(
            guides.label_of(self.form, entry), labels - self.mm(LABEL_GAP_MM), LABEL_PT
        )
        if above:
            self.add_label(guides.label_of(self.form, entry), left, box.top - self.mm(1.6))
        else:
            leading = self.points(LABEL_PT) * 1.15
            first = (box.top + box.bottom) / 2 + self.points(LABEL_PT) * 0.35
            first -= leading * (len(lines) - 1) / 2
            for place, line in enumerate(lines):
                self.add_label(line, left, first + place * leading)
        guides.add_field(self.form, self.sheet, entry, box)
        self.y += height + below + self.mm(GAP_MM)

    def find_room(self, height: float, entry: FieldEntry) -> None:
        if self.y + height > self.bottom and self.y > self.top:
            self.column += 1
            self.y = self.top
            if self.column >= self.print.columns:
                self.add_sheet()
        if self.y + height > self.bottom:
            raise TemplateError(
                f"form '{self.form.name}': field '{entry.name}' is higher than the page"
            )

    def place_fixed(self, entry: FieldEntry) -> None:
        """Print a field where its author has put it, with its label above."""
        sheet = self.sheets[entry.page - 1]
        box = Box(*entry.box)
        if box.right > sheet.width or box.bottom > sheet.height:
            raise TemplateError(
                f"form '{self.form.name}': field '{entry.name}': box = {entry.box} lies "
                f"outside the page ({sheet.width} × {sheet.height})"
            )
        sheet.boxes[entry.name] = box
        label = Text(
            box.left, box.top - self.mm(1.4), guides.label_of(self.form, entry), HINT_PT
        )
        sheet.texts.append(label)
        guides.add_field(self.form, sheet, entry, box)
        left, right = self.column_edges()
        if sheet is self.sheet and box.left < right and box.right > left:
            self.y = max(self.y, box.bottom + self.mm(GAP_MM + 3))

    def add_heading(self, heading: str, left: float, right: float) -> None:
        top, bottom = self.y, self.y + self.mm(7)
        self.sheet.bars.append(Bar(left, top, right, bottom, Tone.TINT))
        x, baseline = left + self.mm(2), bottom - self.mm(2.2)
        self.sheet.texts.append(Text(x, baseline, heading, HEADING_PT, bold=True))
        self.y = bottom + self.mm(4)

    def add_label(self, text: str, x: float, baseline: float) -> None:
        self.sheet.texts.append(Text(x, baseline, text, LABEL_PT))

    def rounded(self, left: float, top: float, right: float, bottom: float) -> Box:
        return Box(round(left), round(top), round(right), round(bottom))

    def wrapped(self, text: str, room: float, size: float, bold: bool = False) -> list[str]:
        """Break a text into lines no wider than `room`, at spaces."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.text_width(longer, size, bold) <= room:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines
