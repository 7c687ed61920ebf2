"""Saves our types and loads them back. Functions take a session; the caller commits.

Saving twice is saving once: rows have natural keys, and an insert that meets its own key is
left alone by the database (ON CONFLICT DO NOTHING), also when two processes race.

The latest pass over a page is the current one. What a person said belongs to the page, form
and field, and outlives a new pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, cast

import cv2
import numpy as np
from sqlalchemy import (
    ColumnElement,
    Table,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session, aliased

from digitocr.db import tables
from digitocr.db.tables import BatchStatus
from digitocr.errors import TemplateError, UsageError
from digitocr.templates import FormTemplate
from digitocr.types import (
    Box,
    Document,
    FieldReading,
    FieldType,
    GlyphReading,
    Gray,
    Hypothesis,
    ModelCard,
    PageReading,
    PageStatus,
)

APP = version("digitocr")


@dataclass(frozen=True, slots=True)
class StoredGlyph:
    """One digit of a stored reading; `crop` is a PNG, or None where it was taken out."""

    id: int
    box: Box
    hypotheses: tuple[Hypothesis, ...]
    crop: bytes | None


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading as it was stored; `box` in template pixels, `crop` a PNG."""

    id: int
    field: str
    text: str | None
    confidence: float
    alternatives: tuple[Hypothesis, ...]
    reasons: tuple[str, ...]
    accepted: bool
    box: Box
    weight: float
    crop: bytes | None
    glyphs: tuple[StoredGlyph, ...]


# Batches and arrivals


def open_batch(session: Session, name: str, now: datetime) -> None:
    """Begin a batch, or go on with the one of that name."""
    running = {"status": BatchStatus.RUNNING, "finished_at": None}
    again = update(tables.Batch).where(tables.Batch.name == name).values(**running)
    # One that is being removed (PostgreSQL) is there until it is not: then it begins anew.
    while (
        _insert_once(session, tables.Batch, {"name": name, "created_at": now} | running) is None
        and session.scalar(again.returning(tables.Batch.id)) is None
    ):
        pass


def close_batch(session: Session, name: str, status: BatchStatus, now: datetime) -> None:
    """Write down how a batch ended: done, or partial."""
    if status is BatchStatus.RUNNING:
        raise ValueError(f"status = {status!r}: a batch ends done or partial")
    session.execute(
        update(tables.Batch)
        .where(tables.Batch.id == batch_id(session, name))
        .values(status=status, finished_at=now)
    )


def add_arrival(
    session: Session, batch: str, source: str, document: Document, media: str, now: datetime
) -> bool:
    """Write down that a document came; False if this batch had it from this source.

    A document whose page count is now known better (its file could not be opened before)
    takes the new one.
    """
    row: dict[str, Any] = {"sha256": document.sha256, "page_count": document.page_count}
    known = (
        select(tables.Document.id, tables.Document.page_count)
        .where(tables.Document.sha256 == document.sha256)
        .with_for_update(read=True, key_share=True)
    )
    # Locked (PostgreSQL): it may be going with the one batch that had it. Then it comes anew.
    found = None
    while found is None:
        _insert_once(session, tables.Document, row | {"media": media})
        found = session.execute(known).one_or_none()
    if document.page_count not in (0, found.page_count):
        session.execute(
            update(tables.Document)
            .where(tables.Document.id == found.id)
            .values(page_count=document.page_count)
        )
    row = {
        "batch_id": batch_id(session, batch),
        "document_id": found.id,
        "source": _storable(source),
        "received_at": now,
    }
    return _insert_once(session, tables.Arrival, row) is not None


def arrivals_known(session: Session) -> set[tuple[str, str]]:
    """List every (source, sha256) that ever arrived, in any batch.

    Compare a source that may hold bytes that are no UTF-8 as `stored_source(source)`.
    """
    rows = session.execute(
        select(tables.Arrival.source, tables.Document.sha256).join(
            tables.Document, tables.Document.id == tables.Arrival.document_id
        )
    )
    return {(source, sha256) for source, sha256 in rows}


