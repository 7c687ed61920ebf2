"""A short description → the whole form: `template.toml` with boxes and anchors, and pictures.

What is filled in ends with the comment `# drawn`, so that drawing again begins from what the
author wrote: a line without that comment is the author's, and stays.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from digitocr import templates
from digitocr.errors import TemplateError, UsageError
from digitocr.forms import printing
from digitocr.forms.layout import NO_BOX, lay_out
from digitocr.forms.sheets import Sheet
from digitocr.imaging.codes import PageCode
from digitocr.templates import FILE_NAME, FormTemplate, TemplateEntry
from digitocr.types import Gray

DRAWN = "# drawn"
BEGIN, END = "# --- pages, as drawn by `digitocr form draw`", "# --- end of what was drawn"
HEADER = re.compile(r"^\s*\[\[?\s*[A-Za-z_][\w.\- ]*\]\]?\s*(#.*)?$")
FIELDS = re.compile(r"^\s*\[\[\s*fields\s*\]\]\s*(#.*)?$")
UNLIKE = 100  # difference in gray by which a pixel is not the same as when it was drawn
MOST_UNLIKE = 40  # pixels; another build of the renderer moves the edges of letters a little


@dataclass(frozen=True, slots=True, eq=False)
class DrawnForm:
    """A form laid out: its sheets, the whole text of its template, its pictures, its fonts."""

    entry: TemplateEntry
    sheets: list[Sheet]
    source: str
    pictures: list[Gray]
    fonts: printing.Fonts

    def codes(self, serial: str = "") -> list[PageCode]:
        """List the page codes of one copy."""
        return [
            PageCode(self.entry.name, self.entry.version, sheet.number, serial)
            for sheet in self.sheets
        ]

    def pdf(self, serials: list[str]) -> bytes:
        """Draw copies, one for each serial; "" is a copy without a number."""
        return printing.write_pdf(
            self.sheets,
            [self.codes(serial) for serial in serials],
            title=self.entry.title or self.entry.name,
            color=self.entry.print.color,
            fonts=self.fonts,
        )


def draw(folder: Path) -> FormTemplate:
    """Lay out the form in a folder, and write its whole template and its pictures there.

    Nothing is written before all of it is known to be right.

    Raises
    ------
    TemplateError
        If the description is wrong, a field does not fit, or the form has a picture that was
        not drawn here.
    """
    file = _file_of(folder)
    drawn = compose(file)
    with tempfile.TemporaryDirectory() as scratch:
        trial = Path(scratch)
        _write(trial / FILE_NAME, drawn)
        try:
            templates.load(trial)
        except TemplateError as error:
            raise TemplateError(
                str(error).replace(str(trial / FILE_NAME), str(file))
            ) from error
    try:
        _write(file, drawn)
    except OSError as error:
        raise UsageError(f"{file.parent}: {error.strerror}; see to its permissions") from error
    return templates.load(file)


def load_drawn(folder: Path) -> DrawnForm:
    """Lay out a form that was drawn, and refuse it where that is not what its folder says.

    Raises
    ------
    TemplateError
        If the form was never drawn, or was edited since.
    """
    file = _file_of(folder)
    source = _text_of(file)
    if BEGIN not in source:
        raise TemplateError(
            f"{file}: was not laid out by digitocr; `digitocr form draw` does that for fields "
            "without a box, and other forms are printed by what made them"
        )
    form = templates.load(file)
    drawn = compose(file)
    same = drawn.source == source and len(form.pages) == len(drawn.pictures)
    for page, picture in zip(form.pages, drawn.pictures, strict=False):
        if not same or page.reference is None or page.identifier is None:
            same = False
            break
        box = page.identifier
        fresh = picture.copy()
        fresh[box.top : box.bottom, box.left : box.right] = 255
        same = page.reference.shape == fresh.shape and _is_same(page.reference, fresh)
        if not same:
            break
    if not same:
        raise TemplateError(
            f"{file}: was edited since it was drawn, so paper and template would differ; run "
            f"`digitocr form draw {file.parent}` first"
        )
    return drawn


def _is_same(one: Gray, other: Gray) -> bool:
    away = np.abs(one.astype(np.int16) - other) > UNLIKE
    return int(away.sum()) <= MOST_UNLIKE


def compose(file: Path) -> DrawnForm:
    """Lay out what a template describes, and compose its whole text and its pictures."""
    bare = strip_drawn(_text_of(file))
    try:
        entries = tomllib.loads(bare)
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{file}: {error}; mend the file") from error
    added = _fill_in(file, entries)
    form = templates.validated(file, entries)
    _check_print(file, form)
    font = None if form.print.font is None else file.parent / form.print.font
    fonts = printing.load_fonts(font)
    try:
        sheets = lay_out(form, printing.measure_of(fonts))
    except TemplateError as error:
        raise TemplateError(f"{file}: {error}") from error
    half = DrawnForm(form, sheets, "", [], fonts)
    pictures = printing.rasterize(half.pdf([""]), sheets)
    source = _complete(file, bare, form, sheets, added)
    return DrawnForm(form, sheets, source, pictures, fonts)


def strip_drawn(text: str) -> str:
    """Take out of a template what was drawn into it."""
    kept: list[str] = []
    inside = after = False
    for line in text.splitlines():
        ours = after and not line.strip()  # the blank line that was put behind the pages
        after = False
        if line.startswith(BEGIN):
            inside = True
        if not inside and not ours and not line.rstrip().endswith(DRAWN):
            kept.append(line)
        if line.startswith(END):
            inside, after = False, True
    return "\n".join(kept) + "\n"


def _file_of(folder: Path) -> Path:
    return folder if folder.suffix == ".toml" else folder / FILE_NAME


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TemplateError(
            f"{file}: no such file; a form is a folder with {FILE_NAME}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{file}: {error}; mend the file") from error


def _write(file: Path, drawn: DrawnForm) -> None:
    for sheet, picture in zip(drawn.sheets, drawn.pictures, strict=True):
        coded = cv2.imencode(".png", picture)[1].tobytes()
        (file.parent / _picture_name(sheet.number)).write_bytes(coded)
    file.write_text(drawn.source, encoding="utf-8")


def _picture_name(page: int) -> str:
    return "blank.png" if page == 1 else f"blank-{page}.png"


# ---------------------------------------------------------------- what the author left out


def _fill_in(file: Path, entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Give every field the kind and cells it was not given; list what was added to each.

    A field without a box gets `NO_BOX`, which no template may have.
    """
    if "pages" in entries:
        raise TemplateError(
            f"{file}: has [[pages]] of its own, so it is a form that was printed before; "
            "`form draw` makes new ones: take out [[pages]] and the boxes, and say the paper "
            "in [print]"
        )
    entries["pages"] = [{"width": 50, "height": 50, "dpi": 100}]  # known when it is laid out
    printed = entries.get("print", {})
    choices = printed.get("choices", {}) if isinstance(printed, dict) else {}
    added: list[dict[str, Any]] = []
    fields = entries.get("fields", [])
    if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
        return added
    for field in fields:
        new: dict[str, Any] = {}
        if "kind" not in field:
            new["kind"] = "boxed"
        kind = field.get("kind", "boxed")
        name = field.get("name", "?")
        if "cells" not in field:
            if kind in ("boxed", "comb"):
                new["cells"] = _cells_of(file, name, field)
            elif kind == "mark" and len(choices.get(name, ())) > 1:
                new["cells"] = len(choices[name])
        field |= new
        added.append(new)
        field.setdefault("box", list(NO_BOX))
    return added


