"""Train models, measure and compare them, and see which there are."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.cli.extras import needs
from digitocr.cli.options import Database, ModelFolder, Shown
from digitocr.errors import ModelError, UsageError
from digitocr.settings import Settings

app = typer.Typer(
    help="List the model folders, promote one, and make one of a Keras file.",
    no_args_is_help=True,
)

DataSets = Annotated[
    list[str] | None,
    typer.Option(
        help="Names of data sets or .npz files, several after one --data. Default: mnist.",
        metavar="NAME|FILE…",
    ),
]


def train(
    architecture: Annotated[
        str,
        typer.Option(
            help="digitocr-130k (ours), lenet5-tanh, lenet5-relu, simple-cnn, deeper-cnn, "
            "augmented-cnn or cnn-93k; sequence-1m reads whole numbers."
        ),
    ] = "digitocr-130k",
    data: DataSets = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Rounds over the data. Default: the architecture's own.", min=1),
    ] = None,
    out: Annotated[Path, typer.Option(help="Model folder to write.")] = Path("runs/model"),
    seed: Annotated[int, typer.Option(help="Same seed, same weights on one machine.")] = 1,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder whose answers are learned too; several are averaged.",
            metavar="DIR",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to go on with instead of beginning anew: of a sequence network, "
            "or of digitocr-130k, which then learns digits that are cut out of numbers.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Train a digit classifier; writes a model folder with its card, report and plots.

    MNIST is fetched where it is not there. Your own characters come as an .npz file with x
    (N, H, W) uint8 white on black, y (0-9, or -1 for no digit) and, best, writer:

    digitocr train --data mnist mine.npz --out models/mine

    A sequence network learns from numbers that are composed of the writers of MNIST, UNIPEN
    and USPS below DIGITOCR_DATA, and takes neither --data nor --teacher. Nor does digitocr-130k
    with --start, which learns what is cut out of such numbers beside what it knew.
    """
    from digitocr import console

    watch = partial(console.progress, quiet=Shown.quiet)
    settings, taught_by = settings_module.load(), tuple(teacher or ())
    if architecture.startswith("sequence-"):
        _refuse_with_numbers(data=data, teacher=teacher)
        with needs("train"):
            from digitocr.training import sequence
        with redirect_stdout(sys.stderr):
            folder = sequence.train(
                architecture, epochs, out, seed, settings, start=start, watch=watch
            )
        print(folder)
        return
    if start is not None:
        _refuse_with_numbers(data=data, teacher=teacher)
        _go_on(architecture, start, out, epochs, seed, settings)
        return
    with needs("train"):
        from digitocr.training import train as training

    with redirect_stdout(sys.stderr):  # Keras says on stdout what it downloads
        folder = training.train(
            architecture,
            tuple(data or ()),
            epochs,
            out,
            seed,
            settings,
            teachers=taught_by,
            watch=watch,
        )
    print(folder)


def evaluate(
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or a Keras file (.keras, .h5), also from elsewhere. Default: "
            "the model that reads.",
            metavar="DIR|FILE",
        ),
    ] = None,
    data: DataSets = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder to write report.md and plots into.")
    ] = None,
) -> None:
    """Measure a classifier: accuracy, calibration, what it costs to be surer.

    A Keras file that takes 28x28 pixels and gives 10 classes is measured as it is: whether it
    wants 0-1 or 0-255, and light or dark ink, is found out by trial.

    digitocr evaluate --model lenet.h5 --data mnist --report look
    """
    from digitocr import console, resources

    with needs("train"):
        from digitocr.training import evaluate as evaluation

    settings = settings_module.load()
    watch = partial(console.progress, quiet=Shown.quiet)
    chosen = model or resources.model_folder(settings.model)
    with redirect_stdout(sys.stderr):
        found = evaluation.evaluate(chosen, tuple(data or ()), settings, report, watch=watch)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print_figures(found)


