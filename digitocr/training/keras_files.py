"""A Keras file from elsewhere → a network that takes our glyphs and gives logits.

How it wants its pictures is found out on MNIST's validation digits, and is built into it.

A file is never trusted: layers that carry code are refused before Keras sees them.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import DataError, MissingExtraError, ModelError
from digitocr.imaging.normalization import SIZE, normalize_all
from digitocr.recognition.classifier import DIGITS, OTHER, softmax
from digitocr.recognition.folders import CARD, NETWORK, without_chatter
from digitocr.settings import Settings
from digitocr.training import dataset
from digitocr.training.conventions import OURS, Convention, are_probabilities, find_convention
from digitocr.training.export import KERAS_FILE

log = logging.getLogger(__name__)

SUFFIXES = (".keras", ".h5", ".hdf5")
TRIED_DIGITS = 1000
# Below this the file may be sound, but was hardly trained to read digits.
LEAST_ACCURACY = 0.8
# Layers that hold code, or load another file, instead of numbers.
CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
LEAST_PROBABILITY = 1e-30  # what a probability of 0 counts as
_NEEDS_KERAS = "a Keras file needs Keras: pip install 'digitocr[train]'"
_DAMAGED = (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class KerasFile:
    """A network from a file, as it can be used here.

    `network` takes (N, 28, 28, 1) from 0 paper to 1 ink and gives logits: what `convention`
    wants is built in. `assumed` says that there were no digits to try it on.
    """

    path: Path
    network: Any
    classes: tuple[str, ...]
    convention: Convention
    assumed: bool

    @property
    def input(self) -> str:
        """How the network wants its pictures, in words."""
        return f"{self.convention}{' (assumed)' if self.assumed else ''}"

    @property
    def parameters(self) -> int:
        """How many numbers the network learned."""
        return int(self.network.count_params())

    def logits(self, glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give each of the (N, 28, 28) glyphs a row of logits."""
        return _rows(self.network, glyphs)

    def classify(self, glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give each of the (N, 28, 28) glyphs a row of probabilities."""
        return softmax(self.logits(glyphs))


def is_keras_file(path: Path) -> bool:
    """Say whether a path is meant as a Keras file, and not as a model folder."""
    return path.suffix in SUFFIXES or (path.is_file() and path.name != NETWORK)


def load(path: Path, settings: Settings) -> KerasFile:
    """Load a Keras file and find out how it wants its pictures.

    Parameters
    ----------
    path
        A `.keras` or `.h5` file that holds network and weights. Its network must take 784
        numbers, as 28x28 or in a row, and give 10 probabilities or logits, or 11 with
        `other`.
    settings
        `data` is where MNIST is looked for.

    Raises
    ------
    ModelError
        If the file cannot be read or run, holds code, or does not fit; saying what to do.
    """
    network = _read(path)
    _refuse_misfit(network, path)
    plain = _built(network, OURS, path)
    convention, assumed, glyphs = OURS, False, _noise()
    # The network of one of our own model folders needs no trial.
    if path.name != KERAS_FILE or not (path.parent / CARD).is_file():
        digits, labels = validation_digits(settings, most=TRIED_DIGITS)
        if len(labels):
            convention, glyphs = _tried_convention(plain, digits, labels, path), digits
        else:
            assumed = True
            log.warning("%s: no MNIST to try it on; taken to want pictures as %s", path, OURS)
    rows = _rows(plain, convention.applied(glyphs))
    if not np.isfinite(rows).all():
        raise ModelError(f"{path}: gives no numbers for some pictures; train it again")
    whole = _built(network, convention, path, logarithm=are_probabilities(rows))
    classes = (*DIGITS, OTHER)[: rows.shape[1]]
    return KerasFile(path, whole, classes, convention, assumed)


def validation_digits(
    settings: Settings, *, most: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Normalize digits of MNIST's validation writers; none where MNIST cannot be had."""
    try:
        digits = dataset.load("mnist", settings.data).part("validation")
    except DataError:
        return np.zeros((0, SIZE, SIZE), np.float32), np.zeros(0, np.int64)
    step = 1 if most is None else max(1, -(-len(digits) // most))
    return normalize_all(digits.glyphs[::step]), digits.labels[::step]


def _read(path: Path) -> Any:
    """Let Keras read a file that holds no code, whatever its ending."""
    kind, written_by = refuse_code(path)
    keras = _keras()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to whoever wrote the network
        file = path
        if path.suffix != kind:  # Keras goes by the ending; older ones wrote HDF5 to .keras
            file = Path(folder) / f"network{kind}"
            shutil.copyfile(path, file)
        try:
            return keras.models.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # what Keras raises differs by file and by version
            advice = "save the network again, without layers of your own"
            if kind == ".keras" and written_by.startswith("2."):
                advice = "it was saved by Keras 2: save it there with model.save('name.h5')"
            raise ModelError(
                f"{path}: Keras cannot read it: {_in_short(error)}; {advice}"
            ) from error


def _keras() -> Any:
    try:
        with without_chatter():  # TensorFlow tells of the processor, whatever it is asked
            import keras
    except ImportError as error:
        raise MissingExtraError(_NEEDS_KERAS) from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # no advice on how to be faster
    return keras


def refuse_code(path: Path) -> tuple[str, str]:
    """Refuse a file that is no network, or brings code, before Keras is asked.

    Older versions of Keras run a Lambda layer of an `.h5` file whatever `safe_mode` says.

    Returns
    -------
    The ending the file should have, and the version of Keras that wrote it.

    Raises
    ------
    ModelError
        Saying what the file is instead, and what to do.
    """
    try:
        with path.open("rb") as stream:
            begins = stream.read(8)
        if begins.startswith(b"PK"):
            kind, (config, written_by) = ".keras", _told_by_zip(path)
        elif begins.startswith(b"\x89HDF"):
            kind, (config, written_by) = ".h5", _told_by_hdf5(path)
        else:
            raise ModelError(
                f"{path}: is no Keras file; name one that was written by model.save, "
                ".keras or .h5"
            )
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: {error.strerror}; name a model folder or a Keras file"
        ) from error
    except (OSError, KeyError, ValueError, RuntimeError, *_DAMAGED) as error:
        cause = getattr(error, "strerror", None) or _in_short(error)
        raise ModelError(
            f"{path}: cannot be read as a Keras file: {cause}; write it again with model.save"
        ) from error
    found = sorted(CODE.intersection(_class_names(config)))
    if found:
        raise ModelError(
            f"{path}: holds a {found[0]} layer, which brings code with it and is not run; put "
            "Rescaling, Reshape or Activation in its place and save the network again"
        )
    return kind, written_by


def _told_by_zip(path: Path) -> tuple[Any, str]:
    with zipfile.ZipFile(path) as archive:
        version = json.loads(archive.read("metadata.json")).get("keras_version", "")
        return json.loads(archive.read("config.json")), str(version)


def _told_by_hdf5(path: Path) -> tuple[Any, str]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(_NEEDS_KERAS) from error
    with h5py.File(path, "r") as file:
        config, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
    if config is None:
        raise ModelError(
            f"{path}: holds weights without their network; build the network, load the "
            "weights and save both with model.save('name.keras')"
        )
    return json.loads(config), str(version)


def _class_names(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        yield str(config.get("class_name"))
        for value in config.values():
            yield from _class_names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_names(value)


def _refuse_misfit(network: Any, path: Path) -> None:
    """Refuse a network that takes or gives something else than a picture and its classes."""
    wanted, given = _shape(network, "input_shape"), _shape(network, "output_shape")
    if not _is_flexible(wanted) and math.prod(n or 0 for n in wanted) != SIZE * SIZE:
        raise ModelError(
            f"{path}: takes {_words(wanted)}; digitocr has pictures of {SIZE}x{SIZE} in one "
            f"channel, or their {SIZE * SIZE} pixels in a row: train it on such"
        )
    if given not in ((len(DIGITS),), (len(DIGITS) + 1,)):
        raise ModelError(
            f"{path}: gives {_words(given)}; a network for digits gives {len(DIGITS)}, one a "
            f"digit, or one more for '{OTHER}': train it so"
        )


def _is_flexible(shape: tuple[int | None, ...]) -> bool:
    """Say whether pictures of any size may come, ours among them."""
    return len(shape) == 3 and shape[2] == 1 and shape[:2] == (None, None)


def _built(network: Any, convention: Convention, path: Path, *, logarithm: bool = False) -> Any:
    """Make a network take (N, 28, 28, 1) from 0 paper to 1 ink, and give logits.

    The logarithm undoes a softmax: divided by a temperature and put through another one, it
    gives what the logits would have given.
    """
    import keras

    wanted, picture = _shape(network, "input_shape"), keras.Input((SIZE, SIZE, 1), name="glyph")
    x: Any = picture
    if convention != OURS:
        x = keras.layers.Rescaling(convention.gain, convention.offset)(x)
    if not _is_flexible(wanted) and wanted != (SIZE, SIZE, 1):
        x = keras.layers.Reshape(wanted)(x)
    try:
        listed = not isinstance(network, keras.Sequential) and isinstance(network.input, list)
        (x,) = keras.tree.flatten(network([x] if listed else x))
        if logarithm:
            x = keras.ops.log(keras.ops.maximum(x, LEAST_PROBABILITY))
        whole = keras.Model(picture, x, name=network.name)
        _rows(whole, _noise())
    except Exception as error:  # Keras and TensorFlow raise nearly everything
        raise ModelError(f"{path}: cannot be run here: {_in_short(error)}") from error
    return whole


def _shape(network: Any, side: str) -> tuple[int | None, ...]:
    """Give the shape of one picture or row; where there is not one of them, ()."""
    shape = getattr(network, side, None)  # a network that was never built has none
    if not isinstance(shape, tuple) or any(isinstance(n, tuple | list) for n in shape):
        return ()
    return shape[1:]


def _words(shape: Sequence[int | None]) -> str:
    return "x".join("any" if n is None else str(n) for n in shape) or "no single known shape"


def _in_short(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 160, placeholder=" …")


def _rows(
    network: Any, glyphs: NDArray[np.float32], *, batch: int = 500
) -> NDArray[np.float32]:
    """Give what a network says of (N, 28, 28) pictures, without the tracing of `predict`."""
    rows = np.zeros((len(glyphs), int(network.output_shape[-1])), np.float32)
    for start in range(0, len(glyphs), batch):
        part = slice(start, start + batch)
        rows[part] = np.asarray(network(glyphs[part, ..., None], training=False), np.float32)
    return rows


def _noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((16, SIZE, SIZE), np.float32)


def _tried_convention(
    network: Any, glyphs: NDArray[np.float32], labels: NDArray[np.int64], path: Path
) -> Convention:
    try:
        best, accuracy = find_convention(partial(_rows, network), glyphs, labels)
    except ValueError as error:
        raise ModelError(f"{path}: gives {error}; train it again") from error
    if accuracy < LEAST_ACCURACY:
        log.warning(
            "%s: reads only %.0f %% of MNIST's validation digits, fed as %s; was it trained on "
            "handwritten digits?",
            path,
            100 * accuracy,
            best,
        )
    return best
