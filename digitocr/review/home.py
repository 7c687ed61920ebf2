"""The first page: batches with what became of them, and what waits."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from digitocr.db import audits, batches, certificates, items, review, schema
from digitocr.db.parts import Place, sheets
from digitocr.db.store import batch_id
from digitocr.db.tables import BatchStatus, Queue
from digitocr.errors import UsageError
from digitocr.recognition.promise import least_audited
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Desk
from digitocr.review.words import QUEUES, WHERE

router = APIRouter()
PAGES_LISTED = 100
MOST_DRAWN = 10_000
DIGITS = tuple("0123456789")

After = Annotated[str, Query(max_length=60)]
Percent = Annotated[float | None, Query(gt=0, lt=100)]  # of the readings that may be wrong


@router.get("/")
def home(request: Request, desk: AtDesk) -> HTMLResponse:
    """Show all batches, and what waits in each queue."""
    return desks.page(request, "home.html", **_batches(desk), **_queues(desk))


@router.get("/parts/batches")
def part(request: Request, desk: AtDesk) -> HTMLResponse:
    """Show the batches again, while one runs."""
    return desks.page(request, "batches.html", **_batches(desk), **_queues(desk))


@router.get("/batch/{name:path}")
def batch(
    request: Request, desk: AtDesk, name: str, after: After = "", percent: Percent = None
) -> HTMLResponse:
    """Show one batch: what may be wrong in it, its failed pages and its documents."""
    targets = certificates.targets_of(desk.settings, percent and percent / 100)
    with schema.reading(desk.engine) as session:
        summary = desk.tally.batch(name) or batches.batch_summary(session, name)
        place = Place.of(after) if after else None
        found = list(islice(sheets(session, {"batch": name}, place), PAGES_LISTED + 1))
        listed = found[:PAGES_LISTED]
        pages = review.pages(session, listed)
        waiting = review.waiting(session, batch_id(session, name))
        meters = certificates.meters(session, name, targets)
    more = listed[-1].end if len(found) > PAGES_LISTED else None
    return desks.page(
        request,
        "batch.html",
        batch=summary,
        pages=pages,
        more=more,
        waiting={q: sum(w.number for w in waiting if w.queue == q) for q in QUEUES},
        queues=QUEUES,
        meters=meters,
        has_target=bool(targets),
        percent=percent,
        retry=desk.retrying.of(summary.name),
    )


@router.get("/parts/failed")
def failed(request: Request, desk: AtDesk, batch: str) -> HTMLResponse:
    """Show the failed pages of a batch again, while some of them are read again."""
    with schema.reading(desk.engine) as session:
        summary = batches.batch_summary(session, batch)
    return desks.page(
        request, "failed.html", batch=summary, retry=desk.retrying.of(summary.name)
    )


@router.post("/batch-retry")
def retry(
    request: Request,
    desk: AtDesk,
    batch: Annotated[str, Form()],
    source: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """Read the failed pages of a batch again, or those of one scan."""
    with schema.reading(desk.engine) as session:
        summary = batches.batch_summary(session, batch)
    sources = [one.source for one in summary.failed_pages if source in ("", one.source)]
    desk.retrying.start(desk.settings, summary.name, sources)
    return failed(request, desk, batch)


@router.post("/batch-review")
def send_least_sure(
    desk: AtDesk,
    batch: Annotated[str, Form()],
    percent: Annotated[float | None, Form(gt=0, lt=100)] = None,
) -> Response:
    """Let the least sure accepted readings wait, as many as the meters of a batch ask for."""
    targets = certificates.targets_of(desk.settings, percent and percent / 100)
    with schema.reading(desk.engine) as session:
        meters = certificates.meters(session, batch, targets)
    with schema.writing(desk.engine) as session:
        wanted = [reading for meter in meters for reading in meter.to_review]
        sent = items.send_accepted(session, wanted)
    if not sent:
        raise UsageError("all that is needed waits already, or is decided")
    return Response(status_code=204, headers={"HX-Redirect": "/"})


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
        drawn = audits.draw(session, count, np.random.default_rng(), now=desk.now())
    if not drawn:
        raise UsageError("nothing accepted is left to draw from")
    return Response(status_code=204, headers={"HX-Redirect": "/"})


def _batches(desk: Desk) -> dict[str, Any]:
    with schema.writing(desk.engine) as session:
        items.fill(session)
    found = desk.tally.batches()
    return {
        "batches": found,
        "running": found is None or any(one.status is BatchStatus.RUNNING for one in found),
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
