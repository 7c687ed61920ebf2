"""A model folder → a function over glyphs, run by LiteRT.

A folder holds `model.tflite`, which gives logits, and `card.json`, which says what the columns
mean and by which temperature the logits are divided. What does not fit is refused here, when
the model is loaded, and not at the first odd digit.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.types import GLYPH_SIZE as SIZE
from digitocr.types import NORMALIZATION as VERSION
from digitocr.types import Classify, ModelCard

CARD, NETWORK = "card.json", "model.tflite"
DIGITS = tuple("0123456789")
OTHER = "other"
# A batch of 64 keeps the activations in the cache: larger ones are slower. What is left over
# goes in batches of 8, which cost as little a glyph, so that one glyph does not pay for 64.
MICRO_BATCHES = (64, 8)


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

    Raises
    ------
    ModelError
        If a file is missing or cannot be read, or the card does not fit the network.
    """
    path = Path(path)
    network = path / NETWORK
    try:
        weights = network.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{network}: {error.strerror or error}; --model wants a folder with {NETWORK} "
            f"and {CARD}"
        ) from error
    card = read_card(path, fingerprint=hashlib.sha256(weights).hexdigest())
    try:
        runners = {size: _interpreter(weights, size, threads) for size in MICRO_BATCHES}
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{network}: not a network LiteRT can run; train it again") from error
    _refuse_misfit(runners[MICRO_BATCHES[0]], card, path)
    return Model(path, card, _classifier(runners, card.temperature))


def from_bytes(weights: bytes, *, temperature: float = 1.0) -> Classify:
    """Make a classifier of a network that has no folder yet."""
    return _classifier(
        {size: _interpreter(weights, size, 1) for size in MICRO_BATCHES}, temperature
    )


def read_card(path: Path, *, fingerprint: str = "") -> ModelCard:
    """Read and check the card of a model folder.

    Raises
    ------
    ModelError
        Naming the file and the key that is missing or wrong.
    """
    file = Path(path) / CARD
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise ModelError(
            f"{file}: {cause or error}; a model folder needs its card: train it again"
        ) from error
    if not isinstance(entries, dict):
        raise ModelError(f"{file}: is not a JSON object; train the model again")
    for key, kind in _KEYS.items():
        if key not in entries:
            raise ModelError(f"{file}: key '{key}' is missing; add it or train the model again")
        if not isinstance(entries[key], kind) or isinstance(entries[key], bool):
            raise ModelError(f"{file}: {key} = {entries[key]!r} is of the wrong kind; mend it")
    classes = tuple(entries["classes"])
    if classes not in (DIGITS, (*DIGITS, OTHER)):
        raise ModelError(
            f"{file}: classes = {list(classes)} must be 0-9 and, where the model has it, "
            f"'{OTHER}' as the last; mend it"
        )
    if entries["size"] != SIZE:
        raise ModelError(f"{file}: size = {entries['size']}; digitocr reads {SIZE}x{SIZE}")
    if not 0 < entries["temperature"] < float("inf"):
        raise ModelError(f"{file}: temperature = {entries['temperature']} must be above 0")
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


def best_digits(
    probabilities: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Take the most probable digit of each row, and its probability among all the classes."""
    digits = probabilities[:, : len(DIGITS)]
    best = digits.argmax(axis=1)
    return best, digits[np.arange(len(digits)), best]


_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "classes": list,
    "size": int,
    "temperature": (int, float),
    "normalization": str,
    "trained_on": list,
    "metrics": dict,
}


def _interpreter(weights: bytes, batch: int, threads: int) -> Any:
    with _without_chatter():
        interpreter = Interpreter(model_content=weights, num_threads=threads)
        source = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(source["index"], (batch, *source["shape"][1:]))
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop what LiteRT's C++ writes to stderr about its delegate; nothing else turns it off."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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


def _classifier(runners: Mapping[int, Any], temperature: float) -> Classify:
    first = runners[MICRO_BATCHES[0]]
    source = first.get_input_details()[0]["index"]
    target = first.get_output_details()[0]["index"]
    columns = int(first.get_output_details()[0]["shape"][-1])

    def classify(glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give each of the (N, 28, 28) glyphs a row of probabilities."""
        if glyphs.shape[1:] != (SIZE, SIZE):
            raise ValueError(f"glyphs must be (N, {SIZE}, {SIZE}), not {glyphs.shape}")
        count, start = len(glyphs), 0
        logits = np.empty((count, columns), np.float32)
        while start < count:
            size = next((n for n in MICRO_BATCHES if n <= count - start), MICRO_BATCHES[-1])
            part = glyphs[start : start + size]
            batch = np.zeros((size, SIZE, SIZE, 1), np.float32)
            batch[: len(part), ..., 0] = part
            runners[size].set_tensor(source, batch)
            runners[size].invoke()
            logits[start : start + size] = runners[size].get_tensor(target)[: len(part)]
            start += size
        return softmax(logits / np.float32(temperature))

    return classify


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn rows of logits into rows that sum to 1."""
    if not len(logits):
        return logits
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return rows
