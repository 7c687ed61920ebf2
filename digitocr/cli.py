"""The command line: reads what was asked, calls the library, prints what came of it."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import BadZipFile

import typer

from digitocr import settings as settings_module
from digitocr.errors import (
    EXIT_PARTIAL,
    EXIT_STOPPED,
    DataError,
    DigitocrError,
    MissingExtraError,
    ScanError,
    UsageError,
)
from digitocr.types import FieldType, Reading

if TYPE_CHECKING:
    from digitocr.batch import RunSummary
    from digitocr.templates import FormTemplate

app = typer.Typer(
    help="Reads handwritten numbers from scanned forms into a database, and says which ones a "
    "person should look at.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
batch_app = typer.Typer(help="List, show and remove batches.", no_args_is_help=True)
form_app = typer.Typer(help="Check and fill form templates.", no_args_is_help=True)
db_app = typer.Typer(
    help="Make, bring up to date and check the database.", no_args_is_help=True
)
app.add_typer(batch_app, name="batch")
app.add_typer(form_app, name="form")
app.add_typer(db_app, name="db")


class Shape(StrEnum):
    """How `read` and `classify` print."""

    TABLE = "table"
    JSONL = "jsonl"


class Shown:
    """What was asked for on the program itself, before the verb."""

    quiet = False


Database = Annotated[
    str | None,
    typer.Option(help="URL of the database, sqlite:///FILE or postgresql://…", metavar="URL"),
]
ModelFolder = Annotated[
    str | None, typer.Option(help="Model folder. Default: the one that travels with digitocr.")
]
OutputShape = Annotated[Shape, typer.Option("--format", help="How to print.")]


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
) -> None:
    """Take what is said before the verb."""
    from digitocr import console

    Shown.quiet = quiet
    console.log_to_stderr(verbose=verbose)


# ---------------------------------------------------------------- the main job


@app.command()
def process(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Scans, or folders.")],
    forms: Annotated[
        str | None,
        typer.Option(help="Folder of forms. Default: forms, else sample_forms.", metavar="DIR"),
    ] = None,
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
        try:
            with console.progress("Reading", len(plan.files), quiet=Shown.quiet) as advance:
                summary = job.run(plan, progress=lambda outcome: advance(outcome.source))
        except KeyboardInterrupt:
            console.say("stopped; the same command goes on from here")
            raise typer.Exit(EXIT_STOPPED) from None
    if not Shown.quiet:
        console.closing_table(summary, time.monotonic() - started)
    console.show_failed(summary.failed)
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
    spec = importlib.util.spec_from_file_location("digitocr_flow", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _needs("flow"):
        spec.loader.exec_module(module)
    folders = [str(path.resolve()) if path.is_absolute() else str(path) for path in paths]
    summary: RunSummary = module.process_batch(folder=folders, batch=batch, **given, **flags)
    return summary


# ---------------------------------------------------------------- bare pictures


@app.command()
def read(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="One number each.")],
    min_digits: Annotated[int, typer.Option(help="Least digits of a number.", min=0)] = 0,
    max_digits: Annotated[int | None, typer.Option(help="Most digits.", min=1)] = None,
    type_: Annotated[
        FieldType, typer.Option("--type", help="What the number means.")
    ] = FieldType.INTEGER,
    model: ModelFolder = None,
    shape: OutputShape = Shape.TABLE,
) -> None:
    """Read bare crops of one handwritten number each: no form, no database.

    Boxes, rules and crosses in empty positions are not digits; zeros are kept. Exit code 3:
    some pictures could not be opened.
    """
    from digitocr import batch as job
    from digitocr import pipeline, scans
    from digitocr.recognition.acceptance import Acceptance
    from digitocr.recognition.classifier import load_model

    if type_ is FieldType.DATE:
        raise UsageError("--type date: a bare crop has no date format; use code")
    settings = settings_module.load(model=model)
    loaded = load_model(job.find_model(settings))
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    rows: list[dict[str, Any]] = []
    for image in images:
        row: dict[str, Any] = {"image": str(image)}
        try:
            with scans.open_scan(image, max_megapixels=settings.max_megapixels) as scan:
                gray = scan.page(1).image
        except ScanError as error:
            row["error"] = str(error)
        else:
            reading = pipeline.read_number(
                gray,
                loaded,
                acceptance,
                min_digits=min_digits,
                max_digits=max_digits,
                type=type_,
            )
            row |= _reading_row(reading)
        rows.append(row)
        if shape is Shape.JSONL:
            _print_json(row)
    if shape is Shape.TABLE:
        _print_readings(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(EXIT_PARTIAL)


def _print_json(row: dict[str, Any]) -> None:
    print(json.dumps(row, ensure_ascii=False), flush=True)


def _reading_row(reading: Reading) -> dict[str, Any]:
    return {
        "text": reading.text,
        "confidence": round(reading.confidence, 6),
        "accepted": reading.accepted,
        "reasons": [str(reason) for reason in reading.reasons],
        "alternatives": [
            {"text": one.text, "confidence": round(one.confidence, 6)}
            for one in reading.alternatives
        ],
        "glyphs": [
            {
                "box": [glyph.box.left, glyph.box.top, glyph.box.right, glyph.box.bottom],
                "text": glyph.text,
                "confidence": round(glyph.confidence, 6),
            }
            for glyph in reading.glyphs
        ],
    }


def _print_readings(rows: list[dict[str, Any]]) -> None:
    from digitocr import console

    lines = []
    for row in rows:
        if "error" in row:
            console.say(row["error"])
            continue
        text = "(unreadable)" if row["text"] is None else row["text"] or "(blank)"
        why = "accepted" if row["accepted"] else ", ".join(row["reasons"])
        lines.append((row["image"], text, f"{row['confidence']:.4f}", why))
    if lines:
        console.rows_table(("image", "text", "confidence", "accepted, or why not"), lines)


@app.command()
def classify(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE…]", help="One digit each.")
    ] = None,
    npz: Annotated[
        Path | None, typer.Option(help="File with x (N, H, W) uint8 and optionally y.")
    ] = None,
    model: ModelFolder = None,
    shape: OutputShape = Shape.TABLE,
) -> None:
    """Classify single digits, dark on light or light on dark.

    `digit` is null where the glyph is judged not to be a digit. Exit code 3: some pictures
    could not be opened.
    """
    import numpy as np

    from digitocr import batch as job
    from digitocr import scans
    from digitocr.imaging.normalization import ink_intensity, normalize_all
    from digitocr.recognition.acceptance import Acceptance, accepts_digit
    from digitocr.recognition.classifier import load_model

    settings = settings_module.load(model=model)
    if (npz is None) == (not images):
        raise UsageError("classify wants pictures, or --npz FILE with many")
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    loaded = load_model(job.find_model(settings))
    grays: list[Any] = [] if npz is None else list(_load_glyphs(npz))
    rows: list[dict[str, Any]] = [{"index": index} for index in range(len(grays))]
    for index, image in enumerate(images or ()):
        try:
            with scans.open_scan(image, max_megapixels=settings.max_megapixels) as scan:
                grays.append(scan.page(1).image)
            rows.append({"index": index})
        except ScanError as error:
            rows.append({"image": str(image), "error": str(error)})
    glyphs = normalize_all([ink_intensity(gray) for gray in grays])
    opened = [row for row in rows if "error" not in row]
    for row, probabilities in zip(opened, loaded.classify(glyphs), strict=True):
        digit = int(np.argmax(probabilities[:10]))
        confidence = float(probabilities[digit])
        is_digit = int(np.argmax(probabilities)) < 10
        row["digit"] = digit if is_digit else None
        row["confidence"] = round(confidence, 6)
        row["accepted"] = accepts_digit(confidence, is_digit, acceptance)
    if shape is Shape.JSONL:
        for row in rows:
            _print_json(row)
    else:
        _print_digits(rows)
    if len(opened) < len(rows):
        raise typer.Exit(EXIT_PARTIAL)


def _print_digits(rows: list[dict[str, Any]]) -> None:
    from digitocr import console

    lines = []
    for row in rows:
        if "error" in row:
            console.say(row["error"])
            continue
        digit = "(not a digit)" if row["digit"] is None else str(row["digit"])
        accepted = "yes" if row["accepted"] else "no"
        lines.append((str(row["index"]), digit, f"{row['confidence']:.4f}", accepted))
    if lines:
        console.rows_table(("index", "digit", "confidence", "accepted"), lines)


def _load_glyphs(file: Path) -> Any:
    import numpy as np

    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            glyphs = found["x"]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; name an .npz file") from error
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(
            f"{file}: {error}; it must be an .npz with x (N, H, W) uint8"
        ) from error
    if glyphs.ndim != 3 or glyphs.dtype != np.uint8:
        raise DataError(
            f"{file}: x is {glyphs.shape} {glyphs.dtype}; it must be (N, H, W) uint8"
        )
    return glyphs


# ---------------------------------------------------------------- models


# `--data a b c` as well as `--data a --data b`: what follows the option is handed on.
SEVERAL = {"allow_extra_args": True, "allow_interspersed_args": True}


@app.command(context_settings=SEVERAL)
def train(
    context: typer.Context,
    architecture: Annotated[
        str, typer.Option(help="Name of the network; see the model reference.")
    ] = "digitocr-76k",
    data: Annotated[
        list[str] | None,
        typer.Option(help="Names of data sets or .npz files. Default: mnist."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Rounds over the data.", min=1)] = None,
    out: Annotated[Path, typer.Option(help="Model folder to write.")] = Path("runs/model"),
    seed: Annotated[int, typer.Option(help="Same seed, same weights on one machine.")] = 1,
) -> None:
    """Train a digit classifier; writes a model folder with its card, report and plots."""
    with _needs("train"):
        from digitocr.training import train as training
    if not Shown.quiet:
        logging.getLogger("digitocr").setLevel(logging.INFO)
    names = (*(data or ()), *context.args)
    print(training.train(architecture, names, epochs, out, seed, settings_module.load()))


@app.command(context_settings=SEVERAL)
def evaluate(
    context: typer.Context,
    model: Annotated[
        Path | None, typer.Option(help="Model folder, or a Keras file from elsewhere.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Names of data sets or .npz files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder to write report.md and plots into.")
    ] = None,
) -> None:
    """Measure a classifier: accuracy, calibration, what it costs to be surer."""
    with _needs("train"):
        from digitocr.training import evaluate as evaluation
    from digitocr import batch as job

    settings = settings_module.load()
    names = (*(data or ()), *context.args)
    found = evaluation.evaluate(model or job.find_model(settings), names, settings, report)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print_figures(found)


def _print_figures(found: dict[str, Any]) -> None:
    from digitocr import console

    lines = []
    for name, one in found["sets"].items():
        if "digits" in one:
            low, high = one["accuracy_interval"]
            lines.append(
                (
                    name,
                    str(one["digits"]),
                    f"{one['accuracy']:.2%} ({low:.2%} to {high:.2%})",
                    f"{one['f1']:.4f}",
                    f"{one['ece']:.2%}",
                    f"{one['accepted']:.1%}",
                    f"{one['substitution_rate']:.2%}",
                )
            )
        if "non_digits" in one:
            refused = f"{one['refused']:.1%} refused"
            lines.append((name, str(one["non_digits"]), refused, "", "", "", ""))
    console.rows_table(
        ("data", "glyphs", "right (95 %)", "macro F1", "ECE", "accepted", "of these wrong"),
        lines,
    )


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Import an optional part; without it say how to install it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets at length
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"this needs {error.name}, which is not installed: pip install 'digitocr[{extra}]'"
        ) from error


# ---------------------------------------------------------------- the numbers


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


class Status(StrEnum):
    """The statuses a row of the export may have."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    CORRECTED = "corrected"
    CONFIRMED = "confirmed"
    ILLEGIBLE = "illegible"
    FAILED = "failed"


