"""A third opinion: the text recognizer of PP-OCR, held to ten digits.

A network of others, trained on printed and handwritten text of every kind: it misses other
numbers than ours do, so what all agree on is surer. It is asked about what the two readers
leave unsure, takes longer than both, and comes with the extra `digitocr[ocr]` alone.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.recognition.ctc import DIGITS, Frames
from digitocr.types import Gray

HEIGHT = 48  # of the lines that it learned from
# Shorter lines are padded. It learned from 320; with half of that it reads numbers as well, in
# three fifths of the time.
LEAST_WIDTH, MOST_WIDTH = 160, 1600
LEAST_PROBABILITY = 1e-9

ReadLine = Callable[[Gray], Frames]


@dataclass(frozen=True, slots=True, eq=False)
class Recognizer:
    """The recognizer: its name, the SHA-256 of its weights, and a function over gray lines."""

    name: str
    fingerprint: str
    read: ReadLine


@cache
def load_recognizer() -> Recognizer | None:
    """Find the recognizer that came with the extra; None where that is not installed.

    Other weights than those that confidences were fitted with are told by their fingerprint.
    """
    package = find_spec("rapidocr")
    if package is None or find_spec("onnxruntime") is None:
        return None
    folders = package.submodule_search_locations or ()
    files = sorted(
        file for folder in folders for file in Path(folder).glob("models/*rec*.onnx")
    )
    if not files:
        return None
    with files[0].open("rb") as weights:
        fingerprint = hashlib.file_digest(weights, "sha256").hexdigest()
    return Recognizer(files[0].stem, fingerprint, partial(_read, files[0]))


def _read(file: Path, line: Gray) -> Frames:
    """Give a row of log-probabilities a frame: ten digits, and no new digit."""
    session, columns = _start(file)
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: _as_learned(line)})
    rows = np.maximum(probabilities[0][:, columns], LEAST_PROBABILITY)
    frames: Frames = np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return frames


@cache
def _start(file: Path) -> tuple[Any, list[int]]:
    """Start the network, once somebody asks it, and find its columns of 0-9 and blank."""
    for told in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ[told] = "1"  # from 1.28 on it tells its makers who runs it, unless forbidden
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Of the file's bytes it would keep a second copy.
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    letters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return session, [*(1 + letters.index(digit) for digit in DIGITS), 0]  # the first is "blank"


def _as_learned(line: Gray) -> NDArray[np.float32]:
    """Scale a line as the network learned it: (1, 3, 48, W), -1.0 black to 1.0 white."""
    h, w = line.shape
    width = min(max(1, math.ceil(w * HEIGHT / h)), MOST_WIDTH)
    scaled: Any = cv2.resize(line, (width, HEIGHT), interpolation=cv2.INTER_LINEAR)
    values = np.zeros((1, 3, HEIGHT, max(width, LEAST_WIDTH)), np.float32)
    values[..., :width] = scaled.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    return values
