"""People: who is here, who has what on the screen, who did how much, and taking that back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from digitocr.db import audits, claims, people, schema, undoing
from digitocr.errors import UsageError
from digitocr.recognition.promise import LEVEL
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Reviewer, Supervisor
from digitocr.review.words import QUEUES

router = APIRouter()
DAYS = 14
ROWS = 100

Name = Annotated[str, Form(max_length=60)]


@router.get("/people")
def show(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Show who has what and did how much: of all to a supervisor, to others their own."""
    now = desk.now()
    mine = None if request.state.supervisor else reviewer
    with schema.reading(desk.engine) as session:
        held = [one for one in claims.in_hand(session, now) if mine in (None, one.reviewer)]
        work = people.stretches(session, now - timedelta(days=DAYS), mine, most=ROWS + 1)
        cut, work = len(work) > ROWS, work[:ROWS]
        who = dict.fromkeys([reviewer, *(one.reviewer for one in work)])
        tired = audits.is_tired(session, reviewer)
        eyes = audits.watchfulness(session, who)
    return desks.page(
        request, "people.html", held=held, work=work, eyes=eyes, tired=tired, queues=QUEUES,
        days=DAYS, level=LEVEL, rows=ROWS if cut else None,
    )  # fmt: skip


@router.post("/people/free")
def free(desk: AtDesk, who: Supervisor, claim: Annotated[str, Form(max_length=60)]) -> Response:
    """Take a page from who has it, so that others get its digits."""
    with schema.writing(desk.engine) as session:
        freed = claims.free(session, claim)
    if not freed:
        raise UsageError("nobody has that page any more: reload")
    return Response(status_code=204, headers={"HX-Redirect": "/people"})


@router.post("/people/revert")
def revert(
    request: Request,
    desk: AtDesk,
    by: Supervisor,
    name: Name,
    since: Annotated[datetime, Form()],
    until: Annotated[datetime, Form()],
) -> HTMLResponse:
    """Take back what a person decided in a time; it waits again."""
    if since.tzinfo is None or until.tzinfo is None:
        raise UsageError("times here have a zone")
    with schema.writing(desk.engine) as session:
        done = undoing.revert(session, name, since, until, by=by, now=desk.now())
    return desks.page(request, "reverted.html", done=done, of=name)


@router.post("/me")
def rename(request: Request, desk: AtDesk, name: Name) -> Response:
    """Say who works in this browser."""
    desk.door.rename(request.state.secret, _name(name))
    return Response(status_code=204, headers={"HX-Redirect": "/people"})


@router.post("/people")
def invite(request: Request, desk: AtDesk, name: Name) -> HTMLResponse:
    """Make a one-time link for another person at this machine."""
    link = desk.door.make_link(_name(name))
    return desks.page(request, "link.html", link=str(request.base_url).rstrip("/") + link)


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not name or any(sign in name for sign in "|<>"):
        raise UsageError("type a name: letters, digits, spaces")
    return name
