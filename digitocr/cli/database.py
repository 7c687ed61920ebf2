"""The database's schema: made, brought up to date, checked."""

from __future__ import annotations

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Database

app = typer.Typer(help="Make, bring up to date and check the database.", no_args_is_help=True)


@app.command("upgrade")
def db_upgrade(database: Database = None) -> None:
    """Bring the database's schema up to this version."""
    from digitocr.db import schema

    before, after = schema.upgrade(settings_module.load(database=database).database)
    if before == after:
        print(f"schema is at {after}: nothing to do")
    else:
        print(f"schema brought from {before or 'nothing'} to {after}")


@app.command("check")
def db_check(database: Database = None) -> None:
    """Say whether the database has the tables of this version."""
    from digitocr.db import schema

    revision = schema.check(settings_module.load(database=database).database)
    print(f"schema is at {revision}, as this version wants it")
