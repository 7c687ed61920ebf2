"""Document view: the page as it lies on its form, readings over it, each with its history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from digitocr.db import deciding, history, review, schema
from digitocr.db.following import digits_of
from digitocr.db.values import values_now
from digitocr.errors import UsageError
from digitocr.review import desk as desks
from digitocr.review import pictures
from digitocr.review.desk import AtDesk, Reviewer
from digitocr.review.pictures import MOST_SCALE, PagePicture
from digitocr.review.saying import NotADigitError, Sent, check
from digitocr.types import Box

router = APIRouter()
MOST_REGION = 2000  # template pixels of a side

Scale = Annotated[int, Query(ge=1, le=MOST_SCALE)]
GONE = "that is not in the database any more; go back to the batches"


@router.get("/page/{page}")
def document(request: Request, desk: AtDesk, page: int) -> HTMLResponse:
    """Show a page with a box for each field."""
    with schema.reading(desk.engine) as session:
        view = review.page(session, page)
    if view is None:
        raise UsageError(f"page {page}: {GONE}")
    shown = desk.pages.picture(page)
    unsure = sum(field.status == "review" for field in view.fields)
    return desks.page(request, "document.html", page=view, problem=shown.problem, unsure=unsure)


@router.get("/page/{page}/image.webp")
def page_image(desk: AtDesk, page: int, scale: Scale = 1) -> Response:
    """Give the page as it lies on its form, encoded anew."""
    shown = desk.pages.picture(page) if scale == 1 else desk.pages.region(page, None, scale)
    return _picture(shown)


@router.get("/page/{page}/region.webp")
def region(
    desk: AtDesk, page: int, left: int, top: int, right: int, bottom: int, scale: Scale = 1
) -> Response:
    """Give a part of the page, in template pixels, as large as the scan lets it be seen."""
    size = (right - left, bottom - top)
    if min(size) < 1 or max(size) > MOST_REGION or max(-left, -top, right, bottom) > 20_000:
        raise UsageError("that is no part of a page that can be shown")
    return _picture(desk.pages.region(page, Box(left, top, right, bottom), scale))


def _picture(shown: PagePicture) -> Response:
    if shown.image is None:
        return Response(status_code=404)
    return Response(
        pictures.webp(shown.image),
        media_type="image/webp",
        headers={"cache-control": "private, max-age=600"},
    )


@router.get("/readings/{reading}/crop.png")
def crop(desk: AtDesk, reading: int) -> Response:
    """Give a field as it was scanned."""
    with schema.reading(desk.engine) as session:
        found = review.field_crop(session, reading)
    if found is None:
        return Response(status_code=404)
    return Response(
        found, media_type="image/png", headers={"cache-control": "private, max-age=3600"}
    )


@router.get("/readings/{reading}/panel")
def panel(request: Request, desk: AtDesk, reading: int) -> HTMLResponse:
    """Show one field of a page beside it: what it may be, and what was said of it."""
    with schema.reading(desk.engine) as session:
        views = review.fields(session, [reading])
        events = history.of_field(session, reading)
    if reading not in views:
        raise UsageError(f"field {reading}: {GONE}")
    view = views[reading]
    known = view.value if view.value is not None else view.text
    return desks.page(
        request,
        "panel.html",
        view=view,
        history=events,
        written=digits_of(view.field, known or ""),
        others=[digits_of(view.field, h.text) for h in view.alternatives[:4]],
    )


@router.post("/readings/{reading}/decide")
def decide(
    desk: AtDesk,
    reviewer: Reviewer,
    reading: int,
    sent: Sent,
    x_key: Annotated[str, Header(min_length=8, max_length=64)],
) -> Response:
    """Decide one field; the key makes sending it twice once."""
    if set(sent.said) != {0}:
        raise UsageError("one field is decided here")
    with schema.writing(desk.engine) as session:
        views = review.fields(session, [reading])
        if reading not in views:
            raise UsageError(f"field {reading}: {GONE}")
        page = views[reading].page
        others = {view.field.name: view for view in review.fields_of_page(session, page)}
        values = values_now(session, [page])
        try:
            found = check(
                views, {reading: sent.said[0]}, values, as_written=sent.as_written,
                others=others,
            )  # fmt: skip
        except NotADigitError as error:
            return desks.refuse(str(error))
        if found.broken and not sent.as_written:
            return desks.refuse(" ".join(found.broken), broken=True)
        key = f"{reviewer}:{x_key}"
        deciding.decide_once(
            session, key, reading, found.said[reading], reviewer=reviewer, now=desk.now()
        )
        view = review.fields(session, [reading])[reading]
    return JSONResponse({"value": view.value, "status": view.status})
