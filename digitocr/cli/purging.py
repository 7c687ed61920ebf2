"""Personal data out: values and pictures of documents, by age, batch or hash."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Database, Shown
from digitocr.errors import UsageError


def purge(
    older_than: Annotated[
        int | None,
        typer.Option(
            help="Documents that last came more than so many days ago.",
            metavar="DAYS",
            min=0,
            max=100_000,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Documents of this batch, also if they came in others.", metavar="NAME"
        ),
    ] = None,
    document: Annotated[
        str | None,
        typer.Option(
            help="The document of this SHA-256, or of its first 8 digits or more.",
            metavar="SHA256",
        ),
    ] = None,
    database: Database = None,
    by: Annotated[
        str | None, typer.Option(help="Who wants it. Default: the user who runs it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take personal data out for good: what was read and typed, and pictures of it.

    Several conditions hold all of them. Hashes, paths, fields, verdicts and times stay, and the
    purge itself is written down. The scans, exports and backups are yours to delete.
    """  # fmt: skip
    from digitocr import console
    from digitocr.db import purging, schema

    now = datetime.now(UTC)
    before = None if older_than is None else now - timedelta(days=older_than)
    wanted = purging.Wanted(before, batch, document)
    engine = schema.connect(settings_module.load(database=database).database, create=False)
    with schema.reading(engine) as session:
        found = purging.count(session, wanted)
    if not found.documents:
        print("nothing to purge")
        return
    said = ", ".join(
        console.counted(number, thing)
        for number, thing in (
            (found.documents, "document"), (found.pages, "page"),
            (found.readings, "reading"), (found.decisions, "decision"),
        )
    )  # fmt: skip
    if found.waiting:
        said += f"; {console.counted(found.waiting, 'field')} still wait for a person"
    if found.elsewhere:
        said += f"; {console.counted(found.elsewhere, 'document')} came in other batches too"
    if dry_run:
        print(f"would purge {said}")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"purge {said}: say --yes where nobody can be asked")
        typer.confirm(f"Purge {said}, for good?", abort=True)
    with console.progress(
        "Purging", found.documents, quiet=Shown.quiet, unit="document"
    ) as advance:

        def step(documents: int) -> None:
            for _ in range(documents):
                advance("")

        done = purging.purge(
            engine, wanted, by=by if by is not None else getpass.getuser(), now=now,
            progress=step,
        )  # fmt: skip
    engine.dispose()
    print(
        f"purged {console.counted(done.documents, 'document')}, "
        f"{console.counted(done.readings, 'reading')} and "
        f"{console.counted(done.decisions, 'decision')}"
    )
