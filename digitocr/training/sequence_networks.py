"""The architectures that read whole numbers: a strip in, a row of logits each four pixels out.

They train in bfloat16 where the processor multiplies that, which is three times faster, and
are kept in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from digitocr.recognition.ctc import COLUMNS
from digitocr.types import STRIP_HEIGHT

_KEPT = "float32"
# How the names of layers begin that came later: they begin by changing nothing, so that a
# network without them can be gone on with.
GATE, DEEPER = "gate", "deeper"


def sequence_1m(dtype: str = _KEPT) -> Any:
    """Fourteen batch-normalized convolutions: ten over the strip, then four along it.

    150 M multiply-adds for 32 × 160 pixels, most where the picture is small already: 0.4 ms
    on one core that has int8 products. A frame each four pixels: narrow digits that touch
    stand nine apart. The last three convolutions look eight frames further, so that a digit
    is said once. Gates let each part of a number be seen in the light of all of it: who writes
    one seven with a bar writes them all so.
    """
    strip = keras.Input((STRIP_HEIGHT, None, 1), name="strip")
    x = _convolved(strip, 32, 5, 2, dtype=dtype)
    x = _convolved(x, 64, 3, 2, dtype=dtype)
    x = _gated(_residual(x, 64, dtype=dtype), 64, dtype=dtype)
    x = _convolved(x, 128, 3, (2, 1), dtype=dtype)
    x = _gated(_residual(x, 128, dtype=dtype), 128, dtype=dtype)
    x = _deepened(x, 128, dtype=dtype)
    x = layers.ZeroPadding2D((0, 1), dtype=dtype)(x)
    x = _convolved(x, 192, (4, 3), 1, padding="valid", dtype=dtype)  # the height is gone
    x = _gated(x, 192, dtype=dtype)
    x = layers.Add(dtype=dtype)([x, _convolved(x, 192, (1, 5), dtype=dtype)])
    x = layers.Dropout(0.2, dtype=dtype)(x)
    x = layers.Add(dtype=dtype)([x, _convolved(x, 192, (1, 5), dtype=dtype)])
    x = layers.Conv2D(COLUMNS, 1, name="logits", dtype=_KEPT)(x)
    return keras.Model(strip, keras.ops.squeeze(x, axis=1), name="sequence-1m")


def _residual(x: Any, filters: int, *, dtype: str) -> Any:
    """Add two convolutions to what they are made from (He et al., CVPR 2016)."""
    y = _convolved(x, filters, 3, dtype=dtype)
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, dtype=dtype)(y)
    y = _normalized(y, dtype=dtype)
    return layers.ReLU(dtype=dtype)(layers.Add(dtype=dtype)([x, y]))


def _deepened(x: Any, filters: int, *, dtype: str) -> Any:
    """Add two more, which begin by adding nothing (Goyal et al., arXiv:1706.02677, 5.1)."""
    name = f"{DEEPER}_{filters}"
    y = _convolved(x, filters, 3, dtype=dtype, name=name)
    y = layers.Conv2D(
        filters, 3, padding="same", use_bias=False, dtype=dtype, name=f"{name}_second"
    )(y)
    y = _normalized(y, dtype=dtype, name=f"{name}_added", gamma_initializer="zeros")
    return layers.ReLU(dtype=dtype)(layers.Add(dtype=dtype)([x, y]))


def _gated(x: Any, filters: int, *, dtype: str) -> Any:
    """Scale every channel by what all of the strip shows (Hu et al., CVPR 2018).

    It begins by scaling by one, so that a network without gates can be gone on with.
    """
    seen = layers.GlobalAveragePooling2D(keepdims=True, dtype=dtype)(x)
    name = f"{GATE}_{filters}"
    seen = layers.Conv2D(
        filters // 4, 1, activation="relu", dtype=dtype, name=f"{name}_squeeze"
    )(seen)
    gate = layers.Conv2D(
        filters, 1, activation="sigmoid", kernel_initializer="zeros", dtype=dtype, name=name
    )(seen)
    return layers.Multiply(dtype=dtype)([x, layers.Rescaling(2.0, dtype=dtype)(gate)])


def _convolved(
    x: Any,
    filters: int,
    kernel: Any,
    stride: Any = 1,
    *,
    padding: str = "same",
    dtype: str,
    name: str | None = None,
) -> Any:
    x = layers.Conv2D(
        filters, kernel, stride, padding=padding, use_bias=False, dtype=dtype, name=name
    )(x)
    normalized = _normalized(x, dtype=dtype, name=name and f"{name}_normal")
    return layers.ReLU(dtype=dtype)(normalized)


def _normalized(x: Any, *, dtype: str, **options: Any) -> Any:
    kind = layers.BatchNormalization if dtype == _KEPT else _FusedNormalization
    return kind(momentum=0.98, dtype=dtype, **options)(x)


@keras.saving.register_keras_serializable("digitocr")
class _FusedNormalization(layers.BatchNormalization):  # type: ignore[misc]  # Keras is untyped
    """Batch normalization in TensorFlow's one step, which Keras takes apart into ten."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        normalize = tf.compat.v1.nn.fused_batch_norm
        scale, offset = self.gamma, self.beta
        if not training:
            mean, variance = self.moving_mean, self.moving_variance
            return normalize(
                inputs, scale, offset, mean, variance, self.epsilon, is_training=False
            )[0]
        normal, mean, variance = normalize(inputs, scale, offset, epsilon=self.epsilon)
        for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + new * (1.0 - self.momentum))
        return normal


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and how it is trained unless something else is asked for."""

    build: Callable[[str], Any]
    epochs: int = 40
    top_rate: float = 3e-3
    decay: float = 1e-3

    def build_to_train(self) -> Any:
        """Build it in the type that this machine trains in; its weights are float32."""
        return self.build("mixed_bfloat16" if _has_bfloat16() else _KEPT)

    def build_to_keep(self) -> Any:
        """Build it in float32, of Keras' own layers alone."""
        return self.build(_KEPT)


def _has_bfloat16() -> bool:
    try:
        return " avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False


ARCHITECTURES = {"sequence-1m": Architecture(sequence_1m)}
