"""A classifier that goes on to digits cut out of numbers: the command, small."""

import json

import numpy as np
import pytest

from digitocr import resources
from digitocr.errors import ModelError, UsageError
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own


def test_a_folder_is_not_written_over_the_one_it_goes_on_from():
    from digitocr.training import further

    folder = resources.model_folder("digitocr-130k")
    with pytest.raises(UsageError, match="name another folder"):
        further.go_on(folder, folder, 1, Settings())


def test_a_model_without_non_digits_cannot_go_on(tmp_path):
    from digitocr.training import further

    with pytest.raises(ModelError, match="has no class for what is no digit"):
        further.go_on(resources.folder("models") / "lenet5-relu", tmp_path, 1, Settings())


def test_one_that_goes_on_reads_more_of_what_is_cut_and_says_so(
    data_folder, tmp_path, monkeypatch
):
    from digitocr.training import cutting, dataset, further

    load = cutting.load
    counts = {"train": 200, "validation": 60}
    monkeypatch.setattr(cutting, "load", lambda folder, **rest: load(folder, counts=counts))
    monkeypatch.setattr(further.evaluate, "evaluate", lambda *args, **rest: None)
    start = resources.folder("models") / "digitocr-130k"
    out = further.go_on(
        start,
        tmp_path / "on",
        1,
        Settings(data=data_folder),
        epochs=2,
        runs=2,
        pictures_an_epoch=2_400,
    )
    card = json.loads((out / "card.json").read_text())
    assert card["training"]["runs"] == 2 and card["training"]["cut_glyphs"] > 500
    assert (
        card["training"]["went_on_from"]["fingerprint"]
        == load_model(start).card.fingerprint[:12]
    )
    # What it knew it still knows, after so little of anything else.
    part = dataset.load("mnist", data_folder).part("test")
    images = part.glyphs[:2000].astype(np.float32) / 255
    said = load_model(out).classify(images)[:, :10].argmax(axis=1)
    assert (said == part.labels[:2000]).mean() > 0.985
