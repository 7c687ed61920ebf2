"""Conflicts: rules that do not hold, with all their fields; and two who keyed not the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from digitocr.db import review, schema
from digitocr.db.claims import Claimed
from digitocr.db.following import broken_rules, digits_of, fits
from digitocr.db.review import FieldView
from digitocr.db.tables import Queue
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.repair import Repair, repair_field, repair_sum
from digitocr.review.words import in_words
from digitocr.types import Reason

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a conflict. `place` is its place in the claim; None: it waits for nobody."""

    view: FieldView
    place: int | None
    written: str
    keyed: tuple[str, ...] = ()
    total: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """What does not hold, the fields in it, and the most probable change that mends it."""

    title: str
    lines: tuple[Line, ...]
    offer: Repair | None
    titles: Mapping[str, str]  # what fields are called on the form, by name


@router.get("/conflict")
def conflict(
    request: Request, desk: AtDesk, reviewer: Reviewer, claim: str = ""
) -> HTMLResponse:
    """Show the conflicts of one page."""
    claimed = desks.claim_from(desk, Queue.CONFLICT, reviewer, claim)
    return desks.page(request, "conflict.html", **_values(desk, claimed))


@router.post("/conflict/next")
def next_conflict(request: Request, desk: AtDesk, reviewer: Reviewer) -> HTMLResponse:
    """Claim the conflicts of the page after this one ahead."""
    claimed = desks.claim_ahead(desk, Queue.CONFLICT, reviewer)
    return desks.page(request, "one_conflict.html", **_values(desk, claimed))


def _values(desk: Desk, claimed: Claimed | None) -> dict[str, Any]:
    """Collect what the conflicts of a page are shown with."""
    found: tuple[Conflict, ...] = ()
    page = None
    with schema.reading(desk.engine) as session:
        waiting = review.waiting_in(session, Queue.CONFLICT)
        if claimed is not None:
            reading = claimed.cells[0].reading
            page = review.page(session, review.fields(session, [reading])[reading].page)
            found = _conflicts(session, claimed, page.fields if page else ())
    return {"claim": claimed, "conflicts": found, "page": page, "waiting": waiting}


def _conflicts(
    session: Session, claimed: Claimed, views: tuple[FieldView, ...]
) -> tuple[Conflict, ...]:
    place = {cell.reading: place for place, cell in enumerate(claimed.cells)}
    by_name = {view.field.name: view for view in views}
    titles = {name: view.field.title for name, view in by_name.items()}
    keyed = review.keyed(session, list(place))
    shown: set[int] = set()
    found = []
    for rule in dict.fromkeys(rule for view in views for rule in view.rules):
        named = [by_name[name] for name in (*rule.of, rule.equals) if name in by_name]
        if not any(
            view.id in place and _is_against(view, rule.name, by_name) for view in named
        ):
            continue
        lines = tuple(
            _line(view, place, keyed, total=view.field.name == rule.equals)
            for view in named
            if view.id not in shown
        )
        shown |= {view.id for view in named}
        title = in_words(Reason.of_rule(rule.name), (rule,), titles)
        found.append(Conflict(title, lines, repair_sum(rule, by_name), titles))
    for view in views:
        if view.id in place and view.id not in shown:
            title = " ".join(in_words(reason, view.rules, titles) for reason in view.reasons)
            if keyed.get(view.id):
                title = "It was keyed, and read, in more than one way."
            line = _line(view, place, keyed)
            said = f"{view.field.title}: {title}"
            found.append(Conflict(said, (line,), _offer(view), titles))
    return tuple(found)


def _is_against(view: FieldView, rule: str, views: dict[str, FieldView]) -> bool:
    if Reason.of_rule(rule) in view.reasons:
        return True
    values = {name: one.value or one.text for name, one in views.items()}
    fields = {name: one.field for name, one in views.items()}
    return any(one.name == rule for one in broken_rules(view.field, view.rules, fields, values))


def _offer(view: FieldView) -> Repair | None:
    read = digits_of(view.field, view.text or "")
    return repair_field(view) if read and fits(view.field, read) else None


def _line(
    view: FieldView,
    place: dict[int, int],
    keyed: dict[int, tuple[str, ...]],
    *,
    total: bool = False,
) -> Line:
    known = view.value if view.value is not None else view.text
    return Line(
        view,
        place.get(view.id),
        digits_of(view.field, known or ""),
        tuple(digits_of(view.field, text) for text in keyed.get(view.id, ())),
        total,
    )
