import json

import numpy as np
import pytest

from digitocr.errors import UsageError
from digitocr.imaging.normalization import normalize_all
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings
from digitocr.training.pictures import Sheaf

pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


@pytest.fixture(scope="module")
def trained(drawn_file, tmp_path_factory):
    return _train(drawn_file, tmp_path_factory.mktemp("runs") / "ours", "digitocr-130k")


def _train(file, out, architecture, *, seed=7, **more):
    from digitocr.training import train

    more = {"pictures_an_epoch": 64, "batch": 32} | more
    return train.train(architecture, [str(file)], 2, out, seed, Settings(), **more)


def test_training_writes_a_model_that_can_be_read_with_its_report_and_plots(trained, printed):
    model = load_model(trained)
    assert model.classify(normalize_all(printed[0][:32])).shape == (32, 11)
    assert model.card.metrics["drawn"]["count"] > 0
    names = {path.name for path in trained.iterdir()}
    assert {"model.keras", "model.tflite", "card.json", "report.md"} <= names
    assert {"history.png", "classes.png", "confusion.png"} <= names
    assert "checkpoint.keras" not in names
    card = json.loads((trained / "card.json").read_text())
    assert card["training"]["seed"] == 7 and card["training"]["epochs"] == 2
    assert 1 <= card["training"]["best_epoch"] <= 2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    trained, drawn_file, tmp_path
):
    again = _train(drawn_file, tmp_path / "again", "digitocr-130k")
    other = _train(drawn_file, tmp_path / "other", "digitocr-130k", seed=8)
    first, second, third = (_weights(folder) for folder in (trained, again, other))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, third, strict=True))


def _weights(folder):
    import keras

    return keras.models.load_model(folder / "model.keras").get_weights()


def test_a_network_of_ten_classes_learns_from_a_teacher_of_eleven(
    trained, drawn_file, tmp_path
):
    out = _train(drawn_file, tmp_path / "taught", "lenet5-relu", teachers=[trained])
    card = json.loads((out / "card.json").read_text())
    assert card["classes"] == list("0123456789")
    assert card["training"]["teachers"] == ["ours"]
    assert card["parameters"] == 44_426


@pytest.mark.parametrize(
    ("name", "parameters", "classes"),
    [
        ("lenet5-tanh", 61_706, 10),
        ("lenet5-relu", 44_426, 10),
        ("simple-cnn", 225_034, 10),
        ("augmented-cnn", 225_034, 10),
        ("cnn-93k", 93_322, 10),
        ("digitocr-130k", 130_243, 11),
    ],
)
def test_the_networks_are_those_their_names_promise(name, parameters, classes):
    from digitocr.training import networks

    network = networks.find(name).build()
    assert network.count_params() == parameters
    assert network.output_shape == (None, classes)


def test_an_unknown_architecture_is_refused_with_those_there_are(drawn_file, tmp_path):
    with pytest.raises(UsageError, match="cnn-93k"):
        _train(drawn_file, tmp_path / "x", "resnet-152")
    assert not (tmp_path / "x").exists()


def test_answers_are_the_labels_until_teachers_are_asked():
    from digitocr.training.train import answers

    sheaf = Sheaf(np.zeros((3, 28, 28), np.uint8), np.array([4, 0, 10]))
    np.testing.assert_array_equal(answers(sheaf, 11, []), np.eye(11)[[4, 0, 10]])

    def sure_of_seven(glyphs):
        return np.tile(np.eye(10, dtype=np.float32)[7], (len(glyphs), 1))

    rows = answers(sheaf, 11, [sure_of_seven, sure_of_seven], taught_share=0.75)
    np.testing.assert_allclose(rows[:, 7], 0.75)
    np.testing.assert_allclose(rows[[0, 1, 2], [4, 0, 10]], 0.25)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)


def test_every_epoch_learns_from_its_own_sheaf():
    import keras

    from digitocr.training.train import Batches

    sheaves = [Sheaf(np.full((8, 28, 28), at, np.uint8), np.zeros(8, int)) for at in range(3)]
    targets = [np.ones((8, 1), np.float16)] * 3
    batches = Batches(sheaves, targets, [0, 1, 0, 2], seed=1, size=4)
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(1))
    network.compile("sgd", "mse")
    seen = []

    class Watched(Batches):
        def __getitem__(self, index):
            images, wanted = super().__getitem__(index)
            seen.append(round(float(images.max()) * 255))
            return images, wanted

    batches.__class__ = Watched
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=batches.begin)
    network.fit(batches, epochs=4, verbose=0, callbacks=[begin])
    assert seen[-8:] == [0, 0, 1, 1, 0, 0, 2, 2]
