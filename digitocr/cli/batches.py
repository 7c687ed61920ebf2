"""List, show and remove the batches that the numbers came in."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Database, FormsFolder, ModelFolder, Shown
from digitocr.errors import EXIT_PARTIAL, UsageError

app = typer.Typer(help="List, show and remove batches.", no_args_is_help=True)


@app.command("list")
def batch_list(database: Database = None) -> None:
    """List every batch with what became of it."""
    from digitocr import console
    from digitocr.db import batches, schema

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    with schema.reading(engine) as session:
        console.batch_table(batches.list_batches(session))


@app.command("show")
def batch_show(
    name: Annotated[str, typer.Argument(help="Name of the batch.")], database: Database = None
) -> None:
    """Show one batch, with the pages that failed and why."""
    from digitocr import console
    from digitocr.batch.drift import compare_batch
    from digitocr.db import batches, schema
    from digitocr.db.completeness import uneven_forms

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    with schema.reading(engine) as session:
        one = batches.batch_summary(session, name)
        uneven = uneven_forms(session, name)
        compared = compare_batch(session, name, one.finished_at or datetime.now(UTC))
    console.batch_table((one,))
    if one.failed_pages:
        console.rows_table(
            ("source", "page", "cause"),
            [(page.source, str(page.page), page.cause) for page in one.failed_pages],
        )
    if one.purged:
        print(
            f"{console.counted(one.purged, 'field')} purged: nothing is known of them any more"
        )
    for line in (*uneven, *compared):
        print(console.one_line(str(line)))


@app.command("remove")
def batch_remove(
    name: Annotated[str, typer.Argument(help="Name of the batch.")],
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a batch and what was read for it alone; one with decisions is kept."""
    from digitocr import console
    from digitocr.db import batches, schema

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"remove batch '{name}': say --yes where nobody can be asked")
        typer.confirm(f"Remove batch '{name}' and its readings for good?", abort=True)
    with schema.writing(engine) as session:
        count = batches.remove_batch(session, name)
    if not Shown.quiet:
        documents = console.counted(count, "document")
        console.say(f"batch '{name}' is removed, with {documents} in no other batch")


def replay(
    name: Annotated[str, typer.Argument(metavar="BATCH", help="Name of the batch.")],
    forms: FormsFolder = None,
    database: Database = None,
    model: ModelFolder = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read. Default: one a core.", min=1)
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder the scans' paths start from. Default: here.", metavar="DIR"),
    ] = None,
) -> None:
    """Read a batch again from the same scans and see that the same readings come out.

    Nothing is written. Pages whose scan is gone or changed, and those that other models or
    other versions of a form read, are named. Exit code 3: not every page came out equal.
    """
    from collections import Counter

    from digitocr import console
    from digitocr.batch import replaying
    from digitocr.batch.replaying import Outcome

    settings = settings_module.load(
        forms=forms, database=database, model=model, workers=workers
    )
    wanted = replaying.prepare(name, settings)
    with console.progress("Reading again", len(wanted.files), quiet=Shown.quiet) as advance:
        found = replaying.replay(wanted, root or Path(), progress=advance)
    counts = Counter(one.outcome for one in found)
    console.rows_table(
        ("pages", *Outcome), [(str(len(found)), *(str(counts[one]) for one in Outcome))]
    )
    others = [one for one in found if one.outcome is not Outcome.EQUAL]
    if others:
        console.rows_table(
            ("source", "page", "outcome", "why"),
            [(one.source, str(one.page), one.outcome, one.detail) for one in others],
        )
        raise typer.Exit(EXIT_PARTIAL)
