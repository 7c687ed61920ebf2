"""`template.toml` ↔ `FormTemplate`, checked at the door.

A form is a folder: `template.toml` and, where there is one, the picture of the empty form.
Whatever is wrong in it is said with the file, the key and the value.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from digitocr import types
from digitocr.errors import TemplateError
from digitocr.types import (
    Anchor,
    Box,
    Check,
    Color,
    FieldKind,
    FieldType,
    FormRule,
    Gray,
    PageTemplate,
    Rule,
    VoidMark,
)

FILE_NAME = "template.toml"
DATE_PARTS = ("DD", "MM", "YYYY", "YY")
ARUCO_DICTIONARIES = ("4x4_50", "4x4_100", "5x5_50", "5x5_100", "6x6_50", "6x6_250")
NOT_WRITTEN = {FieldKind.MARK, FieldKind.BARCODE}  # ticked, or printed: no digits to write
CODE_CHECKS = {"pattern", "luhn", "damm", "mod11"}
LEAST_CHROMA = 40  # of 255: brightest less darkest channel of print that has a color
LEAST_TINTED = 0.0004  # of a page
MOST_VERSION = 2_000_000_000  # what both databases can hold
# Beside what it says itself, tomllib runs into Python's bounds on depth and on digits. What is
# no text, no TOML, and no template by pydantic are ValueErrors all of them.
NO_TOML = (OSError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True, eq=False)
class FormTemplate:
    """The printed form: pages with their anchors, fields, and rules across fields.

    `fingerprint` is the SHA-256 over the template file and its pictures: a form that was used
    is frozen, and an edit without a new version is noticed by it. `source` is the text of the
    file, so that what was read can be followed back.
    """

    name: str
    version: int
    title: str
    pages: tuple[PageTemplate, ...]
    fields: tuple[types.Field, ...]
    rules: tuple[FormRule, ...]
    fingerprint: str
    source: str

    @classmethod
    def load(cls, path: Path | str) -> FormTemplate:
        """Read a form folder (or the `template.toml` in it).

        Raises
        ------
        TemplateError
            Naming file, key and value of the first thing that is wrong.
        """
        return load(Path(path))

    def fields_of(self, page: int) -> tuple[types.Field, ...]:
        return tuple(field for field in self.fields if field.page == page)

    def page(self, number: int) -> PageTemplate:
        return self.pages[number - 1]

    def __str__(self) -> str:
        return f"'{self.name}' v{self.version}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Coordinates = Annotated[list[float], Field(min_length=2, max_length=2)]
Corners = Annotated[list[int], Field(min_length=4, max_length=4)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]


class _Anchor(_Strict):
    kind: Literal["square", "aruco"]
    center: Coordinates
    size: Annotated[float, Field(gt=2)]
    id: Annotated[int, Field(ge=0)] | None = None
    dictionary: str | None = None

    @field_validator("dictionary")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in ARUCO_DICTIONARIES:
            raise ValueError(f"must be one of {', '.join(ARUCO_DICTIONARIES)}")
        return value


class _Identifier(_Strict):
    kind: Literal["qr"]
    box: Corners


class PageEntry(_Strict):
    width: Annotated[int, Field(ge=50, le=30000)]
    height: Annotated[int, Field(ge=50, le=30000)]
    dpi: Annotated[float, Field(ge=30, le=1200)]
    reference: str | None = None
    anchors: list[_Anchor] = []
    identifier: _Identifier | None = None
    ignore: bool = False


class _Check(_Strict):
    rule: Literal["range", "pattern", "luhn", "damm", "mod11", "date"]
    min: float | None = None
    max: float | None = None
    pattern: str | None = None


class FieldEntry(_Strict):
    name: Name
    page: Annotated[int, Field(ge=1)] = 1
    box: Corners
    kind: Literal["boxed", "comb", "open", "mark", "barcode"]
    type: Literal["integer", "decimal", "code", "date"] | None = None  # see `_type_of`
    title: str = ""
    cells: Annotated[int, Field(ge=1, le=60)] | None = None
    min_length: Annotated[int, Field(ge=0, le=60)] = 0
    max_length: Annotated[int, Field(ge=1, le=60)] | None = None
    void_marks: list[Literal["x", "dash"]] = []
    required: bool = False
    checks: list[_Check] = []
    decimals: Annotated[int, Field(ge=0, le=12)] = 0
    date_format: str = "DDMMYYYY"
    weight: Annotated[float, Field(gt=0)] = 1.0
    double_key: bool = False


class _Rule(_Strict):
    rule: Literal["sum"]
    of: Annotated[list[str], Field(min_length=1)]
    equals: str
    name: Name | None = None


Millimetres = Annotated[float, Field(ge=2, le=300)]


class PrintEntry(_Strict):
    """How a form is laid out and printed: nothing to read by."""

    paper: Literal["a4", "letter"] = "a4"
    landscape: bool = False
    dpi: Annotated[int, Field(ge=100, le=300)] = 150
    columns: Annotated[int, Field(ge=1, le=3)] = 1
    color: Literal["orange", "green", "blue", "gray"] = "orange"
    cell_mm: Annotated[list[Millimetres], Field(min_length=2, max_length=2)] = [7.0, 8.5]
    font: str | None = None
    instructions: str | None = None
    footer: str = ""
    labels: dict[str, str] = {}
    hints: dict[str, str] = {}
    headings: dict[str, str] = {}
    choices: dict[str, list[str]] = {}
    sizes_mm: dict[str, Annotated[list[Millimetres], Field(min_length=2, max_length=2)]] = {}


class TemplateEntry(_Strict):
    name: Name
    version: Annotated[int, Field(ge=1, le=MOST_VERSION)]
    title: str = ""
    pages: Annotated[list[PageEntry], Field(min_length=1)]
    fields: list[FieldEntry] = []
    rules: list[_Rule] = []
    print: PrintEntry = PrintEntry()


def load(path: Path) -> FormTemplate:
    """Read a form folder (or the `template.toml` in it); see `FormTemplate.load`."""
    file = path / FILE_NAME if path.is_dir() or path.suffix != ".toml" else path
    try:
        raw = file.read_bytes()
        entries = tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        raise TemplateError(
            f"{file}: no such file; a form is a folder with {FILE_NAME}"
        ) from None
    except NO_TOML as error:
        raise TemplateError(f"{file}: {error}; mend the file") from error
    checked = validated(file, entries)
    digest = hashlib.sha256(raw)
    pages = []
    for number, page in enumerate(checked.pages, 1):
        reference, color = _load_reference(file, page, number, digest)
        pages.append(
            PageTemplate(
                number=number,
                width=page.width,
                height=page.height,
                dpi=page.dpi,
                reference=reference,
                anchors=tuple(_anchor(file, a, page, number) for a in page.anchors),
                ignore=page.ignore,
                identifier=_identifier(file, page, number, reference),
                color=color,
            )
        )
    fields = _fields(file, checked, pages)
    return FormTemplate(
        name=checked.name,
        version=checked.version,
        title=checked.title or checked.name,
        pages=tuple(pages),
        fields=fields,
        rules=_rules(file, checked),
        fingerprint=digest.hexdigest(),
        source=raw.decode("utf-8"),
    )


def from_source(source: str) -> FormTemplate:
    """Make the form of a template's text, as the database keeps it: without its pictures.

    Raises
    ------
    TemplateError
        If it is no text of a template.
    """
    file = Path(FILE_NAME)
    try:
        entries = tomllib.loads(source)
        checked = TemplateEntry.model_validate(entries)
    except NO_TOML as error:
        raise TemplateError(f"the stored template: {error}") from error
    pages = [
        PageTemplate(number, page.width, page.height, page.dpi, ignore=page.ignore)
        for number, page in enumerate(checked.pages, 1)
    ]
    return FormTemplate(
        name=checked.name,
        version=checked.version,
        title=checked.title or checked.name,
        pages=tuple(pages),
        fields=_fields(file, checked, pages),
        rules=_rules(file, checked),
        fingerprint="",
        source=source,
    )


def validated(file: Path, entries: dict[str, Any]) -> TemplateEntry:
    """Check the keys of a template, one by one; whether they go together is checked after.

    Raises
    ------
    TemplateError
        Naming file, key and value of the first that is wrong.
    """
    try:
        return TemplateEntry.model_validate(entries)
    except ValidationError as error:
        raise TemplateError(f"{file}: {_first_fault(error, entries)}") from error


def load_all(folder: Path) -> tuple[FormTemplate, ...]:
    """Read every form below `folder` (or the one form that `folder` is), in order of name.

    Raises
    ------
    TemplateError
        If the folder is missing, holds no form, or two forms share a name.
    """
    if (folder / FILE_NAME).is_file():
        return (load(folder),)
    if not folder.is_dir():
        raise TemplateError(
            f"{folder}: no such folder of forms; name one with --forms, or make "
            f"{folder}/<form>/{FILE_NAME}"
        )
    files = sorted(folder.glob(f"*/{FILE_NAME}"))
    if not files:
        raise TemplateError(
            f"{folder}: holds no form; a form is a folder {folder}/<form>/ with {FILE_NAME}"
        )
    forms = tuple(load(file) for file in files)
    seen: dict[str, Path] = {}
    for file, form in zip(files, forms, strict=True):
        if form.name in seen:
            raise TemplateError(
                f"{file}: name = '{form.name}' is also the name of {seen[form.name]}; "
                "give one of them another name"
            )
        seen[form.name] = file
    return forms


def field_types(source: str) -> dict[str, FieldType]:
    """Find the types of the fields, by name, in the text of a template that was once loaded."""
    fields = tomllib.loads(source).get("fields", [])
    return {
        field["name"]: _type_of(field.get("kind", "open"), field.get("type"))
        for field in fields
    }


def pages_to_read(source: str) -> tuple[int, ...]:
    """List the pages that are read, in the text of a template that was once loaded."""
    pages = tomllib.loads(source).get("pages", [])
    return tuple(n for n, page in enumerate(pages, 1) if not page.get("ignore", False))


def _type_of(kind: str, type_: str | None) -> FieldType:
    """Fill in the type where none is given: what is ticked or coded is no number."""
    default = FieldType.CODE if FieldKind(kind) in NOT_WRITTEN else FieldType.INTEGER
    return default if type_ is None else FieldType(type_)


def _first_fault(error: ValidationError, entries: dict[str, Any]) -> str:
    """Say key, value and fault of the first thing pydantic found."""
    fault = error.errors()[0]
    key = ""
    value: Any = entries
    for part in fault["loc"]:
        key += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if key else ''}{part}"
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key; see the template reference in the README"
    if fault["type"] == "missing":
        drawn = key == "pages" or key.endswith(".box")
        return f"{key}: is missing" + ("; `digitocr form draw` fills it in" if drawn else "")
    shown = repr(value)
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key} = {shown if len(shown) < 80 else shown[:77] + '…'}: {message}"


def _load_reference(
    file: Path, page: PageEntry, number: int, digest: Any
) -> tuple[Gray | None, Color | None]:
    """Load the picture of the empty form in gray, and in colors where it has print in any."""
    if page.reference is None:
        return None, None
    picture = file.parent / page.reference
    key = f"{file}: pages[{number}].reference = '{page.reference}'"
    try:
        raw = picture.read_bytes()
    except (OSError, ValueError) as error:  # no file has a name with a zero byte in it
        why = getattr(error, "strerror", None) or error
        raise TemplateError(f"{key}: {why}; put the empty form there") from error
    digest.update(raw)
    # OpenCV refuses no bytes at all by an exception of its own.
    data = np.frombuffer(raw, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if raw else None
    if image is None:
        raise TemplateError(f"{key}: is not a picture; save the empty form as PNG")
    if image.shape[:2] != (page.height, page.width):
        h, w = image.shape[:2]
        raise TemplateError(
            f"{key}: is {w} × {h} pixels, the page {page.width} × {page.height}; "
            "make them the same"
        )
    empty = np.asarray(image, np.uint8)
    if empty.ndim == 2:
        return empty, None
    gray = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return gray, empty if _is_colored(empty) else None


def _is_colored(color: Color) -> bool:
    """Say whether a picture holds more color than its paper, dust and a lens's fringes have."""
    blue, green, red = cv2.split(color)  # four times as fast as along the last axis
    most = cv2.max(cv2.max(blue, green), red)
    chroma = np.asarray(cv2.subtract(most, cv2.min(cv2.min(blue, green), red)), np.uint8)
    tinted = chroma > np.median(chroma[::8, ::8]) + LEAST_CHROMA
    return float(tinted.mean()) >= LEAST_TINTED


