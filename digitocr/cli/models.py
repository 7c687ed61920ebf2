"""Train a model, and measure one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.cli.extras import needs
from digitocr.cli.options import Shown

# `--data a b c` as well as `--data a --data b`: what follows the option is handed on.
SEVERAL = {"allow_extra_args": True, "allow_interspersed_args": True}


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
    with needs("train"):
        from digitocr.training import train as training
    if not Shown.quiet:
        logging.getLogger("digitocr").setLevel(logging.INFO)
    names = (*(data or ()), *context.args)
    print(training.train(architecture, names, epochs, out, seed, settings_module.load()))


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
    with needs("train"):
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
