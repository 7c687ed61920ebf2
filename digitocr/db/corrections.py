"""What people said of digits, as labels to learn from: each with its crop and who said it.

Labels come from decisions on single glyphs, and from decisions on whole fields whose text lies
on the glyphs one to one. A decision on the field supersedes those on its glyphs; one that only
followed from them says nothing of the glyphs that no one looked at, and is passed over. What
was withdrawn or could not be read gives no label, and a glyph that is not one digit is `other`.
Digits that somebody drew to try, and kept, are labels too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from digitocr.db import items, tables
from digitocr.templates import field_types
from digitocr.types import FieldType, Verdict

OTHER = 10  # the label of what is not one digit
DIGITS = "0123456789"

Key = tuple[int, str, str]  # page, form, field: what a decision on a field is about
_Row = Any  # of a query, its columns by name


@dataclass(frozen=True, slots=True)
class VerifiedGlyph:
    """One digit as a person sees it: `label` 0-9, or 10 for not a digit; `crop` is a PNG.

    `read` is what the machine had read. `reviewers`: everyone who said the same.
    """

    id: int
    document: str
    page: int
    field: str
    position: int
    label: int
    read: str
    crop: bytes
    reviewers: tuple[str, ...]


def verified_glyphs(session: Session) -> tuple[VerifiedGlyph, ...]:
    """List every glyph that people gave a label, in the order of their ids."""
    said: dict[Key, list[_Row]] = defaultdict(list)
    for row in _decisions(session):
        said[row.page_id, row.form, row.field].append(row)
    fields: list[_FieldSaid] = []
    glyphs: list[_Said] = []
    for rows in said.values():
        of_field = [one for one in rows if one.glyph_id is None and not one.followed]
        of_glyphs = _latest_of_glyphs(rows)
        if of_field and of_field[-1].verdict != Verdict.WITHDRAWN:
            fields.append(_FieldSaid(of_field, of_glyphs))
        else:
            glyphs += of_glyphs.values()
    found = [*_of_fields(session, fields), *_of_glyphs(session, glyphs)]
    return (*sorted(found, key=lambda one: one.id), *_of_samples(session))


def keep_sample(
    session: Session, image: bytes, label: int, read: str, *, by: str, now: datetime
) -> None:
    """Keep a digit (PNG) that somebody drew, and says what it is."""
    session.add(tables.Sample(image=image, label=label, read=read, made_by=by, made_at=now))


def samples_kept(session: Session) -> int:
    """Count the digits that were drawn and kept."""
    return session.scalar(select(func.count(tables.Sample.id))) or 0


def _of_samples(session: Session) -> Iterable[VerifiedGlyph]:
    """Give the digits that were drawn to try and kept; a person's are one document.

    So no writer is learned from and measured with. Their ids are below zero.
    """
    for one in session.scalars(select(tables.Sample).order_by(tables.Sample.id)):
        yield VerifiedGlyph(
            id=-one.id,
            document=f"drawn by {one.made_by}",
            page=1,
            field="drawn",
            position=0,
            label=one.label,
            read=one.read,
            crop=one.image,
            reviewers=(one.made_by,),
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """What was last said of a glyph, and by whom."""

    id: int
    label: int
    reviewers: set[str]


@dataclass(frozen=True, slots=True)
class _FieldSaid:
    """What was said of a field, the latest last, and before that of its glyphs, by id."""

    rows: Sequence[_Row]
    glyphs: dict[int, _Said]


def _decisions(session: Session) -> Sequence[_Row]:
    """Select all decisions with what they are about, oldest first."""
    decision, reading, page = tables.Decision, tables.Reading, tables.PageReading
    return session.execute(
        select(
            decision.reading_id,
            decision.glyph_id,
            decision.verdict,
            decision.text,
            decision.reviewer,
            decision.followed,
            page.page_id,
            page.form_id,
            tables.Form.name.label("form"),
            reading.field,
        )
        .join(reading, reading.id == decision.reading_id)
        .join(page, page.id == reading.page_reading_id)
        .join(tables.Form, tables.Form.id == page.form_id)
        .where(decision.purge_id.is_(None))
        .order_by(decision.id)
    ).all()


def _latest_of_glyphs(rows: Sequence[_Row]) -> dict[int, _Said]:
    """Take the latest of what was said of each glyph: blank and illegible are no digit."""
    said: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.glyph_id is not None:
            said[row.glyph_id].append(row)
    found = {}
    for id_, of_glyph in said.items():
        last = of_glyph[-1]
        if last.verdict != Verdict.WITHDRAWN:
            digit = last.text is not None and len(last.text) == 1 and last.text in DIGITS
            found[id_] = _Said(id_, int(last.text) if digit else OTHER, _who(of_glyph, last))
    return found


def _of_fields(session: Session, fields: Sequence[_FieldSaid]) -> Iterable[VerifiedGlyph]:
    """Lay what was said of whole fields on their glyphs, where that can be done."""
    readable = [one for one in fields if one.rows[-1].text]
    readings = {one.rows[-1].reading_id for one in readable}
    glyphs: dict[int, list[_Row]] = defaultdict(list)
    for row in _glyphs(session, readings=readings):
        glyphs[row.reading_id].append(row)
    keyed = _keyed(session, readings)
    sources = session.execute(select(tables.Form.id, tables.Form.source))
    types = {id_: field_types(source) for id_, source in sources}
    for one in readable:
        last = one.rows[-1]
        ours = glyphs[last.reading_id]
        none = {row.id for row in ours if row.id in one.glyphs and
                one.glyphs[row.id].label == OTHER}  # fmt: skip
        digits = [row for row in ours if row.id not in none]
        labels = aligned(
            [row.text for row in digits],
            last.text,
            types[last.form_id].get(last.field),
            confirmed=last.verdict == Verdict.CONFIRMED,
        )
        if labels is None:
            continue
        who = _who(one.rows, last) | keyed.get((last.reading_id, last.text), set())
        for row, label in zip(digits, labels, strict=True):
            yield from _verified(row, int(label), who)
        for row in ours:
            if row.id in none:
                yield from _verified(row, OTHER, one.glyphs[row.id].reviewers)


def _of_glyphs(session: Session, said: Sequence[_Said]) -> Iterable[VerifiedGlyph]:
    by_id = {one.id: one for one in said}
    for row in _glyphs(session, glyphs=set(by_id)):
        yield from _verified(row, by_id[row.id].label, by_id[row.id].reviewers)


def aligned(
    read: Sequence[str], text: str, type: FieldType | None, *, confirmed: bool
) -> str | None:
    """Give the digit that stands on each glyph of a field, or None where that is not certain.

    The digits of a date are stored in another order than they were written in: only one that
    was confirmed, and is read glyph by glyph, says which is where. Elsewhere the digits must
    be as many as the glyphs, and no shift may explain them better than single wrong glyphs.
    """
    were = "".join(read)
    if confirmed and all(len(one) == 1 for one in read):
        digits = "".join(sign for sign in text if sign.isdigit())
        if sorted(digits) == sorted(were) and (type is FieldType.DATE or digits == were):
            return were
    if type is FieldType.DATE:
        return None
    digits = "".join(sign for sign in text if sign in DIGITS)
    if len(digits) != len(read) or len(were) != len(read):
        return None
    changed = sum(a != b for a, b in zip(were, digits, strict=True))
    if changed > max(1, len(digits) // 2) or _distance(were, digits) < changed:
        return None
    return digits


def _distance(first: str, second: str) -> int:
    """Count the signs to put in, take out or change, to make one text of the other."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _who(rows: Sequence[_Row], last: _Row) -> set[str]:
    """Name everyone who said what was said last."""
    return {
        one.reviewer
        for one in rows
        if one.text == last.text and one.verdict != Verdict.WITHDRAWN
    }


