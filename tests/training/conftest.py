"""Printed digits and noise to train and measure on: stand-ins that any machine has."""

import cv2
import numpy as np
import pytest

from digitocr import settings
from digitocr.settings import Settings
from digitocr.training import dataset
from digitocr.training.composition.hands import DIGITS, Hand

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


@pytest.fixture(scope="session")
def printed():
    """Three hundred printed digits, (N, 28, 28) uint8 white on black, and their labels."""
    rng = np.random.default_rng(0)
    glyphs = np.zeros((300, 28, 28), np.uint8)
    for index, glyph in enumerate(glyphs):
        font, place = (
            FONTS[index // 10 % 3],
            (int(rng.integers(4, 9)), int(rng.integers(22, 26))),
        )
        size, pen = float(rng.uniform(0.7, 0.9)), int(rng.integers(1, 3))
        cv2.putText(glyph, str(index % 10), place, font, size, 255, pen, cv2.LINE_AA)
    return glyphs, np.arange(300) % 10


@pytest.fixture(scope="session")
def drawn_file(printed, tmp_path_factory):
    """Thirty-two of them in a file, by sixteen writers in all three parts."""
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    writers = np.array([f"hand {index % 16}" for index in range(32)])
    np.savez(path, x=printed[0][:32], y=printed[1][:32], writer=writers)
    return path


@pytest.fixture(scope="session")
def printed_hand():
    """A function that makes a hand of one printed picture a digit."""

    def build(*, face=FONTS[0], slant=0.0, digits=DIGITS):
        pictures = {}
        for digit in digits:
            glyph = np.zeros((28, 28), np.uint8)
            cv2.putText(glyph, digit, (5, 24), face, 0.85, 255, 2)
            pictures[digit] = (glyph,)
        return Hand("drawn", pictures, slant)

    return build


@pytest.fixture(scope="session")
def mnist(printed, tmp_path_factory):
    """Settings whose data sets are printed digits under the name of MNIST."""
    glyphs, labels = (np.resize(a, (6000, *a.shape[1:])) for a in printed)
    folder = tmp_path_factory.mktemp("data")
    np.savez(
        folder / "mnist.npz",
        x_train=glyphs,
        y_train=labels,
        x_test=printed[0],
        y_test=printed[1],
    )
    return Settings(data=str(folder))


@pytest.fixture
def small_mnist(tmp_path):
    """Lay out a folder of data sets whose MNIST is noise: 6,000 to train, 100 to test."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6100, 8, 8)).astype(np.uint8)
    labels = (np.arange(6100) % 10).astype(np.uint8)
    np.savez(
        tmp_path / "mnist.npz",
        x_train=images[:6000],
        y_train=labels[:6000],
        x_test=images[6000:],
        y_test=labels[6000:],
    )
    return tmp_path


@pytest.fixture
def data_folder():
    """The folder of data sets of this machine; a test that needs one is skipped elsewhere."""
    folder = settings.load().data
    if not folder:
        pytest.skip("needs DIGITOCR_DATA with MNIST, its writers and UNIPEN's strokes")
    return folder


@pytest.fixture
def no_mnist(tmp_path, monkeypatch):
    """Settings where MNIST cannot be had, nor fetched."""
    monkeypatch.setattr(dataset, "_mnist_by_keras", _nothing)
    (tmp_path / "no data").mkdir()
    return Settings(data=str(tmp_path / "no data"))


def _nothing():
    raise dataset.DataError("mnist: there is no network")


@pytest.fixture(scope="session")
def network(printed):
    """A function that makes a small network reading the printed digits, fed as asked.

    The hidden units are drawn and the answers solved for, so that nothing need be trained.
    Fed in another way than it was made for, its hidden units are shifted or saturated.
    """
    keras = pytest.importorskip("keras", reason="networks need digitocr[train]")
    from digitocr.imaging.normalization import normalize_all
    from digitocr.training.conventions import OURS

    glyphs, labels = normalize_all(printed[0]), printed[1]

    def build(shape=(28, 28, 1), activation="softmax", convention=OURS, before=(), classes=10):
        rng = np.random.default_rng(1)
        weights = rng.normal(0.0, 0.2, (784, 150)).astype(np.float32)
        bias = rng.normal(0.0, 0.5, 150).astype(np.float32)
        # The same hidden units, whatever way the pixels come in.
        bias = bias - weights.sum(axis=0) * np.float32(convention.offset / convention.gain)
        weights = weights / np.float32(convention.gain)
        pixels = convention.applied(glyphs).reshape(len(glyphs), -1)
        units = np.c_[np.tanh(pixels @ weights + bias), np.ones(len(pixels))]
        wanted = 16.0 * (np.eye(classes)[labels] - 0.5)
        solved = np.linalg.lstsq(units, wanted, rcond=None)[0].astype(np.float32)
        hidden = keras.layers.Dense(150, activation="tanh", name="hidden")
        answer = keras.layers.Dense(classes, activation=activation, name="answer")
        made = keras.Sequential(
            [keras.Input(shape), *before, keras.layers.Flatten(), hidden, answer], name="small"
        )
        hidden.set_weights([weights, bias])
        answer.set_weights([solved[:-1], solved[-1]])
        return made

    return build
