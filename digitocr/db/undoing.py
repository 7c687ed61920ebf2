"""Taking back what people said, by new rows: a saved page, or all of one person's since a time.

What was said before is said again, or withdrawn where nothing was; nothing is deleted. What
somebody decided since, on another page, is left alone. A page of which an export has a value
is not taken back any more: it would wait again while the number is in use. A supervisor may,
and is told how many were exported.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from digitocr.db import claims, decisions, exports, items, people, tables
from digitocr.db.claims import Claimed
from digitocr.db.deciding import waiting_of
from digitocr.db.tables import ClaimState, ItemState, Queue
from digitocr.errors import UsageError
from digitocr.types import Correction, Screen, Verdict

UNDO_MIN = 15
SEEN = (Screen.GROUP, Screen.FIELD, Screen.CONFLICT, Screen.DOCUMENT)
LOOKED_AT = (Queue.GROUP, Queue.FIELD, Queue.CONFLICT)

Thing = tuple[int, int | None]  # a reading, and of its digits the one, or the whole


def undo(session: Session, claim_id: str, *, reviewer: str, now: datetime) -> Claimed:
    """Take back what was saved of a page, by new rows, and claim its items anew.

    Raises
    ------
    UsageError
        If it was never saved, or longer ago than `UNDO_MIN` minutes, or a value of it was
        exported since.
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
    made = session.scalars(
        select(tables.Decision)
        .where(tables.Decision.claim_id == claim_id, tables.Decision.purge_id.is_(None))
        .order_by(tables.Decision.id)
    ).all()
    held = _exported(session, made, now)
    if held:
        first = min(held.values(), key=lambda one: one.id)
        number = "a value" if len(held) == 1 else f"{len(held)} values"
        raise UsageError(
            f"{number} of that page went out with the export of {first.begun_at:%H:%M} UTC by "
            f"{first.made_by}; change single values in the document view, and export again"
        )
    taken = _take_back(session, made, reviewer, now)
    free = _reopen(session, claim, taken.superseded)
    people.withdraw_work(session, taken.decisions)
    return claims.again(session, claim, [item.id for item in free], now)


@dataclass(frozen=True, slots=True)
class Reverted:
    """What came of taking a person's work back: decisions, and fields that were left alone.

    `exported`: so many fields went out with an export as this person had decided them.
    """

    decisions: int
    left: int
    exported: int


def revert(
    session: Session, who: str, since: datetime, until: datetime, *, by: str, now: datetime
) -> Reverted:
    """Take back what a person decided in a time with the reading in sight; it waits again.

    What was keyed blind stays: it agrees with what somebody else said without seeing it, or
    waits for another person anyway.
    """
    decision, claim = tables.Decision, tables.Claim
    made = session.scalars(
        select(decision)
        .where(decision.reviewer == who, decision.made_at.between(since, until))
        .where(decision.screen.in_(SEEN), decision.purge_id.is_(None))
        .order_by(decision.id)
    ).all()
    held = _exported(session, made, now)
    taken = _take_back(session, made, by, now)
    rows = session.scalars(
        select(claim)
        .where(claim.reviewer == who, claim.saved_at.between(since, until))
        .where(claim.queue.in_(LOOKED_AT))
        .order_by(claim.saved_at.desc(), claim.id)
    ).all()
    # Whole fields first: pages of digits close those that waited because of them.
    for row in sorted(rows, key=lambda row: row.queue == Queue.GROUP):
        _reopen(session, claims.claimed(row), taken.superseded)
    of_pages = {one.reading_id for one in taken.decisions if one.screen == Screen.DOCUMENT}
    _reopen_pages(session, of_pages)
    people.withdraw_work(session, taken.decisions)
    said = sum(not one.followed for one in taken.decisions)
    back = {one.reading_id for one in taken.decisions}
    left = len({reading for reading, _ in taken.superseded})
    return Reverted(said, left, len(back & set(held)))


@dataclass(frozen=True, slots=True)
class _Taken:
    """Decisions that were taken back, and things on which something else was said since."""

    decisions: tuple[tables.Decision, ...]
    superseded: frozenset[Thing]


def _exported(
    session: Session, made: Sequence[tables.Decision], now: datetime
) -> dict[int, exports.Taken]:
    """Tell which fields went out as these decisions have them."""
    said = [one for one in made if one.undoes is None]
    if not said:
        return {}
    since = min(one.id for one in said)
    return exports.holding(session, {one.reading_id for one in said}, since=since, now=now)


