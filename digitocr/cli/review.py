"""Serve the review pages."""

from __future__ import annotations

import getpass
import os
import sys
import webbrowser
from typing import Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.extras import needs
from digitocr.cli.options import Database, Shown


def review(
    database: Database = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at: this machine, 127.0.0.1, alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to serve at; 0: any that is free.", min=0, max=65535)
    ] = 8765,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the link, open no browser.")
    ] = False,
) -> None:
    """Serve the review pages to browsers on this machine, until Ctrl-C.

    Prints a link that lets one browser in, once.
    """
    settings = settings_module.load(database=database)
    with needs("review"):
        from digitocr.review import app

    def started(link: str) -> None:
        print(link, flush=True)
        if not Shown.quiet:
            print("This link works once. Ctrl-C ends the server.", file=sys.stderr)
        shown_somewhere = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if not no_browser and (shown_somewhere or sys.platform in ("darwin", "win32")):
            webbrowser.open(link)

    app.serve(settings, host=host, port=port, reviewer=_name(), started=started)


def _name() -> str:
    """Name who works here, as the machine knows them; it can be changed on the first page."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "reviewer"
