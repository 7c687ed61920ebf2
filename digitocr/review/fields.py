"""Field review: one field at a time, in its place on the page, only doubtful digits visited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from digitocr.db import claims, deciding, review, schema
from digitocr.db.claims import Claimed, ClaimError
from digitocr.db.following import SURE, digits_of
from digitocr.db.review import FieldView
from digitocr.db.tables import Queue
from digitocr.db.values import values_now
from digitocr.recognition.checks import value_of
from digitocr.review import desk as desks
from digitocr.review import pictures
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.pictures import MOST_SCALE
from digitocr.review.saying import NotADigitError, Sent, check
from digitocr.review.words import counted
from digitocr.types import Box, Gray, Screen

router = APIRouter()
AROUND = (2.2, 1.6)  # of the field's width and height, shown around it
CHIPS = 3
LEAST_CHIP = 0.001


@dataclass(frozen=True, slots=True)
class DigitInput:
    """One digit as the page shows it: what was read, what else it may be, whether to look."""

    text: str
    others: tuple[str, ...]
    unsure: bool


def digit_inputs(view: FieldView) -> tuple[DigitInput, ...]:
    """Lay out the digits of a field; where its glyphs do not spell its text, all are unsure."""
    text = digits_of(view.field, view.text or "")
    if not text.isdigit():
        return ()
    spelled = "".join(digit.text for digit in view.digits)
    if not view.digits or value_of(view.field, spelled) != view.text:
        return tuple(DigitInput(one, (), unsure=True) for one in text)
    found = []
    for place, digit in enumerate(view.digits):
        others = [h.text for h in digit.hypotheses[1:] if h.confidence >= LEAST_CHIP]
        for whole in view.alternatives:
            other = digits_of(view.field, whole.text)
            if len(other) == len(spelled) and other[place] != digit.text:
                others.append(other[place])
        kept = tuple(dict.fromkeys(one for one in others if one.isdigit()))[:CHIPS]
        unsure = digit.confidence < SURE or any(
            len(other := digits_of(view.field, h.text)) == len(spelled)
            and other[place] != digit.text
            for h in view.alternatives[:1]
        )
        found.append(DigitInput(digit.text, kept, unsure))
    return tuple(found)


@router.get("/field")
def field(request: Request, desk: AtDesk, reviewer: Reviewer, claim: str = "") -> HTMLResponse:
    """Show the most urgent field that waits as a whole."""
    claimed = desks.claim_from(desk, Queue.FIELD, reviewer, claim)
    return desks.page(request, "field.html", **_values(desk, claimed))


@router.post("/field/next")
def next_field(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Claim the field after this one ahead, so that Enter need not wait."""
    claimed = desks.claim_ahead(desk, Queue.FIELD, reviewer)
    return desks.page(request, "one_field.html", **_values(desk, claimed))


@router.post("/claims/{claim}/fields")
def save(desk: AtDesk, reviewer: Reviewer, claim: str, sent: Sent) -> Response:
    """Save what was typed for fields; 422 says what is against it, which may be insisted on."""
    with schema.writing(desk.engine) as session:
        claimed = claims.load(session, claim, reviewer=reviewer)
        if any(not 0 <= place < len(claimed.cells) for place in sent.said):
            raise ClaimError("the page has no such place")
        at = {place: claimed.cells[place].reading for place in sent.said}
        views = review.fields(session, [*at.values(), *sent.beside])
        pages = {views[reading].page for reading in at.values()}
        others = {
            v.field.name: v for page in pages for v in review.fields_of_page(session, page)
        }
        if any(views[r].page not in pages for r in sent.beside):
            raise ClaimError("the page has no such field")
        typed = {at[place]: one for place, one in sent.said.items()} | sent.beside
        values = values_now(session, pages)
        try:
            found = check(views, typed, values, as_written=sent.as_written, others=others)
        except NotADigitError as error:
            return desks.refuse(str(error))
        if found.broken and not sent.as_written:
            return desks.refuse(" ".join(found.broken), broken=True)
        saved = deciding.save_fields(
            session,
            claim,
            {place: found.said[reading] for place, reading in at.items()},
            reviewer=reviewer,
            now=desk.now(),
            screen=Screen.CONFLICT if claimed.queue is Queue.CONFLICT else Screen.FIELD,
            ms=sent.ms,
            beside={reading: found.said[reading] for reading in sent.beside},
        )
        waiting = review.waiting_in(session, claimed.queue)
    return desks.answer(
        saved,
        waiting=counted(waiting, "field"),
        lost="Not saved: somebody else has this field now. Go on with the next one.",
    )


@router.get("/claims/{claim}/place/{place:int}")
def place_on_page(
    request: Request, desk: AtDesk, reviewer: Reviewer, claim: str, place: int
) -> HTMLResponse:
    """Show where on its page a field stands, or say why that cannot be shown."""
    view = _view(desk, reviewer, claim, place)
    shown = desk.pages.picture(view.page)
    around = None if shown.image is None else _around(view.box, *shown.image.shape[::-1])
    return desks.page(
        request, "place.html", claim=claim, place=place, box=view.box, around=around,
        problem=shown.problem,
    )  # fmt: skip


@router.get("/claims/{claim}/place/{place}.webp")
def place_picture(
    desk: AtDesk,
    reviewer: Reviewer,
    claim: str,
    place: int,
    scale: Annotated[int, Query(ge=1, le=MOST_SCALE)] = 1,
) -> Response:
    """Give the part of the page around a field; larger, the field alone."""
    view = _view(desk, reviewer, claim, place)
    page = desk.pages.picture(view.page).image
    if page is None:
        return Response(status_code=404)
    around = _around(view.box, *page.shape[::-1])
    part: Gray | None = page[around.top : around.bottom, around.left : around.right]
    if scale > 1:
        part = desk.pages.region(view.page, _margin(view.box), scale).image
    return (
        Response(status_code=404)
        if part is None
        else Response(pictures.webp(part), media_type="image/webp")
    )


def _values(desk: Desk, claimed: Claimed | None) -> dict[str, Any]:
    """Collect what one field is shown with."""
    view = None
    with schema.reading(desk.engine) as session:
        waiting = review.waiting_in(session, Queue.FIELD)
        if claimed is not None:
            reading = claimed.cells[0].reading
            view = review.fields(session, [reading])[reading]
    return {
        "claim": claimed,
        "view": view,
        "digits": digit_inputs(view) if view else (),
        "written": digits_of(view.field, view.text or "") if view else "",
        "others": [digits_of(view.field, h.text) for h in view.alternatives[:4]]
        if view
        else [],
        "waiting": waiting,
    }


def _view(desk: AtDesk, reviewer: str, claim: str, place: int) -> FieldView:
    with schema.reading(desk.engine) as session:
        claimed = claims.load(session, claim, reviewer=reviewer)
        if not 0 <= place < len(claimed.cells):
            raise ClaimError("the page has no such place")
        reading = claimed.cells[place].reading
        return review.fields(session, [reading])[reading]


def _around(box: Box, width: int, height: int) -> Box:
    across = max(round(AROUND[0] * box.width), 260)
    down = max(round(AROUND[1] * box.height), 70)
    return Box(
        max(0, box.left - across),
        max(0, box.top - down),
        max(min(width, box.right + across), 1),
        max(min(height, box.bottom + down), 1),
    )


def _margin(box: Box) -> Box:
    more = box.height // 4
    return Box(box.left - more, box.top - more, box.right + more, box.bottom + more)
