"""The two files of a model folder, whatever its network reads: the weights and the card."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from digitocr.errors import ModelError

CARD, NETWORK = "card.json", "model.tflite"
# What every card has; a network's own module checks the rest.
COMMON_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "classes": list,
    "temperature": (int, float),
    "normalization": str,
    "trained_on": list,
    "metrics": dict,
}


def read_network(folder: Path) -> bytes:
    """Read the weights.

    Raises
    ------
    ModelError
        If there are none.
    """
    network = folder / NETWORK
    try:
        return network.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{network}: {error.strerror or error}; --model wants a folder with {NETWORK} "
            f"and {CARD}"
        ) from error


def read_entries(
    folder: Path, more: Mapping[str, type | tuple[type, ...]] | None = None
) -> dict[str, Any]:
    """Read a card: its entries, those of `COMMON_KEYS` and of `more` there and of their kind.

    Raises
    ------
    ModelError
        Naming the file and the key that is missing or wrong.
    """
    file = folder / CARD
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise ModelError(
            f"{file}: {cause or error}; a model folder needs its card: train it again"
        ) from error
    if not isinstance(entries, dict):
        raise ModelError(f"{file}: is not a JSON object; train the model again")
    for key, kind in {**COMMON_KEYS, **(more or {})}.items():
        if key not in entries:
            raise ModelError(f"{file}: key '{key}' is missing; add it or train the model again")
        if not isinstance(entries[key], kind) or isinstance(entries[key], bool):
            raise ModelError(f"{file}: {key} = {entries[key]!r} is of the wrong kind; mend it")
    if not 0 < entries["temperature"] < float("inf"):
        raise ModelError(f"{file}: temperature = {entries['temperature']} must be above 0")
    return entries


def start_interpreter(weights: bytes, batch: int, sides: tuple[int, ...] | None = None) -> Any:
    """Start LiteRT on one thread for batches of one size.

    `sides` are those of an input, where the network leaves them open.
    """
    with without_chatter():
        interpreter = Interpreter(model_content=weights, num_threads=1)
        source = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(
            source["index"], (batch, *(sides or source["shape"][1:]))
        )
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def without_chatter() -> Iterator[None]:
    """Drop what C++ writes to stderr, as LiteRT of its delegate; nothing else turns it off."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
