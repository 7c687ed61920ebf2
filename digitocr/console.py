"""What a person at a terminal sees: progress, closing tables, one line an error.

Data goes to stdout; progress and messages go to stderr, drawn on a terminal and as plain lines
elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:  # a progress bar need not wait for the database's libraries
    from digitocr.batch import RunSummary
    from digitocr.batch.drift import Compared
    from digitocr.db.batches import BatchSummary, FailedPage
    from digitocr.db.completeness import UnevenForm

PLAIN_EVERY_S = 10.0
PIPED_WIDTH = 10_000  # a row stays one line for grep and awk
MOST_FAILED_SHOWN = 20

Advance = Callable[[str], None]


@contextmanager
def progress(what: str, total: int, *, quiet: bool, unit: str = "file") -> Iterator[Advance]:
    """Show how far long work is; call what is yielded once a step, with a word on it.

    Parameters
    ----------
    unit
        What a step is, in the singular; its plural has an s.
    """
    if quiet:
        yield lambda note: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}", markup=True),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total, note="")

            def advance(note: str) -> None:
                bar.update(task, advance=1, note=escape(one_line(note[-40:])))

            yield advance
    else:
        yield _plain_lines(what, total, unit)


def _plain_lines(what: str, total: int, unit: str) -> Advance:
    started = shown = time.monotonic()
    done = 0

    def advance(note: str) -> None:
        nonlocal done, shown
        done += 1
        now = time.monotonic()
        if done == total or now - shown >= PLAIN_EVERY_S:
            shown = now
            say(f"{what}: {done} of {counted(total, unit)}, {now - started:.0f} s")

    return advance


def say(message: str) -> None:
    """Print a message for the operator."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def one_line(text: str) -> str:
    """Write text so that it can be shown: what cannot be printed is escaped, line ends too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def closing_table(summary: RunSummary, seconds: float) -> None:
    """Print what came of a run."""
    out = _out()
    before = f"{summary.known_files} of {counted(summary.files, 'file')} read before."
    if summary.batch is None:
        if not summary.failed:
            out.print(f"Nothing new: {before}", soft_wrap=True)
        return
    one = summary.batch
    table = _table(f"Batch {escape(one_line(one.name))}")
    for column in (
        "documents",
        "pages",
        "fields",
        "accepted",
        "to\nreview",
        "blank\npages",
        "failed",
        "pages/s",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    speed = f"{summary.pages / seconds:.1f}" if summary.pages and seconds else "–"
    table.add_row(
        str(one.documents),
        str(one.pages),
        str(one.fields),
        _part(one.accepted, one.fields),
        _part(one.to_review, one.fields),
        str(one.blank_pages),
        str(len(one.failed_pages) + summary.not_stored),
        speed,
    )
    out.print(table)
    if summary.known_files:
        out.print(before)


def show_failed(failed: tuple[FailedPage, ...], *, not_stored: int = 0) -> None:
    """Name pages that failed, with their causes, on stderr; all that are in no database."""
    shown = max(not_stored, MOST_FAILED_SHOWN)
    for page in failed[:shown]:
        say(f"failed: {one_line(page.source)} page {page.page}: {one_line(page.cause)}")
    if len(failed) > shown:
        say(f"failed: {len(failed) - shown} more; `digitocr query --status failed` names them")


def show_uneven(uneven: Sequence[UnevenForm]) -> None:
    """Name forms with pages that are missing or came twice, on stderr."""
    for one in uneven[:MOST_FAILED_SHOWN]:
        say(f"pages: {one_line(str(one))}")
    if len(uneven) > MOST_FAILED_SHOWN:
        say(f"pages: {len(uneven) - MOST_FAILED_SHOWN} more; `digitocr batch show` names them")


def batch_table(found: tuple[BatchSummary, ...]) -> None:
    """Print a line a batch."""
    table = _table()
    table.add_column("batch", overflow="fold")
    for column in ("status", "begun"):
        table.add_column(column, no_wrap=True)
    for column in ("docs", "pages", "accepted", "to\nreview", "blank", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            escape(one_line(one.name)),
            str(one.status),
            f"{one.created_at:%Y-%m-%d}",
            str(one.documents),
            str(one.pages),
            str(one.accepted),
            str(one.to_review),
            str(one.blank_pages),
            str(len(one.failed_pages)),
        )
    _out().print(table)


def show_compared(compared: Iterable[Compared]) -> None:
    """Name the figures of a batch that moved against the last weeks, on stderr."""
    for one in compared:
        if one.moved:
            say(one_line(str(one)))


def rows_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None
) -> None:
    """Print plain rows under their columns; the first and the last are folded if need be."""
    table = _table(None if title is None else escape(one_line(title)))
    for column in columns:
        folded = column in (columns[0], columns[-1])
        table.add_column(column, overflow="fold", no_wrap=not folded)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    _out().print(table)


def _table(title: str | None = None) -> Table:
    """Begin a table, narrow enough for a terminal of 80 columns."""
    gap = (0, 0, 0, 1)
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=gap)


def counted(number: int, thing: str) -> str:
    """Write how many there are of a thing whose plural has an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _out() -> Console:
    """Print to stdout: as wide as the terminal, and wide enough where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def _part(count: int, whole: int) -> str:
    # Rounded down: 100 % says all of them.
    return f"{count} ({100 * count // whole} %)" if whole else str(count)
