"""A trained classifier goes on to learn the digits that are cut out of numbers.

Half of the pictures are those that it was trained on, where it is taught by its own answers
too, half are glyphs of the lattice (`cutting`). That is done a few times, and the weights are
averaged with those that it began with: the mean reads cut digits nearly as well as any of the
runs, and whole ones as well as before, or better.

References
----------
Wortsman et al., arXiv:2203.05482, on averaging the weights of several runs, and
arXiv:2109.01903, on averaging them with the weights they began with.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from digitocr.errors import ModelError, UsageError
from digitocr.recognition.classifier import DIGITS, Model, load_model
from digitocr.recognition.folders import CARD
from digitocr.settings import Settings
from digitocr.training import cutting, evaluate, pictures, plots, retraining, train
from digitocr.training.dataset import OTHER, GlyphSet
from digitocr.training.pictures import Kind, Sheaf, Spoiling, Watch, unwatched

EPOCHS = 8
RUNS = 3
KEPT_SHARE = 0.4  # of the weights that it began with, in the mean
CUT_SHARE = 0.5  # of the pictures
TAUGHT_SHARE = 0.7  # of its own answers beside the labels of what it knew
TIMES_USED = 2  # of each picture
SPOILING = Spoiling(clean=0.5, spoiled=0.3)  # what is cut out is spoiled already
TOP_RATE, DECAY = 1.5e-3, 1e-3


def go_on(
    start: Path,
    out: Path,
    seed: int,
    settings: Settings,
    *,
    epochs: int = EPOCHS,
    runs: int = RUNS,
    pictures_an_epoch: int = pictures.SHEAF,
    batch: int = 128,
    watch: Watch = unwatched,
) -> Path:
    """Let a classifier of ours learn cut digits; writes a model folder as `train` does.

    Parameters
    ----------
    start
        Folder of the model to go on with.
    out
        The model folder to write.
    epochs, runs
        Rounds over the pictures, and how often that is done, each time with other pictures.
    seed
        The same seed gives the same weights on one machine.

    Raises
    ------
    DataError
        If MNIST or the writers of numbers cannot be had.
    ModelError
        If the model cannot go on learning, or the exported network does not agree with Keras.
    UsageError
        If `out` is the folder to go on with.
    """
    began = time.monotonic()
    if out.resolve() == start.resolve():
        raise UsageError(f"--out {out}: is the model to go on with; name another folder")
    model = load_model(start)
    card = json.loads((start / CARD).read_text(encoding="utf-8"))
    if len(model.card.classes) <= len(DIGITS):
        raise ModelError(f"{start}: has no class for what is no digit, and cannot go on here")
    known, _ = retraining.known_before(card, settings)
    cuts = cutting.load(settings.data, seed=seed, watch=watch)
    tested = cuts.part("validation")
    old = retraining.network_of(start, card).get_weights()
    learned: list[list[NDArray[np.float32]]] = []
    for run in range(runs):
        keras.utils.set_random_seed(100 * seed + run)
        tf.config.experimental.enable_op_determinism()
        network = retraining.network_of(start, card)
        sheaves, targets = _draw(
            model,
            known,
            cuts,
            seed=100 * seed + run,
            count=-(-epochs // TIMES_USED),
            size=pictures_an_epoch,
            watch=watch,
        )
        order = [epoch % len(sheaves) for epoch in range(epochs)]
        batches = train.Batches(sheaves, targets, order, seed=run, size=batch)
        with watch(f"Run {run + 1} of {runs}", epochs, unit="epoch") as advance:
            history = train.fit(
                network,
                batches,
                train.as_ink(tested.glyphs),
                tested.labels,
                epochs=epochs,
                top_rate=TOP_RATE,
                decay=DECAY,
                after=train.show_accuracy(advance, "cut ones"),
            )
        learned.append(network.get_weights())

    share = (1 - KEPT_SHARE) / runs
    network.set_weights(
        [KEPT_SHARE * a + share * sum(b) for a, *b in zip(old, *learned, strict=True)]
    )
    train.expect_fewer_others(network)
    glyphs, labels = train.validation(known, len(DIGITS) + 1, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    trained = {
        "went_on_from": {"fingerprint": model.card.fingerprint[:12], **card["training"]},
        "seed": seed,
        "epochs": epochs,
        "runs": runs,
        "cut_glyphs": len(cuts.part("train")),
        "seconds": round(time.monotonic() - began),
    }
    train.save(network, out, sets=(*known, cuts), glyphs=glyphs, labels=labels, trained=trained)
    plots.draw_history(history, epochs, out / "history.png")
    counts = {
        one.name: np.bincount(one.part("train").labels, minlength=11) for one in (*known, cuts)
    }
    plots.draw_class_counts(counts, out / "classes.png")
    _note_cuts(out, model, tested)
    names = tuple(one.name for one in known)
    measured = (*names, *train.measurable(names, settings))
    evaluate.evaluate(out, measured, settings, out, whole_files=False, watch=watch)
    return out


def _draw(
    model: Model,
    known: Sequence[GlyphSet],
    cuts: GlyphSet,
    *,
    seed: int,
    count: int,
    size: int,
    watch: Watch,
) -> tuple[list[Sheaf], list[NDArray[np.float16]]]:
    """Draw what it knew and what is cut, with what is to be answered."""
    new_size = round(CUT_SHARE * size)
    before = pictures.draw_sheaves(
        Kind.SCANNED,
        [one.part("train") for one in known],
        epochs=count,
        seed=seed,
        size=size - new_size,
        plan=[pictures.LIGHT] * count,
        watch=watch,
    )
    after = pictures.draw_sheaves(
        Kind.SCANNED,
        [cuts.part("train")],
        epochs=count,
        seed=seed + 50,
        size=new_size,
        plan=[SPOILING] * count,
        composed_share=0.0,
        watch=watch,
    )
    sheaves, targets = [], []
    classes = len(DIGITS) + 1
    for a, b in zip(before, after, strict=True):
        both = (np.concatenate([a.images, b.images]), np.concatenate([a.labels, b.labels]))
        sheaves.append(Sheaf(*both))
        taught = train.answers(a, classes, [model.classify], taught_share=TAUGHT_SHARE)
        targets.append(np.concatenate([taught, train.answers(b, classes, [])]))
    return sheaves, targets


def _note_cuts(out: Path, before: Model, tested: GlyphSet) -> None:
    """Write into the card how cut digits of the validation writers are read, and were."""
    digits = tested.where(tested.labels < OTHER)
    images = train.as_ink(digits.glyphs)
    file = out / CARD
    card = json.loads(file.read_text(encoding="utf-8"))
    for key, model in (
        ("cut_digits_right_before", before),
        ("cut_digits_right", load_model(out)),
    ):
        said = model.classify(images)[:, : len(DIGITS)].argmax(axis=1)
        card["training"][key] = round(float((said == digits.labels).mean()), 5)
    file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
