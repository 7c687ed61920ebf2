"""The architectures, a function each: (28, 28, 1) in, a logit a class out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from digitocr.errors import UsageError

Network = Any  # keras.Model: Keras carries no types


def digitocr_76k(classes: int) -> Network:
    """Five batch-normalized convolutions, halved by strides: our own, small and quick."""
    image = keras.Input((28, 28, 1), name="glyph")
    x: Any = image
    for filters, kernel, stride in ((16, 5, 2), (32, 3, 1), (32, 3, 2), (64, 3, 1), (64, 3, 1)):
        x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.98)(x)
        x = layers.ReLU()(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="digitocr-76k")


def lenet5_relu(classes: int) -> Network:
    """LeNet-5 with rectifiers and maximum pooling instead of tanh and averages."""
    image = keras.Input((28, 28, 1), name="glyph")
    x: Any = layers.Conv2D(6, 5, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 5, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(120, activation="relu")(x)
    x = layers.Dense(84, activation="relu")(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="lenet5-relu")


ARCHITECTURES: dict[str, Callable[[int], Network]] = {
    "digitocr-76k": digitocr_76k,
    "lenet5-relu": lenet5_relu,
}


def build(architecture: str, classes: int) -> Network:
    """Build an untrained network by the name of its architecture.

    Raises
    ------
    UsageError
        If there is no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"--architecture {architecture}: no such architecture; "
            f"there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture](classes)
