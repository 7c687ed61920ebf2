"""What the review pages show, as values: queues, fields with their digits, pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from digitocr.db import items, tables
from digitocr.db.decisions import is_deciding
from digitocr.db.parts import Sheet
from digitocr.db.tables import Queue
from digitocr.types import Box, Field, FieldStatus, FormRule, Hypothesis, PageStatus


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many items wait in a queue under a label."""

    queue: str
    label: str
    number: int


@dataclass(frozen=True, slots=True)
class DigitView:
    """One digit of a field: where it is (template pixels), and what it may be, best first."""

    id: int
    box: Box
    hypotheses: tuple[Hypothesis, ...]

    @property
    def text(self) -> str:
        return self.hypotheses[0].text

    @property
    def confidence(self) -> float:
        return self.hypotheses[0].confidence


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field of a page with what is known of it.

    `value` and `status` are as in an export. `rules` are the form's that the field takes part
    in. `has_crop`: its picture was not taken out.
    """

    id: int
    page: int
    field: Field
    form: str
    source: str
    document: str
    number: int
    text: str | None
    confidence: float
    alternatives: tuple[Hypothesis, ...]
    reasons: tuple[str, ...]
    value: str | None
    status: FieldStatus
    box: Box
    has_crop: bool
    as_written: bool
    rules: tuple[FormRule, ...]
    digits: tuple[DigitView, ...] = ()


@dataclass(frozen=True, slots=True)
class PageView:
    """One pass over a page: what it was read with, and where its scan came from."""

    id: int
    document: str
    number: int
    source: str
    form: str
    title: str
    width: int
    height: int
    homography: tuple[tuple[float, ...], ...] | None
    media: str
    fields: tuple[FieldView, ...]


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page as a list shows it."""

    id: int
    source: str
    number: int
    form: str
    fields: int
    waiting: int


def waiting(session: Session, batch: int | None = None) -> tuple[Waiting, ...]:
    """List what waits, by queue and label."""
    count = tables.Count
    statement = select(count.queue, count.label, func.sum(count.waiting)).group_by(
        count.queue, count.label
    )
    if batch is not None:
        statement = statement.where(count.batch_id == batch)
    rows = session.execute(statement.order_by(count.queue, count.label))
    return tuple(Waiting(queue, label, int(n)) for queue, label, n in rows if n > 0)


def waiting_in(session: Session, queue: Queue, label: str | None = None) -> int:
    """Count what waits in a queue, under one label or any."""
    return sum(
        one.number
        for one in waiting(session)
        if one.queue == queue and label in (None, one.label)
    )


def fields(session: Session, readings: Iterable[int]) -> dict[int, FieldView]:
    """Load fields with their digits, by reading."""
    wanted = list(readings)
    return _views(session, _statement().where(tables.Reading.id.in_(wanted)))


def fields_of_page(session: Session, page: int) -> tuple[FieldView, ...]:
    """Load the fields of one pass over a page, in the order of the form."""
    statement = _statement().where(tables.PageReading.id == page)
    return tuple(_views(session, statement.order_by(tables.Reading.position)).values())