def _anchor(file: Path, anchor: _Anchor, page: PageEntry, number: int) -> Anchor:
    x, y = anchor.center
    if not (0 <= x < page.width and 0 <= y < page.height):
        raise TemplateError(
            f"{file}: pages[{number}].anchors: center = [{x:g}, {y:g}] lies outside the page "
            f"({page.width} × {page.height})"
        )
    if anchor.kind == "aruco" and anchor.id is None:
        raise TemplateError(f"{file}: pages[{number}].anchors: an aruco anchor needs an id")
    dictionary = anchor.dictionary or ("4x4_50" if anchor.kind == "aruco" else None)
    if dictionary is not None and (anchor.id or 0) >= (size := int(dictionary[4:])):
        raise TemplateError(
            f"{file}: pages[{number}].anchors: id = {anchor.id}, but dictionary "
            f"'{dictionary}' has 0 to {size - 1}"
        )
    return Anchor(
        kind=anchor.kind,
        center=(float(x), float(y)),
        size=anchor.size,
        id=anchor.id,
        dictionary=dictionary,
    )


def _identifier(file: Path, page: PageEntry, number: int, reference: Gray | None) -> Box | None:
    """Say where the page code is, and take it out of the empty form: copies differ there."""
    if page.identifier is None:
        return None
    left, top, right, bottom = page.identifier.box
    if not (0 <= left < right <= page.width and 0 <= top < bottom <= page.height):
        raise TemplateError(
            f"{file}: pages[{number}].identifier: box = {page.identifier.box} is empty or lies "
            f"outside the page ({page.width} × {page.height})"
        )
    if reference is not None:
        reference[top:bottom, left:right] = 255
    return Box(left, top, right, bottom)


