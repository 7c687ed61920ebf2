"""The main job: a folder of scans into the database, here or as the flow of a server."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.cli.extras import needs
from digitocr.cli.options import Database, FormsFolder, ModelFolder, Shown
from digitocr.errors import EXIT_PARTIAL, EXIT_STOPPED

if TYPE_CHECKING:
    from digitocr.batch import RunSummary


def process(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Scans, or folders.")],
    forms: FormsFolder = None,
    database: Database = None,
    model: ModelFolder = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Name of the batch. Default: that of the folder, and the day."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read. Default: one a core.", min=1)
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read also what was read before, anew.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read again the pages that failed.")
    ] = False,
    keep_pages: Annotated[
        bool, typer.Option("--keep-pages", help="Store a picture of every page too (WebP).")
    ] = False,
) -> None:
    """Read every scan below PATH into the database: the main job.

    Running it again over the same folder adds nothing; a run that was killed goes on where
    it stopped. Exit code 3: done, but some pages failed; each is named with its cause.
    """
    from digitocr import batch as job
    from digitocr import console

    settings = settings_module.load(
        forms=forms, database=database, model=model, workers=workers
    )
    started = time.monotonic()
    if os.environ.get("PREFECT_API_URL"):
        given = {"forms": forms, "database": database, "model": model, "workers": workers}
        summary = _process_as_flow(
            paths,
            batch,
            {key: value for key, value in given.items() if value is not None},
            {"again": again, "retry_failed": retry_failed, "keep_pages": keep_pages},
        )
    else:
        plan = job.plan(
            paths,
            settings,
            batch=batch,
            again=again,
            retry_failed=retry_failed,
            keep_pages=keep_pages,
        )
        if not Shown.quiet:
            for line in plan.standing:
                console.say(str(line))
        try:
            with console.progress("Reading", len(plan.files), quiet=Shown.quiet) as advance:
                summary = job.run(plan, progress=lambda outcome: advance(outcome.source))
        except KeyboardInterrupt:
            console.say("stopped; the same command goes on from here")
            raise typer.Exit(EXIT_STOPPED) from None
    if not Shown.quiet:
        console.closing_table(summary, time.monotonic() - started)
    console.show_failed(summary.failed, not_stored=summary.not_stored)
    console.show_uneven(summary.uneven)
    console.show_compared(summary.compared)
    if summary.partial:
        raise typer.Exit(EXIT_PARTIAL)


def _process_as_flow(
    paths: list[Path], batch: str | None, given: dict[str, Any], flags: dict[str, bool]
) -> RunSummary:
    """Run the same job as the Prefect flow of the server that is configured.

    Only what was typed is handed on: Prefect shows parameters, and a database with a
    password belongs into DIGITOCR_DATABASE.
    """
    import importlib.util

    from digitocr import resources

    file = resources.folder("flows") / "process_batch.py"
    # Last, so that `alembic`, which may lie beside it, does not hide the library.
    sys.path.append(str(file.parent.parent))
    spec = importlib.util.spec_from_file_location("digitocr_flow", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with needs("flow"):
        spec.loader.exec_module(module)
    folders = [str(path.resolve()) if path.is_absolute() else str(path) for path in paths]
    summary: RunSummary = module.process_batch(folder=folders, batch=batch, **given, **flags)
    return summary
