"""Train a classifier, from top to bottom: settings, data, network, fit, evaluate, save."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from digitocr.errors import DataError
from digitocr.imaging.normalization import SIZE, VERSION, normalize, normalize_all
from digitocr.recognition.classifier import DIGITS, OTHER, load_model
from digitocr.recognition.folders import CARD, NETWORK
from digitocr.settings import Settings
from digitocr.training import augment, dataset, evaluate, networks, nondigits, pictures, plots
from digitocr.training.dataset import GlyphSet
from digitocr.training.export import (
    KERAS_FILE,
    OTHER_SHARE_READ,
    converted_classifier,
    temperature_of,
)
from digitocr.training.pictures import Sheaf, Watch, unwatched
from digitocr.types import Classify

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.keras"
# What is trained on holds more non-digits than what is read (`pictures.OTHER_SHARE`): the
# logits are shifted from the one share to the other, or `other` would win too often.
OTHER_ODDS = (OTHER_SHARE_READ / (1 - OTHER_SHARE_READ)) / (
    pictures.OTHER_SHARE / (1 - pictures.OTHER_SHARE)
)
MEASURED = ("nsysu-dev", "junk-dev", "drawn-junk", "eng-digits", "eng-letters")


def train(
    architecture: str,
    data: Sequence[str],
    epochs: int | None,
    out: Path,
    seed: int,
    settings: Settings,
    *,
    teachers: Sequence[Path] = (),
    watch: Watch = unwatched,
    pictures_an_epoch: int | None = None,
    batch: int = 128,
) -> Path:
    """Train a network and write its model folder.

    Parameters
    ----------
    architecture
        A name in `networks.ARCHITECTURES`.
    data
        Names of data sets or `.npz` files; none means `mnist`.
    epochs
        Rounds over the pictures; None means as many as the architecture wants.
    out
        The model folder to write. While training goes on it holds the best network so far.
    seed
        The same seed gives the same weights on one machine.
    teachers
        Model folders whose averaged answers are learned beside the labels.
    watch
        Shows how far the work is.

    Returns
    -------
    The model folder.

    Raises
    ------
    UsageError
        If there is no such architecture.
    DataError
        If a data set is missing, wrong or holds no digits.
    ModelError
        If a teacher cannot be loaded, or the exported network does not agree with Keras.
    """
    began = time.monotonic()
    plan = networks.find(architecture)
    epochs = epochs or plan.epochs
    taught_by = [load_model(path) for path in teachers]
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    sets = dataset.load_all(data or ("mnist",), settings.data)
    network = plan.build()
    classes = int(network.output_shape[-1])
    learned = [_of_classes(one.part("train"), classes) for one in sets]
    glyphs, labels = validation(sets, classes, seed=seed)
    sheaves = pictures.draw_sheaves(
        plan.pictures, learned, epochs=epochs, seed=seed, size=pictures_an_epoch, watch=watch
    )
    targets = [
        answers(sheaf, classes, [one.classify for one in taught_by], watch=watch)
        for sheaf in sheaves
    ]

    order = [pictures.sheaf_of(plan.pictures, epoch, epochs) for epoch in range(epochs)]
    batches = Batches(sheaves, targets, order, seed=seed, size=batch)
    out.mkdir(parents=True, exist_ok=True)
    with watch(f"Training {architecture}", epochs, unit="epoch") as advance:
        best = KeepBest(out / CHECKPOINT, advance)
        history = fit(
            network,
            batches,
            glyphs,
            labels,
            epochs=epochs,
            top_rate=plan.top_rate,
            decay=plan.decay,
            after=best,
        )
    network.set_weights(best.weights)

    if classes > len(DIGITS):
        expect_fewer_others(network)
    trained = {
        "seed": seed,
        "epochs": epochs,
        "best_epoch": best.epoch,
        "pictures": int(sum(len(sheaf.labels) for sheaf in sheaves)),
        "teachers": [one.card.name for one in taught_by],
        "seconds": round(time.monotonic() - began),
        "validation_accuracy": round(float(history["val_accuracy"][best.epoch - 1]), 5),
    }
    save(network, out, sets=sets, glyphs=glyphs, labels=labels, trained=trained)
    plots.draw_history(history, best.epoch, out / "history.png")
    counts = {one.name: np.bincount(one.labels, minlength=11) for one in learned if len(one)}
    plots.draw_class_counts(counts, out / "classes.png")
    names = tuple(data or ("mnist",))
    measured = (*names, *measurable(names, settings))
    evaluate.evaluate(out, measured, settings, out, whole_files=False)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return out


def _of_classes(one: GlyphSet, classes: int) -> GlyphSet:
    """Leave out what the network has no class for."""
    return one if classes > len(DIGITS) else one.where(one.labels < dataset.OTHER)


def _one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[labels]


def as_ink(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring pictures of 255 ink to what a network takes: 0 paper to 1 ink."""
    return images.astype(np.float32) / np.float32(255.0)


