"""List, show and remove the batches that the numbers came in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Database, Shown
from digitocr.errors import UsageError

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
    from digitocr.db import batches, schema

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    with schema.reading(engine) as session:
        one = batches.batch_summary(session, name)
    console.batch_table((one,))
    if one.failed_pages:
        console.rows_table(
            ("source", "page", "cause"),
            [(page.source, str(page.page), page.cause) for page in one.failed_pages],
        )


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