class FileFormat(StrEnum):
    """The formats of the export."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


OnlyStatus = Annotated[Status | None, typer.Option("--status", help="Only of this status.")]


@app.command()
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
        found = rows_of.rows(session, **wanted)
    shown: Any = found.head(limit) if limit else found
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
    if limit and len(found) > limit:
        console.say(f"{len(found) - limit} more rows: --limit 0 prints all")


def _cell(text: Any, *, none: str = "") -> str:
    return text if isinstance(text, str) else none


@app.command()
def export(
    database: Database = None,
    format_: Annotated[
        FileFormat, typer.Option("--format", help="Format of the file.")
    ] = FileFormat.CSV,
    wide: Annotated[
        bool, typer.Option("--wide", help="A row a page, a column a field.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
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
    from digitocr.db import schema

    binary = format_ in (FileFormat.PARQUET, FileFormat.XLSX)
    if out is None and binary and sys.stdout.isatty():
        raise UsageError(f"--format {format_} is no text: name a file with --out")
    engine = schema.connect(settings_module.load(database=database).database, create=False)
    wanted = _filters(batch, form, field, status, source, since, until)
    target = sys.stdout.buffer if out is None else out
    with schema.reading(engine) as session:
        parts: Any = rows_of.chunks(session, **wanted)
        if wide:
            parts = rows_of.wide(rows_of.rows(session, **wanted))
        count = rows_of.write(parts, rows_of.Format(format_.value), target)
    if out is not None and not Shown.quiet:
        console.say(f"{console.counted(count, 'row')} written to {out}")


def _filters(
    batch: str | None,
    form: str | None,
    field: str | None,
    status: Status | None,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
) -> dict[str, Any]:
    from digitocr.db.export import FieldStatus
    from digitocr.db.store import stored_source

    named = {"batch": batch, "form": form, "field": field, "source": source}
    return {
        **{key: None if text is None else stored_source(text) for key, text in named.items()},
        "status": None if status is None else FieldStatus(status.value),
        "since": None if since is None else since.replace(tzinfo=UTC),
        "until": None if until is None else until.replace(tzinfo=UTC),
    }


# ---------------------------------------------------------------- batches


@batch_app.command("list")
def batch_list(database: Database = None) -> None:
    """List every batch with what became of it."""
    from digitocr import console
    from digitocr.db import batches, schema

    engine = schema.connect(settings_module.load(database=database).database, create=False)
    with schema.reading(engine) as session:
        console.batch_table(batches.list_batches(session))


@batch_app.command("show")
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


@batch_app.command("remove")
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


# ---------------------------------------------------------------- forms


@form_app.command("check")
def form_check(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the fields.", metavar="DIR")
    ] = None,
    scans: Annotated[
        list[Path] | None,
        typer.Option(help="Filled scans to read and draw over too; needs --overlay."),
    ] = None,
) -> None:
    """Say what will go wrong with a form template, before it does. Exit code 3: something.

    With --overlay, pictures show where the fields are; with --scans too, where they came to
    lie on filled pages, and what was read there.
    """
    from digitocr import console, pipeline
    from digitocr.forms import check
    from digitocr.templates import FormTemplate

    template = FormTemplate.load(form)
    pipeline.check_forms((template,))
    if scans and overlay is None:
        raise UsageError("--scans draws pictures: name a folder for them with --overlay")
    failed = False
    if overlay is not None:
        for page in range(1, len(template.pages) + 1):
            file = overlay / f"{template.name}-{page}.png"
            _write_picture(file, check.overlay(template, page))
            print(file)
        failed = _draw_scans(scans or [], template, overlay)
    warnings = check.check(template)
    for warning in warnings:
        print(warning)
    if warnings or failed:
        raise typer.Exit(EXIT_PARTIAL)
    fields = console.counted(len(template.fields), "field")
    print(f"{template}: {fields} on {console.counted(len(template.pages), 'page')}: fine")


def _draw_scans(paths: list[Path], template: FormTemplate, folder: Path) -> bool:
    """Read scans and draw what was read over them; say whether any page failed."""
    from digitocr import batch as job
    from digitocr import console, pipeline, scans
    from digitocr.forms.overlay import readings_over
    from digitocr.recognition.classifier import load_model
    from digitocr.types import PageStatus

    settings = settings_module.load()
    reader = pipeline.prepare((template,), load_model(job.find_model(settings)), settings)
    failed = False
    for file in scans.find(paths) if paths else ():
        with scans.open_scan(file.path, max_megapixels=settings.max_megapixels) as scan:
            for page in scan:
                reading = pipeline.read_page(page, reader)
                if reading.status is not PageStatus.READ:
                    failed |= reading.status is PageStatus.FAILED
                    console.say(
                        f"{file.source} page {page.number}: {reading.status} {reading.cause}"
                    )
                    continue
                picture = folder / f"{file.path.stem}-{page.number}.png"
                _write_picture(picture, readings_over(page.image, reading, template))
                residual = f"{reading.residual_mm:.2f} mm off"
                print(f"{picture}  {residual}")
    return failed


def _write_picture(file: Path, picture: Any) -> None:
    import cv2

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; name a folder with --overlay") from error


@form_app.command("fill")
def form_fill(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages and truth.csv.")],
    count: Annotated[int, typer.Option(help="Forms to fill.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same pages.")] = 1,
    clean: Annotated[bool, typer.Option("--clean", help="As drawn, not as scanned.")] = False,
) -> None:
    """Fill a form with handwritten digits: scanned-looking pages whose truth is known."""
    from digitocr import console
    from digitocr.forms import fill
    from digitocr.templates import FormTemplate

    rows = fill.fill_pages(FormTemplate.load(form), count, out, seed, clean=clean)
    if not Shown.quiet:
        forms = console.counted(count, "form")
        console.say(f"{forms} filled in {out}, {len(rows)} fields in {out / 'truth.csv'}")


# ---------------------------------------------------------------- database


@db_app.command("upgrade")
def db_upgrade(database: Database = None) -> None:
    """Bring the database's schema up to this version."""
    from digitocr.db import schema

    before, after = schema.upgrade(settings_module.load(database=database).database)
    if before == after:
        print(f"schema is at {after}: nothing to do")
    else:
        print(f"schema brought from {before or 'nothing'} to {after}")


@db_app.command("check")
def db_check(database: Database = None) -> None:
    """Say whether the database has the tables of this version."""
    from digitocr.db import schema

    revision = schema.check(settings_module.load(database=database).database)
    print(f"schema is at {revision}, as this version wants it")


def main() -> None:
    """Run the command line; an error is one clear line and an exit code of its class."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold what is no text; as \udcff it is valid JSON, and comes back.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
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


def _usage_error(error: typer.TyperException) -> str:
    """Say on one line what is wrong with a command; one that says nothing gets its help."""
    message = error.format_message()
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None or message == context.get_help():
        return message
    return f"digitocr: {message.rstrip('.')} (see `{context.command_path} --help`)"


if __name__ == "__main__":
    main()