def _fields(
    file: Path, checked: TemplateEntry, pages: list[PageTemplate]
) -> tuple[types.Field, ...]:
    fields: list[types.Field] = []
    for entry in checked.fields:
        key = f"{file}: field '{entry.name}'"
        if any(entry.name == other.name for other in fields):
            raise TemplateError(f"{key}: name is used twice; give one another name")
        if entry.page > len(pages):
            raise TemplateError(f"{key}: page = {entry.page}, the form has {len(pages)}")
        fields.append(_field(key, entry, pages[entry.page - 1]))
    return tuple(fields)


def _field(key: str, entry: FieldEntry, page: PageTemplate) -> types.Field:
    left, top, right, bottom = entry.box
    if right <= left or bottom <= top:
        raise TemplateError(
            f"{key}: box = {entry.box} is empty; it is left, top, right, bottom"
        )
    if left < 0 or top < 0 or right > page.width or bottom > page.height:
        raise TemplateError(
            f"{key}: box = {entry.box} lies outside the page ({page.width} × {page.height})"
        )
    kind = FieldKind(entry.kind)
    if page.ignore:
        raise TemplateError(f"{key}: page = {entry.page} is a page to ignore")
    if kind in {FieldKind.BOXED, FieldKind.COMB} and entry.cells is None:
        raise TemplateError(f"{key}: cells is missing; a {kind} field has printed positions")
    if kind is FieldKind.OPEN and entry.cells is not None:
        raise TemplateError(f"{key}: cells = {entry.cells}, but an open field has no positions")
    if kind in NOT_WRITTEN:
        _refuse_of_writing(key, entry)
    most = entry.max_length or entry.cells
    if entry.cells is not None and most is not None and most > entry.cells:
        raise TemplateError(f"{key}: max_length = {most} is more than cells = {entry.cells}")
    if most is not None and entry.min_length > most:
        raise TemplateError(f"{key}: min_length = {entry.min_length} is more than {most}")
    type_ = _type_of(kind, entry.type)
    if entry.decimals and type_ is not FieldType.DECIMAL:
        raise TemplateError(f"{key}: decimals = {entry.decimals}, but type = '{type_}'")
    least, cells = entry.min_length, entry.cells
    if kind is FieldKind.MARK:
        least = most = cells = entry.cells or 1
    if type_ is FieldType.DATE:
        length = _date_length(key, entry.date_format)
        most = most or length
        if most != length:
            raise TemplateError(f"{key}: date_format '{entry.date_format}' has {length} digits")
    if any(check.rule == "mod11" for check in entry.checks) and (most is None or most > 10):
        # The eleventh digit from the right has weight 11: an error in it would not be seen.
        raise TemplateError(f"{key}: check 'mod11' is for 10 digits at most; set max_length")
    return types.Field(
        name=entry.name,
        page=entry.page,
        box=Box(left, top, right, bottom),
        kind=kind,
        type=type_,
        title=entry.title or entry.name,
        cells=cells,
        min_length=least,
        max_length=most,
        void_marks=tuple(VoidMark(mark) for mark in entry.void_marks),
        required=entry.required,
        checks=tuple(_check(key, check, type_) for check in entry.checks),
        decimals=entry.decimals,
        date_format=entry.date_format,
        weight=entry.weight,
        double_key=entry.double_key,
    )


