"""The command line: reads what was asked, calls the library, prints what came of it."""

from __future__ import annotations

import io
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from digitocr.cli import (
    batches,
    database,
    forms,
    models,
    numbers,
    pictures,
    processing,
    purging,
    retraining,
    review,
)
from digitocr.cli.options import Shown
from digitocr.cli.several import Several
from digitocr.errors import DigitocrError

ANYWHERE = ("--quiet", "--verbose", "--log-json")

app = typer.Typer(
    help="Reads handwritten numbers from scanned forms into a database, and says which ones a "
    "person should look at.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(processing.process)
app.command()(pictures.read)
app.command()(pictures.classify)
app.command()(batches.replay)
app.command()(purging.purge)
app.command(cls=Several)(models.train)
app.command(cls=Several)(models.evaluate)
app.command(cls=Several)(models.compare)
app.command()(retraining.retrain)
app.command()(numbers.query)
app.command()(numbers.export)
app.command()(review.review)
app.add_typer(models.app, name="models")
app.add_typer(batches.app, name="batch")
app.add_typer(forms.app, name="form")
app.add_typer(database.app, name="db")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"digitocr {version('digitocr')}")
        raise typer.Exit


@app.callback()
def program(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and leave.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log a line a page.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log in JSON, an object a line.")
    ] = False,
) -> None:
    """Take what is said before the verb."""
    from digitocr import logs

    Shown.quiet = quiet
    logs.to_stderr(logs.LogStyle(verbose, log_json))


def main() -> None:
    """Run the command line; an error is one clear line and an exit code of its class."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold what is no text; as \udcff it is valid JSON, and comes back.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(_before_the_verb(sys.argv[1:]), standalone_mode=False)
        sys.stdout.flush()
    except DigitocrError as error:
        code = error.exit_code
        print(f"digitocr: {' '.join(str(error).split())}", file=sys.stderr)
    except typer.TyperException as error:
        code = error.exit_code
        print(_usage_error(error), file=sys.stderr)
    except typer.Abort:
        code = DigitocrError.exit_code
        print("digitocr: stopped; nothing was changed", file=sys.stderr)
    except (BrokenPipeError, SystemExit) as error:
        # Who read our output has enough of it (`| head`); typer leaves on that by itself.
        if not isinstance(error.__context__ or error, BrokenPipeError):
            raise
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _before_the_verb(words: list[str]) -> list[str]:
    """Let --quiet and its like stand anywhere: they are of the program, not of a verb."""
    end = words.index("--") if "--" in words else len(words)
    ours = [word for word in words[:end] if word in ANYWHERE]
    return ours + [word for word in words[:end] if word not in ours] + words[end:]


def _usage_error(error: typer.TyperException) -> str:
    """Say on one line what is wrong with a command; one that says nothing gets its help."""
    message = error.format_message()
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None or message == context.get_help():
        return message
    return f"digitocr: {message.rstrip('.')} (see `{context.command_path} --help`)"