def _keyed(session: Session, readings: set[int]) -> dict[tuple[int, str | None], set[str]]:
    """Find who keyed which text of a field without seeing the reading."""
    found: dict[tuple[int, str | None], set[str]] = defaultdict(set)
    for wanted in items.parts(readings):
        keying = tables.Keying
        rows = session.execute(
            select(keying.reading_id, keying.text, keying.reviewer).where(
                keying.reading_id.in_(wanted)
            )
        )
        for reading, text, reviewer in rows:
            found[reading, text].add(reviewer)
    return found


def _glyphs(
    session: Session, *, readings: set[int] | None = None, glyphs: set[int] | None = None
) -> Iterable[_Row]:
    """Select glyphs with their crops and where they are, by reading or one by one."""
    glyph, reading, page = tables.Glyph, tables.Reading, tables.PageReading
    column = glyph.id if readings is None else glyph.reading_id
    for wanted in items.parts((glyphs if readings is None else readings) or set()):
        yield from session.execute(
            select(
                glyph.id,
                glyph.reading_id,
                glyph.position,
                glyph.text,
                glyph.crop,
                reading.field,
                tables.Page.number,
                tables.Document.sha256,
            )
            .join(reading, reading.id == glyph.reading_id)
            .join(page, page.id == reading.page_reading_id)
            .join(tables.Page, tables.Page.id == page.page_id)
            .join(tables.Document, tables.Document.id == tables.Page.document_id)
            .where(column.in_(wanted))
            .order_by(glyph.reading_id, glyph.position)
        )


def _verified(one: _Row, label: int, who: Iterable[str]) -> Iterable[VerifiedGlyph]:
    """Give the glyph with its label, unless its crop was taken out."""
    if one.crop is not None:
        yield VerifiedGlyph(
            id=one.id,
            document=one.sha256,
            page=one.number,
            field=one.field,
            position=one.position,
            label=label,
            read=one.text,
            crop=one.crop,
            reviewers=tuple(sorted(who)),
        )
