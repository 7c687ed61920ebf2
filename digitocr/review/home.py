"""The first page: batches with what became of them, what waits, and who is here."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from digitocr.db import audits, batches, certificates, items, review, schema
from digitocr.db.store import batch_id
from digitocr.db.tables import BatchStatus, Queue
from digitocr.errors import UsageError
from digitocr.recognition.promise import least_audited
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.words import QUEUES, WHERE

router = APIRouter()
PAGES_LISTED = 100
MOST_DRAWN = 10_000
DIGITS = tuple("0123456789")

Percent = Annotated[float | None, Query(gt=0, lt=100)]  # of the readings that may be wrong


@router.get("/")
def home(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Show all batches, and what waits in each queue."""
    with schema.reading(desk.engine) as session:
        eyes = audits.watchfulness(session, reviewer)
    return desks.page(request, "home.html", eyes=eyes, **_batches(desk), **_queues(desk))


@router.get("/parts/batches")
def part(request: Request, desk: AtDesk) -> HTMLResponse:
    """Show the batches again, while one runs."""
    return desks.page(request, "batches.html", **_batches(desk), **_queues(desk))


@router.get("/batch/{name:path}")
def batch(
    request: Request, desk: AtDesk, name: str, after: int = 0, percent: Percent = None
) -> HTMLResponse:
    """Show one batch: what may be wrong in it, its failed pages and its documents."""
    targets = certificates.targets_of(desk.settings, percent and percent / 100)
    with schema.reading(desk.engine) as session:
        summary = batches.batch_summary(session, name)
        pages = review.pages(session, batch=name, after=after, limit=PAGES_LISTED + 1)
        waiting = review.waiting(session, batch_id(session, name))
        meters = certificates.meters(session, name, targets)
    more = pages[PAGES_LISTED - 1].id if len(pages) > PAGES_LISTED else None
    return desks.page(
        request,
        "batch.html",
        batch=summary,
        pages=pages[:PAGES_LISTED],
        more=more,
        waiting={q: sum(w.number for w in waiting if w.queue == q) for q in QUEUES},
        queues=QUEUES,
        meters=meters,
        has_target=bool(targets),
        percent=percent,
    )


@router.get("/certificate")
def certificate(desk: AtDesk, batch: str, percent: Percent = None) -> Response:
    """Give what audits prove of a batch, as `export --certificate` writes it."""
    targets = certificates.targets_of(desk.settings, percent and percent / 100)
    if not targets:
        raise UsageError("a certificate needs a target: type one on the page of the batch")
    with schema.reading(desk.engine) as session:
        proven = certificates.statements(session, [batch], targets, desk.now())
    return JSONResponse(
        proven,
        headers={"content-disposition": 'attachment; filename="digitocr.certificate.json"'},
    )


@router.post("/audit/draw")
def draw_audit(desk: AtDesk, count: Annotated[int, Form(ge=1, le=MOST_DRAWN)]) -> Response:
    """Draw accepted readings at random, to be keyed blind."""
    with schema.writing(desk.engine) as session:
        drawn = audits.draw(session, count, np.random.default_rng())
    if not drawn:
        raise UsageError("nothing accepted is left to draw from")
    return Response(status_code=204, headers={"HX-Redirect": "/"})


@router.post("/me")
def rename(
    request: Request, desk: AtDesk, name: Annotated[str, Form(max_length=60)]
) -> Response:
    """Say who works in this browser."""
    desk.door.rename(request.state.secret, _name(name))
    return Response(status_code=204, headers={"HX-Redirect": "/"})


@router.post("/people")
def invite(
    request: Request, desk: AtDesk, name: Annotated[str, Form(max_length=60)]
) -> HTMLResponse:
    """Make a one-time link for another person at this machine."""
    link = desk.door.make_link(_name(name))
    return desks.page(request, "link.html", link=str(request.base_url).rstrip("/") + link)


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not name or any(sign in name for sign in "|<>"):
        raise UsageError("type a name: letters, digits, spaces")
    return name


def _batches(desk: Desk) -> dict[str, Any]:
    with schema.writing(desk.engine) as session:
        items.fill(session)
    with schema.reading(desk.engine) as session:
        found = batches.list_batches(session)
        by_batch = review.waiting_by_batch(session)
    return {
        "batches": tuple(reversed(found)),
        "running": any(one.status is BatchStatus.RUNNING for one in found),
        "by_batch": by_batch,
    }


def _queues(desk: Desk) -> dict[str, Any]:
    with schema.reading(desk.engine) as session:
        waiting = review.waiting(session)
        standing = audits.standing(session)
    totals = {queue: sum(w.number for w in waiting if w.queue == queue) for queue in QUEUES}
    digits = {w.label: w.number for w in waiting if w.queue == Queue.GROUP}
    targets = [(target, least_audited(target)) for target in (0.01, 0.005, 0.002, 0.001)]
    return {
        "totals": totals,
        "digits": [(digit, digits.get(digit, 0)) for digit in DIGITS],
        "queues": QUEUES,
        "where": WHERE,
        "audit": standing,
        "targets": targets,
    }
