"""The order of the stages: page → registered page → field ink → lattice → readings.

The network is asked once a page: the glyphs of all its fields go in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from digitocr.errors import RegistrationError, TemplateError
from digitocr.imaging import isolation, registration
from digitocr.imaging.binarization import darkness
from digitocr.imaging.crops import find_crop_writing
from digitocr.imaging.isolation import PER_MM, FieldImage
from digitocr.imaging.segmentation import segment_cells, segment_open
from digitocr.imaging.writing import (
    SPECK_MM,
    Writing,
    cells_of,
    find_writing,
)
from digitocr.recognition import checks, rules
from digitocr.recognition.acceptance import Acceptance, least_digit, reasons_against
from digitocr.recognition.classifier import Model
from digitocr.recognition.decoding import Decoded, Rows, decode, digit_hypotheses
from digitocr.settings import Settings
from digitocr.templates import FormTemplate
from digitocr.types import (
    MM_PER_INCH,
    Box,
    Field,
    FieldKind,
    FieldReading,
    FieldType,
    GlyphImage,
    GlyphReading,
    Gray,
    Hypothesis,
    Lattice,
    Mark,
    Page,
    PageReading,
    PageStatus,
    PageTemplate,
    Reading,
    Reason,
    RegisteredPage,
    VoidMark,
)

BLANK_SIDE = 600  # longer side of the copy in which a page is looked at for ink
BLANK_EDGE = 0.04  # share of the page at each side where scanners leave shadows
BLANK_INK = 0.0006  # share of pixels that are ink on a page that is not blank
VOID = {VoidMark.X: Mark.X, VoidMark.DASH: Mark.DASH}


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What reading needs besides a page: forms made ready, a model, and when to accept."""

    forms: tuple[FormTemplate, ...]
    references: tuple[registration.Reference, ...]
    model: Model
    acceptance: Acceptance
    max_residual_mm: float

    def form_of(self, template: PageTemplate) -> FormTemplate:
        return next(form for form in self.forms if template in form.pages)


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A field ready to be classified."""

    field: Field
    image: FieldImage
    writing: Writing
    lattice: Lattice


def prepare(forms: Sequence[FormTemplate], model: Model, settings: Settings) -> Reader:
    """Make forms and model ready to read with; done once a process."""
    references = tuple(
        registration.prepare(page, _boxes(form, page)) for form in forms for page in form.pages
    )
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    return Reader(tuple(forms), references, model, acceptance, settings.max_residual_mm)


def _boxes(form: FormTemplate, page: PageTemplate) -> list[Box]:
    return [f.box for f in form.fields_of(page.number) if f.kind is FieldKind.BOXED]


def read_page(page: Page, reader: Reader) -> PageReading:
    """Read one page: find its form, lay it onto it, read its fields.

    Returns
    -------
    PageReading
        `blank` for a page without ink, `ignored` for a page of the form that is not read,
        `failed` with its cause for a page that fits no form, else `read`.
    """
    if is_blank(page.image):
        return PageReading(page.document.sha256, page.number, PageStatus.BLANK)
    try:
        registered = registration.register(
            page, reader.references, max_residual_mm=reader.max_residual_mm
        )
    except RegistrationError as error:
        return PageReading(page.document.sha256, page.number, PageStatus.FAILED, str(error))
    form = reader.form_of(registered.template)
    status = PageStatus.IGNORED if registered.template.ignore else PageStatus.READ
    readings: tuple[FieldReading, ...] = ()
    if status is PageStatus.READ:
        readings = _read_fields(registered, form, reader)
    return PageReading(
        document=page.document.sha256,
        page=page.number,
        status=status,
        template=form.name,
        version=form.version,
        template_page=registered.template.number,
        homography=registered.homography,
        residual_mm=registered.residual / registered.template.dpi * MM_PER_INCH,
        readings=readings,
    )


def is_blank(image: Gray) -> bool:
    """Say whether a page has no ink but dust, shadows at its edges and print-through."""
    scale = min(1.0, BLANK_SIDE / max(image.shape))
    h, w = image.shape
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    y, x = (max(1, round(side * BLANK_EDGE)) for side in small.shape)
    inner = small[y:-y, x:-x]
    dark = darkness(inner, reach=max(9, BLANK_SIDE // 25))
    return float((dark > 0.2).mean()) < BLANK_INK


def _read_fields(
    page: RegisteredPage, form: FormTemplate, reader: Reader
) -> tuple[FieldReading, ...]:
    sheet = isolation.spread(page)
    fields = form.fields_of(page.template.number)
    prepared = [_prepare_field(sheet, field, fields) for field in fields]
    glyphs = [glyph for field in prepared for glyph in field.lattice.glyphs]
    rows = _classify([glyph.image for glyph in glyphs], reader.model)
    decoded: list[tuple[Decoded, ...]] = []
    parts: list[Rows] = []
    start = 0
    for field in prepared:
        part = rows[start : start + len(field.lattice.glyphs)]
        start += len(field.lattice.glyphs)
        parts.append(part)
        decoded.append(_decode_field(field, part))
    known = {field.field.name: field.field for field in prepared}
    options = {name: texts for name, texts in zip(known, decoded, strict=True)}
    resolved = rules.resolve(form.rules, known, options)
    return tuple(
        _reading(
            field,
            part,
            resolved.options[field.field.name],
            broken=resolved.broken[field.field.name],
            page=page,
            form=form,
            reader=reader,
        )
        for field, part in zip(prepared, parts, strict=True)
    )


def _classify(images: Sequence[GlyphImage], model: Model) -> Rows:
    if not images:
        return np.zeros((0, len(model.card.classes)), np.float32)
    return model.classify(np.stack(images))


def _prepare_field(sheet: isolation.Sheet, field: Field, fields: Sequence[Field]) -> _Prepared:
    image = isolation.isolate(sheet, field)
    neighbors = [image.in_image(other.box) for other in fields if other is not field]
    writing = find_writing(image, field, neighbors)
    speck = round(SPECK_MM * PER_MM)
    if field.kind is FieldKind.OPEN:
        lattice = segment_open(writing.field, speck=speck, box=image.box)
    else:
        lattice = segment_cells(writing.field, cells_of(image, field), speck=speck)
    return _Prepared(field, image, writing, lattice)


def _decode_field(prepared: _Prepared, rows: Rows) -> tuple[Decoded, ...]:
    field = prepared.field
    if not prepared.lattice.glyphs:
        return (Decoded("", 1.0, ()),)
    marks = {VOID[mark] for mark in field.void_marks}
    if field.kind is FieldKind.OPEN and field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        marks.add(Mark.SEPARATOR)
    return decode(
        prepared.lattice,
        rows,
        min_length=field.min_length,
        max_length=field.max_length,
        marks=marks,
    )


def _reading(
    prepared: _Prepared,
    rows: Rows,
    decoded: tuple[Decoded, ...],
    *,
    broken: tuple[str, ...],
    page: RegisteredPage,
    form: FormTemplate,
    reader: Reader,
) -> FieldReading:
    field, image = prepared.field, prepared.image
    best = decoded[0] if decoded else None
    glyphs = _glyph_readings(image.gray, prepared.lattice, rows, best, image.in_template)
    void = (
        best is not None
        and bool(best.path)
        and all(prepared.lattice.glyphs[step.glyph].mark in VOID.values() for step in best.path)
    )
    reasons = reasons_against(
        field,
        best,
        confidence=best.probability if best else 0.0,
        least_digit=least_digit(best, [g.confidence for g in glyphs]),
        all_void=void,
        faint_ink=prepared.writing.faint,
        clipped=prepared.writing.clipped,
        misplaced=image.misplaced,
        acceptance=reader.acceptance,
    )
    return FieldReading(
        hypotheses=tuple(
            Hypothesis(checks.value_of(field, d.text), d.probability) for d in decoded
        ),
        glyphs=glyphs,
        reasons=tuple(dict.fromkeys((*reasons, *map(Reason.of_rule, broken)))),
        model=reader.model.card.name,
        document=page.document.sha256,
        page=page.number,
        field=field,
        template=form.name,
        version=form.version,
        image=image.gray,
    )


def _glyph_readings(
    picture: Gray,
    lattice: Lattice,
    rows: Rows,
    best: Decoded | None,
    place: Callable[[Box], Box],
    outer: Callable[[Box], Box] | None = None,
) -> tuple[GlyphReading, ...]:
    """Cut the digits of the best path out of `picture`, with what each may be.

    `place` takes a box of the lattice to the frame it is stored in; `outer` to the pixels of
    the picture (None: they are the lattice's own).
    """
    found = []
    for step in best.path if best else ():
        if step.text:
            box = lattice.glyphs[step.glyph].box
            cut = outer(box) if outer else box
            found.append(
                GlyphReading(
                    box=place(box),
                    hypotheses=digit_hypotheses(rows[step.glyph]),
                    image=picture[max(0, cut.top) : cut.bottom, max(0, cut.left) : cut.right],
                )
            )
    return tuple(found)


def read_number(
    image: Gray,
    model: Model,
    acceptance: Acceptance,
    *,
    min_digits: int = 0,
    max_digits: int | None = None,
    type: FieldType = FieldType.INTEGER,
) -> Reading:
    """Read a bare crop that holds one handwritten number: no form, no printed positions.

    Parameters
    ----------
    image : (H, W) uint8
        Dark ink on light paper, of any size. Not changed.
    min_digits, max_digits
        Fewer or more digits than these are a reason to look.
    """
    crop = find_crop_writing(image)
    lattice = segment_open(crop.field, speck=crop.speck)
    rows = _classify([glyph.image for glyph in lattice.glyphs], model)
    decoded: tuple[Decoded, ...] = (Decoded("", 1.0, ()),)
    if lattice.glyphs:
        marks = (Mark.X,) if type is FieldType.CODE else tuple(Mark)
        decoded = decode(
            lattice, rows, min_length=min_digits, max_length=max_digits, marks=marks
        )
    best = decoded[0] if decoded else None
    glyphs = _glyph_readings(image, lattice, rows, best, crop.in_crop, crop.in_crop)
    h, w = image.shape
    decimals = [_decimals(one, lattice) if type is FieldType.DECIMAL else 0 for one in decoded]
    field = Field(
        name="number",
        page=1,
        box=Box(0, 0, w, h),
        kind=FieldKind.OPEN,
        type=type,
        min_length=min_digits,
        max_length=max_digits,
        void_marks=(VoidMark.X,),
        decimals=decimals[0] if decimals else 0,
    )
    reasons = reasons_against(
        field,
        best,
        confidence=best.probability if best else 0.0,
        least_digit=least_digit(best, [g.confidence for g in glyphs]),
        all_void=False,
        faint_ink=crop.doubtful or _may_be_no_number(best, glyphs, crop.lined, w),
        clipped=False,
        misplaced=False,
        acceptance=acceptance,
    )
    return Reading(
        hypotheses=tuple(
            Hypothesis(checks.value_of(replace(field, decimals=n), d.text), d.probability)
            for d, n in zip(decoded, decimals, strict=True)
        ),
        glyphs=glyphs,
        # 1,250 may be a thousand or one and a quarter.
        reasons=(*reasons, Reason.GAP)
        if field.decimals == 3 and not set(reasons) & {Reason.GAP}
        else reasons,
        model=model.card.name,
    )


def _may_be_no_number(
    best: Decoded | None, glyphs: Sequence[GlyphReading], lined: bool, width: int
) -> bool:
    """Say whether ones are all that was read, where other things look like ones.

    The sides of a box do, of which the rest was left out, and what a neighbor's stroke shows
    at the side of the crop.
    """
    if best is None or set(best.text) != {"1"}:
        return False
    return lined or any(one.box.left <= 1 or one.box.right >= width - 1 for one in glyphs)


def _decimals(decoded: Decoded, lattice: Lattice) -> int:
    """Count the digits after the last mark that a number was written with."""
    marks = [
        lattice.glyphs[s.glyph].mark is Mark.SEPARATOR and not s.text for s in decoded.path
    ]
    last = max((i for i, is_mark in enumerate(marks) if is_mark), default=len(marks))
    return sum(bool(step.text) for step in decoded.path[last:])


def check_forms(forms: Sequence[FormTemplate]) -> None:
    """Refuse forms whose pages cannot be told or laid: neither reference nor three anchors."""
    for form in forms:
        for page in form.pages:
            if page.reference is None and len(page.anchors) < 3:
                raise TemplateError(
                    f"form {form}: page {page.number} has neither a reference nor three "
                    'anchors, so a scan cannot be laid onto it; add reference = "blank.png"'
                )
