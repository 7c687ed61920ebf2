"""A Keras file from elsewhere → a model folder that `process --model` reads with."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitocr import synth
from digitocr.errors import ModelError, UsageError
from digitocr.imaging.normalization import SIZE, VERSION
from digitocr.recognition.folders import CARD, NETWORK
from digitocr.settings import Settings
from digitocr.training import evaluate, keras_files
from digitocr.training.export import KERAS_FILE, converted_classifier, temperature_of
from digitocr.training.keras_files import KerasFile
from digitocr.training.pictures import Watch, unwatched
from digitocr.types import Box

log = logging.getLogger(__name__)


def import_model(
    file: Path, out: Path, name: str, settings: Settings, *, watch: Watch = unwatched
) -> Path:
    """Make a model folder of a Keras file; what the network wants is built into it.

    Parameters
    ----------
    file
        A `.keras` or `.h5` file with network and weights, as `keras_files.load` takes it.
    out
        The model folder to write: not there yet, or empty.
    name
        What readings will name the model.
    settings
        `data` is where MNIST is looked for. Its validation digits show how the network wants
        its pictures and how sure it may be; its test digits measure it. Without MNIST the
        first is assumed, and the others are left out with a warning.

    Returns
    -------
    The model folder.

    Raises
    ------
    ModelError
        If the file does not fit, or its network comes out different in LiteRT.
    UsageError
        If the folder is in use or cannot be written.
    """
    _refuse_used(out)
    with watch("Importing", 3, unit="step") as advance:
        network = keras_files.load(file, settings)
        advance("read")
        glyphs, labels = keras_files.validation_digits(settings)
        weights = converted(network, glyphs if len(glyphs) else drawn_digits())
        advance("converted")
        temperature = 1.0
        if len(labels):
            temperature = fitted_temperature(network.logits(glyphs), labels)
        try:
            _write(network, out, name=name, weights=weights, temperature=temperature)
            if len(labels):
                evaluate.evaluate(out, ("mnist",), settings, out)
            else:
                log.warning("%s: no MNIST to measure it on; its temperature is left at 1", out)
                (out / evaluate.REPORT).write_text(_unmeasured(name, out), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{out}: {error.strerror or error}; name another --out") from error
        advance("measured")
    return out


def converted(file: KerasFile, glyphs: NDArray[np.float32]) -> bytes:
    """Convert the network of a Keras file to LiteRT.

    Raises
    ------
    ModelError
        Naming the file, if LiteRT has no such layers, or gives other answers.
    """
    try:
        return converted_classifier(file.network, glyphs)
    except ModelError as error:
        raise ModelError(f"{file.path}: {error}") from error
    except Exception as error:  # the converter's own errors have no common class
        cause = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{file.path}: LiteRT cannot run its layers: {cause}; train a plainer network"
        ) from error


def fitted_temperature(
    logits: NDArray[np.float32], labels: NDArray[np.int64], *, most_rounds: int = 4
) -> float:
    """Find the temperature of a network that may be far more, or less, sure than ours.

    `temperature_of` looks where our own networks lie; what lies at the end of that is
    looked for again from there.
    """
    temperature = 1.0
    for _ in range(most_rounds):
        step = temperature_of(logits / np.float32(temperature), labels)
        temperature *= step
        if 0.5 < step < 2.5:
            break
    return temperature


def drawn_digits(*, hands: int = 20) -> NDArray[np.float32]:
    """Draw digits in several hands, for where there is no MNIST to try a network on."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(hands):
        hand = synth.draw_hand(rng)
        for digit in "0123456789":
            paper = np.full((60, 60), 255, np.uint8)
            box = Box(10, 8, 50, 52)
            pictures.append(synth.write_number(paper, digit, box, rng, hand=hand, cells=1))
    return evaluate.as_read(np.stack(pictures))


def _refuse_used(out: Path) -> None:
    try:
        used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}; name another --out") from error
    if used:
        raise UsageError(f"{out}: is not empty; name a new folder with --out, or remove it")


def _write(
    file: KerasFile, out: Path, *, name: str, weights: bytes, temperature: float
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    file.network.save(out / KERAS_FILE)
    (out / NETWORK).write_bytes(weights)
    card = {
        "name": name,
        "architecture": "imported",
        "classes": list(file.classes),
        "size": SIZE,
        "polarity": "0.0 paper, 1.0 ink",
        "input": file.input,  # of the file; what model.keras wants is ours
        "temperature": round(temperature, 4),
        "normalization": VERSION,
        "parameters": file.parameters,
        "trained_on": [f"unknown: imported from {file.path.name}"],
        "metrics": {},
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _unmeasured(name: str, out: Path) -> str:
    return (
        f"# {name}\n\nNot measured: there was no MNIST. Where there is,\n"
        f"`digitocr evaluate --model {out} --report {out}` writes this report.\n"
    )
