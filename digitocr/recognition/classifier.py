"""A model folder → a function over glyphs, run by LiteRT.

A folder holds `model.tflite`, which gives logits, and `card.json`, which says what the columns
mean and by which temperature the logits are divided. What does not fit is refused here, when
the model is loaded, and not at the first odd digit.

Nearly all the time goes into LiteRT's convolutions: copying, softmax and Python take a
twentieth. What is left to choose is the size of a batch, and how to use a second core. LiteRT's
own threads divide every convolution and wait for each other after it; an interpreter a thread,
each with batches of its own, needs no waiting and was a quarter faster on two cores.
`tests/bench/glyphs.py` measures it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.recognition.folders import (
    CARD,
    NETWORK,
    read_entries,
    read_network,
    start_interpreter,
)
from digitocr.types import GLYPH_SIZE as SIZE
from digitocr.types import NORMALIZATION as VERSION
from digitocr.types import Classify, GlyphImage, ModelCard

DIGITS = tuple("0123456789")
OTHER = "other"
# A batch of 32 keeps the activations in the cache: larger ones are slower. What is left over
# goes in smaller ones, which cost a little more a glyph, so that one glyph pays for itself.
MICRO_BATCHES = (32, 8, 1)
# Fewer glyphs than this for each thread are done before the threads have started.
LEAST_A_THREAD = 64

# Glyphs whose likeliest class has less are looked at again, where a digit has more than this.
LOOKED_BELOW, LEAST_LOOKED = 0.9, 0.1

Runners = Mapping[int, Any]  # size of a micro-batch → the interpreter that takes it


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model: its card, and the classifier. Workers load it by `path`."""

    path: Path
    card: ModelCard
    classify: Classify

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return load_model, (self.path,)


def load_model(path: Path, *, threads: int = 1) -> Model:
    """Load the model in a folder.

    The classifier takes one call at a time: its interpreters hold the glyphs they work on.
    Whoever classifies in several threads of their own loads the model once for each.

    Parameters
    ----------
    threads : int, at least 1
        Cores that one call with many glyphs uses; the probabilities are the same. For
        programs that read in one process: `process --workers` uses the cores already.

    Raises
    ------
    ModelError
        If a file is missing or cannot be read, or the card does not fit the network.
    ValueError
        If `threads` is less than 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    path = Path(path)
    weights = read_network(path)
    card = read_card(path, fingerprint=hashlib.sha256(weights).hexdigest())
    try:
        lanes = [_runners(weights) for _ in range(threads)]
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path / NETWORK}: not a network LiteRT can run; train it again"
        ) from error
    _refuse_misfit(lanes[0][MICRO_BATCHES[0]], card, path)
    classify = _classifier(lanes, card.temperature)
    # Networks of others, which know no `other`, are taken as they are.
    return Model(path, card, _looking_again(classify) if OTHER in card.classes else classify)


def from_bytes(weights: bytes, *, temperature: float = 1.0) -> Classify:
    """Make a classifier of a network that has no folder yet."""
    return _classifier([_runners(weights)], temperature)


def read_card(path: Path, *, fingerprint: str = "") -> ModelCard:
    """Read and check the card of a model folder.

    Raises
    ------
    ModelError
        Naming the file and the key that is missing or wrong.
    """
    file = Path(path) / CARD
    entries = read_entries(Path(path), {"size": int})
    classes = tuple(entries["classes"])
    if classes not in (DIGITS, (*DIGITS, OTHER)):
        raise ModelError(
            f"{file}: classes = {list(classes)} must be 0-9 and, where the model has it, "
            f"'{OTHER}' as the last; mend it"
        )
    if entries["size"] != SIZE:
        raise ModelError(f"{file}: size = {entries['size']}; digitocr reads {SIZE}x{SIZE}")
    if entries["normalization"] != VERSION:
        raise ModelError(
            f"{file}: normalization = {entries['normalization']!r}, but this digitocr "
            f"normalizes by {VERSION!r}; train the model again"
        )
    return ModelCard(
        name=entries["name"],
        classes=classes,
        size=entries["size"],
        temperature=float(entries["temperature"]),
        normalization=entries["normalization"],
        trained_on=tuple(str(source) for source in entries["trained_on"]),
        metrics=entries["metrics"],
        fingerprint=fingerprint,
    )


def classify_glyphs(images: Sequence[GlyphImage], model: Model) -> NDArray[np.float32]:
    """Give a row of probabilities for each of some glyphs, in one call."""
    if not images:
        return np.zeros((0, len(model.card.classes)), np.float32)
    return model.classify(np.stack(images))


def best_digits(
    probabilities: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Take the most probable digit of each row, and its probability among all the classes."""
    digits = probabilities[:, : len(DIGITS)]
    best = digits.argmax(axis=1)
    return best, digits[np.arange(len(digits)), best]