def answers(
    sheaf: Sheaf,
    classes: int,
    teachers: Sequence[Classify],
    *,
    taught_share: float = 0.8,
    watch: Watch = unwatched,
) -> NDArray[np.float16]:
    """Give what is to be answered for each picture: its label, and what teachers say of it.

    A teacher knows which digits a spoiled picture might be, and when it shows none at all; a
    label does not. Small networks that learn both come out nearly as good as the teachers.

    Parameters
    ----------
    teachers
        Classifiers whose probabilities are averaged; none leaves the labels alone.
    taught_share
        Weight of the teachers beside the label.

    Returns
    -------
    (N, classes) float16 whose rows sum to 1.

    References
    ----------
    Hinton, Vinyals and Dean, arXiv:1503.02531; Beyer et al., CVPR 2022, on patience.
    """
    wanted = _one_hot(sheaf.labels, classes)
    if teachers:
        said = np.zeros_like(wanted)
        with watch("Asking the teachers", len(teachers), unit="teacher") as advance:
            for classify in teachers:
                said += _as_learned(classify(as_ink(sheaf.images)), classes)
                advance("")
        share = np.float32(taught_share)
        wanted = share * said / np.float32(len(teachers)) + (1 - share) * wanted
    return wanted.astype(np.float16)


def _as_learned(rows: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """Bring a teacher's answers to the classes, and `other` to the share, of the training."""
    fitted = np.zeros((len(rows), classes), np.float32)
    shared = min(classes, rows.shape[1])
    fitted[:, :shared] = rows[:, :shared]
    if shared > len(DIGITS):
        fitted[:, dataset.OTHER] /= np.float32(OTHER_ODDS)
    fitted /= np.maximum(fitted.sum(axis=1, keepdims=True), 1e-9)
    return fitted


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras carries no types
    """The pictures of an epoch after the other, each sheaf in another order every time."""

    def __init__(
        self,
        sheaves: Sequence[Sheaf],
        targets: Sequence[NDArray[np.float16]],
        order: Sequence[int],
        *,
        seed: int,
        size: int,
    ) -> None:
        super().__init__(workers=1, max_queue_size=16)
        self.sheaves, self.targets, self.order = sheaves, targets, order
        self.seed, self.size = seed, size
        self.begin(0)

    def __len__(self) -> int:
        return max(1, len(self.sheaves[0].labels) // self.size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self.rows[index * self.size : (index + 1) * self.size]
        wanted = self.targets[self.sheaf][rows].astype(np.float32)
        return as_ink(self.sheaves[self.sheaf].images[rows])[..., None], wanted

    def begin(self, epoch: int, logs: object = None) -> None:
        """Turn to an epoch, counted from 0; Keras ends one more than it begins."""
        self.sheaf = self.order[epoch]
        rng = np.random.default_rng((self.seed, epoch))
        self.rows = rng.permutation(len(self.sheaves[self.sheaf].labels))


def fit(
    network: Any,
    batches: Batches,
    glyphs: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    epochs: int,
    top_rate: float,
    decay: float,
    after: keras.callbacks.Callback,
) -> dict[str, list[float]]:
    """Fit a classifier; what is validated, and left at the end, is the mean of its weights.

    Parameters
    ----------
    glyphs, labels
        (N, 28, 28), 0 paper to 1 ink, and (N,): validated on.
    top_rate
        Highest learning rate of the one cycle.
    decay
        Weight decay of AdamW.
    after
        Told of every epoch once it has been validated.

    Returns
    -------
    Loss and accuracy of every epoch, in training and (`val_…`) validation.
    """
    network.compile(
        optimizer=keras.optimizers.AdamW(
            one_cycle(top_rate, epochs * len(batches)), weight_decay=decay, use_ema=True
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )
    history: dict[str, list[float]] = network.fit(
        batches,
        epochs=epochs,
        validation_data=(glyphs[..., None], _one_hot(labels, int(network.output_shape[-1]))),
        validation_batch_size=512,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_begin=batches.begin),
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            after,
        ],
        verbose=0,
    ).history
    return history


def show_accuracy(advance: Callable[[str], None], of: str) -> keras.callbacks.Callback:
    """Show after every epoch how much of what is validated on is right."""

    def show(epoch: int, logs: dict[str, float] | None = None) -> None:
        advance(f"{of} {(logs or {}).get('val_accuracy', 0.0):.2%}")

    return keras.callbacks.LambdaCallback(on_epoch_end=show)


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Keep the weights of the epoch that says the validation characters best."""

    def __init__(self, checkpoint: Path, advance: Callable[[str], None]) -> None:
        super().__init__()
        self.checkpoint, self.advance = checkpoint, advance
        self.weights: list[NDArray[np.float32]] = []
        self.loss, self.epoch = float("inf"), 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = logs or {}
        if figures["val_loss"] < self.loss:
            self.loss, self.epoch = figures["val_loss"], epoch + 1
            self.weights = self.model.get_weights()
            self.model.save(self.checkpoint)
        log.info("epoch %d: %s", epoch + 1, figures)
        self.advance(f"validation {figures['val_accuracy']:.2%}")


def one_cycle(top_rate: float, steps: int, *, rise: float = 0.2) -> Any:
    """Give a schedule that rises to `top_rate` and falls to nothing along a cosine."""
    warm = max(1, int(rise * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=top_rate / 25,
        decay_steps=max(1, steps - warm),
        warmup_target=top_rate,
        warmup_steps=warm,
    )


def validation(
    sets: Sequence[GlyphSet], classes: int, *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gather the validation writers' characters as they are, and spoiled non-digits.

    The temperature is fitted on these. Fitted on digits as spoiled as those trained on, it
    leaves the classifier less sure of real ones than it may be.
    """
    rng = np.random.default_rng((seed, 1))
    parts = pictures.without_empty(
        [_of_classes(one.part("validation"), classes) for one in sets]
    )
    images, labels = [], []
    for one in parts:
        for glyph, label in zip(one.glyphs, one.labels, strict=True):
            images.append(normalize(glyph))
            labels.append(int(label))
    digits = pictures.without_empty([one.where(one.labels < dataset.OTHER) for one in parts])
    for _ in range(len(images) // 8 if digits and classes > len(DIGITS) else 0):
        composed = nondigits.compose(lambda: pictures.take(digits, rng, evenness=1.0), rng)
        images.append(augment.distort(composed, rng))
        labels.append(dataset.OTHER)
    if not images:
        raise DataError("the data sets hold no validation writers; add mnist or more digits")
    return np.stack(images), np.array(labels, np.int64)


def expect_fewer_others(network: Any, *, back: bool = False) -> None:
    """Move the bias of `other` from its share in training to its share in reading, or `back`.

    References
    ----------
    Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21-41.
    """
    kernel, bias = network.get_layer("logits").get_weights()
    shifted = bias.copy()
    shifted[dataset.OTHER] += -np.log(OTHER_ODDS) if back else np.log(OTHER_ODDS)
    network.get_layer("logits").set_weights([kernel, shifted])


def save(
    network: Any,
    out: Path,
    *,
    sets: Sequence[GlyphSet],
    glyphs: NDArray[np.float32],
    labels: NDArray[np.int64],
    trained: dict[str, Any],
) -> None:
    """Write `model.keras`, `model.tflite` and a card without metrics.

    Raises
    ------
    ModelError
        If the network that would be read does not agree with Keras.
    """
    bare = networks.find(network.name).build()  # without the optimizer's moments
    bare.set_weights(network.get_weights())
    bare.save(out / KERAS_FILE)
    logits = network.predict(glyphs[..., None], batch_size=512, verbose=0)
    (out / NETWORK).write_bytes(converted_classifier(network, _clean(sets)))
    card = {
        "name": out.name,
        "architecture": network.name,
        "classes": [*DIGITS, OTHER][: logits.shape[1]],
        "size": SIZE,
        "polarity": "0.0 paper, 1.0 ink",
        "temperature": round(temperature_of(logits, labels), 4),
        "normalization": VERSION,
        "parameters": int(network.count_params()),
        "trained_on": [one.source for one in sets],
        "training": trained,
        "metrics": {},
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _clean(sets: Sequence[GlyphSet]) -> NDArray[np.float32]:
    """Normalize the test characters, or without any those of the validation writers."""
    parts = pictures.without_empty([one.part("test") for one in sets])
    parts = parts or pictures.without_empty([one.part("validation") for one in sets])
    return np.concatenate([normalize_all(one.glyphs) for one in parts])


def measurable(trained_on: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Name the sets that are only measured, as far as they are there."""
    found = []
    for name in MEASURED:
        if name == "drawn-junk" and not (settings.data or "mnist" in trained_on):
            continue  # is made of MNIST, which would be fetched for it alone
        try:
            dataset.load(name, settings.data)
        except DataError:
            continue
        found.append(name)
    return tuple(found)
