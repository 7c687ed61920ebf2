"""Group check: digits that were read alike, 200 on a page, the odd ones marked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from digitocr.db import audits, claims, deciding, items, review, schema, undoing
from digitocr.db.claims import GROUP_SIZE, Claimed, ClaimError
from digitocr.db.tables import Queue
from digitocr.review import desk as desks
from digitocr.review import pictures
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.words import thousands

router = APIRouter()
SMALL_PAGE = 100
DASHED_BELOW = 0.9  # confidence under which a digit's border is dashed

Digit = Annotated[str, Path(pattern=r"^[0-9]$")]


class Marks(BaseModel):
    """What a page of digits sends: marks by place, and how long it was looked at."""

    model_config = ConfigDict(extra="forbid")

    marks: dict[int, str] = Field(max_length=GROUP_SIZE * 2)
    ms: int = Field(0, ge=0, le=86_400_000)
    postpone: bool = False


class Held(BaseModel):
    """Until when a page that is left had its claim, as it knows."""

    until: datetime


@router.get("/group")
def first(desk: AtDesk) -> Response:
    """Go to the digit with most to look at."""
    with schema.reading(desk.engine) as session:
        waiting = [w for w in review.waiting(session) if w.queue == Queue.GROUP]
    if not waiting:
        return RedirectResponse("/", 303)
    most = max(waiting, key=lambda w: w.number)
    return RedirectResponse(f"/group/{most.label}", 303)


@router.get("/group/{digit}")
def group(
    request: Request,
    desk: AtDesk,
    reviewer: Reviewer,
    digit: Digit,
    claim: str = "",
    size: int = GROUP_SIZE,
) -> HTMLResponse:
    """Show a page of digits that were read as this one."""
    with schema.writing(desk.engine) as session:
        items.fill(session)
        claimed = (
            claims.resume(session, claim, reviewer=reviewer, now=desk.now()) if claim else None
        )
        if claimed is None or claimed.queue is not Queue.GROUP or claimed.label != digit:
            claimed = _take(session, desk, digit, reviewer, size)
    return desks.page(
        request, "group.html", digit=digit, size=size, **_values(desk, claimed, digit)
    )


@router.post("/group/{digit}/next")
def next_page(
    request: Request, desk: AtDesk, reviewer: Reviewer, digit: Digit, size: int = GROUP_SIZE
) -> HTMLResponse:
    """Claim the page after this one ahead, so that Enter need not wait."""
    with schema.writing(desk.engine) as session:
        claimed = _take(session, desk, digit, reviewer, size)
    return desks.page(request, "cells.html", digit=digit, **_values(desk, claimed, digit))


@router.post("/claims/{claim}/save")
def save(
    request: Request, desk: AtDesk, reviewer: Reviewer, claim: str, sent: Marks
) -> Response:
    """Save a page of digits; 409 names what others took meanwhile."""
    with schema.writing(desk.engine) as session:
        saved = deciding.save_group(
            session,
            claim,
            sent.marks,
            reviewer=reviewer,
            now=desk.now(),
            ms=sent.ms,
            postpone=sent.postpone,
        )
        label = claims.load(session, claim, reviewer=reviewer).label
        waiting = review.waiting_in(session, Queue.GROUP, label)
    return desks.answer(
        saved,
        waiting=thousands(waiting),
        lost=f"{saved.saved} saved. {len(saved.dropped)} of this page were not: somebody else "
        "has them, because the page was open for too long.",
    )


@router.post("/claims/{claim}/renew")
def renew(desk: AtDesk, reviewer: Reviewer, claim: str) -> Response:
    """Keep a claim while its page is looked at."""
    with schema.writing(desk.engine) as session:
        until = claims.renew(session, claim, reviewer=reviewer, now=desk.now())
    return JSONResponse({"until": until.isoformat() if until else None})


@router.post("/claims/{claim}/release")
def release(desk: AtDesk, reviewer: Reviewer, claim: str, sent: Held | None = None) -> Response:
    """Give a claim back: its page was left."""
    until = sent.until if sent else None
    with schema.writing(desk.engine) as session:
        claims.release(session, claim, reviewer=reviewer, until=until)
    return Response(status_code=204)


@router.post("/claims/{claim}/undo")
def undo(request: Request, desk: AtDesk, reviewer: Reviewer, claim: str) -> Response:
    """Open the last saved page again; what it said is taken back by new rows."""
    with schema.writing(desk.engine) as session:
        before = claims.load(session, claim, reviewer=reviewer)
        reopened = undoing.undo(session, claim, reviewer=reviewer, now=desk.now())
    if not reopened.cells:
        return desks.refuse("nothing of that page can be taken back any more", 409)
    if reopened.queue is not Queue.GROUP:
        return JSONResponse({"claim": reopened.id})
    places = {cell.glyph: place for place, cell in enumerate(before.cells)}
    html = desks.render(
        request,
        "cells.html",
        digit=reopened.label,
        **_values(desk, reopened, reopened.label),
    )
    was = [places[cell.glyph] for cell in reopened.cells]
    return JSONResponse({"claim": reopened.id, "html": html, "was": was})


@router.get("/claims/{claim}/digits.jpg")
def digits(desk: AtDesk, reviewer: Reviewer, claim: str) -> Response:
    """Give the one picture of all digits of a claim."""
    with schema.reading(desk.engine) as session:
        claimed = claims.load(session, claim, reviewer=reviewer)
        wanted = [cell.glyph for cell in claimed.cells if cell.glyph is not None]
        crops = review.glyph_crops(session, wanted)
    made = pictures.sprite([crops.get(cell.glyph or 0) for cell in claimed.cells])
    return Response(
        made,
        media_type="image/jpeg",
        headers={"cache-control": "private, max-age=3600, immutable"},
    )


@router.get("/claims/{claim}/field/{place}.png")
def field_picture(desk: AtDesk, reviewer: Reviewer, claim: str, place: int) -> Response:
    """Give the field that a place of a claim belongs to, as scanned."""
    with schema.reading(desk.engine) as session:
        claimed = claims.load(session, claim, reviewer=reviewer)
        if not 0 <= place < len(claimed.cells):
            raise ClaimError("the page has no such place")
        crop = review.field_crop(session, claimed.cells[place].reading)
    if crop is None:
        return Response(status_code=404)
    return Response(
        crop, media_type="image/png", headers={"cache-control": "private, max-age=3600"}
    )


def _take(session: Session, desk: Desk, digit: str, reviewer: str, size: int) -> Claimed | None:
    small = size <= SMALL_PAGE or audits.is_tired(session, reviewer)
    limit = SMALL_PAGE if small else GROUP_SIZE
    return claims.take(
        session, Queue.GROUP, reviewer=reviewer, now=desk.now(), label=digit, limit=limit
    )


def _values(desk: Desk, claimed: Claimed | None, digit: str) -> dict[str, Any]:
    """Collect what the cells need; none of it tells a seed from another cell."""
    with schema.reading(desk.engine) as session:
        waiting = review.waiting_in(session, Queue.GROUP, digit)
        sure = review.glyph_confidences(
            session, [c.glyph for c in claimed.cells if c.glyph is not None] if claimed else []
        )
    cells = claimed.cells if claimed else ()
    real = [sure.get(c.glyph or 0, 1.0) < DASHED_BELOW for c in cells if c.item is not None]
    share = sum(real) / len(real) if real else 0.0
    return {
        "claim": claimed,
        "waiting": waiting,
        "dashed": [
            sure.get(c.glyph or 0, 1.0) < DASHED_BELOW
            if c.item is not None
            else (c.glyph or 0) % 100 < 100 * share
            for c in cells
        ],
        "columns": pictures.COLUMNS,
    }
