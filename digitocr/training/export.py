"""A Keras network → what a model folder holds of it: weights for LiteRT, and its temperature.

LiteRT's weights are taken only if they answer as Keras does. TensorFlow is imported where it
converts: whoever only compares model folders need not wait for it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.recognition.classifier import from_bytes
from digitocr.recognition.folders import without_chatter
from digitocr.training.dataset import OTHER

log = logging.getLogger(__name__)

KERAS_FILE = "model.keras"  # in a model folder
LEAST_AGREEING = 0.9999  # of the characters that a classifier is tried on
OTHER_SHARE_READ = 0.05  # of non-digits among what is read


def converted(
    network: Any, agreement: Callable[[bytes], float], *, least: float, tried_on: str
) -> bytes:
    """Convert to LiteRT: int8 weights, twice as fast, if they give the same answers, else fp32.

    Parameters
    ----------
    agreement
        Gives the share of the same answers by such weights and by Keras.
    least
        Share that must be the same.
    tried_on
        What is answered, for the message.

    Raises
    ------
    ModelError
        If not even the fp32 network agrees with Keras.
    """
    with without_chatter():
        import tensorflow as tf

    for optimizations in ([tf.lite.Optimize.DEFAULT], []):
        with tempfile.TemporaryDirectory() as folder:
            network.export(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.optimizations = optimizations
            weights: bytes = converter.convert()
        agree = agreement(weights)
        log.info("LiteRT %s: %.4f agree", "int8" if optimizations else "fp32", agree)
        if agree >= least:
            return weights
    raise ModelError(
        f"the exported network answers only {agree:.2%} of the {tried_on} as Keras does; it "
        "was not written"
    )


def converted_classifier(network: Any, glyphs: NDArray[np.float32]) -> bytes:
    """Convert a network of single characters.

    Parameters
    ----------
    glyphs : (N, 28, 28) float32
        Normalized characters, of which `LEAST_AGREEING` must be given the same class.

    Raises
    ------
    ModelError
        If not even the fp32 network agrees with Keras.
    """
    wanted = network.predict(glyphs[..., None], batch_size=512, verbose=0).argmax(axis=1)

    def agreement(weights: bytes) -> float:
        return float((from_bytes(weights)(glyphs).argmax(axis=1) == wanted).mean())

    return converted(network, agreement, least=LEAST_AGREEING, tried_on="characters")


def temperature_of(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    other_share: float = OTHER_SHARE_READ,
) -> float:
    """Find the temperature at which the validation glyphs are most probable.

    Non-digits weigh as if they were `other_share` of all.
    """
    others = labels == OTHER
    weights = np.where(
        others, other_share / max(1, others.sum()), (1 - other_share) / max(1, (~others).sum())
    )

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        return float(weights @ (np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]))

    return min((float(t) for t in np.geomspace(0.4, 3.0, 120)), key=loss)