def is_known(session: Session, source: str, sha256: str) -> bool:
    """Say whether these bytes ever arrived from this source, in any batch."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    tables.Arrival.source == _storable(source),
                    tables.Arrival.document_id == tables.Document.id,
                    tables.Document.sha256 == sha256,
                )
            )
        )
    )


def never_opened(session: Session, cause: str) -> set[tuple[str, str]]:
    """List (source, sha256) of documents that failed of this cause before they were opened."""
    failed = (
        tables.PageReading.status == PageStatus.FAILED,
        tables.PageReading.cause == cause,
    )
    rows = session.execute(
        select(tables.Arrival.source, tables.Document.sha256)
        .join(tables.Document, tables.Document.id == tables.Arrival.document_id)
        .join(tables.Page, tables.Page.document_id == tables.Document.id)
        .join(tables.PageReading, tables.PageReading.page_id == tables.Page.id)
        .where(tables.Document.page_count == 0, *failed, is_latest_pass())
    )
    return {(source, sha256) for source, sha256 in rows}


def stored_source(source: str) -> str:
    r"""Write a source as it is stored: bytes in a file name that are no UTF-8 as `\xNN`."""
    return _storable(source)


def batch_id(session: Session, name: str) -> int:
    """Find a batch by its name.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    found = session.scalar(select(tables.Batch.id).where(tables.Batch.name == name))
    if found is None:
        raise UsageError(f"no batch '{name}'; `digitocr batch list` names them")
    return found


# Forms and models


def register_form(session: Session, form: FormTemplate) -> None:
    """Store a form, so that pages can be read with it.

    A form that no page was read with yet may still change; from then on it is frozen.

    Raises
    ------
    TemplateError
        If this name and version was used with another fingerprint.
    """
    values = {
        "name": form.name,
        "version": form.version,
        "title": form.title,
        "fingerprint": form.fingerprint,
        "source": form.source,
    }
    if _insert_once(session, tables.Form, values) is not None:
        return
    known = session.execute(
        select(tables.Form.id, tables.Form.fingerprint)
        .where(tables.Form.name == form.name, tables.Form.version == form.version)
        .with_for_update()
    ).one()
    if known.fingerprint == form.fingerprint:
        return
    if session.scalar(select(exists().where(tables.PageReading.form_id == known.id))):
        raise TemplateError(
            f"form {form}: was changed after pages were read with it; give it a new version "
            f"(version = {form.version + 1}), or put back what it was"
        )
    session.execute(update(tables.Form).where(tables.Form.id == known.id).values(values))


def register_model(session: Session, card: ModelCard) -> None:
    """Store a model's card, so that pages can be read with it."""
    _insert_once(
        session,
        tables.Model,
        {
            "name": card.name,
            "fingerprint": card.fingerprint,
            "card": asdict(card) | {"metrics": dict(card.metrics)},
        },
    )


# Pages


def pages_done(session: Session, sha256: str) -> dict[int, PageStatus]:
    """List what became of each page of a document that was read so far, by number."""
    rows = session.execute(
        select(tables.Page.number, tables.PageReading.status)
        .join(tables.PageReading, tables.PageReading.page_id == tables.Page.id)
        .join(tables.Document, tables.Document.id == tables.Page.document_id)
        .where(tables.Document.sha256 == sha256, is_latest_pass())
        .order_by(tables.Page.number)
    )
    return {number: PageStatus(status) for number, status in rows}


