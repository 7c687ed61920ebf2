"""Train a classifier, from top to bottom: settings, data, network, fit, evaluate, save."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from digitocr.errors import DataError
from digitocr.imaging.normalization import SIZE, VERSION, normalize, normalize_all
from digitocr.recognition.classifier import CARD, DIGITS, NETWORK, OTHER, from_bytes
from digitocr.settings import Settings
from digitocr.training import augment, dataset, evaluate, networks, nondigits
from digitocr.training.dataset import GlyphSet

log = logging.getLogger(__name__)

CLASSES = (*DIGITS, OTHER)
KERAS_FILE, CHECKPOINT = "model.keras", "checkpoint.keras"
# Of what is trained on, so much is no digit, that the class is learned well; of what is read,
# so much. The logits are shifted from the one to the other, or `other` would win too often.
OTHER_SHARE_TRAINED, OTHER_SHARE_READ = 24 / 128, 0.05
MEASURED = ("nsysu-dev", "junk-dev", "eng-digits", "eng-letters")


def train(
    architecture: str,
    data: Sequence[str],
    epochs: int | None,
    out: Path,
    seed: int,
    settings: Settings,
    *,
    steps: int = 600,
    batch: int = 128,
    top_rate: float = 3e-3,
    decay: float = 1e-3,
) -> Path:
    """Train a network and write its model folder.

    Parameters
    ----------
    architecture
        A name in `networks.ARCHITECTURES`.
    data
        Names of data sets or `.npz` files; none means `mnist`.
    epochs
        Rounds of `steps` batches; None means 18.
    out
        The model folder to write; after every epoch it holds a checkpoint.

    Returns
    -------
    The model folder.

    Raises
    ------
    UsageError
        If there is no such architecture.
    DataError
        If a data set is missing, wrong or holds no digits.
    """
    epochs = 18 if epochs is None else epochs
    network = networks.build(architecture, len(CLASSES))

    sets = dataset.load_all(data or ("mnist",), settings.data)
    batches = Batches([one.part("train") for one in sets], seed=seed, steps=steps, size=batch)
    glyphs, labels = validation(sets, seed=seed)

    keras.utils.set_random_seed(seed)
    network = networks.build(architecture, len(CLASSES))
    network.compile(
        optimizer=keras.optimizers.AdamW(
            one_cycle(top_rate, epochs * steps), weight_decay=decay, use_ema=True
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )

    out.mkdir(parents=True, exist_ok=True)
    network.fit(
        batches,
        epochs=epochs,
        validation_data=(glyphs[..., None], labels),
        validation_batch_size=512,
        callbacks=[
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.ModelCheckpoint(str(out / CHECKPOINT)),
            keras.callbacks.LambdaCallback(on_epoch_end=_report_epoch),
        ],
        verbose=0,
    )

    expect_fewer_others(network)
    save(network, out, name=out.name, sets=sets, glyphs=glyphs, labels=labels)
    measured = (*(data or ("mnist",)), *_measurable(settings))
    evaluate.evaluate(out, measured, settings, out, whole_files=False)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return out


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras carries no types
    """Endless new pictures: every batch is drawn from the data and spoiled anew.

    Batch `index` of a round always comes out the same, whichever thread draws it.
    """

    def __init__(
        self,
        sets: Sequence[GlyphSet],
        *,
        seed: int,
        steps: int,
        size: int,
        other_share: float = OTHER_SHARE_TRAINED,
        composed_share: float = 0.6,
        evenness: float = 0.7,
    ) -> None:
        super().__init__(workers=1, max_queue_size=24)
        self.digits = _without_empty([one.where(one.labels < dataset.OTHER) for one in sets])
        self.others = _without_empty([one.where(one.labels == dataset.OTHER) for one in sets])
        if not self.digits:
            raise DataError("the data sets hold no digits to train on; add mnist")
        self.seed, self.steps, self.size, self.round = seed, steps, size, 0
        self.other_share, self.composed_share = other_share, composed_share
        self.evenness = evenness

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng((self.seed, self.round, index))
        images = np.zeros((self.size, SIZE, SIZE, 1), np.float32)
        labels = np.zeros(self.size, np.int64)
        for row in range(self.size):
            glyph, labels[row] = self.draw(rng)
            images[row, ..., 0] = augment.distort(glyph, rng)
        return images, labels

    def on_epoch_end(self) -> None:
        self.round += 1

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
        """Take a digit, or something that is none."""
        if rng.random() >= self.other_share:
            return _take(self.digits, rng, self.evenness)
        if self.others and rng.random() >= self.composed_share:
            return _take(self.others, rng, self.evenness)
        composed = nondigits.compose(lambda: _take(self.digits, rng, self.evenness), rng)
        return composed, dataset.OTHER


def _without_empty(sets: Sequence[GlyphSet]) -> list[GlyphSet]:
    return [one for one in sets if len(one)]


def _take(
    sets: Sequence[GlyphSet], rng: np.random.Generator, evenness: float
) -> tuple[NDArray[np.uint8], int]:
    """Take one glyph; small sets are drawn on more often than by their size."""
    weights = np.cumsum([len(one) ** evenness for one in sets])
    one = sets[int(np.searchsorted(weights, rng.random() * weights[-1]))]
    index = int(rng.integers(len(one)))
    return one.glyphs[index], int(one.labels[index])


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
    sets: Sequence[GlyphSet], *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gather the validation writers' characters as they are, and spoiled non-digits.

    The temperature is fitted on these. Fitted on digits as spoiled as those trained on, it
    leaves the classifier less sure of real ones than it may be.
    """
    rng = np.random.default_rng((seed, 1))
    parts = _without_empty([one.part("validation") for one in sets])
    images, labels = [], []
    for one in parts:
        for glyph, label in zip(one.glyphs, one.labels, strict=True):
            images.append(normalize(glyph))
            labels.append(int(label))
    digits = _without_empty([one.where(one.labels < dataset.OTHER) for one in parts])
    for _ in range(len(images) // 8 if digits else 0):
        composed = nondigits.compose(lambda: _take(digits, rng, 1.0), rng)
        images.append(augment.distort(composed, rng))
        labels.append(dataset.OTHER)
    if not images:
        raise DataError("the data sets hold no validation writers; add mnist or more digits")
    return np.stack(images), np.array(labels, np.int64)


def expect_fewer_others(
    network: Any, *, trained: float = OTHER_SHARE_TRAINED, read: float = OTHER_SHARE_READ
) -> None:
    """Move the bias of `other` from its share in training to its share in reading.

    References
    ----------
    Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21-41.
    """
    kernel, bias = network.get_layer("logits").get_weights()
    shifted = bias.copy()
    shifted[dataset.OTHER] += np.log(read / (1 - read)) - np.log(trained / (1 - trained))
    network.get_layer("logits").set_weights([kernel, shifted])


def save(
    network: Any,
    out: Path,
    *,
    name: str,
    sets: Sequence[GlyphSet],
    glyphs: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> None:
    """Write `model.keras`, `model.tflite` and a card without metrics.

    The network that is read is the int8 one if it gives all but one in ten thousand clean
    characters the same class as the other, else the fp32 one: int8 is three times as fast.
    """
    bare = networks.build(network.name, len(CLASSES))  # without the optimizer's moments
    bare.set_weights(network.get_weights())
    bare.save(out / KERAS_FILE)
    logits = network.predict(glyphs[..., None], batch_size=512, verbose=0)
    (out / NETWORK).write_bytes(converted(network, _clean(sets)))
    card = {
        "name": name,
        "architecture": network.name,
        "classes": list(CLASSES),
        "size": SIZE,
        "polarity": "0.0 paper, 1.0 ink",
        "temperature": round(temperature_of(logits, labels), 4),
        "normalization": VERSION,
        "parameters": int(network.count_params()),
        "trained_on": [one.source for one in sets],
        "metrics": {},
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _clean(sets: Sequence[GlyphSet]) -> NDArray[np.float32]:
    """Normalize the test characters, or without any those of the validation writers."""
    parts = _without_empty([one.part("test") for one in sets])
    parts = parts or _without_empty([one.part("validation") for one in sets])
    return np.concatenate([normalize_all(one.glyphs) for one in parts])


def converted(network: Any, glyphs: NDArray[np.float32]) -> bytes:
    """Convert to LiteRT, with int8 weights where that changes next to no answer."""
    wanted = network.predict(glyphs[..., None], batch_size=512, verbose=0).argmax(axis=1)
    small = b""
    for optimizations in ([tf.lite.Optimize.DEFAULT], []):
        with tempfile.TemporaryDirectory() as folder:
            network.export(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.optimizations = optimizations
            small = converter.convert()
        rows = from_bytes(small)(glyphs)
        agree = float((rows.argmax(axis=1) == wanted).mean())
        log.info("LiteRT %s: %.4f agree", "int8" if optimizations else "fp32", agree)
        if agree >= 0.9999:
            break
    return small


def temperature_of(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    other_share: float = OTHER_SHARE_READ,
) -> float:
    """Find the temperature at which the validation glyphs are most probable.

    Non-digits weigh as if they were `other_share` of all.
    """
    others = labels == dataset.OTHER
    weights = np.where(
        others, other_share / max(1, others.sum()), (1 - other_share) / max(1, (~others).sum())
    )

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        return float(weights @ (np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]))

    return min((float(t) for t in np.geomspace(0.4, 3.0, 120)), key=loss)


def _report_epoch(epoch: int, logs: dict[str, float] | None) -> None:
    figures = " ".join(f"{key} {value:.4f}" for key, value in (logs or {}).items())
    log.info("epoch %d: %s", epoch + 1, figures)


def _measurable(settings: Settings) -> tuple[str, ...]:
    """Name the sets that are only measured, as far as they are there."""
    found = []
    for name in MEASURED:
        try:
            dataset.load(name, settings.data)
        except DataError:
            continue
        found.append(name)
    return tuple(found)