def _take_back(
    session: Session, made: Sequence[tables.Decision], by: str, now: datetime
) -> _Taken:
    """Take decisions back by new rows, with the values that followed from them.

    What somebody said since of the same digit, or of its whole field, stands.
    """
    own = {one.id for one in made}
    undone = {one.undoes for one in made if one.undoes is not None}
    last = {_thing(one): one for one in made if one.undoes is None and one.id not in undone}
    said = _all_said(session, {reading for reading, _ in last})
    superseded, taken, rows = set(), [], []
    for (reading, glyph), one in last.items():
        since = [row for row in said[reading] if row.id > one.id and row.id not in own]
        whole = any(row.glyph_id is None and not row.followed for row in since)
        if whole or any(row.glyph_id == glyph and glyph is not None for row in since):
            superseded.add((reading, glyph))
            continue
        taken.append(one)
        rows.append(_taken_back(one, _before(one, said[reading], own), by, now))
    touched = {one.reading_id for one in taken}
    for reading in touched:
        value = [row for row in said[reading] if row.glyph_id is None and not row.undoes][-1:]
        if value and value[0].followed and value[0].id not in own:
            rows.append(_taken_back(value[0], _before(value[0], said[reading], own), by, now))
    decisions.record_decisions(session, rows)
    return _Taken(tuple(taken), frozenset(superseded))


def _thing(one: tables.Decision | tables.Item) -> Thing:
    return one.reading_id, one.glyph_id


def _all_said(session: Session, readings: set[int]) -> dict[int, list[tables.Decision]]:
    """Load all that was said of some readings, oldest first."""
    found: dict[int, list[tables.Decision]] = {reading: [] for reading in readings}
    said = tables.Decision
    for wanted in items.parts(readings):
        rows = select(said).where(said.reading_id.in_(wanted)).order_by(said.id)
        for row in session.scalars(rows):
            found[row.reading_id].append(row)
    return found


def _before(
    decision: tables.Decision, said: Sequence[tables.Decision], own: set[int]
) -> tables.Decision | None:
    """Find what was said of the same thing before a decision, by others than are taken back."""
    earlier = [
        row
        for row in said
        if row.id < decision.id and row.glyph_id == decision.glyph_id and row.id not in own
    ]
    return earlier[-1] if earlier else None


def _taken_back(
    decision: tables.Decision, before: tables.Decision | None, by: str, now: datetime
) -> Correction:
    """Say again what was said of the same thing before a decision, or withdraw it."""
    return Correction(
        reading=decision.reading_id,
        glyph=decision.glyph_id,
        verdict=Verdict.WITHDRAWN if before is None else Verdict(before.verdict),
        text=None if before is None else before.text,
        reviewer=by,
        made_at=now,
        claim=decision.claim_id,
        screen=None if decision.screen is None else Screen(decision.screen),
        shown=decision.shown,
        undoes=decision.id,
        followed=decision.followed,
    )


def _reopen(
    session: Session, claim: Claimed, superseded: Collection[Thing]
) -> list[tables.Item]:
    """Let the items of a claim wait again, but those on which something was said since."""
    wanted = [cell.item for cell in claim.cells if cell.item is not None]
    rows = session.scalars(select(tables.Item).where(tables.Item.id.in_(wanted))).all()
    free = [
        item
        for item in rows
        if _thing(item) not in superseded
        and (item.state == ItemState.DONE or (item.claim_id is None))
    ]
    _close_sent_on(session, free, claim)
    items.reopen(session, free)
    return free


def _reopen_pages(session: Session, readings: set[int]) -> None:
    """Let fields that were decided beside their page wait as they did last, if they did."""
    rows = session.scalars(
        select(tables.Item)
        .where(tables.Item.reading_id.in_(readings), tables.Item.queue != Queue.AUDIT)
        .order_by(tables.Item.id)
    ).all()
    waits = {item.reading_id for item in rows if item.state == ItemState.OPEN}
    of: dict[int, list[tables.Item]] = {}
    for item in rows:
        if item.state == ItemState.DONE and item.reading_id not in waits:
            of.setdefault(item.reading_id, []).append(item)
    for found in of.values():
        whole = [item for item in found if item.glyph_id is None]
        items.reopen(session, whole[-1:] or found)


def _close_sent_on(session: Session, undone: Sequence[tables.Item], claim: Claimed) -> None:
    """Close whole fields that wait only because of a page that is taken back."""
    if claim.queue is not Queue.GROUP:
        return
    readings = {item.reading_id for item in undone}
    sent = [one for one in waiting_of(session, readings) if one.glyph_id is None]
    items.close(session, sent, ItemState.GONE)
    others = session.scalars(
        select(tables.Item).where(
            tables.Item.reading_id.in_(readings),
            tables.Item.queue == Queue.GROUP,
            tables.Item.state == ItemState.GONE,
        )
    ).all()
    items.reopen(session, others)
