"""Pages of a form that are missing in a batch, or came twice: counted, never forced.

A document of several pages holds copies of a form, in any order: each of its pages as often as
the others. Documents of one page are taken together, over the batch. What does not come out
even is reported; the numbers that were read stand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.store import batch_id, is_latest_pass
from digitocr.templates import pages_to_read
from digitocr.types import PageStatus


@dataclass(frozen=True, slots=True)
class UnevenForm:
    """A form whose pages did not come equally often.

    `source` is the document, or "" for all documents of one page together; `came` says how
    often each page of the form did. As text it is the line for the operator.
    """

    source: str
    form: str
    version: int
    came: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        where = self.source or "files of one page"
        counts = ", ".join(f"page {page} {_times(count)}" for page, count in self.came)
        missing = [str(page) for page, count in self.came if count == 0]
        if missing and max(count for _, count in self.came) == 1:
            what = f"page {' and '.join(missing)} is missing"
        else:
            what = "one is missing, or came twice"
        return f"{where}: form '{self.form}' v{self.version} has {counts}: {what}"


def uneven_forms(session: Session, batch: str) -> tuple[UnevenForm, ...]:
    """List the forms of several pages whose pages did not come equally often in a batch.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    forms = {
        row.id: (row.name, row.version, pages_to_read(row.source))
        for row in session.execute(
            select(tables.Form.id, tables.Form.name, tables.Form.version, tables.Form.source)
        )
    }
    counts: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for source, page_count, form, page in _pages(session, batch_id(session, batch)):
        if form in forms and len(forms[form][2]) > 1:
            counts["" if page_count == 1 else source, form][page] += 1
    found = []
    for (source, form), came in sorted(counts.items()):
        name, version, pages = forms[form]
        if len({came[page] for page in pages}) > 1:
            listed = tuple((page, came[page]) for page in pages)
            found.append(UnevenForm(source, name, version, listed))
    return tuple(found)


def _pages(session: Session, batch: int) -> list[tuple[str, int, int, int]]:
    """List source, pages of the document, form and page of the form, of every page read."""
    arrival, page = tables.Arrival, tables.PageReading
    rows = session.execute(
        select(
            func.min(arrival.source),
            tables.Document.page_count,
            page.form_id,
            page.template_page,
        )
        .join(tables.Document, tables.Document.id == arrival.document_id)
        .join(tables.Page, tables.Page.document_id == tables.Document.id)
        .join(page, page.page_id == tables.Page.id)
        .where(arrival.batch_id == batch, page.status == PageStatus.READ, is_latest_pass())
        .group_by(tables.Page.id, tables.Document.page_count, page.form_id, page.template_page)
    )
    return [
        (source, pages, form, number)
        for source, pages, form, number in rows
        if form is not None and number is not None
    ]


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")
