"""A learned form → the text of its `template.toml`, with comments for who edits it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from digitocr.forms.learn import Learned, LearnedPage
from digitocr.forms.proposals import Proposal
from digitocr.types import Anchor, FieldKind, FieldType

ALL_WRITTEN = 5  # scans that are all written on in a field: it may be one that must be


def picture_name(page: int) -> str:
    """Name the picture of the empty page beside the template."""
    return "blank.png" if page == 1 else f"blank-{page}.png"


def text_of(learned: Learned) -> str:
    """Write the template of a learned form."""
    return "\n".join(_lines(learned)) + "\n"


def _lines(learned: Learned) -> Iterator[str]:
    count = sum(len(page.scans) for page in learned.pages)
    yield f"# Learned by `digitocr form learn` from {count} filled pages."
    yield "# Look at the pictures beside this file, then:"
    yield "# - give the fields names of your own: `name` is the column of the export"
    yield "# - take out what is no field; correct box, cells and type where they are wrong"
    yield "# - `digitocr form check` says what may still go wrong"
    yield "# A form that pages were read with is frozen: an edit then needs another version."
    yield ""
    yield f"name = {_quoted(learned.name)}"
    yield "version = 1"
    yield f"title = {_quoted(learned.name)}"
    for page in learned.pages:
        yield from _page_lines(page)
    for page in learned.pages:
        for proposal in page.proposals:
            yield from _field_lines(proposal, len(page.scans), len(learned.pages) > 1)
    yield ""
    yield "# Sums across fields help reading much: a wrong digit is found by them."
    sums = [one for page in learned.pages for one in page.sums]
    if not sums:
        yield from (
            "# [[rules]]",
            '# rule = "sum"',
            '# of = ["r01", "r02"]',
            '# equals = "r03"',
        )
    for one in sums:
        yield ""
        yield f"# holds on {one.held} of {one.compared} scans; take it out if it is no rule"
        yield "[[rules]]"
        yield 'rule = "sum"'
        yield f"of = [{', '.join(_quoted(name) for name in one.of)}]"
        yield f"equals = {_quoted(one.equals)}"


def _page_lines(page: LearnedPage) -> Iterator[str]:
    template = page.template
    yield ""
    yield "[[pages]]"
    yield f"width = {template.width}"
    yield f"height = {template.height}"
    if page.dpi_known:
        yield f"dpi = {template.dpi:g}"
    else:
        yield (
            f"dpi = {template.dpi:g}  # no scan says its resolution: guessed from the shape of "
            "the paper (A4 or letter)"
        )
    yield f"reference = {_quoted(picture_name(template.number))}"
    if template.anchors:
        yield "anchors = ["
        yield from (f"    {_anchor(anchor)}," for anchor in template.anchors)
        yield "]"


def _anchor(anchor: Anchor) -> str:
    x, y = anchor.center
    words = f'kind = "{anchor.kind}", center = [{x:g}, {y:g}], size = {anchor.size:g}'
    if anchor.id is not None:
        words += f', id = {anchor.id}, dictionary = "{anchor.dictionary}"'
    return f"{{{words}}}"


def _field_lines(proposal: Proposal, scans: int, several: bool) -> Iterator[str]:
    field = proposal.field
    box = field.box
    written = round(proposal.written * scans)
    yield ""
    seen = f"{proposal.sureness}: {proposal.why}; written on in {written} of {scans} scans"
    for note in (seen, *proposal.notes):
        yield from textwrap.wrap(note, 94, initial_indent="# ", subsequent_indent="#   ")
    yield "[[fields]]"
    yield f"name = {_quoted(field.name)}"
    if several:
        yield f"page = {field.page}"
    yield f"box = [{box.left}, {box.top}, {box.right}, {box.bottom}]"
    yield f'kind = "{field.kind}"'
    if field.kind is FieldKind.MARK:
        return
    if field.cells is not None:
        yield f"cells = {field.cells}"
    if field.type is FieldType.DECIMAL:
        yield 'type = "decimal"'
        yield f"decimals = {field.decimals}  # a point is printed there"
    elif field.type is FieldType.DATE:
        yield 'type = "date"'
        yield f"date_format = {_quoted(field.date_format)}"
        yield 'checks = [{rule = "date"}]'
    else:
        yield 'type = "integer"  # integer, decimal, code (with its zeros) or date'
    if field.kind is FieldKind.OPEN:
        yield f"max_length = {field.max_length}  # digits that have room; say how many"
    if written == scans >= ALL_WRITTEN:
        yield "# required = true  # no scan leaves it empty"
    if field.void_marks:
        marks = ", ".join(_quoted(str(mark)) for mark in field.void_marks)
        yield f"void_marks = [{marks}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
