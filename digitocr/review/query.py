"""The numbers: asked for by filters, saved questions, and the same files as `export`."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.background import BackgroundTask

from digitocr.db import audits, exports, parts, people, review, schema
from digitocr.db.numbers import Filters
from digitocr.db.parts import Place
from digitocr.errors import UsageError
from digitocr.review import desk as desks
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.types import FieldStatus, Format

router = APIRouter()
ROWS = 100
EXPORTS = 5  # the last ones, shown
NAMES = ("batch", "form", "field", "source", "status", "since", "until")
MEDIA = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSONL: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Wanted(BaseModel):
    """Filters as the form sends them; what is empty filters nothing."""

    model_config = ConfigDict(extra="ignore")

    batch: str = ""
    form: str = ""
    field: str = ""
    source: str = ""
    status: FieldStatus | None = None
    since: datetime | None = None
    until: datetime | None = None

    def filters(self) -> Filters:
        """Make the filters of an export; times without a zone are UTC."""
        return {
            "batch": self.batch or None,
            "form": self.form or None,
            "field": self.field or None,
            "source": self.source or None,
            "status": self.status,
            "since": _zoned(self.since),
            "until": _zoned(self.until),
        }


@router.get("/query")
def query(
    request: Request, desk: AtDesk, after: Annotated[str, Query(max_length=60)] = ""
) -> HTMLResponse:
    """Show numbers by filters, from the row after a place on."""
    given = {name: request.query_params.get(name, "") for name in NAMES}
    wanted = _wanted(given)
    with schema.reading(desk.engine) as session:
        part = parts.part(session, ROWS, Place.of(after) if after else None, **wanted.filters())
        taken = exports.latest(session, EXPORTS)
        questions = people.saved_queries(session)
        standing = audits.standing(session)
        known = review.names(session)
    shown = [row | {"reasons": json.loads(row["reasons"] or "[]")} for row in part.rows]
    for row in shown:
        if row["status"] == FieldStatus.FAILED:
            row["reasons"] = [f"failed: {row['cause']}"]
    return desks.page(
        request,
        "query.html",
        rows=shown,
        part=part,
        after=after,
        step=ROWS,
        taken=taken,
        given=given,
        text=_text(given),
        saved=[(name, _text(filters)) for name, filters in questions],
        known=known,
        statuses=list(FieldStatus),
        formats=list(Format),
        audit=standing,
    )


@router.get("/export")
def download(
    request: Request, desk: AtDesk, reviewer: Reviewer, format: Format, wide: bool = False
) -> Response:
    """Give the file that `digitocr export` writes for these filters, and write that down."""
    wanted = _wanted({name: request.query_params.get(name, "") for name in NAMES})
    path = _written(desk, wanted, format, reviewer, wide=wide)
    return FileResponse(
        path,
        media_type=MEDIA[format],
        filename=f"digitocr.{format}",
        background=BackgroundTask(path.unlink),
    )


@router.post("/query/save")
def save(
    request: Request,
    desk: AtDesk,
    reviewer: Reviewer,
    name: Annotated[str, Form(min_length=1, max_length=80)],
) -> Response:
    """Keep the filters of this page under a name; a name that is there gets them anew."""
    given = {key: request.query_params.get(key, "") for key in NAMES}
    _wanted(given)
    plain = " ".join(name.split())
    if not plain:
        raise UsageError("type a name for these filters")
    with schema.writing(desk.engine) as session:
        kept = {key: value for key, value in given.items() if value}
        people.save_query(session, plain, kept, reviewer, desk.now())
    return Response(status_code=204, headers={"HX-Redirect": f"/query?{_text(given)}"})


@router.post("/query/forget")
def forget(desk: AtDesk, name: Annotated[str, Form(max_length=80)]) -> Response:
    """Forget saved filters."""
    with schema.writing(desk.engine) as session:
        people.forget_query(session, name)
    return Response(status_code=204, headers={"HX-Redirect": "/query"})


def _written(desk: Desk, wanted: Wanted, format: Format, reviewer: str, *, wide: bool) -> Path:
    from digitocr.db import export  # brings pandas, for which starting need not wait

    with tempfile.NamedTemporaryFile(suffix=f".{format}", delete=False) as stream:
        path = Path(stream.name)
    try:
        filters = wanted.filters()
        noted = exports.noted(desk.engine, filters, format=format, by=reviewer, now=desk.now())
        with noted as note, schema.reading(desk.engine) as session:
            found: Any = export.chunks(session, **filters)
            if wide:
                found = export.wide_chunks(session, **filters)
            note.rows = export.write(found, format, path)
    except BaseException:
        path.unlink()
        raise
    return path


def _wanted(given: dict[str, str]) -> Wanted:
    try:
        return Wanted.model_validate({key: value for key, value in given.items() if value})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']}") from error


def _text(filters: dict[str, str]) -> str:
    return urlencode({key: value for key, value in filters.items() if value})


def _zoned(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
