"""What people say on the review pages → rows that stay. Every function is one transaction.

The id of a claim makes saving it twice once. What follows from decided digits is written down
with them (`following`). Taking back is a new row that says again what was said before, or
withdraws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from digitocr.db import claims, items, store, tables
from digitocr.db.claims import Claimed
from digitocr.db.following import Outcome, outcome
from digitocr.db.store import is_deciding
from digitocr.db.tables import ClaimState, ItemState, Queue
from digitocr.errors import UsageError
from digitocr.types import Correction, Screen, Verdict

UNDO_MIN = 15
BLANK, NO_DIGIT, UNSURE = "blank", "none", "?"
MARKS = frozenset({*"0123456789", BLANK, NO_DIGIT, UNSURE})
FOR_THE_WHOLE = {BLANK, NO_DIGIT, UNSURE}  # marks that send the whole field to a look


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of saving a page: how many decisions, and the places that were lost.

    `again`: it was saved before, and nothing was done now.
    """

    claim: str
    saved: int
    dropped: tuple[int, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says of a whole field: the text of its value, None if illegible."""

    text: str | None
    as_written: bool = False


def save_group(
    session: Session,
    claim_id: str,
    marks: Mapping[int, str],
    *,
    reviewer: str,
    now: datetime,
    ms: int | None = None,
    postpone: bool = False,
) -> Saved:
    """Save a page of digits: marked ones as marked, all others as the digit they are shown as.

    Parameters
    ----------
    marks
        By place: a digit, `blank`, `none` (no digit), or `?` (look at the whole field).
    postpone
        Save only what is marked; the rest waits for later.

    Raises
    ------
    UsageError
        If a mark is none, or of a place that is not there.
    ClaimError
        If the claim is somebody else's.
    """
    claim = claims.load(session, claim_id, reviewer=reviewer, lock=True)
    if claim.state is ClaimState.SAVED:
        return Saved(claim_id, 0, again=True)
    if claim.queue is not Queue.GROUP:
        raise UsageError("this page is not a page of digits")
    _refuse_strange(marks, len(claim.cells))
    kept, lost = claims.held(session, claim)
    base = Correction(
        0, None, Verdict.CONFIRMED, "", reviewer, now, claim=claim_id, screen=Screen.GROUP,
        shown=True, ms=ms,
    )  # fmt: skip
    rows, done, whole = [], [], []
    for place, item in kept.items():
        mark = marks.get(place)
        if mark is None and postpone:
            item.priority *= 0.5
            continue
        done.append(item)
        if mark in FOR_THE_WHOLE:
            whole.append(item)
        if mark != UNSURE:
            rows.append(_of_glyph(base, item, mark or claim.cells[place].shown_as))
    session.add_all(rows)
    items.close(session, done, ItemState.DONE)
    _write_seeds(session, claim, marks, reviewer, now, postpone=postpone)
    for item in whole:
        _send_on(session, item, Queue.FIELD)
    gone = {item.reading_id for item in whole}
    _follow(session, {i.reading_id for i in done} - gone, base)
    claims.finish(session, claim_id, ClaimState.SAVED, now)
    return Saved(claim_id, len(rows), lost)


def save_fields(
    session: Session,
    claim_id: str,
    said: Mapping[int, Said],
    *,
    reviewer: str,
    now: datetime,
    screen: Screen,
    ms: int | None = None,
    beside: Mapping[int, Said] | None = None,
) -> Saved:
    """Save what is said of whole fields, by place; a place left out waits on.

    Parameters
    ----------
    beside
        What is said of other fields of the same pages, by reading; left alone where somebody
        else has some of the claim by now.
    """
    claim = claims.load(session, claim_id, reviewer=reviewer, lock=True)
    if claim.state is ClaimState.SAVED:
        return Saved(claim_id, 0, again=True)
    kept, lost = claims.held(session, claim)
    base = Correction(
        0, None, Verdict.CONFIRMED, "", reviewer, now, claim=claim_id, screen=screen,
        shown=True, ms=ms,
    )  # fmt: skip
    texts = {item.reading_id: said[place] for place, item in kept.items() if place in said}
    if not lost:
        texts |= dict(beside or {})
    decide(session, texts, base)
    for place, item in kept.items():
        if place not in said:
            item.priority *= 0.5
    claims.finish(session, claim_id, ClaimState.SAVED, now)
    return Saved(claim_id, len(texts), lost)


def save_keyed(
    session: Session,
    claim_id: str,
    keyed: Mapping[int, str | None],
    *,
    reviewer: str,
    now: datetime,
    ms: int | None = None,
) -> Saved:
    """Save what was keyed blind; what agrees with the machine is decided by that.

    Where it does not agree, a field that the form wants keyed twice becomes a conflict for
    somebody else. One of an audit is keyed once more, later: the text that two of the three
    say is right; where all differ, nobody is, and it counts as wrong.
    """
    claim = claims.load(session, claim_id, reviewer=reviewer, lock=True)
    if claim.state is ClaimState.SAVED:
        return Saved(claim_id, 0, again=True)
    kept, lost = claims.held(session, claim)
    audit = claim.queue is Queue.AUDIT
    base = Correction(
        0, None, Verdict.CONFIRMED, "", reviewer, now, claim=claim_id, shown=False, ms=ms,
        screen=Screen.AUDIT if audit else Screen.BLIND, audit=audit,
    )  # fmt: skip
    count = 0
    for place, item in kept.items():
        if place not in keyed:
            continue
        count += 1
        text = keyed[place]
        earlier = session.scalars(
            select(tables.Keying.text)
            .where(tables.Keying.reading_id == item.reading_id,
                   tables.Keying.queue == claim.queue)
            .order_by(tables.Keying.id)
        ).all()  # fmt: skip
        session.add(
            tables.Keying(
                reading_id=item.reading_id,
                queue=claim.queue,
                text=text,
                reviewer=reviewer,
                made_at=now,
            )
        )
        read = session.get_one(tables.Reading, item.reading_id).text
        if text is not None and text == read:
            decide(session, {item.reading_id: Said(text)}, base)
        elif audit and not earlier:
            item.priority -= 1.0  # of 0 to 1, drawn at random: after all others
        elif audit:
            agreed = text == earlier[-1]
            decide(session, {item.reading_id: Said(text if agreed else None)}, base)
            if not agreed:
                items.add(session, item, Queue.CONFLICT)
        else:
            items.close(session, [item], ItemState.DONE)
            conflict = items.add(session, item, Queue.CONFLICT)
            conflict.keyed_by = f"{conflict.keyed_by or '|'}{reviewer}|"
    claims.finish(session, claim_id, ClaimState.SAVED, now)
    return Saved(claim_id, count, lost)


def decide(session: Session, said: Mapping[int, Said], base: Correction) -> None:
    """Write down what is said of whole fields, by reading; they wait no more."""
    if not said:
        return
    read = {
        id_: text
        for id_, text in session.execute(
            select(tables.Reading.id, tables.Reading.text).where(tables.Reading.id.in_(said))
        )
    }
    for reading, one in said.items():
        verdict = (
            Verdict.ILLEGIBLE
            if one.text is None
            else Verdict.CONFIRMED
            if one.text == read[reading]
            else Verdict.CORRECTED
        )
        store.record_decision(
            session,
            replace(
                base, reading=reading, verdict=verdict, text=one.text, as_written=one.as_written
            ),
        )
    items.close(session, _waiting(session, said), ItemState.DONE)


def decide_once(
    session: Session, key: str, reading: int, said: Said, *, reviewer: str, now: datetime
) -> bool:
    """Decide one field without a claim (document view); False if `key` was saved before."""
    session.execute(
        select(tables.Reading.id).where(tables.Reading.id == reading).with_for_update()
    )
    if session.scalar(select(tables.Decision.id).where(tables.Decision.claim_id == key)):
        return False
    base = Correction(
        0, None, Verdict.CONFIRMED, "", reviewer, now, claim=key, screen=Screen.DOCUMENT,
        shown=True,
    )  # fmt: skip
    decide(session, {reading: said}, base)
    return True


def undo(session: Session, claim_id: str, *, reviewer: str, now: datetime) -> Claimed:
    """Take back what was saved of a page, by new rows, and claim its items anew.

    Raises
    ------
    UsageError
        If it was never saved, or longer ago than `UNDO_MIN` minutes.
    """
    claim = claims.load(session, claim_id, reviewer=reviewer, lock=True)
    row = session.get_one(tables.Claim, claim_id)
    if claim.state is not ClaimState.SAVED or row.saved_at is None:
        raise UsageError("there is no saved page to go back to")
    if now - row.saved_at > timedelta(minutes=UNDO_MIN):
        raise UsageError(
            f"that page was saved more than {UNDO_MIN} minutes ago; change single values in "
            "the document view"
        )
    undone = {
        id_
        for id_ in session.scalars(
            select(tables.Decision.undoes).where(tables.Decision.undoes.is_not(None))
            .where(tables.Decision.claim_id == claim_id)
        )
    }  # fmt: skip
    made = session.scalars(
        select(tables.Decision)
        .where(tables.Decision.claim_id == claim_id, tables.Decision.undoes.is_(None))
        .order_by(tables.Decision.id)
    ).all()
    later = _decided_later(session, made)
    for decision in made:
        if decision.id not in undone and decision.reading_id not in later:
            session.add(_taken_back(session, decision, reviewer, now))
    wanted = [cell.item for cell in claim.cells if cell.item is not None]
    rows = session.scalars(select(tables.Item).where(tables.Item.id.in_(wanted))).all()
    free = [
        item
        for item in rows
        if item.reading_id not in later
        and (item.state == ItemState.DONE or (item.claim_id is None))
    ]
    _close_sent_on(session, free, claim)
    items.reopen(session, free)
    return claims.again(session, claim, [item.id for item in free], now)


def _of_glyph(base: Correction, item: tables.Item, mark: str) -> tables.Decision:
    text = {NO_DIGIT: None, BLANK: ""}.get(mark, mark)
    verdict = (
        Verdict.ILLEGIBLE
        if text is None
        else Verdict.CONFIRMED
        if text == item.label
        else Verdict.CORRECTED
    )
    return store.decision_row(
        replace(base, reading=item.reading_id, glyph=item.glyph_id, verdict=verdict, text=text)
    )


def _refuse_strange(marks: Mapping[int, str], count: int) -> None:
    for place, mark in marks.items():
        if mark not in MARKS or not 0 <= place < count:
            raise UsageError(f"mark {mark!r} at place {place}: the page has no such thing")


def _write_seeds(
    session: Session,
    claim: Claimed,
    marks: Mapping[int, str],
    reviewer: str,
    now: datetime,
    *,
    postpone: bool,
) -> None:
    """Write down which digits shown wrong on purpose were marked, whatever as."""
    for place, cell in enumerate(claim.cells):
        if cell.item is None and (place in marks or not postpone):
            session.add(
                tables.Seed(
                    claim_id=claim.id,
                    glyph_id=cell.glyph,
                    shown_as=cell.shown_as,
                    reviewer=reviewer,
                    caught=place in marks,
                    made_at=now,
                )
            )


def _send_on(session: Session, item: tables.Item, queue: Queue) -> None:
    """Let a reading wait as a whole; its other digits need not be looked at any more."""
    others = [one for one in _waiting(session, [item.reading_id]) if one.queue == Queue.GROUP]
    items.close(session, others, ItemState.GONE)
    items.add(session, item, queue, boost=2.0)


def _waiting(session: Session, readings: Iterable[int]) -> Sequence[tables.Item]:
    return session.scalars(
        select(tables.Item).where(
            tables.Item.reading_id.in_(list(readings)), tables.Item.state == ItemState.OPEN
        )
    ).all()


def _follow(session: Session, readings: set[int], base: Correction) -> None:
    """Write down the values that follow from digits that are all decided now."""
    still = {item.reading_id for item in _waiting(session, readings)}
    ready = readings - still
    if not ready:
        return
    found = session.execute(
        select(tables.Reading, tables.PageReading.id, tables.Form.source)
        .join(tables.PageReading, tables.PageReading.id == tables.Reading.page_reading_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(tables.Reading.id.in_(ready))
    ).all()
    digits = digits_now(session, ready)
    ruled = {
        page
        for _, page, source in found
        if (form := items.form_of(source)) is not None and form.rules
    }
    values = values_now(session, ruled)
    rows = []
    for reading, page, source in found:
        came = _outcome(reading, source, digits[reading.id], values.get(page, {}))
        if came.queue is not None:
            first = session.scalar(
                select(tables.Item).where(tables.Item.reading_id == reading.id).limit(1)
            )
            assert first is not None
            _send_on(session, first, came.queue)
            continue
        values.setdefault(page, {})[reading.field] = came.text
        rows.append(
            store.decision_row(
                replace(
                    base,
                    reading=reading.id,
                    verdict=came.verdict(reading.text),
                    text=came.text,
                    followed=True,
                )
            )
        )
    session.add_all(rows)
    session.flush()


def _outcome(
    reading: tables.Reading,
    source: str,
    digits: Sequence[str | None],
    values: Mapping[str, str | None],
) -> Outcome:
    form = items.form_of(source)
    field = items.field_of(source, reading.field)
    fields = {one.name: one for one in form.fields} if form else {}
    return outcome(field, digits, form.rules if form else (), fields, values)


def digits_now(session: Session, readings: Iterable[int]) -> dict[int, list[str | None]]:
    """Give the digits of readings: as decided last, else as read."""
    glyph, decision = tables.Glyph, tables.Decision
    last = (
        select(decision.glyph_id, func.max(decision.id).label("id"))
        .where(decision.reading_id.in_(list(readings)), decision.glyph_id.is_not(None))
        .group_by(decision.glyph_id)
        .subquery()
    )
    rows = session.execute(
        select(glyph.reading_id, glyph.text, decision.verdict, decision.text)
        .outerjoin(last, last.c.glyph_id == glyph.id)
        .outerjoin(decision, decision.id == last.c.id)
        .where(glyph.reading_id.in_(list(readings)))
        .order_by(glyph.reading_id, glyph.position)
    )
    digits: dict[int, list[str | None]] = {}
    for reading, read, verdict, text in rows:
        said = verdict is not None and verdict != Verdict.WITHDRAWN
        digits.setdefault(reading, []).append(text if said else read)
    return digits


def values_now(session: Session, pages: Iterable[int]) -> dict[int, dict[str, str | None]]:
    """Give the values of the fields of some passes: as decided, else as accepted, else None."""
    rows = session.execute(
        select(
            tables.PageReading.id,
            tables.Reading.field,
            tables.Reading.text,
            tables.Reading.accepted,
            tables.Decision.id,
            tables.Decision.text,
        )
        .select_from(tables.PageReading)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .join(tables.Reading, tables.Reading.page_reading_id == tables.PageReading.id)
        .outerjoin(tables.Decision, is_deciding())
        .where(tables.PageReading.id.in_(list(pages)))
    )
    values: dict[int, dict[str, str | None]] = {}
    for page, field, read, accepted, decision, said in rows:
        known = said if decision is not None else read if accepted else None
        values.setdefault(page, {})[field] = known
    return values


def _decided_later(session: Session, made: Sequence[tables.Decision]) -> set[int]:
    """Find the readings on which something was said after a page, on another one."""
    if not made:
        return set()
    own = made[-1].claim_id
    readings = {one.reading_id for one in made}
    last = made[-1].id
    return set(
        session.scalars(
            select(tables.Decision.reading_id).where(
                tables.Decision.reading_id.in_(readings),
                tables.Decision.id > last,
                tables.Decision.claim_id.is_distinct_from(own),
            )
        )
    )


def _taken_back(
    session: Session, decision: tables.Decision, reviewer: str, now: datetime
) -> tables.Decision:
    """Say again what was said of the same thing before a decision, or withdraw it."""
    said = tables.Decision
    before = session.scalar(
        select(said)
        .where(said.reading_id == decision.reading_id, said.id < decision.id)
        .where(said.glyph_id.is_not_distinct_from(decision.glyph_id))
        .order_by(said.id.desc())
        .limit(1)
    )
    return store.decision_row(
        Correction(
            reading=decision.reading_id,
            glyph=decision.glyph_id,
            verdict=Verdict.WITHDRAWN if before is None else Verdict(before.verdict),
            text=None if before is None else before.text,
            reviewer=reviewer,
            made_at=now,
            claim=decision.claim_id,
            screen=None if decision.screen is None else Screen(decision.screen),
            shown=decision.shown,
            undoes=decision.id,
        )
    )


def _close_sent_on(session: Session, undone: Sequence[tables.Item], claim: Claimed) -> None:
    """Close whole fields that wait only because of a page that is taken back."""
    if claim.queue is not Queue.GROUP:
        return
    readings = {item.reading_id for item in undone}
    sent = [one for one in _waiting(session, readings) if one.glyph_id is None]
    items.close(session, sent, ItemState.GONE)
    others = session.scalars(
        select(tables.Item).where(
            tables.Item.reading_id.in_(readings),
            tables.Item.queue == Queue.GROUP,
            tables.Item.state == ItemState.GONE,
        )
    ).all()
    items.reopen(session, others)
