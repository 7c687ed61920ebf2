"""What the screens share: the database, the templates, who asks, claims, and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine

from digitocr.db import claims, items, schema
from digitocr.db.claims import Claimed
from digitocr.db.deciding import Saved
from digitocr.db.tables import Queue
from digitocr.errors import UsageError
from digitocr.review.pictures import PagePictures
from digitocr.review.retrying import Retrying
from digitocr.review.safety import Door
from digitocr.review.tally import Tally
from digitocr.review.words import FILTERS
from digitocr.settings import Settings

HTML = Path(__file__).parent / "html"
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """What every screen needs. `now` is the clock, so that a test can turn it."""

    engine: Engine
    settings: Settings
    door: Door
    pages: PagePictures
    retrying: Retrying
    tally: Tally
    environment: Environment
    now: Callable[[], datetime]


def make_desk(
    engine: Engine, settings: Settings, *, now: Callable[[], datetime] | None = None
) -> Desk:
    """Lay the desk for one server."""
    environment = Environment(
        loader=FileSystemLoader(HTML),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return Desk(
        engine=engine,
        settings=settings,
        door=Door(engine),
        pages=PagePictures(engine, settings),
        retrying=Retrying(),
        tally=Tally(engine),
        environment=environment,
        now=now or (lambda: datetime.now(UTC)),
    )


def desk_of(request: Request) -> Desk:
    """Find the desk of the server a request came to."""
    desk: Desk = request.app.state.desk
    return desk


def reviewer_of(request: Request) -> str:
    """Name the person whose browser asks."""
    reviewer: str = request.state.reviewer
    return reviewer


def supervisor_of(request: Request) -> str:
    """Name the person whose browser asks, who must be a supervisor."""
    if not request.state.supervisor:
        raise UsageError(
            "that is for who opened the link that `digitocr review` printed when it started"
        )
    return reviewer_of(request)


AtDesk = Annotated[Desk, Depends(desk_of)]
Reviewer = Annotated[str, Depends(reviewer_of)]
Supervisor = Annotated[str, Depends(supervisor_of)]


def claim_from(
    desk: Desk, queue: Queue, reviewer: str, claim: str, *, limit: int = 1
) -> Claimed | None:
    """Go on with a claim of a queue that a screen shows, or take the most urgent items."""
    with schema.writing(desk.engine) as session:
        items.fill(session)
        now = desk.now()
        resumed = claims.resume(session, claim, reviewer=reviewer, now=now) if claim else None
        if resumed is not None and resumed.queue is queue:
            return resumed
        return claims.take(session, queue, reviewer=reviewer, now=now, limit=limit)


def claim_ahead(desk: Desk, queue: Queue, reviewer: str, *, limit: int = 1) -> Claimed | None:
    """Take the items after those that a screen shows, so that Enter need not wait."""
    with schema.writing(desk.engine) as session:
        return claims.take(session, queue, reviewer=reviewer, now=desk.now(), limit=limit)


def render(request: Request, name: str, **values: Any) -> str:
    """Fill a template with what it needs and who asks."""
    template = desk_of(request).environment.get_template(name)
    return template.render(
        reviewer=request.state.reviewer,
        supervisor=request.state.supervisor,
        csrf=request.state.csrf,
        path=request.url.path,
        **values,
    )


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Answer with a page, or a part of one."""
    return HTMLResponse(render(request, name, **values), status)


def refuse(message: str, status: int = 422, **more: Any) -> JSONResponse:
    """Answer a script of ours that something cannot be done, in words for the person."""
    return JSONResponse({"message": message, **more}, status)


def answer(saved: Saved, *, waiting: str, lost: str) -> JSONResponse:
    """Tell a script of ours what was saved; `lost` says it where somebody else was first."""
    body = {
        "saved": saved.saved,
        "dropped": saved.dropped,
        "again": saved.again,
        "waiting": waiting,
    }
    if not saved.dropped:
        return JSONResponse(body)
    return JSONResponse(body | {"message": lost}, 409)
