"""Rows → the one sheet of an .xlsx file, as they come.

openpyxl makes the file; what goes between the tags of its empty sheet is written here, because
its way of a cell at a time takes ten times as long as all else of an export.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any
from xml.sax.saxutils import escape

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.utils import get_column_letter

SHEET = "xl/worksheets/sheet1.xml"


def write(
    stream: IO[bytes],
    title: str,
    columns: Sequence[str],
    parts: Iterable[Sequence[Sequence[Any]]],
) -> None:
    """Write a sheet: its header, and below it the rows of the parts, each given by columns.

    A value is text, a number, or None for an empty cell.
    """
    empty = io.BytesIO()
    book = Workbook(write_only=True)
    book.create_sheet(title)
    book.save(empty)
    with (
        zipfile.ZipFile(empty) as made,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file,
    ):
        for name in made.namelist():
            if name != SHEET:
                file.writestr(name, made.read(name))
        before, after = re.split(b"<sheetData *(?:/>|></sheetData>)", made.read(SHEET))
        with file.open(SHEET, "w", force_zip64=True) as sheet:
            sheet.write(before + b"<sheetData>")
            sheet.writelines(row.encode() for row in _rows(columns, parts))
            sheet.write(b"</sheetData>" + after)


def _rows(columns: Sequence[str], parts: Iterable[Sequence[Sequence[Any]]]) -> Iterator[str]:
    yield from _part([[name] for name in columns], 1)
    start = 2
    for part in parts:
        yield from _part(part, start)
        start += len(part[0])


def _part(values: Sequence[Sequence[Any]], start: int) -> Iterator[str]:
    letters = [get_column_letter(number) for number in range(1, len(values) + 1)]
    cells = [
        [_cell(f"{letter}{row}", value) for row, value in enumerate(column, start)]
        for letter, column in zip(letters, values, strict=True)
    ]
    for row, of_row in enumerate(zip(*cells, strict=True), start):
        yield f'<row r="{row}">{"".join(of_row)}</row>'


def _cell(place: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        plain = escape(value) if value.isprintable() else escape(_legal(value))
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{plain}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def _legal(text: str) -> str:
    plain: str = ILLEGAL_CHARACTERS_RE.sub("", text)
    return plain
