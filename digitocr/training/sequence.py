"""Train a reader of whole numbers, from top to bottom: compose, fit, measure, save.

Every number is composed: digits of one writer, touching or not, on paper of every kind, and
crops that hold none, whose text is "". Writers of the validation part are in no picture that is
learned from. The loss is CTC's: nobody says where a digit stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from digitocr.errors import ModelError, UsageError
from digitocr.recognition import sequence
from digitocr.recognition.ctc import BLANK, COLUMNS, Frames, path_text
from digitocr.recognition.folders import CARD, NETWORK
from digitocr.settings import Settings
from digitocr.training import dataset, export, pictures, plots
from digitocr.training.composition import hands
from digitocr.training.evaluate import REPORT
from digitocr.training.export import KERAS_FILE
from digitocr.training.line_scores import best_text, measure, report
from digitocr.training.lines import Line, compose_lines, jitter
from digitocr.training.pictures import Kind, Watch, unwatched
from digitocr.training.sequence_networks import ARCHITECTURES, DEEPER, GATE
from digitocr.training.train import CHECKPOINT, KeepBest, one_cycle
from digitocr.types import STRIP_HEIGHT, STRIP_WIDTHS

SHEAF = 48_000  # crops an epoch
TIMES_USED = 2  # of a crop: one core composes as many as another learns from twice
VALIDATION = 3_000
LEAST_AGREEING = 0.995  # of the crops
SOURCES = ("mnist", "unipen", "usps", "drawn")
COMPOSED_OF = "numbers composed of "
HISTORY = "history.png"


def train(
    architecture: str,
    epochs: int | None,
    out: Path,
    seed: int,
    settings: Settings,
    *,
    start: Path | None = None,
    watch: Watch = unwatched,
    crops_an_epoch: int = SHEAF,
    validated: int = VALIDATION,
    batch: int = 64,
) -> Path:
    """Train a sequence network on composed numbers and write its model folder.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES`.
    epochs
        Rounds over the crops; None means as many as the architecture wants.
    out
        The model folder to write. While training goes on it holds the best network so far.
    seed
        The same seed gives the same weights on one machine.
    start
        Model folder whose weights are gone on with, at a quarter of the learning rate; without
        it the network begins anew.
    watch
        Shows how far the work is.

    Raises
    ------
    UsageError
        If there is no such architecture.
    DataError
        If the writers cannot be had.
    ModelError
        If the exported network does not read as Keras does.
    """
    began = time.monotonic()
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"--architecture {architecture}: no such architecture; of those that read whole "
            f"numbers there are {', '.join(ARCHITECTURES)}"
        )
    plan = ARCHITECTURES[architecture]
    epochs = epochs or plan.epochs
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    (tested,) = compose_lines(
        hands.load(settings.data, "validation"), [(pictures.LIGHT, validated)], seed=seed + 1
    )
    spoilings = pictures.spoilings(Kind.SCANNED, epochs, times_used=TIMES_USED)
    composed = compose_lines(
        hands.load(settings.data, "train"),
        [(spoiling, crops_an_epoch) for spoiling in spoilings],
        seed=seed,
        watch=watch,
    )
    sheaves = chain([next(composed)], composed)

    network = plan.build_to_train()
    top_rate = plan.top_rate
    if start is not None:
        network.set_weights(_weights_of(start, network))
        top_rate /= 4
    steps = epochs * (-(-crops_an_epoch // batch) + len(STRIP_WIDTHS))
    network.compile(
        optimizer=keras.optimizers.AdamW(
            one_cycle(top_rate, steps), weight_decay=plan.decay, use_ema=True
        )
    )
    out.mkdir(parents=True, exist_ok=True)
    with watch(f"Training {architecture}", epochs, unit="epoch") as advance:
        best = KeepBest(out / CHECKPOINT, advance)
        learned = _by_epoch(sheaves, epochs)
        history = fit(network, learned, tested, best, seed=seed, batch=batch)
    kept = plan.build_to_keep()
    kept.set_weights(best.weights)

    trained = {
        "seed": seed,
        "epochs": epochs,
        "best_epoch": best.epoch,
        "crops": len(spoilings) * crops_an_epoch,
        "started_from": _started_from(start),
        "seconds": round(time.monotonic() - began),
        "validation_exact": round(history["val_accuracy"][best.epoch - 1], 5),
    }
    sources = [dataset.load(name, settings.data).source for name in SOURCES]
    save(kept, out, tested=tested, trained=trained, sources=sources)
    plots.draw_history(history, best.epoch, out / HISTORY)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return out


def average(
    folders: Sequence[Path],
    out: Path,
    seed: int,
    settings: Settings,
    *,
    watch: Watch = unwatched,
) -> Path:
    """Write a sequence network whose weights are the mean of those of others.

    Of networks that went on from one another the mean reads better than each: what one of them
    forgot, the others did not.

    Parameters
    ----------
    folders
        Two or more model folders of one architecture. The history of the first is kept.
    seed
        Of the crops of validation writers that temperature and report come from.

    Raises
    ------
    DataError
        If the writers cannot be had.
    ModelError
        If a folder is none of a sequence network, or the mean does not read as Keras does.
    UsageError
        If there are fewer than two, or `out` is one of them.

    References
    ----------
    Wortsman et al., arXiv:2203.05482.
    """
    if len(folders) < 2 or out.resolve() in {one.resolve() for one in folders}:
        raise UsageError("average two model folders or more, and write the mean into another")
    cards = [sequence.read_sequence_card(one) for one in folders]
    first = json.loads((folders[0] / CARD).read_text(encoding="utf-8"))
    plan = ARCHITECTURES[first["architecture"]]
    network = plan.build_to_keep()
    weights = [_weights_of(one, network) for one in folders]
    network.set_weights([np.mean(same, axis=0) for same in zip(*weights, strict=True)])
    (tested,) = compose_lines(
        hands.load(settings.data, "validation"),
        [(pictures.LIGHT, VALIDATION)],
        seed=seed + 1,
        watch=watch,
    )
    out.mkdir(parents=True, exist_ok=True)
    trained = {"mean_of": [_started_from(one) for one in folders]}
    sources = [one.removeprefix(COMPOSED_OF) for one in cards[0].trained_on]
    save(network, out, tested=tested, trained=trained, sources=sources)
    history = folders[0] / HISTORY
    if history.is_file():
        (out / HISTORY).write_bytes(history.read_bytes())
    return out


def _weights_of(folder: Path, network: Any) -> list[Any]:
    """Load the weights of a model folder of the same architecture, perhaps of an older make.

    Layers that came later stay as they are in `network`.
    """
    file = folder / KERAS_FILE
    try:
        found: list[Any] = keras.models.load_model(file, compile=False).get_weights()
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())[:160]
        raise ModelError(f"{file}: {cause}; --start wants a model folder") from error
    ours = [(layer.name, one) for layer in network.layers for one in layer.get_weights()]
    for later in ((), (DEEPER,), (DEEPER, GATE)):
        known = [one for name, one in ours if not name.startswith(later)]
        if [np.shape(one) for one in found] == [one.shape for one in known]:
            left = iter(found)
            return [one if name.startswith(later) else next(left) for name, one in ours]
    raise ModelError(f"{file}: is not a {network.name}; start from one, or leave --start out")


def _started_from(folder: Path | None) -> dict[str, Any] | None:
    """Say what was gone on with: its training, as its card has it."""
    if folder is None:
        return None
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return {"name": card["name"], **card["training"]}


# ---------------------------------------------------------------- what is learned from


def _by_epoch(sheaves: Iterator[list[Line]], epochs: int) -> Iterator[list[Line]]:
    """Give every epoch its sheaf: used in some running, and let go of."""
    order = sorted(
        pictures.sheaf_of(Kind.SCANNED, epoch, epochs, times_used=TIMES_USED)
        for epoch in range(epochs)
    )
    for _, uses in groupby(order):
        lines = next(sheaves)
        for _ in uses:
            yield lines


Batch = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def batches(lines: Sequence[Line], size: int, rng: np.random.Generator | None) -> Iterator[Any]:
    """Give batches of strips of one bucket, each with its lines' places.

    With `rng` they are shuffled and jittered, to be learned from.

    The last of a bucket is filled up with lines from its beginning: TensorFlow traces the
    network once a shape.
    """
    buckets: dict[int, list[int]] = {}
    for place, line in enumerate(lines):
        buckets.setdefault(sequence.bucket_of(line.strip.shape[1]), []).append(place)
    parts: list[tuple[int, NDArray[np.int64]]] = []
    for bucket, members in sorted(buckets.items()):
        places = np.array(members) if rng is None else rng.permutation(members)
        filled = np.resize(places, -(-len(places) // size) * size)
        parts += [(bucket, part) for part in filled.reshape(-1, size)]
    for index in np.arange(len(parts)) if rng is None else rng.permutation(len(parts)):
        bucket, part = parts[index]
        yield part, _batch([lines[place] for place in part], bucket, rng)


def _batch(lines: Sequence[Line], bucket: int, rng: np.random.Generator | None) -> Batch:
    """Give strips, frames of each, digits of each, and how many those are."""
    strips = np.zeros((len(lines), STRIP_HEIGHT, bucket, 1), np.uint8)
    digits = np.zeros((len(lines), max(1, *(len(line.text) for line in lines))), np.int32)
    for row, line in enumerate(lines):
        strip = line.strip if rng is None else jitter(line.strip, rng)
        strips[row, :, : strip.shape[1], 0] = strip
        digits[row, : len(line.text)] = [int(digit) for digit in line.text]
    frames = [sequence.frames_of(line.strip.shape[1]) for line in lines]
    lengths = [len(line.text) for line in lines]
    return strips, np.array(frames, np.int32), digits, np.array(lengths, np.int32)


# ---------------------------------------------------------------- fit


def fit(
    network: Any,
    sheaves: Iterable[Sequence[Line]],
    tested: Sequence[Line],
    best: KeepBest,
    *,
    seed: int,
    batch: int,
) -> dict[str, list[float]]:
    """Learn from a sheaf an epoch; `best` is left with the best weights, averaged over steps.

    Keras' own loop wants one shape of batches; strips come in five.
    """
    averaged = keras.callbacks.SwapEMAWeights()
    for callback in (averaged, best):
        callback.set_model(network)
    optimizer = network.optimizer

    def step(strips: Any, frames: Any, digits: Any, lengths: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = network(_scaled(strips), training=True)
            loss = tf.reduce_mean(ctc_loss(logits, frames, digits, lengths))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss, logits

    # One traced function a bucket: one for all would complain of their different shapes.
    steps = {bucket: tf.function(step) for bucket in STRIP_WIDTHS}
    keys = ("loss", "accuracy", "val_loss", "val_accuracy")
    history: dict[str, list[float]] = {key: [] for key in keys}
    for epoch, lines in enumerate(sheaves):
        rng = np.random.default_rng((seed, 2, epoch))
        losses, right = [], []
        for places, arrays in batches(lines, batch, rng):
            loss, logits = steps[arrays[0].shape[2]](*_padded(arrays))
            losses.append(float(loss))
            texts = greedy_texts(logits.numpy(), arrays[1])
            right += [
                text == lines[place].text for text, place in zip(texts, places, strict=True)
            ]
        averaged.on_test_begin()
        loss, exact = validate(network, tested, batch=batch)
        figures = dict(
            zip(keys, (float(np.mean(losses)), float(np.mean(right)), loss, exact), strict=True)
        )
        best.on_epoch_end(epoch, figures)
        averaged.on_test_end()
        for key, figure in figures.items():
            history[key].append(figure)
    return history


def _padded(arrays: Batch, *, longest: int = 16) -> Batch:
    """Bring the digits to one width, so that no further shape is traced."""
    strips, frames, digits, lengths = arrays
    missing = max(0, longest - digits.shape[1])
    return strips, frames, np.pad(digits, ((0, 0), (0, missing))), lengths


def _scaled(strips: Any) -> Any:
    return tf.cast(strips, tf.float32) / 255.0


def ctc_loss(logits: Any, frames: Any, digits: Any, lengths: Any) -> Any:
    """Give minus the log-probability of each text; frames of the padding do not count.

    TensorFlow's loss refuses empty texts: they have one path, which is all blanks.
    """
    digits = tf.RaggedTensor.from_tensor(digits, lengths=tf.maximum(lengths, 1)).to_sparse()
    spelled = tf.nn.ctc_loss(
        tf.cast(digits, tf.int32),
        logits,
        None,
        frames,
        logits_time_major=False,
        blank_index=BLANK,
    )
    inside = tf.sequence_mask(frames, tf.shape(logits)[1], tf.float32)
    blank = -tf.reduce_sum(tf.nn.log_softmax(logits)[..., BLANK] * inside, axis=1)
    return tf.where(lengths > 0, spelled, blank)


def validate(network: Any, lines: Sequence[Line], *, batch: int) -> tuple[float, float]:
    """Give the loss, and the share of texts read without a mistake."""
    logits = logits_of(network, lines, batch=batch)
    losses = _losses(logits, lines, temperature=1.0)
    texts = [greedy_texts(rows[None], np.array([len(rows)], np.int32))[0] for rows in logits]
    right = [text == line.text for text, line in zip(texts, lines, strict=True)]
    return float(losses.mean()), float(np.mean(right))


def logits_of(network: Any, lines: Sequence[Line], *, batch: int = 64) -> list[Frames]:
    """Give each line its frames as Keras has them, before the softmax."""
    found: list[Frames] = [np.zeros((0, COLUMNS), np.float32)] * len(lines)
    for places, (strips, frames, _, _) in batches(lines, batch, None):
        rows = network.predict_on_batch(strips.astype(np.float32) / np.float32(255))
        for place, one, count in zip(places, rows, frames, strict=True):
            found[place] = one[:count]
    return found


def greedy_texts(logits: NDArray[np.float32], frames: NDArray[np.int32]) -> list[str]:
    """Spell the likeliest path of each crop: quick, for watching the training."""
    paths = zip(logits.argmax(axis=2), frames, strict=True)
    return [path_text(rows[:count]) for rows, count in paths]


def _losses(
    logits: Sequence[Frames], lines: Sequence[Line], *, temperature: float
) -> NDArray[np.float64]:
    """Give the CTC loss of every line at a temperature."""
    frames = np.array([len(rows) for rows in logits], np.int32)
    stacked = np.zeros((len(logits), int(frames.max()), COLUMNS), np.float32)
    for row, rows in zip(stacked, logits, strict=True):
        row[: len(rows)] = rows / np.float32(temperature)
    digits = np.zeros((len(lines), max(1, *(len(line.text) for line in lines))), np.int32)
    for spelled, line in zip(digits, lines, strict=True):
        spelled[: len(line.text)] = [int(digit) for digit in line.text]
    lengths = np.array([len(line.text) for line in lines], np.int32)
    losses: NDArray[np.float64] = ctc_loss(stacked, frames, digits, lengths).numpy()
    return losses


# ---------------------------------------------------------------- save


def save(
    network: Any,
    out: Path,
    *,
    tested: Sequence[Line],
    trained: dict[str, Any],
    sources: Sequence[str],
) -> None:
    """Write `model.keras`, `model.tflite`, the card with its metrics, and `report.md`.

    Raises
    ------
    ModelError
        If the network that would be read does not read as Keras does.
    """
    network.save(out / KERAS_FILE)
    logits = logits_of(network, tested)
    temperature = temperature_of(logits, tested)
    weights = converted(network, tested, logits)
    (out / NETWORK).write_bytes(weights)
    read = sequence.strips_from_bytes(weights, temperature=temperature)
    metrics = measure(read([line.strip for line in tested]), tested)
    card = sequence.described() | {
        "name": out.name,
        "architecture": network.name,
        "temperature": round(temperature, 4),
        "parameters": int(network.count_params()),
        "trained_on": [f"{COMPOSED_OF}{source}" for source in sources],
        "training": trained,
        "metrics": {"composed-validation": metrics},
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (out / REPORT).write_text(report(card, metrics), encoding="utf-8")


def temperature_of(logits: Sequence[Frames], lines: Sequence[Line]) -> float:
    """Find the temperature at which the texts of the validation crops are most probable."""
    tried = [float(one) for one in np.geomspace(0.5, 3.0, 60)]
    return min(tried, key=lambda one: float(_losses(logits, lines, temperature=one).mean()))


def converted(network: Any, lines: Sequence[Line], logits: Sequence[Frames]) -> bytes:
    """Convert to LiteRT: int8 weights if they read the same texts, else fp32.

    Parameters
    ----------
    logits
        What Keras gives for the lines.

    Raises
    ------
    ModelError
        If not even the fp32 network agrees with Keras.
    """
    wanted = [best_text(_log_softmax(rows)) for rows in logits]
    strips = [line.strip for line in lines]

    def agreement(weights: bytes) -> float:
        texts = [best_text(frames) for frames in sequence.strips_from_bytes(weights)(strips)]
        return float(np.mean([one == other for one, other in zip(texts, wanted, strict=True)]))

    return export.converted(network, agreement, least=LEAST_AGREEING, tried_on="crops")


def _log_softmax(logits: Frames) -> Frames:
    shifted = logits - logits.max(axis=1, keepdims=True)
    rows: Frames = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return rows
