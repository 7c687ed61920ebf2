"""What several verbs take, and what was said before them."""

from __future__ import annotations

from typing import Annotated

import typer


class Shown:
    """What was asked for on the program itself, before the verb."""

    quiet = False


Database = Annotated[
    str | None,
    typer.Option(help="URL of the database, sqlite:///FILE or postgresql://…", metavar="URL"),
]
FormsFolder = Annotated[
    str | None,
    typer.Option(help="Folder of forms. Default: forms, else sample_forms.", metavar="DIR"),
]
ModelFolder = Annotated[
    str | None, typer.Option(help="Model folder. Default: the one that travels with digitocr.")
]
