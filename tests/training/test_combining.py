import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from digitocr import resources
from digitocr.errors import DataError
from digitocr.recognition.combining import Evidence, Opinions
from digitocr.recognition.recognizer import load_recognizer
from digitocr.recognition.sequence import load_sequence
from digitocr.settings import Settings
from digitocr.training import combining
from digitocr.training.combining import START, answers, fit, least_rejected
from digitocr.training.composition import hands
from digitocr.training.observing import Observation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # matplotlib's own


def observed(rng, *, lattice, sequence, truth="12", other="17"):
    """One number of which each reader says the truth with such a probability of being right."""
    said = []
    for skill in (lattice, sequence):
        right = rng.random() < skill
        sure = float(rng.beta(9, 1))
        said.append(np.log([sure, 1 - sure] if right else [1 - sure, sure]))
    of = Opinions((truth, other), said[0], said[1])
    line = np.full((32, 60), 255, np.uint8)
    return Observation(truth, "plain", False, of, Evidence(False, False, {}), line)


def many(count, **skills):
    rng = np.random.default_rng(1)
    return [observed(rng, **skills) for _ in range(count)]


def test_the_better_reader_weighs_more():
    found = fit(many(600, lattice=0.6, sequence=0.95))
    assert found.sequence_power > found.lattice_power
    found = fit(many(600, lattice=0.95, sequence=0.6))
    assert found.lattice_power > found.sequence_power


def test_both_are_right_more_often_than_either_and_as_often_as_they_say():
    seen = many(3000, lattice=0.85, sequence=0.85)
    found = fit(seen[:1500])
    said = answers(seen[1500:], found)
    right = {name: np.mean([text == "12" for text, _ in read]) for name, read in said.items()}
    assert set(right) == {"lattice", "sequence", "both"}  # no contours were given
    assert right["both"] >= max(right["lattice"], right["sequence"]) - 0.01
    sure = np.mean([confidence for _, confidence in said["both"]])
    assert sure == pytest.approx(right["both"], abs=0.03)


def test_where_all_is_right_the_readers_are_not_believed_without_limit():
    found = fit(many(300, lattice=1.0, sequence=1.0))
    assert found.lattice_power < 3 and found.sequence_power < 3
    assert max(map(abs, found.calibration)) < 3


def test_few_numbers_leave_the_weights_near_those_they_are_drawn_to():
    found = fit(many(3, lattice=0.2, sequence=0.9))
    assert found.lattice_power == pytest.approx(START.lattice_power, abs=0.5)
    assert found.calibration == pytest.approx(START.calibration, abs=0.6)


def test_the_least_share_rejected_keeps_the_target():
    sure = np.array([0.99, 0.98, 0.97, 0.96, 0.5])
    right = np.array([True, True, False, True, False])
    assert least_rejected(sure, right, target=0.0) == pytest.approx(0.6)
    assert least_rejected(sure, right, target=0.25) == pytest.approx(0.2)
    assert least_rejected(sure, right, target=1.0) == 0.0
    alike = np.full(4, 0.9)
    assert least_rejected(alike, np.array([True, True, True, False]), target=0.1) == 1.0


def test_too_few_crops_are_refused(tmp_path):
    with pytest.raises(DataError, match="300"):
        combining.combine(tmp_path, tmp_path, Settings(), count=10)


@pytest.mark.slow
def test_combining_fits_two_models_writes_their_weights_and_says_what_each_reads(
    printed_hand, tmp_path, monkeypatch
):
    writers = hands.gather([printed_hand()], [], "drawn")
    monkeypatch.setattr(hands, "load", lambda folder, part: writers)
    monkeypatch.setattr(combining, "LEAST_COUNT", 20)
    folder = tmp_path / "sequence"
    shipped = resources.sequence_folder("")
    folder.mkdir()
    shutil.copy(shipped / "model.tflite", folder)
    card = json.loads((shipped / "card.json").read_text())
    del card["combination"]
    (folder / "card.json").write_text(json.dumps(card))
    found = combining.combine(folder, resources.default_model(), Settings(), count=90)
    assert set(found) == {"crops", "cells"}
    readers = {"contours", "lattice", "sequence", "both"}
    if load_recognizer() is not None:
        readers.add("three")
    assert set(found["crops"]) == readers
    assert found["crops"]["both"]["all"]["count"] == 30
    weights = load_sequence(Path(folder)).combinations
    assert weights.crops != weights.cells
    report = (folder / "readers.md").read_text()
    assert "| all | both | 30 |" in report and (folder / "readers.png").stat().st_size > 1000
