"""Corrections feed training: a candidate model, compared with the one in use."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.extras import needs
from digitocr.cli.options import Database, ModelFolder, Shown

if TYPE_CHECKING:
    from digitocr.training.retraining import Retrained


def retrain(
    database: Database = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write. Default: models/retrained and the day.", metavar="DIR"
        ),
    ] = None,
    gold: Annotated[
        float,
        typer.Option(
            help="Share of the documents that is held out for good, to compare on.",
            min=0.05,
            max=0.9,
        ),
    ] = 0.2,
    epochs: Annotated[int, typer.Option(help="Rounds over the pictures.", min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Same seed, same weights on one machine.")] = 1,
    model: ModelFolder = None,
) -> None:
    """Let the model in use learn from what people corrected: a candidate and its report.

    It learns from every digit that was decided in review, three of ten pictures, and goes on
    with what it was trained on (DIGITOCR_DATA; MNIST is fetched where it is not there).
    Documents that are held out are never learned from: on them, on MNIST and on what is no
    digit both models are compared. The report says whether the candidate may be promoted;
    nothing reads with it before a person does that:

    digitocr retrain --out models/mine

    digitocr models promote models/mine --by NAME
    """
    from digitocr import console

    with needs("train"):
        from digitocr.training import correcting

    settings = settings_module.load(database=database, model=model)
    watch = partial(console.progress, quiet=Shown.quiet)
    place = out or Path("models", f"retrained-{datetime.now(UTC):%Y-%m-%d}")
    with redirect_stdout(sys.stderr):  # Keras says on stdout what it downloads
        done = correcting.retrain_from_database(
            settings, place, gold=gold, epochs=epochs, seed=seed, watch=watch
        )
    if not Shown.quiet:
        _show(done)
    for line in done.gate.failures:
        console.say(line)
    if done.gate.passed:
        console.say(f"it may be promoted: digitocr models promote {done.folder} --by NAME")
    else:
        console.say(f"it must not be promoted; {done.folder / 'report.md'} says more")
    print(done.folder)


def _show(done: Retrained) -> None:
    from digitocr import console

    if done.missing:
        console.say(
            f"not here, so not learned from again: {', '.join(done.missing)} (DIGITOCR_DATA)"
        )
    console.rows_table(
        ("failures", "of", "in use", "candidate", "by luck"),
        [
            (
                one.name,
                str(one.count),
                str(one.in_use),
                str(one.candidate),
                f"{one.chance:.3f}" + ("" if one.passed else " (fails)"),
            )
            for one in done.gate.trials
        ],
        title=f"{done.learned} digits learned, {done.held_out} held out (gold), "
        f"{done.suspicious} set aside",
    )