def are_digits(
    probabilities: NDArray[np.float32], *, most_other: float = 0.8
) -> NDArray[np.bool_]:
    """Say of each row whether it is a digit: unless it is clearly `other`.

    Between the two stands what may be a sloppy digit: it keeps its digit, with a confidence
    too low to be accepted, and a person sees it. Without a column for `other` everything is a
    digit.
    """
    found: NDArray[np.bool_] = np.ones(len(probabilities), np.bool_)
    if probabilities.shape[1] > len(DIGITS):
        found = probabilities[:, len(DIGITS)] <= most_other
    return found


def _runners(weights: bytes) -> Runners:
    return {size: start_interpreter(weights, size) for size in MICRO_BATCHES}


def _refuse_misfit(interpreter: Any, card: ModelCard, path: Path) -> None:
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    wanted, found = (card.size, card.size, 1), tuple(int(n) for n in inputs[0]["shape"][1:])
    if found != wanted:
        raise ModelError(
            f"{path / NETWORK}: reads images of {found}, but size in {CARD} says {wanted}; "
            "the two files do not belong together"
        )
    columns = int(outputs[0]["shape"][-1])
    if columns != len(card.classes):
        raise ModelError(
            f"{path / CARD}: classes names {len(card.classes)}, but {NETWORK} gives {columns}; "
            "the two files do not belong together"
        )


def _classifier(lanes: Sequence[Runners], temperature: float) -> Classify:
    first = lanes[0][MICRO_BATCHES[0]]
    source = first.get_input_details()[0]["index"]
    target = first.get_output_details()[0]["index"]
    columns = int(first.get_output_details()[0]["shape"][-1])

    def classify(glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give each of the (N, 28, 28) glyphs a row of probabilities."""
        if glyphs.shape[1:] != (SIZE, SIZE):
            raise ValueError(f"glyphs must be (N, {SIZE}, {SIZE}), not {glyphs.shape}")
        images = np.ascontiguousarray(glyphs, np.float32)[..., None]
        logits = np.empty((len(images), columns), np.float32)
        # An iterator of a list, and no generator, because two threads may ask it at once.
        parts = iter(_micro_batches(len(images)))

        def run(runners: Runners) -> None:
            for start, stop in parts:
                runner = runners[stop - start]
                runner.set_tensor(source, images[start:stop])
                runner.invoke()
                logits[start:stop] = runner.get_tensor(target)

        _run_all(run, lanes[: max(1, len(images) // LEAST_A_THREAD)])
        return softmax(logits / np.float32(temperature))

    return classify


def _looking_again(classify: Classify) -> Classify:
    """Have unsure glyphs looked at again, moved by a pixel to each side, and average it all.

    A network that halves pictures by strides sees something else in each. Of digits one in a
    hundred is unsure, so it costs little; what is averaged is at most 0.98 sure.
    """

    def looked(glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = classify(glyphs)
        digits = rows[:, : len(DIGITS)].max(axis=1, initial=0.0)
        (unsure,) = np.nonzero((rows.max(axis=1) < LOOKED_BELOW) & (digits > LEAST_LOOKED))
        if len(unsure):
            padded = np.pad(glyphs[unsure], ((0, 0), (1, 1), (1, 1)))
            moved = [
                padded[:, down : down + SIZE, across : across + SIZE]
                for down, across in ((0, 1), (2, 1), (1, 0), (1, 2))
            ]
            more = classify(np.concatenate(moved)).reshape(len(moved), len(unsure), -1)
            rows[unsure] = np.mean([rows[unsure], *more], axis=0)
        return rows

    return looked


def _micro_batches(count: int) -> list[tuple[int, int]]:
    """Divide so many glyphs into batches that there are interpreters for, the largest first."""
    parts, start = [], 0
    for size in MICRO_BATCHES:
        while count - start >= size:
            parts.append((start, start + size))
            start += size
    return parts


def _run_all(run: Callable[[Runners], None], lanes: Sequence[Runners]) -> None:
    if len(lanes) == 1:
        run(lanes[0])
        return
    from concurrent.futures import ThreadPoolExecutor  # costs milliseconds that one lane saves

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(run, lanes))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn rows of logits into rows that sum to 1."""
    if not len(logits):
        return logits
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return rows