def _refuse_of_writing(key: str, entry: FieldEntry) -> None:
    """Refuse what means nothing for a field that nobody writes digits into."""
    if entry.kind == "barcode" and entry.cells is not None:
        raise TemplateError(f"{key}: cells = {entry.cells}, but a barcode has no positions")
    if entry.kind == "mark" and (entry.min_length or entry.max_length):
        raise TemplateError(
            f"{key}: min_length and max_length are for what is written; say which boxes may be "
            'ticked by checks = [{rule = "pattern", …}]'
        )
    numeric = entry.kind == "mark" and (entry.cells or 1) == 1
    if entry.type not in (None, "code") and not (numeric and entry.type == "integer"):
        why = "several boxes" if entry.kind == "mark" else "barcode"
        raise TemplateError(f"{key}: type = '{entry.type}', but of {why} the text is a code")
    if entry.void_marks:
        raise TemplateError(f"{key}: void_marks are for positions that digits are written in")
    allowed = CODE_CHECKS if entry.kind == "barcode" else {"pattern"}
    for check in entry.checks:
        if check.rule not in allowed:
            raise TemplateError(f"{key}: check '{check.rule}' is not for kind = '{entry.kind}'")


def _date_length(key: str, date_format: str) -> int:
    rest = date_format
    for part in ("DD", "MM", "YYYY" if "YYYY" in date_format else "YY"):
        rest = rest.replace(part, "", 1)
    if rest or not {"DD", "MM"} <= {p for p in DATE_PARTS if p in date_format}:
        raise TemplateError(
            f"{key}: date_format = '{date_format}' is not made of DD, MM and YYYY or YY"
        )
    if "YY" not in date_format:
        raise TemplateError(f"{key}: date_format = '{date_format}' has no year")
    return len(date_format)