def _cells_of(file: Path, name: str, field: dict[str, Any]) -> int:
    if field.get("type") == "date":
        return len(str(field.get("date_format", "DDMMYYYY")))
    if isinstance(field.get("max_length"), int):
        return int(field["max_length"])
    raise TemplateError(
        f"{file}: field '{name}': say how many positions to print: cells = 3, or max_length = 3"
    )


def _check_print(file: Path, form: TemplateEntry) -> None:
    """Refuse what [print] says of fields that are not there."""
    names = [field.name for field in form.fields]
    if not names:
        raise TemplateError(f"{file}: has no [[fields]] to lay out; write one for each number")
    for key in ("labels", "hints", "headings", "choices", "sizes_mm"):
        for name in getattr(form.print, key):
            if name not in names:
                raise TemplateError(
                    f"{file}: print.{key}.{name}: '{name}' is not a field of this form"
                )
    for field in form.fields:
        given = form.print.choices.get(field.name)
        if given is not None and (field.kind != "mark" or len(given) != (field.cells or 1)):
            raise TemplateError(
                f"{file}: print.choices.{field.name}: has {len(given)} texts, but the field is "
                f"{field.kind} with {field.cells or 1} cells"
            )


# ---------------------------------------------------------------- the whole text


def _complete(
    file: Path,
    bare: str,
    form: TemplateEntry,
    sheets: list[Sheet],
    added: list[dict[str, Any]],
) -> str:
    """Put pages and boxes into an author's text, and leave all else where it is."""
    lines = bare.splitlines()
    heads = [i for i, line in enumerate(lines) if FIELDS.match(line)]
    if len(heads) != len(form.fields):
        raise TemplateError(
            f"{file}: write every field as a table of its own, below a line [[fields]]"
        )
    for i in reversed(range(len(heads))):
        field = form.fields[i]
        new = dict(added[i])
        if field.box == NO_BOX:
            sheet = next(one for one in sheets if field.name in one.boxes)
            box = sheet.boxes[field.name]
            if sheet.number != field.page:
                if "page" in field.model_fields_set:
                    raise TemplateError(
                        f"{file}: field '{field.name}': page = {field.page} has no room left; "
                        f"it would go to page {sheet.number}"
                    )
                new["page"] = sheet.number
            new["box"] = [box.left, box.top, box.right, box.bottom]
        end = _end_of_table(lines, heads[i])
        lines[end:end] = [f"{key} = {_toml(value)}  {DRAWN}" for key, value in new.items()]
    first = heads[0]
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    lines[first:first] = [*_pages(sheets), ""]
    return "\n".join(lines) + "\n"


def _end_of_table(lines: list[str], head: int) -> int:
    """Find the line after the last entry of a table."""
    end = head + 1
    for i in range(head + 1, len(lines)):
        if HEADER.match(lines[i]):
            break
        if lines[i].strip() and not lines[i].lstrip().startswith("#"):
            end = i + 1
    return end


def _pages(sheets: list[Sheet]) -> list[str]:
    said = [BEGIN]
    for sheet in sheets:
        code = sheet.identifier
        said += [
            "[[pages]]",
            f"width = {sheet.width}",
            f"height = {sheet.height}",
            f"dpi = {sheet.dpi:g}",
            f'reference = "{_picture_name(sheet.number)}"',
            "anchors = [",
            *(
                f'    {{kind = "aruco", center = [{a.center[0]:g}, {a.center[1]:g}], '
                f'size = {a.size:g}, id = {a.id}, dictionary = "{a.dictionary}"}},'
                for a in sheet.anchors
            ),
            "]",
            'identifier = {kind = "qr", '
            f"box = [{code.left}, {code.top}, {code.right}, {code.bottom}]}}",
        ]
    return [*said, END]


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
