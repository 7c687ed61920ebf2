"""What `digitocr train` hands on; the training itself is told in test_train.py."""

import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


@pytest.fixture
def asked(monkeypatch):
    """What training was asked for, which is not done; it shows an epoch, as training does."""
    pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
    from digitocr.training import train

    seen = {}

    def stand_in(architecture, data, epochs, out, seed, settings, *, teachers, watch):
        seen.update(architecture=architecture, data=data, epochs=epochs, out=out, seed=seed)
        seen.update(teachers=teachers)
        with watch("Training", 1, unit="epoch") as advance:
            advance("validation 99 %")
        sys.stdout.write("Downloading data from somewhere\n")  # as Keras does
        return out

    monkeypatch.setattr(train, "train", stand_in)
    return seen


def test_several_data_sets_and_teachers_are_handed_on(digitocr, asked):
    done = digitocr("train", "--data", "mnist", "mine.npz", "--teacher", "a", "--teacher", "b")
    assert (done.code, done.out) == (0, "runs/model\n")
    assert done.lines == ["Training: 1 of 1 epoch, 0 s", "Downloading data from somewhere"]
    assert asked == {
        "architecture": "digitocr-130k",
        "data": ("mnist", "mine.npz"),
        "epochs": None,
        "out": Path("runs/model"),
        "seed": 1,
        "teachers": (Path("a"), Path("b")),
    }


def test_quiet_training_prints_the_folder_alone(digitocr, asked):
    done = digitocr("--quiet", "train", "--out", "m", "--epochs", "3", "--seed", "7")
    assert (done.code, done.out) == (0, "m\n")
    assert "Training" not in done.err
    assert (asked["epochs"], asked["seed"], asked["data"]) == (3, 7, ())


def test_a_sequence_architecture_goes_to_the_training_of_whole_numbers(digitocr, monkeypatch):
    pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
    from digitocr.training import sequence

    asked = {}

    def stand_in(architecture, epochs, out, seed, settings, *, watch):
        asked.update(architecture=architecture, epochs=epochs, out=out, seed=seed)
        return out

    monkeypatch.setattr(sequence, "train", stand_in)
    done = digitocr("train", "--architecture", "sequence-220k", "--epochs", "3", "--out", "m")
    assert (done.code, done.out) == (0, "m\n")
    assert asked == {
        "architecture": "sequence-220k",
        "epochs": 3,
        "out": Path("m"),
        "seed": 1,
    }


@pytest.mark.parametrize("option", ["--data", "--teacher"])
def test_a_sequence_architecture_takes_neither_data_nor_teachers(digitocr, option):
    done = digitocr("train", "--architecture", "sequence-220k", option, "mnist")
    assert done.code == 2
    assert option in done.err and "leave" in done.err
