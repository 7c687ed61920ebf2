"""Blind keying: fields without what was read, for `double_key` and for audits.

Nothing of the reading is in the page, in its answers or in its addresses: pictures are asked
for by claim and place.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from digitocr.db import claims, deciding, review, schema
from digitocr.db.claims import Claimed, ClaimError
from digitocr.db.following import typed
from digitocr.db.tables import Queue
from digitocr.recognition.checks import value_of
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.saying import Sent
from digitocr.review.words import WHERE, counted

router = APIRouter()
FIELDS_A_PAGE = 12
SCREENS = {
    Queue.BLIND: ("Key what is written", "The form asks for these fields to be keyed twice."),
    Queue.AUDIT: (
        "Key what is written",
        "A random sample of accepted numbers. What the machine read is not shown, so that what "
        "you key says how often it is wrong.",
    ),
}


@router.get("/blind")
def blind(request: Request, desk: AtDesk, reviewer: Reviewer, claim: str = "") -> HTMLResponse:
    """Show fields that the form wants keyed, without what was read."""
    return _screen(request, desk, reviewer, Queue.BLIND, claim)


@router.get("/audit")
def audit(request: Request, desk: AtDesk, reviewer: Reviewer, claim: str = "") -> HTMLResponse:
    """Show fields of the audit, without what was read."""
    return _screen(request, desk, reviewer, Queue.AUDIT, claim)


@router.post("/blind/next")
def next_blind(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Claim the fields after these ahead."""
    return _next(request, desk, reviewer, Queue.BLIND)


@router.post("/audit/next")
def next_audit(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Claim the fields of the audit after these ahead."""
    return _next(request, desk, reviewer, Queue.AUDIT)


@router.post("/claims/{claim}/keyed")
def save(desk: AtDesk, reviewer: Reviewer, claim: str, sent: Sent) -> Response:
    """Save what was keyed; whether it is what was read is not said."""
    with schema.writing(desk.engine) as session:
        claimed = claims.load(session, claim, reviewer=reviewer)
        if claimed.queue not in SCREENS:
            raise ClaimError("these fields are not keyed blind")
        if any(not 0 <= place < len(claimed.cells) for place in sent.said):
            raise ClaimError("the page has no such place")
        readings = {place: claimed.cells[place].reading for place in sent.said}
        views = review.fields(session, readings.values())
        keyed: dict[int, str | None] = {}
        for place, one in sent.said.items():
            field = views[readings[place]].field
            try:
                keyed[place] = (
                    None if one.illegible else value_of(field, typed(field, one.text))
                )
            except ValueError as error:
                return desks.refuse(f"Number {place + 1}: {error}.", place=place)
        saved = deciding.save_keyed(
            session, claim, keyed, reviewer=reviewer, now=desk.now(), ms=sent.ms
        )
        waiting = review.waiting_in(session, claimed.queue)
    return desks.answer(
        saved,
        waiting=counted(waiting, "field"),
        lost=f"{len(saved.dropped)} were not saved: somebody else has them now.",
    )


def _screen(
    request: Request, desk: AtDesk, reviewer: str, queue: Queue, claim: str
) -> HTMLResponse:
    claimed = desks.claim_from(desk, queue, reviewer, claim, limit=FIELDS_A_PAGE)
    return desks.page(request, "keying.html", **_values(desk, claimed, queue))


def _next(request: Request, desk: Desk, reviewer: str, queue: Queue) -> HTMLResponse:
    claimed = desks.claim_ahead(desk, queue, reviewer, limit=FIELDS_A_PAGE)
    return desks.page(request, "to_key.html", **_values(desk, claimed, queue))


def _values(desk: Desk, claimed: Claimed | None, queue: Queue) -> dict[str, Any]:
    """Collect what fields are keyed blind with; nothing of what was read is in it."""
    with schema.reading(desk.engine) as session:
        waiting = review.waiting_in(session, queue)
        views = review.fields(session, [c.reading for c in claimed.cells]) if claimed else {}
    title, why = SCREENS[queue]
    named = [
        (views[cell.reading].field.title, views[cell.reading].form)
        for cell in (claimed.cells if claimed else ())
    ]
    return {
        "claim": claimed,
        "named": named,
        "title": title,
        "why": why,
        "waiting": waiting,
        "screen": WHERE[queue],
    }