def _check(key: str, check: _Check, type_: FieldType) -> Check:
    if check.rule == "range":
        if type_ is FieldType.DATE:
            raise TemplateError(f"{key}: check 'range' is of numbers, but type = 'date'")
        if check.min is None and check.max is None:
            raise TemplateError(f"{key}: check 'range' needs min or max")
        if check.min is not None and check.max is not None and check.min > check.max:
            raise TemplateError(f"{key}: check 'range': min = {check.min:g} is above max")
    elif check.min is not None or check.max is not None:
        raise TemplateError(f"{key}: check '{check.rule}' takes no min or max")
    if (check.rule == "pattern") != (check.pattern is not None):
        raise TemplateError(f"{key}: a pattern belongs to check 'pattern', and to it alone")
    if check.pattern is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a later Python may understand otherwise
                re.compile(check.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise TemplateError(f"{key}: pattern = '{check.pattern}': {error}") from error
    return Check(Rule(check.rule), check.min, check.max, check.pattern)


def _rules(file: Path, checked: TemplateEntry) -> tuple[FormRule, ...]:
    known = {field.name: field for field in checked.fields}
    rules: list[FormRule] = []
    for number, rule in enumerate(checked.rules, 1):
        key = f"{file}: rules[{number}]"
        for name in (*rule.of, rule.equals):
            if name not in known:
                raise TemplateError(f"{key}: '{name}' is not a field of this form")
            type_ = _type_of(known[name].kind, known[name].type)
            if type_ not in (FieldType.INTEGER, FieldType.DECIMAL):
                raise TemplateError(f"{key}: '{name}' is a {type_}, not a number")
        if len({known[name].page for name in (*rule.of, rule.equals)}) > 1:
            raise TemplateError(f"{key}: its fields are on several pages; keep a rule on one")
        name = rule.name or f"sum-{rule.equals}"
        if any(name == other.name for other in rules):
            name = f"{name}-{number}"
        rules.append(FormRule(Rule.SUM, tuple(rule.of), rule.equals, name))
    return tuple(rules)