def save_page(
    session: Session,
    reading: PageReading,
    *,
    model: str,
    now: datetime,
    again: bool = False,
    image: bytes | None = None,
    sure_from: Mapping[FieldType, float] | None = None,
) -> bool:
    """Store what was read on a page, with crops, in the caller's transaction.

    Parameters
    ----------
    model
        Fingerprint of a registered model.
    again
        Whether to add a pass to a page that was read before. Without it a page that has any
        pass is left as it is.
    image
        The page as WebP, where pages are kept.
    sure_from
        By type, the confidence from which on no reading was held back as not sure enough
        (`Acceptance.sure_from`). Of readings stored without it audits prove nothing.

    Returns
    -------
    Whether it was stored; False if the page was there, or another process was first.

    Raises
    ------
    ValueError
        If the document, form or model is not registered, or a failed page has no cause.
    """
    if reading.status is PageStatus.FAILED and not reading.cause:
        raise ValueError(f"{_where(reading)}: a failed page needs a cause")
    page = _page_id(session, reading)
    last = session.scalar(
        select(func.max(tables.PageReading.pass_number)).where(
            tables.PageReading.page_id == page
        )
    )
    if last is not None and not again:
        return False
    homography = reading.homography
    saved = _insert_once(
        session,
        tables.PageReading,
        {
            "page_id": page,
            "pass_number": (last or 0) + 1,
            "form_id": _form_id(session, reading),
            "model_id": _model_id(session, model),
            "template_page": reading.template_page,
            "status": reading.status,
            "cause": _storable(reading.cause),
            "homography": None if homography is None else homography.tolist(),
            "residual_mm": _plain(reading.residual_mm),
            "read_at": now,
            "image": image,
        },
    )
    if saved is None:
        return False
    _save_fields(session, saved, reading.readings, sure_from or {})
    return True


def load_readings(session: Session, sha256: str, page: int) -> tuple[StoredReading, ...]:
    """Load what the latest pass read on a page, in the order of the form."""
    rows = session.scalars(
        select(tables.Reading)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .join(tables.Document, tables.Document.id == tables.Page.document_id)
        .where(tables.Document.sha256 == sha256, tables.Page.number == page, is_latest_pass())
        .order_by(tables.Reading.position)
    ).all()
    glyphs: dict[int, list[StoredGlyph]] = {row.id: [] for row in rows}
    for glyph in session.scalars(
        select(tables.Glyph)
        .where(tables.Glyph.reading_id.in_(glyphs))
        .order_by(tables.Glyph.reading_id, tables.Glyph.position)
    ):
        best = Hypothesis(glyph.text, glyph.confidence)
        glyphs[glyph.reading_id].append(
            StoredGlyph(
                glyph.id, _box(glyph), (best, *_hypotheses(glyph.alternatives)), glyph.crop
            )
        )
    return tuple(
        StoredReading(
            id=row.id,
            field=row.field,
            text=row.text,
            confidence=row.confidence,
            alternatives=_hypotheses(row.alternatives),
            reasons=tuple(row.reasons),
            accepted=row.accepted,
            box=_box(row),
            weight=row.weight,
            crop=row.crop,
            glyphs=tuple(glyphs[row.id]),
        )
        for row in rows
    )


def is_latest_pass() -> ColumnElement[bool]:
    """Say, in SQL, that a row of `page_readings` is the current pass over its page.

    A correlated maximum, as in `decisions.is_deciding`: each is a look into an index. Ranking
    all rows by a window function and joining the first ones took SQLite 150 s for 100,000
    fields, because it has no index on what it ranked.
    """
    other = aliased(tables.PageReading)
    last = (
        select(func.max(other.pass_number))
        .where(other.page_id == tables.PageReading.page_id)
        .correlate(tables.PageReading)
    )
    return tables.PageReading.pass_number == last.scalar_subquery()


# Rows


