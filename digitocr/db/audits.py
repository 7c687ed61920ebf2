"""Audits: accepted readings drawn at random to be keyed blind, and what those keyed say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import case, distinct, exists, func, insert, select
from sqlalchemy.orm import Session

from digitocr.db import items, tables
from digitocr.db.decisions import is_deciding, is_right
from digitocr.db.store import is_latest_pass
from digitocr.db.tables import ItemState, Queue
from digitocr.recognition.promise import LEVEL, upper_bound
from digitocr.recognition.stopping import CatchRate
from digitocr.types import Verdict

LAST_SHOWN = 30  # seeds that say how watchful somebody is now
LEAST_SHOWN = 10  # fewer say too little
LEAST_CAUGHT = 0.9


@dataclass(frozen=True, slots=True)
class AuditStanding:
    """What audits say of accepted readings: of `audited`, `wrong` were not as keyed blind.

    `bound`: the share of wrong ones is at most this, `level` sure; None before the first.
    """

    audited: int
    wrong: int
    waiting: int

    @property
    def bound(self) -> float | None:
        return upper_bound(self.wrong, self.audited) if self.audited else None

    @property
    def level(self) -> float:
        return LEVEL


def draw(
    session: Session,
    count: int,
    rng: np.random.Generator,
    *,
    now: datetime,
    batch: int | None = None,
) -> int:
    """Draw accepted readings at random, each with the same chance; give how many.

    Those that were drawn before, or that a person decided on, are not drawn again.
    """
    reading, page = tables.Reading, tables.PageReading
    drawn = exists().where(
        tables.Item.reading_id == reading.id, tables.Item.queue == Queue.AUDIT
    )
    wanted = (
        select(reading.id, tables.Page.document_id, tables.Form.name)
        .join(page, page.id == reading.page_reading_id)
        .join(tables.Page, tables.Page.id == page.page_id)
        .join(tables.Form, tables.Form.id == page.form_id)
        .outerjoin(tables.Decision, is_deciding())
        .where(reading.accepted, is_latest_pass(), ~drawn, tables.Decision.id.is_(None))
        .order_by(reading.id)
    )
    if batch is not None:
        came = select(tables.Arrival.document_id).where(tables.Arrival.batch_id == batch)
        wanted = wanted.where(tables.Page.document_id.in_(came))
    found = session.execute(wanted).all()
    if not found:
        return 0
    picked = rng.choice(len(found), size=min(count, len(found)), replace=False)
    batches = items.batches_of(session, {found[i][1] for i in picked})
    order = rng.random(len(picked))
    rows = [
        {
            "reading_id": found[i][0],
            "glyph_id": None,
            "batch_id": batches.get(found[i][1]),
            "queue": Queue.AUDIT.value,
            "label": found[i][2],
            "priority": float(place),
            "state": ItemState.OPEN.value,
            "keyed_by": None,
            "claim_id": None,
            "claimed_until": None,
            "drawn_at": now,
        }
        for i, place in zip(picked, order, strict=True)
    ]
    session.execute(insert(tables.Item), rows)
    items.change_counts(
        session, Counter((row["batch_id"], row["queue"], row["label"]) for row in rows)
    )
    return len(rows)


@dataclass(frozen=True, slots=True)
class Watchfulness:
    """How many of the digits that were shown wrong on purpose a person noticed."""

    shown: int
    caught: int

    @property
    def most_missed(self) -> float | None:
        """The share they miss is at most this; None before the first."""
        return upper_bound(self.shown - self.caught, self.shown) if self.shown else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share they notice, 95 % on both sides together."""
        return CatchRate(self.shown, self.caught).interval


def watchfulness(session: Session, reviewers: Iterable[str]) -> dict[str, Watchfulness]:
    """Count the seeded digits of some people."""
    seed = tables.Seed
    named = list(reviewers)
    rows = session.execute(
        select(seed.reviewer, func.count(), func.sum(case((seed.caught, 1), else_=0)))
        .where(seed.reviewer.in_(named))
        .group_by(seed.reviewer)
    )
    found = {who: Watchfulness(shown, int(caught)) for who, shown, caught in rows}
    return {name: found.get(name, Watchfulness(0, 0)) for name in named}


def is_tired(session: Session, reviewer: str) -> bool:
    """Whether a person noticed too few of the last seeded digits to be given large pages."""
    seed = tables.Seed
    last = session.scalars(
        select(seed.caught)
        .where(seed.reviewer == reviewer)
        .order_by(seed.id.desc())
        .limit(LAST_SHOWN)
    ).all()
    return len(last) >= LEAST_SHOWN and sum(last) < LEAST_CAUGHT * len(last)


def standing(session: Session) -> AuditStanding:
    """Count what was audited; the first audit of a field counts, as in `decisions.audited`."""
    decision, reading, page = tables.Decision, tables.Reading, tables.PageReading
    first = (
        select(func.min(decision.id).label("id"))
        .join(reading, reading.id == decision.reading_id)
        .join(page, page.id == reading.page_reading_id)
        .where(decision.audit, decision.verdict != Verdict.WITHDRAWN)
        .group_by(page.page_id, page.form_id, reading.field)
        .subquery()
    )
    rows = session.execute(
        select(is_right())
        .select_from(decision)
        .join(reading, reading.id == decision.reading_id)
        .where(decision.id.in_(select(first.c.id)))
    ).all()
    waiting = session.scalar(
        select(func.coalesce(func.sum(tables.Count.waiting), 0)).where(
            tables.Count.queue == Queue.AUDIT
        )
    )
    # As `decisions.is_keyed_otherwise` says it, but from the few that were keyed.
    keying = tables.Keying
    decided = exists().where(decision.reading_id == keying.reading_id, decision.audit)
    differing = session.scalar(
        select(func.count(distinct(keying.reading_id))).where(
            keying.queue == Queue.AUDIT, ~decided
        )
    )
    wrong = sum(not right for (right,) in rows) + int(differing or 0)
    return AuditStanding(len(rows) + int(differing or 0), wrong, int(waiting or 0))