def compare(
    models: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folders and Keras files, several after one --models. Default: all "
            "below models, here and with digitocr.",
            metavar="DIR|FILE…",
        ),
    ] = None,
    data: DataSets = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for compare.md, compare.png and compare.json."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Put models side by side: what each gets right, its size and its speed here.

    digitocr compare --models models/mine lenet.h5 --data mnist mine.npz --out look
    """
    from digitocr import console, resources
    from digitocr.recognition.sequence import is_sequence

    with needs("train"):
        from digitocr.training import compare as comparison

    watch = partial(console.progress, quiet=Shown.quiet)
    settings = settings_module.load()
    chosen = tuple(models or (one for one in resources.model_folders() if not is_sequence(one)))
    with redirect_stdout(sys.stderr):
        found = comparison.compare(chosen, tuple(data or ()), settings, out, watch=watch)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for table in comparison.tables(found):
        console.rows_table(table.columns, table.rows, title=table.title)


@app.command("list")
def list_models(database: Database = None) -> None:
    """List the model folders below `models`, here and with digitocr; * reads by default.

    A model that was promoted in the database goes before the one that travels with digitocr.
    """
    from digitocr import console, resources

    settings = settings_module.load(database=database)
    default, told = _reads_now(settings)
    folders = {one.resolve(): one for one in (*resources.model_folders(), default)}
    rows = [
        ("*" if resolved == default.resolve() else "", *_model_row(folder))
        for resolved, folder in folders.items()
    ]
    console.rows_table(
        ("", "name", "classes", "parameters", "MNIST right", "kB", "folder"), rows
    )
    if told and not Shown.quiet:
        console.say(told)


@app.command("promote")
def promote_model(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Model folder, in `models`.")],
    by: Annotated[str, typer.Option(help="Who promotes it.", metavar="NAME")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also if its report speaks against it.")
    ] = False,
    database: Database = None,
) -> None:
    """Have a model read from now on: `process` takes it where no --model is given.

    Who and when is written into the database; what was read before stays as it is. To go back,
    promote the model before it:

    digitocr models promote models/retrained --by ana
    """
    from datetime import UTC, datetime

    from digitocr import console
    from digitocr.db import promotions, schema

    settings = settings_module.load(database=database)
    verdict = promotions.verdict_of(folder)
    if not Shown.quiet:
        console.say(str(verdict))
    engine = schema.connect(settings.database, create=False)
    try:
        with schema.writing(engine) as session:
            done = promotions.promote(
                session, folder, by=by, anyway=anyway, now=datetime.now(UTC)
            )
    finally:
        engine.dispose()
    if settings.model:
        console.say(
            f"the setting `model` names {settings.model}, which goes before what is promoted"
        )
    if not Shown.quiet:
        console.say(f"`read` and `classify` know no database: give them --model {folder}")
    print(f"{done.model} reads from now on ({done.fingerprint[:12]}, promoted by {done.by})")


def _reads_now(settings: Settings) -> tuple[Path, str]:
    """Find the model that reads by default, and say by whose word."""
    from digitocr import resources
    from digitocr.db import promotions, schema
    from digitocr.errors import DatabaseError

    delivered = resources.model_folder(settings.model)
    if settings.model:
        return delivered, ""
    try:
        engine = schema.connect(settings.database, create=False)
    except DatabaseError:
        return delivered, ""  # no batch was read yet, so nothing was promoted
    try:
        with schema.reading(engine) as session:
            standing = promotions.promoted(session)
    finally:
        engine.dispose()
    if standing is None:
        return delivered, ""
    return (
        promotions.folder_of(standing),
        f"{standing.model} was promoted by {standing.by} on {standing.at:%Y-%m-%d}",
    )


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="A .keras or .h5 file, weights and network.")],
    out: Annotated[
        Path | None, typer.Option(help="Model folder to write. Default: models/NAME.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model. Default: that of the file.")
    ] = None,
) -> None:
    """Make a model folder of a Keras file from elsewhere, for `process --model`.

    The network must take 28x28 pixels of digits and give 10 classes. Which scale and polarity
    it wants is found out on MNIST, and is built in. Compare it before you read with it:

    digitocr models import lenet.h5 && digitocr compare
    """
    from digitocr import console

    with needs("train"):
        from digitocr.training import importing

    called = file.stem if name is None else name
    if called in ("", "..") or Path(called).name != called:
        raise UsageError(f"--name {called}: is no name for a folder; take letters and digits")
    watch = partial(console.progress, quiet=Shown.quiet)
    settings = settings_module.load()
    place = Path("models", called) if out is None else out
    with redirect_stdout(sys.stderr):
        folder = importing.import_model(file, place, called, settings, watch=watch)
    print(folder)


@app.command("average")
def average_models(
    sequences: Annotated[
        list[Path], typer.Argument(help="Folders of models that read whole numbers.")
    ],
    out: Annotated[Path, typer.Option(help="Model folder to write.")] = Path("runs/mean"),
    seed: Annotated[int, typer.Option(help="Same seed, same crops to validate.")] = 1,
) -> None:
    """Write the mean of sequence networks that went on from one another.

    It reads better than each of them. Fit how it is weighed afterwards:

    digitocr models average runs/sixth runs/seventh --out models/mine

    digitocr models combine models/mine
    """
    from digitocr import console

    with needs("train"):
        from digitocr.training import sequence
    with redirect_stdout(sys.stderr):
        folder = sequence.average(
            sequences,
            out,
            seed,
            settings_module.load(),
            watch=partial(console.progress, quiet=Shown.quiet),
        )
    print(folder)


@app.command("combine")
def combine_models(
    sequence: Annotated[
        Path, typer.Argument(help="Folder of a model that reads whole numbers.")
    ],
    model: ModelFolder = None,
    count: Annotated[int, typer.Option(help="Crops to compose.", min=300)] = 27_000,
    seed: Annotated[int, typer.Option(help="Same seed, same crops.")] = 1,
) -> None:
    """Fit how a sequence network is weighed beside a classifier, and when both are believed.

    Both read numbers that are composed of writers neither learned from; two thirds of these
    are fitted on, the rest shows what each reads alone and both together. The weights go into
    the sequence model's card. Wanted after either model was trained anew:

    digitocr train --architecture sequence-1m --out models/mine
    digitocr models combine models/mine
    """
    from digitocr import console, resources

    with needs("train"):
        from digitocr.training import combining

    settings = settings_module.load(model=model)
    watch = partial(console.progress, quiet=Shown.quiet)
    found = combining.combine(
        sequence,
        resources.model_folder(settings.model),
        settings,
        seed=seed,
        count=count,
        watch=watch,
    )
    rows = [
        (
            "bare crops" if kind == "crops" else "fields with cells",
            reader,
            name,
            str(one["count"]),
            f"{one['exact']:.2%}",
            f"{one['accepted']:.1%}",
            str(one["wrong_accepted"]),
            f"{one['ece']:.2%}",
            f"{one['reject_for_half_percent']:.1%}",
        )
        for kind, readers in found.items()
        for reader, groups in readers.items()
        for name, one in groups.items()
    ]
    console.rows_table(
        (
            "of",
            "reader",
            "kind",
            "count",
            "right",
            "accepted",
            "of these wrong",
            "ECE",
            "rejected for 0.5 % wrong",
        ),
        rows,
        title="Composed numbers that were not fitted on",
    )


def _go_on(
    architecture: str,
    start: Path,
    out: Path,
    epochs: int | None,
    seed: int,
    settings: settings_module.Settings,
) -> None:
    """Let a classifier of ours learn the digits that are cut out of numbers."""
    from digitocr import console

    if architecture != "digitocr-130k":
        raise UsageError(
            f"--start: {architecture} does not go on from others; digitocr-130k and sequence "
            "networks do"
        )
    with needs("train"):
        from digitocr.training import further
    with redirect_stdout(sys.stderr):
        folder = further.go_on(
            start,
            out,
            seed,
            settings,
            epochs=epochs or further.EPOCHS,
            watch=partial(console.progress, quiet=Shown.quiet),
        )
    print(folder)


def _refuse_with_numbers(**options: object) -> None:
    """Refuse what is not for networks that learn from composed numbers."""
    for name, given in options.items():
        if given:
            raise UsageError(
                f"--{name}: what is learned here is composed of the writers below "
                f"DIGITOCR_DATA alone; leave --{name} out"
            )


def _model_row(folder: Path) -> tuple[str, ...]:
    """Give name, classes, parameters, accuracy, size and place; of what is no model, why."""
    from digitocr.recognition.classifier import read_card
    from digitocr.recognition.folders import CARD, NETWORK
    from digitocr.recognition.sequence import is_sequence, read_sequence_card

    try:
        if is_sequence(folder):
            name, reads = read_sequence_card(folder).name, "whole numbers"
        else:
            card = read_card(folder)
            name, reads = card.name, str(len(card.classes))
        size_kb = (folder / NETWORK).stat().st_size / 1000
    except ModelError as error:
        return folder.name, "", "", "", "", str(error)
    except OSError as error:
        return folder.name, "", "", "", "", f"{folder / NETWORK}: {error.strerror}"
    entries = json.loads((folder / CARD).read_text(encoding="utf-8"))
    parameters, measured = entries.get("parameters"), entries["metrics"].get("mnist", {})
    return (
        name,
        reads,
        f"{parameters:,}" if isinstance(parameters, int) else "",
        f"{measured['accuracy']:.2%}" if "accuracy" in measured else "",
        f"{size_kb:.0f}",
        str(folder),
    )


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
        title=f"{found['model']}, which takes pictures as {found['input']}",
    )