def insert_new(
    session: Session, table: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert those rows whose natural key is not there."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(dialect.insert(_table(table)).on_conflict_do_nothing(), list(rows))


def _insert_once(
    session: Session, table: type[DeclarativeBase], row: dict[str, Any]
) -> int | None:
    """Insert a row unless its natural key is there; the new id, or None."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_table(table)).values(row).on_conflict_do_nothing()
    made: int | None = session.scalar(statement.returning(_table(table).c.id))
    return made


def _save_fields(
    session: Session,
    page_reading: int,
    readings: Iterable[FieldReading],
    sure_from: Mapping[FieldType, float],
) -> None:
    listed = list(readings)
    if not listed:
        return
    made = session.execute(
        insert(_table(tables.Reading)).returning(tables.Reading.position, tables.Reading.id),
        [
            {
                "page_reading_id": page_reading,
                "field": reading.field.name,
                "position": position,
                "text": reading.text,
                "confidence": float(reading.confidence),
                "reasons": list(reading.reasons),
                "alternatives": _alternatives(reading.alternatives),
                **_corners(reading.field.box),
                "crop": _png(reading.image),
                "weight": float(reading.field.weight),
                "sure_from": _plain(sure_from.get(reading.field.type)),
            }
            for position, reading in enumerate(listed)
        ],
    )
    ids = {position: id_ for position, id_ in made}
    glyphs = [
        _glyph_row(ids[position], place, glyph)
        for position, reading in enumerate(listed)
        for place, glyph in enumerate(reading.glyphs)
    ]
    if glyphs:
        session.execute(insert(_table(tables.Glyph)), glyphs)


def _glyph_row(reading: int, position: int, glyph: GlyphReading) -> dict[str, Any]:
    return {
        "reading_id": reading,
        "position": position,
        **_corners(glyph.box),
        "text": glyph.text,
        "confidence": float(glyph.confidence),
        "alternatives": _alternatives(glyph.hypotheses[1:]),
        "crop": _png(glyph.image),
    }


def _page_id(session: Session, reading: PageReading) -> int:
    document = session.scalar(
        select(tables.Document.id).where(tables.Document.sha256 == reading.document)
    )
    if document is None:
        raise ValueError(f"{_where(reading)}: the document has not arrived")
    row = {"document_id": document, "number": reading.page}
    made = _insert_once(session, tables.Page, row)
    if made is not None:
        return made
    return session.scalars(select(tables.Page.id).filter_by(**row)).one()


def _form_id(session: Session, reading: PageReading) -> int | None:
    if reading.template is None:
        return None
    found = session.scalar(
        select(tables.Form.id).where(
            tables.Form.name == reading.template, tables.Form.version == reading.version
        )
    )
    if found is None:
        raise ValueError(
            f"{_where(reading)}: form '{reading.template}' v{reading.version} is not registered"
        )
    return found


def _model_id(session: Session, fingerprint: str) -> int:
    found = session.scalar(
        select(tables.Model.id).where(tables.Model.fingerprint == fingerprint)
    )
    if found is None:
        raise ValueError(f"model = '{fingerprint}' is not registered")
    return found


def _table(table: type[DeclarativeBase]) -> Table:
    return cast(Table, table.__table__)


def _where(reading: PageReading) -> str:
    return f"{reading.document[:8]} page {reading.page}"


def _storable(text: str) -> str:
    """Make text that both databases take: file names may hold bytes that are no UTF-8."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return whole.replace("\0", "\\x00")


def _plain(number: float | None) -> float | None:
    return None if number is None else float(number)


def _png(image: Gray) -> bytes | None:
    if image.size == 0:
        return None
    # As it comes: naming a compression undoes the quick strategy, and takes twice as long.
    _, encoded = cv2.imencode(".png", image)
    png: bytes = np.asarray(encoded, np.uint8).tobytes()
    return png


def _corners(box: Box) -> dict[str, int]:
    return {
        "box_left": int(box.left),
        "box_top": int(box.top),
        "box_right": int(box.right),
        "box_bottom": int(box.bottom),
    }


def _box(row: tables.Reading | tables.Glyph) -> Box:
    return Box(row.box_left, row.box_top, row.box_right, row.box_bottom)


def _alternatives(hypotheses: Iterable[Hypothesis]) -> list[dict[str, Any]]:
    return [{"text": h.text, "confidence": round(float(h.confidence), 6)} for h in hypotheses]


def _hypotheses(alternatives: Iterable[dict[str, Any]]) -> tuple[Hypothesis, ...]:
    return tuple(Hypothesis(h["text"], h["confidence"]) for h in alternatives)
