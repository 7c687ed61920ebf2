"""What people say on the review pages → rows that stay. Every function is one transaction.

The id of a claim makes saving it twice once. What follows from decided digits is written down
with them (`following`). Taking back is a new row that says again what was said before, or
withdraws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from digitocr.db import claims, decisions, items, people, tables
from digitocr.db.claims import Claimed
from digitocr.db.following import Outcome, outcome
from digitocr.db.tables import ClaimState, ItemState, Queue
from digitocr.db.values import digits_now, values_now
from digitocr.errors import UsageError
from digitocr.types import Correction, FormRule, Screen, Verdict

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

    A field that the machine accepted is looked at whole as soon as one digit of it is marked:
    until all its digits are decided its value would be that of the machine.

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
    accepted = _accepted(session, [kept[place] for place in marks if place in kept])
    for place, item in kept.items():
        mark = marks.get(place)
        if mark is None and postpone:
            item.priority *= 0.5
            continue
        done.append(item)
        differs = mark is not None and mark != claim.cells[place].shown_as
        if mark in FOR_THE_WHOLE or (differs and item.reading_id in accepted):
            whole.append(item)
        if mark != UNSURE:
            rows.append(_of_glyph(base, item, mark or claim.cells[place].shown_as))
    decisions.record_decisions(session, rows)
    items.close(session, done, ItemState.DONE)
    _write_seeds(session, claim, marks, reviewer, now, postpone=postpone)
    for item in whole:
        _send_on(session, item, Queue.FIELD)
    gone = {item.reading_id for item in whole}
    _follow(session, {i.reading_id for i in done} - gone, base)
    claims.finish(session, claim, ClaimState.SAVED, now)
    changed = sum(row.verdict is not Verdict.CONFIRMED for row in rows)
    people.add_work(session, base, digits=len(rows), changed=changed)
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
    changed = decide(session, texts, base)
    for place, item in kept.items():
        if place not in said:
            item.priority *= 0.5
    claims.finish(session, claim, ClaimState.SAVED, now)
    people.add_work(session, base, fields=len(texts), changed=changed)
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
    count = decided = changed = 0
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
            changed += decide(session, {item.reading_id: Said(text)}, base)
            decided += 1
        elif audit and not earlier:
            item.priority -= 1.0  # of 0 to 1, drawn at random: after all others
        elif audit:
            agreed = text == earlier[-1]
            changed += decide(session, {item.reading_id: Said(text if agreed else None)}, base)
            decided += 1
            if not agreed:
                items.add(session, item, Queue.CONFLICT)
        else:
            items.close(session, [item], ItemState.DONE)
            conflict = items.add(session, item, Queue.CONFLICT)
            conflict.keyed_by = f"{conflict.keyed_by or '|'}{reviewer}|"
    claims.finish(session, claim, ClaimState.SAVED, now)
    people.add_work(session, base, fields=decided, changed=changed)
    return Saved(claim_id, count, lost)


def decide(session: Session, said: Mapping[int, Said], base: Correction) -> int:
    """Write down what is said of whole fields, by reading; they wait no more.

    Returns
    -------
    How many are not what was read.
    """
    if not said:
        return 0
    changed = 0
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
        changed += verdict is not Verdict.CONFIRMED
        decisions.record_decision(
            session,
            replace(
                base, reading=reading, verdict=verdict, text=one.text, as_written=one.as_written
            ),
        )
    items.close(session, waiting_of(session, said), ItemState.DONE)
    return changed


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
    changed = decide(session, {reading: said}, base)
    people.add_work(session, base, fields=1, changed=changed)
    return True


def _accepted(session: Session, found: Sequence[tables.Item]) -> set[int]:
    """Name the readings of items that the machine accepted."""
    if not found:
        return set()
    wanted = tables.Reading.id.in_([item.reading_id for item in found])
    return set(
        session.scalars(select(tables.Reading.id).where(wanted, tables.Reading.accepted))
    )


def _of_glyph(base: Correction, item: tables.Item, mark: str) -> Correction:
    text = {NO_DIGIT: None, BLANK: ""}.get(mark, mark)
    verdict = (
        Verdict.ILLEGIBLE
        if text is None
        else Verdict.CONFIRMED
        if text == item.label
        else Verdict.CORRECTED
    )
    return replace(
        base, reading=item.reading_id, glyph=item.glyph_id, verdict=verdict, text=text
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
    others = [one for one in waiting_of(session, [item.reading_id]) if one.queue == Queue.GROUP]
    items.close(session, others, ItemState.GONE)
    items.add(session, item, queue, boost=2.0)


def waiting_of(session: Session, readings: Iterable[int]) -> Sequence[tables.Item]:
    """List what waits of some readings."""
    return session.scalars(
        select(tables.Item).where(
            tables.Item.reading_id.in_(list(readings)), tables.Item.state == ItemState.OPEN
        )
    ).all()


def _follow(session: Session, readings: set[int], base: Correction) -> None:
    """Write down the values that follow from digits that are all decided now."""
    still = {item.reading_id for item in waiting_of(session, readings)}
    ready = readings - still
    if not ready:
        return
    reading = tables.Reading
    found = session.execute(
        select(
            reading.id, reading.field, reading.text, reading.page_reading_id, tables.Form.source
        )
        .join(tables.PageReading, tables.PageReading.id == reading.page_reading_id)
        .join(tables.Form, tables.Form.id == tables.PageReading.form_id)
        .where(reading.id.in_(ready))
    ).all()
    digits = digits_now(session, ready)
    ruled = {page for _, field, _, page, source in found if _rules_of(source, field)}
    values = values_now(session, ruled) if ruled else {}
    rows = []
    for id_, field, read, page, source in found:
        came = _outcome(source, field, digits[id_], values.get(page, {}))
        if came.queue is not None:
            first = session.scalar(
                select(tables.Item).where(tables.Item.reading_id == id_).limit(1)
            )
            assert first is not None
            _send_on(session, first, came.queue)
            continue
        if page in values:
            values[page][field] = came.text
        rows.append(
            replace(
                base, reading=id_, verdict=came.verdict(read), text=came.text, followed=True
            )
        )
    decisions.record_decisions(session, rows)


def _rules_of(source: str, field: str) -> tuple[FormRule, ...]:
    """List the rules of a form that a field takes part in."""
    form = items.form_of(source)
    rules = form.rules if form else ()
    return tuple(rule for rule in rules if field in (*rule.of, rule.equals))


def _outcome(
    source: str, name: str, digits: Sequence[str | None], values: Mapping[str, str | None]
) -> Outcome:
    form = items.form_of(source)
    fields = {one.name: one for one in form.fields} if form else {}
    return outcome(
        items.field_of(source, name), digits, _rules_of(source, name), fields, values
    )