def page(session: Session, id_: int) -> PageView | None:
    """Load one pass over a page with its fields; None if there is none, or it was not read."""
    row = session.execute(
        select(
            tables.PageReading,
            tables.Document.sha256,
            tables.Document.media,
            tables.Page.number,
            tables.Form.name,
            tables.Form.title,
            tables.Form.source,
            _source(),
        )
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .join(tables.Document, tables.Document.id == tables.Page.document_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(tables.PageReading.id == id_, tables.PageReading.status == PageStatus.READ)
    ).one_or_none()
    if row is None:
        return None
    reading, sha256, media, number, name, title, template, source = row
    form = items.form_of(template)
    size = form.page(reading.template_page) if form else None
    return PageView(
        id=reading.id,
        document=sha256,
        number=number,
        source=source or "",
        form=name,
        title=title or name,
        width=size.width if size else 1,
        height=size.height if size else 1,
        homography=None
        if reading.homography is None
        else tuple(map(tuple, reading.homography)),
        media=media,
        fields=fields_of_page(session, id_),
    )


def pages(session: Session, sheets: Sequence[Sheet]) -> tuple[ListedPage, ...]:
    """List pages that were read, as lists show them."""
    open_items = (
        select(func.count(func.distinct(tables.Item.reading_id)))
        .join(tables.Reading, tables.Reading.id == tables.Item.reading_id)
        .where(
            tables.Reading.page_reading_id == tables.PageReading.id,
            tables.Item.state == tables.ItemState.OPEN,
        )
        .correlate(tables.PageReading)
        .scalar_subquery()
    )
    count = (
        select(func.count())
        .where(tables.Reading.page_reading_id == tables.PageReading.id)
        .correlate(tables.PageReading)
        .scalar_subquery()
    )
    rows = session.execute(
        select(tables.PageReading.id, tables.Form.name, count, open_items)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(tables.PageReading.id.in_([sheet.reading for sheet in sheets]))
        .where(tables.PageReading.status == PageStatus.READ)
    )
    known = {id_: more for id_, *more in rows}
    return tuple(
        ListedPage(sheet.reading, sheet.source, sheet.page, *known[sheet.reading])
        for sheet in sheets
        if sheet.reading in known
    )


def glyph_crops(session: Session, glyphs: Sequence[int]) -> Mapping[int, bytes | None]:
    """Load the pictures of digits, PNG."""
    rows = session.execute(
        select(tables.Glyph.id, tables.Glyph.crop).where(tables.Glyph.id.in_(list(glyphs)))
    )
    return {id_: crop for id_, crop in rows}


def field_crop(session: Session, reading: int) -> bytes | None:
    """Load the picture of a field, PNG; None where it was taken out."""
    crop: bytes | None = session.scalar(
        select(tables.Reading.crop).where(tables.Reading.id == reading)
    )
    return crop


def page_image(session: Session, page: int) -> bytes | None:
    """Load the picture of a page (WebP), where pages were kept."""
    image: bytes | None = session.scalar(
        select(tables.PageReading.image).where(tables.PageReading.id == page)
    )
    return image


def _source() -> Any:
    """Select the first name a page's document came under."""
    return (
        select(func.min(tables.Arrival.source))
        .where(tables.Arrival.document_id == tables.Page.document_id)
        .correlate(tables.Page)
        .scalar_subquery()
    )


def _statement() -> Select[Any]:
    reading, page_reading = tables.Reading, tables.PageReading
    return (
        select(
            reading.id,
            reading.page_reading_id,
            reading.field,
            tables.Form.name,
            tables.Form.source,
            _source(),
            tables.Document.sha256,
            tables.Page.number,
            reading.text,
            reading.confidence,
            reading.alternatives,
            reading.reasons,
            reading.accepted,
            reading.box_left,
            reading.box_top,
            reading.box_right,
            reading.box_bottom,
            reading.crop.is_not(None).label("has_crop"),
            tables.Decision.id.label("decision"),
            tables.Decision.verdict,
            tables.Decision.text.label("said"),
            tables.Decision.as_written,
            page_reading.purge_id,
        )
        .join(page_reading, page_reading.id == reading.page_reading_id)
        .join(tables.Page, tables.Page.id == page_reading.page_id)
        .join(tables.Document, tables.Document.id == tables.Page.document_id)
        .join(tables.Form, tables.Form.id == page_reading.form_id)
        .outerjoin(tables.Decision, is_deciding())
    )


def _views(session: Session, statement: Select[Any]) -> dict[int, FieldView]:
    rows = session.execute(statement).all()
    digits = _digits(session, [row[0] for row in rows])
    return {row[0]: _view(row, digits.get(row[0], ())) for row in rows}


def _view(row: Any, digits: Sequence[DigitView]) -> FieldView:
    (id_, page_id, name, form, template, source, sha256, number, text, confidence) = row[:10]
    known = items.form_of(template)
    decided = row.decision is not None
    if row.purge_id is not None:
        status = FieldStatus.PURGED
    elif decided:
        status = FieldStatus(row.verdict)
    else:
        status = FieldStatus.ACCEPTED if row.accepted else FieldStatus.REVIEW
    rules = tuple(
        rule for rule in (known.rules if known else ()) if name in (*rule.of, rule.equals)
    )
    return FieldView(
        id=id_,
        page=page_id,
        field=items.field_of(template, name),
        form=form,
        source=source or "",
        document=sha256,
        number=number,
        text=text,
        confidence=confidence,
        alternatives=tuple(Hypothesis(h["text"], h["confidence"]) for h in row.alternatives),
        reasons=tuple(row.reasons),
        value=row.said if decided else text if row.accepted else None,
        status=status,
        box=Box(row.box_left, row.box_top, row.box_right, row.box_bottom),
        has_crop=bool(row.has_crop),
        as_written=bool(row.as_written),
        rules=rules,
        digits=tuple(digits),
    )


def _digits(session: Session, readings: Sequence[int]) -> dict[int, list[DigitView]]:
    glyph = tables.Glyph
    found: dict[int, list[DigitView]] = defaultdict(list)
    for row in session.execute(
        select(
            glyph.reading_id,
            glyph.id,
            glyph.box_left,
            glyph.box_top,
            glyph.box_right,
            glyph.box_bottom,
            glyph.text,
            glyph.confidence,
            glyph.alternatives,
        )
        .where(glyph.reading_id.in_(list(readings)))
        .order_by(glyph.reading_id, glyph.position)
    ):
        others = tuple(Hypothesis(h["text"], h["confidence"]) for h in row.alternatives)
        best = Hypothesis(row.text, row.confidence)
        box = Box(row.box_left, row.box_top, row.box_right, row.box_bottom)
        found[row.reading_id].append(DigitView(row.id, box, (best, *others)))
    return found


def glyph_confidences(session: Session, glyphs: Sequence[int]) -> Mapping[int, float]:
    """Load how sure the machine was of some digits."""
    rows = session.execute(
        select(tables.Glyph.id, tables.Glyph.confidence).where(tables.Glyph.id.in_(glyphs))
    )
    return {id_: confidence for id_, confidence in rows}


def keyed(session: Session, readings: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """List what was keyed of some fields, oldest first; "" also where it was illegible."""
    rows = session.execute(
        select(tables.Keying.reading_id, tables.Keying.text)
        .where(tables.Keying.reading_id.in_(readings))
        .order_by(tables.Keying.id)
    )
    found: dict[int, tuple[str, ...]] = {}
    for reading, text in rows:
        found[reading] = (*found.get(reading, ()), text or "")
    return found


def names(session: Session) -> dict[str, list[str]]:
    """List the batches and forms that numbers can be asked for by."""
    return {
        "batch": list(session.scalars(select(tables.Batch.name).order_by(tables.Batch.id))),
        "form": sorted(set(session.scalars(select(tables.Form.name)))),
    }
