"""The order of the stages: page → registered page → field ink → lattice → readings.

The network is asked once a page: the glyphs of all its fields go in one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from digitocr.errors import RegistrationError, TemplateError
from digitocr.imaging import isolation, registration
from digitocr.imaging.binarization import darkness
from digitocr.imaging.codes import find_page_codes
from digitocr.imaging.isolation import FieldImage
from digitocr.imaging.landmarks import THUMBNAIL_SIDE, View, view_of
from digitocr.imaging.prints import PER_MM, FieldPrint, print_of
from digitocr.imaging.segmentation import is_crowded, segment_cells, segment_open, with_crosses
from digitocr.imaging.writing import (
    SPECK_MM,
    Writing,
    cells_of,
    find_writing,
)
from digitocr.numbers import (
    MOST_TEXTS,
    WholeReading,
    glyphs_of_frames,
    is_doubtful_blank,
    read_whole,
    weigh,
)
from digitocr.recognition import checks, rules
from digitocr.recognition.acceptance import Acceptance, least_digit, reasons_against
from digitocr.recognition.classifier import Model, classify_glyphs
from digitocr.recognition.combining import Evidence
from digitocr.recognition.decoding import (
    Decoded,
    Rows,
    decode,
    glyph_readings,
    least_digits,
    may_be_crosses,
)
from digitocr.recognition.sequence import SequenceModel, joint_card
from digitocr.settings import Settings
from digitocr.symbols import Symbol, read_symbol
from digitocr.templates import NOT_WRITTEN, FormTemplate
from digitocr.types import (
    MM_PER_INCH,
    Box,
    Field,
    FieldKind,
    FieldReading,
    FieldType,
    Gray,
    Hypothesis,
    Lattice,
    Mark,
    ModelCard,
    Page,
    PageReading,
    PageStatus,
    PageTemplate,
    Reason,
    RegisteredPage,
    VoidMark,
)

BLANK_EDGE = 0.04  # share of the page at each side where scanners leave shadows
BLANK_INK = 0.0006  # share of pixels that are ink on a page that is not blank
BLANK_PAPER = 64  # the darkest that paper is
LEAST_THERE = 0.75  # share of a sheet that is on its scan
MOST_BESIDE = 0.68  # share of a scan that a sheet takes, where there is room for another
MOST_PRINTS = 250  # fields whose print is kept, 0.4 MB each; else it is computed for each page
CROP_MARGIN_MM = 1.0  # of paper around a field that the sequence network sees
VOID = {VoidMark.X: Mark.X, VoidMark.DASH: Mark.DASH}


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What reading needs besides a page: forms made ready, a model, and when to accept."""

    forms: tuple[FormTemplate, ...]
    references: tuple[registration.Reference, ...]
    prints: Mapping[PageTemplate, Mapping[Box, FieldPrint]]
    model: Model
    sequence: SequenceModel | None
    acceptance: Acceptance
    max_residual_mm: float

    @property
    def card(self) -> ModelCard:
        return joint_card(self.model.card, self.sequence)

    @property
    def wants_color(self) -> bool:
        """Say whether any form has print in color, which a scan in color is read without."""
        return any(page.color is not None for form in self.forms for page in form.pages)

    def form_of(self, template: PageTemplate) -> FormTemplate:
        return next(form for form in self.forms if template in form.pages)


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A field ready to be classified; `crop` is what the sequence network sees of it."""

    field: Field
    image: FieldImage
    writing: Writing
    lattice: Lattice
    crop: Box


@dataclass(frozen=True, slots=True, eq=False)
class FieldLook:
    """What both readers say of a field: the lattice, and the sequence network if there is one.

    `rows` are the probabilities of the lattice's glyphs, `decoded` its texts.
    """

    prepared: _Prepared
    rows: Rows
    decoded: tuple[Decoded, ...]
    whole: WholeReading | None

    @property
    def field(self) -> Field:
        return self.prepared.field

    @property
    def crop(self) -> Gray:
        """What the sequence network sees of the field."""
        box = self.prepared.crop
        return self.prepared.image.gray[box.top : box.bottom, box.left : box.right]

    @property
    def evidence(self) -> Evidence:
        writing = self.prepared.writing
        least = least_digits(self.decoded, self.rows)
        return Evidence(writing.faint, writing.clipped, least)


def prepare(
    forms: Sequence[FormTemplate],
    model: Model,
    settings: Settings,
    sequence: SequenceModel | None = None,
    *,
    thresholds: Mapping[FieldType, float] | None = None,
) -> Reader:
    """Make forms and models ready to read with; done once a process.

    Parameters
    ----------
    thresholds
        The least confidence of an accepted reading for the types of field where audited
        readings prove one; elsewhere the settings stand.

    Raises
    ------
    ModelError
        If the weight of the sequence model beside the classifier was never fitted.
    """
    if sequence is not None:
        sequence.combinations  # noqa: B018  refused here, not at the first field
    references = tuple(
        registration.prepare(
            page, _boxes(form, page), [field.box for field in form.fields_of(page.number)]
        )
        for form in forms
        for page in form.pages
    )
    prints: dict[PageTemplate, Mapping[Box, FieldPrint]] = {}
    for form in forms:
        for page in form.pages:
            room = MOST_PRINTS - sum(map(len, prints.values()))
            prints[page] = _prints(form, page, room)
    acceptance = Acceptance(settings.accept_digit, settings.accept_field, thresholds or {})
    return Reader(
        tuple(forms), references, prints, model, sequence, acceptance, settings.max_residual_mm
    )


def _boxes(form: FormTemplate, page: PageTemplate) -> list[Box]:
    return [f.box for f in form.fields_of(page.number) if f.kind is FieldKind.BOXED]


def _prints(form: FormTemplate, page: PageTemplate, most: int) -> dict[Box, FieldPrint]:
    boxes = [] if page.ignore else [field.box for field in form.fields_of(page.number)]
    prints = {box: print_of(page, box) for box in boxes[:most]}
    return {box: known for box, known in prints.items() if known is not None}


def read_page(page: Page, reader: Reader) -> PageReading:
    """Read one page: find its form, lay it onto it, read its fields.

    Returns
    -------
    PageReading
        `blank` for a page without ink, `ignored` for a page of the form that is not read,
        `failed` with its cause for a page that fits no form, else `read`.
    """
    view = view_of(page.image)
    if is_blank(view):
        return PageReading(page.document.sha256, page.number, PageStatus.BLANK)
    try:
        registered = registration.register(
            page,
            _known_as(page, view, reader),
            max_residual_mm=reader.max_residual_mm,
            view=view,
        )
        _refuse_parts(registered, reader)
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


def _known_as(page: Page, view: View, reader: Reader) -> tuple[registration.Reference, ...]:
    """Narrow the pages that a page may be down to the one that its page code names.

    Raises
    ------
    RegistrationError
        If it names a page that is not there, or there are several codes: several sheets.
    """
    if not any(one.template.identifier for one in reader.references):
        return reader.references
    codes = find_page_codes(page.image, view)
    if not codes:
        return reader.references
    if len(codes) > 1:
        raise RegistrationError(
            f"holds {len(codes)} page codes ({', '.join(map(str, codes))}); scan each sheet "
            "by itself"
        )
    code = codes[0]
    form = next((form for form in reader.forms if form.name == code.form), None)
    if form is None:
        raise RegistrationError(
            f"its page code names form '{code.form}' v{code.version}, which is not among the "
            "forms; see --forms"
        )
    if form.version != code.version or code.page > len(form.pages):
        raise RegistrationError(
            f"its page code names page {code.page} of '{code.form}' v{code.version}, but here "
            f"is {form} (pages: {len(form.pages)}); give --forms the folder of that version"
        )
    template = form.page(code.page)
    return tuple(one for one in reader.references if one.template is template)


def _refuse_parts(page: RegisteredPage, reader: Reader) -> None:
    """Refuse half a sheet, and two sheets in one scan: which numbers are whose is not known.

    Raises
    ------
    RegistrationError
        If too much of the page lies outside the scan, or what is beside it is a form too.
    """
    there, taken = registration.coverage(page)
    if there < LEAST_THERE:
        raise RegistrationError(
            f"only {there:.0%} of the sheet is on the scan; scan the whole sheet"
        )
    if taken > MOST_BESIDE:
        return
    rest = Page(page.document, page.number, registration.without(page), None)
    view = view_of(rest.image)
    if is_blank(view):
        return
    try:
        other = registration.register(
            rest, reader.references, max_residual_mm=reader.max_residual_mm, view=view
        )
    except RegistrationError:
        return
    form = reader.form_of(other.template)
    raise RegistrationError(
        f"holds two sheets: beside the one there is page {other.template.number} of {form}; "
        "scan each sheet by itself"
    )


def is_blank(view: View) -> bool:
    """Say whether a page has no ink but dust, shadows at its edges and print-through."""
    small = view.thumbnail
    y, x = (max(1, round(side * BLANK_EDGE)) for side in small.shape)
    inner = small[y:-y, x:-x]
    if (inner < BLANK_PAPER).mean() > 0.5:
        return False
    dark = darkness(inner, reach=max(9, THUMBNAIL_SIDE // 25))
    return float((dark > 0.2).mean()) < BLANK_INK


def look_at(page: RegisteredPage, form: FormTemplate, reader: Reader) -> tuple[FieldLook, ...]:
    """Have both readers look at the writing of a page, each network in one call."""
    return _look_at(_spread(page, form, reader), form, reader)


def _look_at(
    sheet: isolation.Sheet, form: FormTemplate, reader: Reader
) -> tuple[FieldLook, ...]:
    fields = form.fields_of(sheet.page.template.number)
    written = [field for field in fields if field.kind not in NOT_WRITTEN]
    prepared = [_prepare_field(sheet, field, fields) for field in written]
    glyphs = [glyph for field in prepared for glyph in field.lattice.glyphs]
    rows = classify_glyphs([glyph.image for glyph in glyphs], reader.model)
    whole: list[WholeReading | None] = [None] * len(prepared)
    if reader.sequence is not None:
        whole[:] = read_whole(
            [_crop(one) for one in prepared],
            reader.sequence,
            printed=[one.field.kind is not FieldKind.OPEN for one in prepared],
        )
    found = []
    start = 0
    for one, seen in zip(prepared, whole, strict=True):
        part = rows[start : start + len(one.lattice.glyphs)]
        start += len(one.lattice.glyphs)
        one = replace(one, lattice=with_crosses(one.lattice, may_be_crosses(part)))
        found.append(FieldLook(one, part, _decode_field(one, part), seen))
    return tuple(found)


def _spread(page: RegisteredPage, form: FormTemplate, reader: Reader) -> isolation.Sheet:
    boxes = tuple(field.box for field in form.fields_of(page.template.number))
    return isolation.spread(page, boxes, reader.prints.get(page.template))


def _read_fields(
    page: RegisteredPage, form: FormTemplate, reader: Reader
) -> tuple[FieldReading, ...]:
    sheet = _spread(page, form, reader)
    fields = form.fields_of(page.template.number)
    looks = _look_at(sheet, form, reader)
    options = {one.field.name: _weighed(one, reader) for one in looks}
    symbols = [
        read_symbol(sheet, field, reader.acceptance)
        for field in fields
        if field.kind in NOT_WRITTEN
    ]
    for symbol in symbols:
        if symbol.field.kind is FieldKind.MARK:  # it may be counted in a sum
            options[symbol.field.name] = tuple(
                Decoded(one.text, one.confidence, ()) for one in symbol.hypotheses
            )
    known = {field.name: field for field in fields if field.name in options}
    resolved = rules.resolve(form.rules, known, options)
    found = {
        one.field.name: _reading(
            one,
            resolved.options[one.field.name],
            broken=resolved.broken[one.field.name],
            page=page,
            form=form,
            reader=reader,
        )
        for one in looks
    }
    for symbol in symbols:
        broken = resolved.broken.get(symbol.field.name, ())
        found[symbol.field.name] = _symbol_reading(symbol, broken, page, form, reader)
    return tuple(found[field.name] for field in fields)


def _weighed(look: FieldLook, reader: Reader) -> tuple[Decoded, ...]:
    if look.whole is None or reader.sequence is None:
        return look.decoded
    return weigh(
        look.crop,
        look.decoded,
        look.whole,
        look.evidence,
        reader.sequence,
        printed_cells=look.field.kind is not FieldKind.OPEN,
        sure=reader.acceptance.sure_from(look.field.type),
        min_length=look.field.min_length,
        max_length=look.field.max_length,
    )


def _crop(prepared: _Prepared) -> Gray:
    box = prepared.crop
    return prepared.image.gray[box.top : box.bottom, box.left : box.right]


def _prepare_field(sheet: isolation.Sheet, field: Field, fields: Sequence[Field]) -> _Prepared:
    image = isolation.isolate(sheet, field)
    others = [other.box for other in fields if other is not field]
    writing = find_writing(image, field, others)
    speck = round(SPECK_MM * PER_MM)
    if field.kind is FieldKind.OPEN:
        lattice = segment_open(writing.field, speck=speck, box=image.box)
        crowded = is_crowded(writing.field, speck=speck, box=image.box)
        writing = replace(writing, faint=writing.faint or crowded)
    else:
        lattice = segment_cells(writing.field, cells_of(image, field), speck=speck)
    h, w = image.gray.shape
    room = round(CROP_MARGIN_MM * PER_MM)
    crop = Box(
        max(0, image.box.left - room),
        max(0, image.box.top - room),
        min(w, image.box.right + room),
        min(h, image.box.bottom + room),
    )
    return _Prepared(field, image, writing, lattice, crop)


def _decode_field(prepared: _Prepared, rows: Rows) -> tuple[Decoded, ...]:
    field = prepared.field
    if not prepared.lattice.glyphs:
        return (Decoded("", 1.0, ()),)
    marks = {VOID[mark] for mark in field.void_marks}
    if field.kind is FieldKind.OPEN and field.type in (FieldType.INTEGER, FieldType.DECIMAL):
        marks |= {Mark.SEPARATOR, Mark.REST}
    more = {"keep": MOST_TEXTS} if field.kind is FieldKind.OPEN else {}
    return decode(
        prepared.lattice,
        rows,
        min_length=field.min_length,
        max_length=field.max_length,
        marks=marks,
        **more,
    )


def _reading(
    look: FieldLook,
    decoded: tuple[Decoded, ...],
    *,
    broken: tuple[str, ...],
    page: RegisteredPage,
    form: FormTemplate,
    reader: Reader,
) -> FieldReading:
    prepared, rows, whole = look.prepared, look.rows, look.whole
    field, image = prepared.field, prepared.image
    best = decoded[0] if decoded else None
    if best is not None and whole is not None and best.text and not best.path:
        crop = prepared.crop
        glyphs = glyphs_of_frames(
            _crop(prepared),
            whole,
            best.text,
            lambda box: image.in_template(box.moved(crop.left, crop.top)),
        )
    else:
        glyphs = glyph_readings(image.gray, prepared.lattice, rows, best, image.in_template)
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
        faint_ink=prepared.writing.faint or is_doubtful_blank(best, look.decoded),
        clipped=prepared.writing.clipped,
        misplaced=image.misplaced,
        acceptance=reader.acceptance,
    )
    return FieldReading(
        hypotheses=tuple(
            Hypothesis(checks.value_of(field, d.text), d.probability) for d in decoded
        ),
        glyphs=glyphs,
        reasons=_all_reasons(field, reasons, broken),
        model=reader.card.name,
        document=page.document.sha256,
        page=page.number,
        field=field,
        template=form.name,
        version=form.version,
        image=image.gray,
    )


def _symbol_reading(
    symbol: Symbol,
    broken: tuple[str, ...],
    page: RegisteredPage,
    form: FormTemplate,
    reader: Reader,
) -> FieldReading:
    return FieldReading(
        hypotheses=symbol.hypotheses,
        glyphs=(),
        reasons=_all_reasons(symbol.field, symbol.reasons, broken),
        model=reader.card.name,
        document=page.document.sha256,
        page=page.number,
        field=symbol.field,
        template=form.name,
        version=form.version,
        image=symbol.image.gray,
    )


def _all_reasons(
    field: Field, reasons: tuple[str, ...], broken: tuple[str, ...]
) -> tuple[str, ...]:
    keyed_twice = (Reason.DOUBLE_KEY,) if field.double_key else ()
    return tuple(dict.fromkeys((*reasons, *map(Reason.of_rule, broken), *keyed_twice)))


def check_forms(forms: Sequence[FormTemplate]) -> None:
    """Refuse forms whose pages cannot be told or laid: neither reference nor three anchors."""
    for form in forms:
        for page in form.pages:
            if page.reference is None and len(page.anchors) < 3:
                raise TemplateError(
                    f"form {form}: page {page.number} has neither a reference nor three "
                    'anchors, so a scan cannot be laid onto it; add reference = "blank.png"'
                )
