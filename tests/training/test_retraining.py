"""Retraining from top to bottom, on printed digits; what it is worth is told by the bench."""

import csv
import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from digitocr import resources
from digitocr.db import promotions
from digitocr.db.corrections import VerifiedGlyph
from digitocr.errors import DataError, ModelError, UsageError
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings

pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]

GOLD = 0.35
FACES = (cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_PLAIN)


@pytest.fixture(scope="module")
def said():
    """Six hundred digits in print on gray paper, ten to a document, by one reviewer."""
    rng = np.random.default_rng(4)
    found = []
    for index in range(600):
        paper = np.full((40, 34), 235, np.uint8)
        face, place = FACES[index % 2], (int(rng.integers(5, 9)), int(rng.integers(29, 33)))
        size = float(rng.uniform(0.9, 1.1))
        cv2.putText(paper, str(index % 10), place, face, size, 40, 2, cv2.LINE_AA)
        png = cv2.imencode(".png", paper)[1].tobytes()
        document = hashlib.sha256(f"{index // 10}".encode()).hexdigest()
        found.append(
            VerifiedGlyph(
                index, document, 1, "votes", index % 10, index % 10, "", png, ("ana",)
            )
        )
    return found


@pytest.fixture(scope="module")
def known(printed, tmp_path_factory):
    """Settings whose MNIST is printed digits, each another: none is on the sample forms."""
    glyphs, labels = (np.resize(a, (6000, *a.shape[1:])) for a in printed)
    glyphs = glyphs.copy()
    for index, glyph in enumerate(glyphs):
        glyph[index // 28 % 28, index % 28] |= 1 + index % 13  # too faint to be seen
        glyph[0, 0] |= index // 784
    folder = tmp_path_factory.mktemp("data")
    arrays = {"x_test": printed[0], "y_test": printed[1]}
    np.savez(folder / "mnist.npz", x_train=glyphs, y_train=labels, **arrays)
    return Settings(data=str(folder))


def poisoned(said, share):
    """Give a share of the labels wrongly, spread over all documents."""
    rng = np.random.default_rng(5)
    chosen = set(rng.choice(len(said), round(share * len(said)), replace=False).tolist())
    return [
        replace(one, label=(one.label + int(rng.integers(1, 10))) % 10) if at in chosen else one
        for at, one in enumerate(said)
    ], chosen


def learn(verified, out, settings, **more):
    from digitocr.training.retraining import retrain

    small = {"gold": GOLD, "epochs": 1, "seed": 3, "pictures_an_epoch": 320, "batch": 64}
    return retrain(verified, resources.default_model(), out, settings, **small | more)


@pytest.fixture(scope="module")
def done(said, known, tmp_path_factory):
    return learn(said, tmp_path_factory.mktemp("models") / "mine", known)


def test_a_candidate_is_a_model_folder_with_its_report_and_its_verdict(done):
    model = load_model(done.folder)
    assert model.card.name == "mine" and len(model.card.classes) == 11
    names = {path.name for path in done.folder.iterdir()}
    assert {"model.keras", "model.tflite", "card.json", "report.md", "suspicious.csv"} <= names
    assert {"history.png", "gold_reject.png", "error_reject.png", "confusion.png"} <= names
    card = json.loads((done.folder / "card.json").read_text())
    assert card["training"]["corrections"] == done.learned >= 200
    assert card["training"]["gold_digits"] == done.held_out >= 100
    assert card["training"]["verified_share"] == 0.3
    assert "unipen" in card["training"]["not_there"] == list(done.missing)
    assert card["trained_on"][-1].startswith("corrections of 60 documents")
    assert card["metrics"]["mnist"]["digits"] == 300
    verdict = promotions.verdict_of(done.folder)
    assert verdict.passed is done.gate.passed
    assert verdict.because == done.gate.failures


def test_both_models_are_compared_on_gold_on_mnist_and_on_what_is_no_digit(done):
    assert set(done.figures) == {"gold", "mnist", "drawn-junk"}
    assert [one.name.split(":")[0] for one in done.gate.trials] == [
        "gold", "gold", "mnist", "mnist", "drawn-junk",
    ]  # fmt: skip
    in_use, candidate = done.figures["gold"]
    assert in_use["digits"] == candidate["digits"] == done.held_out
    report = (done.folder / "report.md").read_text()
    may = "It may be promoted" if done.gate.passed else "It must not be promoted"
    assert f"**{may}**" in report
    assert "| gold | in use |" in report and "| gold | candidate |" in report
    assert "gold_reject.png" in report and "## " in report
    assert "Not here, so not learned from again: unipen" in report


def test_one_short_round_does_not_make_it_forget(done):
    in_use, candidate = done.figures["drawn-junk"]
    assert candidate["refused"] > in_use["refused"] - 0.02
    for name in ("gold", "mnist"):
        in_use, candidate = done.figures[name]
        assert candidate["accuracy"] > in_use["accuracy"] - 0.02


def test_a_batch_with_five_wrong_labels_in_a_hundred_does_not_pass(said):
    from digitocr.training.corrections import prepare
    from digitocr.training.gate import judge

    labels, chosen = poisoned(said, 0.05)
    in_use = load_model(resources.default_model())
    lessons = prepare(labels, in_use.classify, gold=GOLD, sure=0.99)
    listed = {one.id for one in lessons.suspicious()}
    assert len(listed & chosen) >= 0.8 * len(chosen)  # of the others nothing was sure
    gate = judge([], labels=len(labels), suspicious=len(listed), accept=0.99)
    assert not gate.passed
    assert "a second person must look at them first" in gate.failures[0]
    honest = prepare(said, in_use.classify, gold=GOLD, sure=0.99).count("suspicious")
    assert judge([], labels=len(said), suspicious=honest, accept=0.99).passed


@pytest.mark.soak
def test_nor_does_the_candidate_that_comes_of_it(said, known, tmp_path):
    labels, _ = poisoned(said, 0.05)
    found = learn(labels, tmp_path / "poisoned", known, pictures_an_epoch=128)
    assert not found.gate.passed and not found.gate.labels.passed
    assert promotions.verdict_of(found.folder).passed is False
    assert "**It must not be promoted**" in (found.folder / "report.md").read_text()
    with (found.folder / "suspicious.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == found.suspicious
    assert found.learned + found.held_out + found.suspicious <= len(labels)


def test_the_same_labels_pass_once_a_second_person_put_them_right(said):
    from digitocr.training.corrections import prepare
    from digitocr.training.gate import judge

    labels, chosen = poisoned(said, 0.05)
    mended = [
        replace(said[at], reviewers=("ana", "ben")) if at in chosen else one
        for at, one in enumerate(labels)
    ]
    lessons = prepare(
        mended, load_model(resources.default_model()).classify, gold=GOLD, sure=0.99
    )
    suspicious = lessons.count("suspicious")
    assert judge([], labels=len(mended), suspicious=suspicious, accept=0.99).passed


@pytest.mark.parametrize("count", [0, 40, 250])
def test_too_few_corrections_are_refused_with_how_many_are_needed(said, known, tmp_path, count):
    with pytest.raises(DataError, match="retraining needs at least 200 and 100") as raised:
        learn(said[:count], tmp_path / "few", known, origin="sqlite:///mine.db")
    assert str(raised.value).startswith("sqlite:///mine.db: ")
    assert f"of {-(-count // 10)} documents in all" in str(raised.value)
    assert "review more" in str(raised.value)
    assert not (tmp_path / "few").exists()


def test_a_model_that_learned_from_documents_to_be_held_out_is_refused(
    done, said, known, tmp_path
):
    from digitocr.training.retraining import retrain

    with pytest.raises(ModelError, match=f"take --gold {GOLD:g}"):
        retrain(said, done.folder, tmp_path / "again", known, gold=0.6)


def test_what_cannot_go_on_learning_is_refused(said, known, tmp_path):
    from digitocr.training.retraining import retrain

    ten = resources.folder("models") / "lenet5-relu"
    with pytest.raises(ModelError, match="no class for what is no digit"):
        retrain(said, ten, tmp_path / "x", known)
    with pytest.raises(UsageError, match="is the model in use"):
        retrain(said, resources.default_model(), resources.default_model(), known)
    assert not (tmp_path / "x").exists()


def test_without_mnist_nothing_is_learned_because_nothing_could_be_compared(
    said, no_mnist, tmp_path
):
    with pytest.raises(DataError, match="mnist"):
        learn(said, tmp_path / "x", no_mnist)
    assert not (tmp_path / "x").exists()


def test_the_weights_that_go_on_are_those_that_read(printed):
    """The bias of `other` goes there and back, and nothing else is moved."""
    import keras

    from digitocr.training import retraining, train

    folder = resources.default_model()
    card = json.loads((folder / "card.json").read_text())
    network = retraining.network_of(folder, card)
    train.expect_fewer_others(network)
    for a, b in zip(
        network.get_weights(),
        keras.models.load_model(folder / "model.keras").get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
