"""Claims: who has which items on the screen, so that two people never see one digit.

A claim is a lease. Who has the page open renews it; when it runs out, anyone may take the items
anew, and an item belongs to the claim that took it last. So what a late page says is taken for
the items that nobody else took meanwhile, and refused, by name, for the others.

On PostgreSQL rows are picked with `FOR UPDATE SKIP LOCKED` (plain `FOR UPDATE` let 16 people
lock each other); on SQLite the transaction has the whole database.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, literal_column, or_, select, union, update
from sqlalchemy.orm import Session, aliased

from digitocr.db import items, tables
from digitocr.db.tables import ClaimState, ItemState, Queue
from digitocr.errors import UsageError
from digitocr.types import Screen, Verdict

LEASE_S = 600.0
GROUP_SIZE = 200
CELLS_A_SEED = 70  # of a page of digits; fewer cells than LEAST_SEEDED have none
LEAST_SEEDED = 20


class ClaimError(UsageError):
    """A claim is not there, or is somebody else's."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a claim; `item` is None for a digit shown wrong on purpose (a seed)."""

    item: int | None
    reading: int
    glyph: int | None
    shown_as: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one person has on the screen."""

    id: str
    reviewer: str
    queue: Queue
    label: str
    state: ClaimState
    until: datetime
    cells: tuple[Cell, ...]


def take(
    session: Session,
    queue: Queue,
    *,
    reviewer: str,
    now: datetime,
    label: str | None = None,
    batch: int | None = None,
    limit: int = 1,
    lease_s: float = LEASE_S,
    seeds: int | None = None,
) -> Claimed | None:
    """Claim the most urgent items of a queue; None if none is free.

    Parameters
    ----------
    label, batch
        Only items of this label, or of this batch.
    seeds
        How many known digits are put among them (of a page of digits); None: as many as suit
        its size.
    """
    item = tables.Item
    wanted = select(item).where(item.queue == queue, items.is_free(now, reviewer))
    if label is not None:
        wanted = wanted.where(item.label == label)
    if batch is not None:
        wanted = wanted.where(item.batch_id == batch)
    # Both downward, as the indexes give them: among a million that are equally urgent nothing
    # is sorted.
    picked = session.scalars(
        wanted.order_by(item.priority.desc(), item.id.desc())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if queue is Queue.CONFLICT and picked:
        picked = _of_one_page(session, picked[0], reviewer, now)
    if not picked:
        return None
    shown = label if label is not None else picked[0].label
    cells = [Cell(one.id, one.reading_id, one.glyph_id, one.label) for one in picked]
    if queue is Queue.GROUP:
        count = len(cells) // CELLS_A_SEED + 1 if len(cells) >= LEAST_SEEDED else 0
        cells = _mixed(cells, _seeds(session, shown, count if seeds is None else seeds))
    return _make(session, queue, shown, cells, reviewer, now, lease_s)


def load(session: Session, claim: str, *, reviewer: str, lock: bool = False) -> Claimed:
    """Load a claim of this person.

    Raises
    ------
    ClaimError
        If there is none of that id, or it is somebody else's.
    """
    statement = select(tables.Claim).where(tables.Claim.id == claim)
    row = session.scalar(statement.with_for_update() if lock else statement)
    if row is None or row.reviewer != reviewer:
        raise ClaimError("this page is not yours any more; open the next one")
    return claimed(row)


def renew(
    session: Session, claim: str, *, reviewer: str, now: datetime, lease_s: float = LEASE_S
) -> datetime | None:
    """Put off the end of a claim, and give it; None if it is not open any more."""
    found = load(session, claim, reviewer=reviewer, lock=True)
    if found.state is not ClaimState.OPEN:
        return None
    until = now + timedelta(seconds=lease_s)
    session.execute(update(tables.Claim).where(tables.Claim.id == claim).values(until=until))
    session.execute(update(tables.Item).where(*_still_of(found)).values(claimed_until=until))
    return until


def resume(
    session: Session, claim: str, *, reviewer: str, now: datetime, lease_s: float = LEASE_S
) -> Claimed | None:
    """Go on with a claim of this person's after a reload, also one given back meanwhile.

    Places that others took stay shown, and are refused when they are saved; None if it was
    saved, or nothing of it is left.
    """
    row = session.scalar(select(tables.Claim).where(tables.Claim.id == claim).with_for_update())
    if row is None or row.reviewer != reviewer or row.state == ClaimState.SAVED:
        return None
    until = now + timedelta(seconds=lease_s)
    wanted = [cell.item for cell in claimed(row).cells if cell.item is not None]
    item = tables.Item
    free = session.scalars(
        select(item.id)
        .where(item.id.in_(wanted))
        .where(or_(item.claim_id == claim, items.is_free(now, reviewer)))
        .where(item.state == ItemState.OPEN)
        .with_for_update(skip_locked=True)
    ).all()
    if not free:
        return None
    session.execute(
        update(item).where(item.id.in_(free)).values(claim_id=claim, claimed_until=until)
    )
    row.state, row.until = ClaimState.OPEN, until
    session.flush()
    return claimed(row)


def release(
    session: Session, claim: str, *, reviewer: str, until: datetime | None = None
) -> None:
    """Give a claim back unsaved: its items are free at once.

    Parameters
    ----------
    until
        The end of the lease as who gives it back knows it. Where it is another by now, the
        same page was loaded anew meanwhile, and goes on with the claim.
    """
    found = load(session, claim, reviewer=reviewer, lock=True)
    if found.state is ClaimState.OPEN and until in (None, found.until):
        finish(session, found, ClaimState.RELEASED, None)


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """Who has how many items of a queue on the screen, since when and until when."""

    id: str
    reviewer: str
    queue: Queue
    label: str
    items: int
    made_at: datetime
    until: datetime


def in_hand(session: Session, now: datetime) -> tuple[OpenClaim, ...]:
    """List the claims that hold items now, oldest first."""
    claim, item = tables.Claim, tables.Item
    number = (
        select(func.count())
        .where(item.claim_id == claim.id, item.state == ItemState.OPEN)
        .correlate(claim)
        .scalar_subquery()
    )
    rows = session.execute(
        select(
            claim.id,
            claim.reviewer,
            claim.queue,
            claim.label,
            number,
            claim.made_at,
            claim.until,
        )
        .where(claim.state == ClaimState.OPEN, claim.until >= now)
        .order_by(claim.made_at)
    )
    found = (OpenClaim(id_, who, Queue(queue), *more) for id_, who, queue, *more in rows)
    return tuple(one for one in found if one.items)


def free(session: Session, claim: str) -> int:
    """Take a claim from who has it: its items are free at once; give how many."""
    row = session.scalar(select(tables.Claim).where(tables.Claim.id == claim).with_for_update())
    if row is None or row.state != ClaimState.OPEN:
        return 0
    number = _count_still(session, claimed(row))
    finish(session, claimed(row), ClaimState.RELEASED, None)
    return number


def finish(session: Session, claim: Claimed, state: ClaimState, now: datetime | None) -> None:
    """Close a claim; items of it that still wait are free again."""
    session.execute(
        update(tables.Item).where(*_still_of(claim)).values(claim_id=None, claimed_until=None)
    )
    session.execute(
        update(tables.Claim)
        .where(tables.Claim.id == claim.id)
        .values(state=state, saved_at=now)
    )


def _still_of(claim: Claimed) -> tuple[Any, ...]:
    """Say, in SQL, that an item is of a claim and waits; by its id, which has an index."""
    wanted = [cell.item for cell in claim.cells if cell.item is not None]
    item = tables.Item
    return item.id.in_(wanted), item.claim_id == claim.id, item.state == ItemState.OPEN


def _count_still(session: Session, claim: Claimed) -> int:
    counted = select(func.count()).select_from(tables.Item).where(*_still_of(claim))
    return session.scalar(counted) or 0


def held(session: Session, claim: Claimed) -> tuple[dict[int, tables.Item], tuple[int, ...]]:
    """Tell the items a claim still has, by place, from the places it has lost.

    What it gave back, or was taken from it, and nobody has by now, it still has.
    """
    wanted = [cell.item for cell in claim.cells if cell.item is not None]
    rows = session.scalars(
        select(tables.Item).where(tables.Item.id.in_(wanted)).order_by(tables.Item.id)
        .with_for_update()
    ).all()  # fmt: skip
    ours = (claim.id, None)
    mine = {r.id: r for r in rows if r.claim_id in ours and r.state == ItemState.OPEN}
    kept = {
        place: mine[cell.item] for place, cell in enumerate(claim.cells) if cell.item in mine
    }
    lost = tuple(
        place
        for place, cell in enumerate(claim.cells)
        if cell.item is not None and cell.item not in mine
    )
    return kept, lost


def again(session: Session, claim: Claimed, kept: Sequence[int], now: datetime) -> Claimed:
    """Claim the items of an earlier claim anew, in the same places as far as they are free."""
    known = [c.item for c in claim.cells if c.item in set(kept)]
    cells = [cell for cell in claim.cells if cell.item in set(kept) or cell.item is None]
    if not known:
        cells = []
    return _make(session, claim.queue, claim.label, cells, claim.reviewer, now, LEASE_S)


def _make(
    session: Session,
    queue: Queue,
    label: str,
    cells: Sequence[Cell],
    reviewer: str,
    now: datetime,
    lease_s: float,
) -> Claimed:
    until = now + timedelta(seconds=lease_s)
    row = tables.Claim(
        id=secrets.token_urlsafe(18),
        reviewer=reviewer,
        queue=queue,
        label=label,
        state=ClaimState.OPEN,
        made_at=now,
        until=until,
        saved_at=None,
        cells=[[c.item, c.reading, c.glyph, c.shown_as] for c in cells],
    )
    session.add(row)
    session.flush()
    session.execute(
        update(tables.Item)
        .where(tables.Item.id.in_([c.item for c in cells if c.item is not None]))
        .values(claim_id=row.id, claimed_until=until)
    )
    return claimed(row)


def claimed(row: tables.Claim) -> Claimed:
    """Make our type of a row."""
    cells = tuple(Cell(*cell) for cell in row.cells)
    return Claimed(
        row.id,
        row.reviewer,
        Queue(row.queue),
        row.label,
        ClaimState(row.state),
        row.until,
        cells,
    )


def _of_one_page(
    session: Session, first: tables.Item, reviewer: str, now: datetime
) -> Sequence[tables.Item]:
    """Take all conflicts of a page together: the fields of a rule are looked at at once."""
    other = aliased(tables.Reading)
    page = select(other.page_reading_id).where(other.id == first.reading_id).scalar_subquery()
    return session.scalars(
        select(tables.Item)
        .join(tables.Reading, tables.Reading.id == tables.Item.reading_id)
        .where(tables.Item.queue == Queue.CONFLICT, items.is_free(now, reviewer))
        .where(tables.Reading.page_reading_id == page)
        .order_by(tables.Reading.position)
        .with_for_update(skip_locked=True, of=tables.Item)
    ).all()


def _seeds(session: Session, shown_as: str, count: int) -> list[Cell]:
    """Draw digits that two who did not see each other read alike, and not as `shown_as`.

    One of the two is the machine, the other keyed the field blind: in an audit, or where the
    form says so.
    """
    if count < 1:
        return []
    glyph, decision = tables.Glyph, tables.Decision
    confirmed = select(decision.reading_id).where(decision.verdict == Verdict.CONFIRMED)
    # Two questions, each with an index of its own; the word is no parameter, else SQLite could
    # not know that the index holds it. Both are of whole fields alone.
    keyed = decision.screen == literal_column(f"'{Screen.BLIND}'")
    # Not joined: SQLite would begin with all glyphs there are, and their pictures.
    agreed = union(confirmed.where(decision.audit), confirmed.where(keyed))
    drawn = session.execute(
        select(glyph.id, glyph.reading_id)
        .where(glyph.reading_id.in_(agreed))
        .where(glyph.text != shown_as, glyph.text != "", glyph.crop.is_not(None))
        .order_by(func.random())
        .limit(count)
    )
    return [Cell(None, reading_id, id_, shown_as) for id_, reading_id in drawn]


def _mixed(cells: list[Cell], seeds: list[Cell]) -> list[Cell]:
    """Put seeds at random places, each in a stretch of its own: all rows may have one."""
    if not seeds:
        return cells
    rng = np.random.default_rng(secrets.randbits(64))
    mixed = list(cells)
    stretch = len(cells) / len(seeds)
    for number in reversed(range(len(seeds))):
        low, high = round(number * stretch), round((number + 1) * stretch)
        mixed.insert(int(rng.integers(low, high + 1)), seeds[number])
    return mixed
