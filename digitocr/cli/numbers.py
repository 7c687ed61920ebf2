"""Print the numbers that were read, or write them to a file."""

from __future__ import annotations

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Database, Shown
from digitocr.errors import UsageError
from digitocr.types import FieldStatus, FieldType, Format

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from digitocr.db.numbers import Filters
    from digitocr.settings import Settings

Batch = Annotated[str | None, typer.Option("--batch", help="Only of this batch.")]
Form = Annotated[str | None, typer.Option("--form", help="Only of this form.")]
OnlyField = Annotated[str | None, typer.Option("--field", help="Only this field.")]
OnlySource = Annotated[str | None, typer.Option("--source", help="Only of this file.")]
Since = Annotated[
    datetime | None, typer.Option("--since", help="Read on or after this day or time (UTC).")
]
Until = Annotated[
    datetime | None, typer.Option("--until", help="Read before this day or time (UTC).")
]
OnlyStatus = Annotated[
    FieldStatus | None, typer.Option("--status", help="Only of this status.")
]


def query(
    database: Database = None,
    batch: Batch = None,
    form: Form = None,
    field: OnlyField = None,
    status: OnlyStatus = None,
    source: OnlySource = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="Most rows to print; 0 prints all.", min=0)] = 200,
) -> None:
    """Print the numbers, filtered, as a table. `export` writes them to a file."""
    from digitocr import console
    from digitocr.db import export as rows_of
    from digitocr.db import schema

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    wanted = _filters(batch, form, field, status, source, since, until)
    with schema.reading(engine) as session:
        shown: Any
        if limit:
            shown, count = rows_of.part(session, 0, limit, **wanted)
        else:
            shown = rows_of.rows(session, **wanted)
            count = len(shown)
    lines = [
        (
            row.source,
            str(row.page),
            _cell(row.field),
            _cell(row.value),
            row.status,
            _cell(row.reading, none="–"),
            f"{row.confidence:.3f}" if isinstance(row.confidence, float) else "–",
            ", ".join(json.loads(row.reasons)),
        )
        for row in shown.itertuples(index=False)
    ]
    columns = ("source", "page", "field", "value", "status", "reading", "confidence", "reasons")
    console.rows_table(columns, lines)
    if count > len(shown):
        console.say(f"{count - len(shown)} more rows: --limit 0 prints all")


def _cell(text: Any, *, none: str = "") -> str:
    return text if isinstance(text, str) else none


def export(
    database: Database = None,
    format_: Annotated[
        Format, typer.Option("--format", help="Format of the file.")
    ] = Format.CSV,
    wide: Annotated[
        bool, typer.Option("--wide", help="A row a page, a column a field.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
    certificate: Annotated[
        bool,
        typer.Option(
            "--certificate",
            help="Write what audits prove of each batch to OUT.certificate.json too.",
        ),
    ] = False,
    batch: Batch = None,
    form: Form = None,
    field: OnlyField = None,
    status: OnlyStatus = None,
    source: OnlySource = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the numbers to CSV, JSON Lines, Parquet or XLSX: one row a field."""
    from digitocr import console
    from digitocr.db import export as rows_of
    from digitocr.db import exports, schema

    binary = format_ in (Format.PARQUET, Format.XLSX)
    if out is None and binary and sys.stdout.isatty():
        raise UsageError(f"--format {format_} is no text: name a file with --out")
    settings = settings_module.load(database=database)
    wanted = _filters(batch, form, field, status, source, since, until)
    if certificate:
        _refuse_uncertain(settings, wanted, out)
    engine = schema.connect(settings.database, create=False)
    target = sys.stdout.buffer if out is None else out
    noted = exports.noted(engine, wanted, format=format_, by=_name(), now=datetime.now(UTC))
    with noted as note, schema.reading(engine) as session:
        parts: Any = rows_of.chunks(session, **wanted)
        if wide:
            parts = rows_of.wide_chunks(session, **wanted)
        proven = _proven(session, settings, wanted["batch"]) if certificate else []
        note.rows = count = rows_of.write(parts, format_, target)
    if out is not None and not Shown.quiet:
        console.say(f"{console.counted(count, 'row')} written to {out}")
    if out is not None and certificate:
        _write_certificate(proven, out)


def _name() -> str:
    """Name who takes the numbers out."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user on this machine, as in some containers
        return "somebody"


def _refuse_uncertain(settings: Settings, wanted: Filters, out: Path | None) -> None:
    """Refuse a certificate without a file or a target, or of other readings than the file."""
    if out is None:
        raise UsageError("--certificate is written beside a file: name one with --out")
    others = [f"--{name}" for name, value in wanted.items() if value and name != "batch"]
    if others:
        raise UsageError(
            f"--certificate speaks of whole batches: leave out {', '.join(others)}"
        )
    if not any(settings.target_of(type) for type in FieldType):
        raise UsageError(
            "--certificate needs a target: set `target_error` in digitocr.toml, or "
            "DIGITOCR_TARGET_ERROR, to the share of numbers that may be wrong"
        )


def _proven(session: Session, settings: Settings, batch: str | None) -> list[dict[str, Any]]:
    from digitocr.db import certificates, review

    names = review.names(session)["batch"] if batch is None else [batch]
    targets = certificates.targets_of(settings)
    return certificates.statements(session, names, targets, datetime.now(UTC))


def _write_certificate(proven: list[dict[str, Any]], out: Path) -> None:
    from digitocr import console

    path = out.with_name(f"{out.name}.certificate.json")
    try:
        path.write_text(json.dumps(proven, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; name a file that can be written with --out"
        ) from error
    if not Shown.quiet:
        for one in proven:
            console.say(f"{one['batch']}: {one['sentence']}")
        console.say(f"certificate written to {path}")


def _filters(
    batch: str | None,
    form: str | None,
    field: str | None,
    status: FieldStatus | None,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Filters:
    from digitocr.db.store import stored_source

    def stored(text: str | None) -> str | None:
        return None if text is None else stored_source(text)

    return {
        "batch": stored(batch),
        "form": stored(form),
        "field": stored(field),
        "source": stored(source),
        "status": status,
        "since": None if since is None else since.replace(tzinfo=UTC),
        "until": None if until is None else until.replace(tzinfo=UTC),
    }
