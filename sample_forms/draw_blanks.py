"""Print the empty sample forms: python sample_forms/draw_blanks.py [FOLDER].

The boxes come from each form's template.toml; titles, tables and rules are drawn around them.
Text is in the font that travels with Pillow.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
PAPER, TINT, RULE, LINE, TEXT = 255, 232, 170, 105, 25
FOOT = "Sample form of digitocr. What is written on it is invented."


class Sheet:
    """A page being printed."""

    def __init__(self, page: dict[str, Any]) -> None:
        self.image = Image.new("L", (page["width"], page["height"]), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        for anchor in page.get("anchors", []):
            self.anchor(anchor)

    def anchor(self, anchor: dict[str, Any]) -> None:
        side = round(anchor["size"])
        left, top = (round(middle - side / 2) for middle in anchor["center"])
        if anchor["kind"] == "square":
            self.fill(left, top, left + side, top + side, 0)
            return
        name = f"DICT_{anchor['dictionary'].upper()}"
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
        mark = np.asarray(cv2.aruco.generateImageMarker(dictionary, anchor["id"], side))
        self.image.paste(Image.fromarray(mark), (left, top))

    def fill(self, left: int, top: int, right: int, bottom: int, gray: int) -> None:
        """Fill a rectangle; right and bottom are excluded."""
        self.draw.rectangle((left, top, right - 1, bottom - 1), fill=gray)

    def frame(
        self, left: int, top: int, right: int, bottom: int, gray: int, thick: int = 2
    ) -> None:
        """Draw a frame whose lines lie half on each side of the edges."""
        for x in (left, right):
            self.line(x, top, x, bottom, gray, thick)
        for y in (top, bottom):
            self.line(left, y, right, y, gray, thick)

    def line(self, x0: int, y0: int, x1: int, y1: int, gray: int, thick: int = 2) -> None:
        before, after = thick // 2, thick - thick // 2
        self.fill(x0 - before, y0 - before, x1 + after, y1 + after, gray)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        *,
        gray: int = TEXT,
        bold: bool = False,
        at: str = "lm",
    ) -> None:
        """Write text; `at` says which of its points stands at (x, y), as Pillow names it."""
        font = ImageFont.load_default(size)
        stroke = size / 45 if bold else 0
        self.draw.text((x, y), words, fill=gray, font=font, anchor=at, stroke_width=stroke)


def positions(field: dict[str, Any]) -> list[int]:
    """Columns where the printed positions of a field meet, and its two ends."""
    left, _, right, _ = field["box"]
    return [round(x) for x in np.linspace(left, right, field["cells"] + 1)]


def boxes(sheet: Sheet, field: dict[str, Any], thick: int = 2) -> None:
    """Print a box for each digit."""
    left, top, right, bottom = field["box"]
    sheet.frame(left, top, right, bottom, LINE, thick)
    for x in positions(field)[1:-1]:
        sheet.line(x, top, x, bottom, LINE, thick)


def comb(sheet: Sheet, field: dict[str, Any]) -> None:
    """Print a line with ticks between the digits."""
    left, top, right, bottom = field["box"]
    sheet.line(left, bottom, right, bottom, 70, 3)
    ends = positions(field)
    for x in ends:
        tall = (bottom - top) * (0.62 if x in (ends[0], ends[-1]) else 0.36)
        sheet.line(x, round(bottom - tall), x, bottom, 70, 2)


def date_letters(sheet: Sheet, field: dict[str, Any], size: float) -> None:
    """Print below each position what belongs there."""
    ends = positions(field)
    for left, right, letter in zip(ends, ends[1:], "DDMMYYYY", strict=False):
        sheet.text((left + right) / 2, field["box"][3] + 12, letter, size, gray=120, at="mm")


def clinic_tally(form: dict[str, Any]) -> list[Sheet]:
    """Draw a sheet of boxes in four sections."""
    sheet = Sheet(form["pages"][0])
    fields = {field["name"]: field for field in form["fields"]}
    sheet.text(140, 80, "DISTRICT HEALTH SERVICE", 22, bold=True)
    sheet.text(1100, 80, "Form CT-7", 22, at="rm")
    sheet.line(120, 112, 1120, 112, TEXT, 3)
    sheet.text(120, 160, form["title"], 50, bold=True)
    hint = "One digit in each box. Cross out boxes that stay empty with X or a dash."
    sheet.text(120, 214, hint, 21, gray=80)
    for name in ("clinic", "week_ending"):
        left, top, _, bottom = fields[name]["box"]
        words = fields[name]["title"]
        sheet.text(left - 20, (top + bottom) / 2, words, 25, bold=True, at="rm")
        boxes(sheet, fields[name])
    date_letters(sheet, fields["week_ending"], 15)
    sections = (
        ("Outpatient visits", 120, 580, 400, "visits_"),
        ("Immunizations (doses given)", 660, 1120, 400, "dose_"),
        ("Laboratory", 120, 580, 940, "malaria_"),
        ("The week", 660, 1120, 940, ("days_open", "staff")),
    )
    for title, left, right, top, names in sections:
        sheet.fill(left, top, right, top + 40, 60)
        sheet.text(left + 14, top + 20, title, 24, gray=PAPER, bold=True)
        rows = [field for name, field in fields.items() if name.startswith(names)]
        for field in rows:
            _, y0, _, y1 = field["box"]
            total = field["name"].endswith("_total")
            if total:
                sheet.line(left, y0 - 14, right, y0 - 14, TEXT, 2)
            else:
                sheet.line(left, y1 + 12, field["box"][0] - 14, y1 + 12, RULE, 1)
            sheet.text(left + 8, (y0 + y1) / 2, field["title"], 25, bold=total)
            boxes(sheet, field)
    sheet.text(120, 1300, "Remarks", 24, bold=True)
    for y in (1360, 1412, 1464, 1516):
        sheet.line(120, y, 1120, y, RULE, 1)
    sheet.line(120, 1610, 560, 1610, TEXT, 1)
    sheet.text(120, 1628, "Filled in by", 18, gray=90)
    sheet.line(660, 1610, 1120, 1610, TEXT, 1)
    sheet.text(660, 1628, "Signature", 18, gray=90)
    sheet.text(620, 1690, FOOT, 17, gray=120, at="mm")
    return [sheet]


def meter_reading(form: dict[str, Any]) -> list[Sheet]:
    """Draw a card of combs; its print is all there is to lay a scan onto it."""
    sheet = Sheet(form["pages"][0])
    fields = {field["name"]: field for field in form["fields"]}
    sheet.frame(50, 50, 1604, 1116, 60, 3)
    drop = [(138, 84), (104, 150), (172, 150)]
    sheet.draw.polygon(drop, fill=50)
    sheet.draw.ellipse((101, 122, 175, 196), fill=50)
    sheet.draw.arc((115, 136, 161, 182), 30, 150, fill=PAPER, width=5)
    sheet.text(205, 115, "NORTHSIDE WATER COMPANY", 32, bold=True)
    sheet.text(205, 168, form["title"], 50, bold=True)
    sheet.text(1560, 112, "Card M-21", 26, at="rm")
    sheet.text(1560, 152, "Please return within 7 days", 24, gray=80, at="rm")
    sheet.line(90, 220, 1564, 220, 60, 3)
    sheet.text(
        110,
        248,
        "One digit in each space. Put X or a dash into spaces left empty.",
        24,
        gray=80,
    )
    for field in fields.values():
        comb(sheet, field)
    for name in ("route", "meter", "read_on", "pressure", "fault", "seal"):
        left, top, _, _ = fields[name]["box"]
        sheet.text(left, top - 28, fields[name]["title"], 26, bold=True)
    date_letters(sheet, fields["read_on"], 17)
    sheet.text(890, 412, "check digit", 17, gray=100, at="rm")
    left, _, right, bottom = fields["meter"]["box"]
    sheet.draw.polygon(
        [(right - 26, bottom + 10), (right - 33, bottom + 22), (right - 19, bottom + 22)],
        fill=100,
    )
    sheet.fill(90, 462, 1060, 850, TINT)
    sheet.text(120, 500, "How to read the meter", 28, bold=True)
    lines = (
        "1  Lift the lid. Copy the seal number.",
        "2  Write the black figures of the counter as the present",
        "    reading. Leave out the red figures.",
        "3  Copy the previous reading from your last bill.",
        "4  Used since = present reading - previous reading.",
        "5  If the needle of the leak dial turns, write fault code 07.",
    )
    for row, words in enumerate(lines):
        sheet.text(120, 548 + 38 * row, words, 25, gray=50)
    sheet.frame(620, 765, 920, 830, 60, 3)
    for place in range(6):
        x = 620 + 50 * place
        gray = 60 if place < 5 else 130
        sheet.fill(x + 6, 771, x + 46, 825, gray)
        sheet.text(x + 26, 798, "004829"[place], 40, gray=PAPER, at="mm", bold=True)
    sheet.text(600, 798, "Counter", 24, gray=80, at="rm")
    for name in ("previous", "used", "present"):
        field = fields[name]
        sheet.text(1100, field["box"][1] - 26, field["title"], 26, bold=True)
        middle = (field["box"][1] + field["box"][3]) / 2
        sheet.text(1430, middle, "m", 30, gray=60)
        sheet.text(1457, middle - 11, "3", 18, gray=60)
    sheet.text(1078, 672, "+", 40, at="mm", bold=True)
    sheet.text(1078, 802, "=", 40, at="mm", bold=True)
    ends = positions(fields["pressure"])
    sheet.draw.ellipse((ends[2] - 6, 972, ends[2] + 6, 984), fill=40)
    sheet.line(90, 1020, 1564, 1020, 60, 2)
    sheet.text(
        110, 1052, "Northside Water Company · 14 Pump Lane · Office hours 8-16", 22, gray=80
    )
    sheet.text(110, 1086, FOOT, 20, gray=110)
    for stripe in range(16):
        x = 1190 + 24 * stripe
        sheet.draw.polygon(
            [(x, 1100), (x + 12, 1100), (x + 32, 1036), (x + 20, 1036)], fill=150
        )
    return [sheet]


def ruled_table(
    sheet: Sheet,
    columns: list[tuple[int, str]],
    right: int,
    top: int,
    rows: list[str],
    row_height: int,
) -> None:
    """Print a table; `columns` are the left edges and titles, `top` is where row 1 begins."""
    left = columns[0][0]
    bottom = top + row_height * len(rows)
    sheet.fill(left, top - 54, right, top, TINT)
    last = top + row_height * (len(rows) - 1)
    sheet.fill(left, last, columns[1][0], bottom, TINT)
    edges = [x for x, _ in columns] + [right]
    for (x, title), end in zip(columns, edges[1:], strict=True):
        sheet.text((x + end) / 2, top - 27, title, 25, bold=True, at="mm")
    for row, title in enumerate(rows):
        y = top + row_height * row
        sheet.text(left + 18, y + row_height / 2, title, 25, bold=row == len(rows) - 1)
        sheet.line(left, y, right, y, 140, 1)
    sheet.line(left, top, right, top, LINE, 2)
    sheet.line(left, last, right, last, LINE, 2)
    for x in edges:
        sheet.line(x, top - 54, x, bottom, LINE, 2)
    sheet.frame(left, top - 54, right, bottom, LINE, 2)


def school_register(form: dict[str, Any]) -> list[Sheet]:
    """Draw two pages with a ruled table each."""
    fields = {field["name"]: field for field in form["fields"]}
    first, second = (Sheet(page) for page in form["pages"])
    for number, sheet in enumerate((first, second), 1):
        sheet.text(620, 84, "PROVINCIAL SCHOOL BOARD", 24, bold=True, at="mm")
        sheet.text(620, 124, f"Register SR-3 · page {number} of 2", 21, gray=80, at="mm")
        sheet.line(180, 152, 1060, 152, TEXT, 2)
        sheet.text(620, 1654, FOOT, 17, gray=120, at="mm")
    first.text(180, 215, "School register: pupils", 46, bold=True)
    first.text(180, 262, "Count on the first school day of October.", 22, gray=80)
    left, top, right, bottom = fields["school"]["box"]
    first.text(180, (top + bottom) / 2 + 8, "School number", 25, bold=True)
    first.line(left, bottom, right, bottom, LINE, 2)
    classes = [f"Class {number}" for number in range(1, 7)] + ["All classes"]
    columns = [(180, "Class"), (400, "Boys"), (620, "Girls"), (840, "Pupils")]
    first.text(180, 432, "Numbers only. Leave empty what does not apply.", 22, gray=80)
    ruled_table(first, columns, 1060, fields["boys_1"]["box"][1], classes, 66)
    first.text(180, 1080, "Head teacher", 24, bold=True)
    first.line(400, 1096, 1060, 1096, RULE, 1)
    first.text(180, 1160, "Remarks", 24, bold=True)
    for y in range(1176, 1440, 52):
        first.line(400 if y == 1176 else 180, y, 1060, y, RULE, 1)
    second.text(180, 215, "School register: money received", 46, bold=True)
    second.text(180, 265, "Copy from the receipt book. Amounts have two places", 22, gray=80)
    second.text(180, 295, "after the point: 12.50", 22, gray=80)
    items = ["Books", "Uniforms", "Meals", "Transport", "Other", "All"]
    columns = [(180, "Item"), (460, "Receipts"), (680, "Amount")]
    ruled_table(second, columns, 1060, fields["amount_books"]["box"][1], items, 66)
    second.text(180, 980, "Treasurer", 24, bold=True)
    second.line(400, 996, 1060, 996, RULE, 1)
    second.text(180, 1060, "Checked by", 24, bold=True)
    second.line(400, 1076, 1060, 1076, RULE, 1)
    return [first, second]


FORMS: dict[str, Callable[[dict[str, Any]], list[Sheet]]] = {
    "clinic-tally": clinic_tally,
    "meter-reading": meter_reading,
    "school-register": school_register,
}


def main(folder: Path = HERE) -> None:
    """Draw the empty picture of each page of each form into `folder`."""
    for name, design in FORMS.items():
        form = tomllib.loads((HERE / name / "template.toml").read_text(encoding="utf-8"))
        (folder / name).mkdir(parents=True, exist_ok=True)
        for page, sheet in zip(form["pages"], design(form), strict=True):
            dpi = (page["dpi"], page["dpi"])
            sheet.image.save(folder / name / page["reference"], optimize=True, dpi=dpi)


if __name__ == "__main__":
    main(*(Path(folder) for folder in sys.argv[1:2]))
