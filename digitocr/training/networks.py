"""The architectures, a function each: (28, 28, 1) in, a logit a class out.

The classics are as their authors and the tutorials have them, and are trained as there: on
ten classes, on digits alone. Our own learn an eleventh class, `other`, and from pictures that
were spoiled as scans are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from digitocr.errors import UsageError
from digitocr.training.pictures import Kind

Network = Any  # keras.Model: Keras carries no types


def lenet5_tanh() -> Network:
    """LeNet-5 as it is mostly told: hyperbolic tangents and average pooling.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86 (1998) 2278-2324.
    """
    return _stack(
        "lenet5-tanh",
        layers.Conv2D(6, 5, padding="same", activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="tanh"),
        layers.Dense(84, activation="tanh"),
    )


def lenet5_relu() -> Network:
    """LeNet-5 with rectifiers and without padding: 44,426 parameters."""
    return _stack(
        "lenet5-relu",
        layers.Conv2D(6, 5, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
    )


def simple_cnn() -> Network:
    """Two convolutions, each followed by max-pooling, and one dense layer."""
    return _stack(
        "simple-cnn",
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
    )


def deeper_cnn() -> Network:
    """Two blocks of two convolutions, with max-pooling and dropout after each."""
    return _stack(
        "deeper-cnn",
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.5),
    )


def augmented_cnn() -> Network:
    """Add dropout to the simple network; it learns from turned, scaled and shifted digits."""
    return _stack(
        "augmented-cnn",
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.3),
    )


def cnn_93k() -> Network:
    """Three convolutions and a small dense layer with dropout: 93,322 parameters."""
    return _stack(
        "cnn-93k",
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.5),
    )


def digitocr_130k() -> Network:
    """Our own: six batch-normalized convolutions that lose size early, small and quick.

    The first and third halve the picture by strides. The last two do not pad: nine places
    are left, each of which has seen nearly the whole digit, at a fifth of what as many
    filters cost on 7 × 7 places. Twice the filters were no better.
    """
    convolutions = (
        (24, 5, 2, "same"), (32, 3, 1, "same"), (48, 3, 2, "same"),
        (64, 3, 1, "same"), (64, 3, 1, "valid"), (64, 3, 1, "valid"),
    )  # fmt: skip
    image = keras.Input((28, 28, 1), name="glyph")
    x: Any = image
    for filters, kernel, stride, padding in convolutions:
        x = layers.Conv2D(filters, kernel, stride, padding=padding, use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.98)(x)
        x = layers.ReLU()(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(11, name="logits")(x), name="digitocr-130k")


def _stack(name: str, *between: Any) -> Network:
    return keras.Sequential(
        [keras.Input((28, 28, 1), name="glyph"), *between, layers.Dense(10, name="logits")],
        name=name,
    )


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and how it is trained unless something else is asked for.

    `pictures` is what it learns from, `top_rate` the highest learning rate of the one cycle,
    `decay` the weight decay of AdamW.
    """

    build: Callable[[], Network]
    epochs: int
    pictures: Kind = Kind.CLEAN
    top_rate: float = 2e-3
    decay: float = 0.0


ARCHITECTURES: dict[str, Architecture] = {
    "digitocr-130k": Architecture(digitocr_130k, 32, Kind.SCANNED, 3e-3, 1e-3),
    "lenet5-tanh": Architecture(lenet5_tanh, 12),
    "lenet5-relu": Architecture(lenet5_relu, 12),
    "simple-cnn": Architecture(simple_cnn, 10),
    "deeper-cnn": Architecture(deeper_cnn, 12, Kind.MOVED),
    "augmented-cnn": Architecture(augmented_cnn, 15, Kind.MOVED),
    "cnn-93k": Architecture(cnn_93k, 18),
}


def find(name: str) -> Architecture:
    """Find an architecture by its name.

    Raises
    ------
    UsageError
        If there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise UsageError(
            f"--architecture {name}: no such architecture; there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]
