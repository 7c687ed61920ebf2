"""What `digitocr train` hands on; the training itself is told in test_train.py."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from digitocr import resources
from digitocr.errors import DataError

ROOT = Path(__file__).parents[2]
OURS = ("DIGITOCR_", "TF_")  # settings of the machine, which a test must not see

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

    def stand_in(architecture, epochs, out, seed, settings, *, start, watch):
        asked.update(architecture=architecture, epochs=epochs, out=out, seed=seed, start=start)
        return out

    monkeypatch.setattr(sequence, "train", stand_in)
    words = ("--architecture", "sequence-1m", "--epochs", "3", "--out", "m")
    done = digitocr("train", *words, "--start", "first")
    assert (done.code, done.out) == (0, "m\n")
    assert asked == {
        "architecture": "sequence-1m",
        "epochs": 3,
        "out": Path("m"),
        "seed": 1,
        "start": Path("first"),
    }


def test_only_sequence_networks_go_on_from_others(digitocr):
    pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
    done = digitocr("train", "--architecture", "lenet5-relu", "--start", "first")
    assert done.code == 2 and "--start" in done.err


@pytest.mark.parametrize("option", ["--data", "--teacher"])
def test_a_sequence_architecture_takes_neither_data_nor_teachers(digitocr, option):
    done = digitocr("train", "--architecture", "sequence-1m", option, "mnist")
    assert done.code == 2
    assert option in done.err and "leave" in done.err


# What TensorFlow says of itself: absl's lines begin with a letter and four figures.
GREETING = re.compile(rb"absl|oneDNN|cpu_feature_guard|TensorRT|^[IWEF]\d{4} ", re.MULTILINE)
FIRST_USES = {
    "MNIST by Keras": ["compare", "--models", resources.default_model()],
    "a training": [
        "train",
        "--architecture",
        "lenet5-tanh",
        "--epochs",
        "1",
        "--data",
        "drawn.npz",
    ],
}


@pytest.mark.parametrize("words", FIRST_USES.values(), ids=FIRST_USES)
def test_tensorflow_greets_no_one(words, drawn_file, tmp_path):
    """In a process of its own: TensorFlow greets once."""
    pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
    shutil.copy(drawn_file, tmp_path)
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    nowhere = "http://127.0.0.1:9"  # so that nothing is fetched
    env |= {"KERAS_HOME": str(tmp_path), "https_proxy": nowhere, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "digitocr.cli", *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (DataError.exit_code if "compare" in words else 0), done.stderr
    assert done.stderr and not GREETING.search(done.stderr), done.stderr
