import json
import logging

import h5py
import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.imaging.normalization import normalize_all
from digitocr.training import keras_files
from digitocr.training.conventions import CONVENTIONS, OURS, are_probabilities, find_convention

keras = pytest.importorskip("keras", reason="Keras files need digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


def share_right(file, printed):
    rows = file.classify(normalize_all(printed[0]))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-4)
    return float((rows[:, :10].argmax(axis=1) == printed[1]).mean())


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_the_scale_and_polarity_a_network_wants_are_found(
    convention, network, printed, mnist, tmp_path
):
    network(convention=convention).save(tmp_path / "elsewhere.keras")
    file = keras_files.load(tmp_path / "elsewhere.keras", mnist)
    assert file.input == f"{convention.scale}, {convention.polarity}"
    assert share_right(file, printed) > 0.95


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28), (784,), (1, 28, 28)], ids=str)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_shapes_and_outputs_of_the_tutorials_are_read(
    shape, activation, network, printed, mnist, tmp_path
):
    network(shape, activation).save(tmp_path / "elsewhere.h5")
    file = keras_files.load(tmp_path / "elsewhere.h5", mnist)
    assert file.network.input_shape == (None, 28, 28, 1)
    assert file.parameters == 784 * 150 + 150 + 151 * 10
    assert share_right(file, printed) > 0.95


def test_the_probabilities_are_those_the_file_gives(network, printed, mnist, tmp_path):
    made = network()
    made.save(tmp_path / "elsewhere.keras")
    glyphs = normalize_all(printed[0])
    file = keras_files.load(tmp_path / "elsewhere.keras", mnist)
    wanted = made.predict(glyphs[..., None], verbose=0)
    np.testing.assert_allclose(file.classify(glyphs), wanted, atol=1e-5)
    assert file.classify(glyphs[:0]).shape == (0, 10)


def test_a_network_that_scales_its_input_itself_wants_whole_numbers(
    network, printed, mnist, tmp_path
):
    made = network(before=[keras.layers.Rescaling(1 / 255)])
    made.save(tmp_path / "elsewhere.keras")
    file = keras_files.load(tmp_path / "elsewhere.keras", mnist)
    assert file.input == "0-255, white on black"
    assert share_right(file, printed) > 0.95


def test_an_eleventh_class_is_other(network, printed, mnist, tmp_path):
    network(activation=None, classes=11).save(tmp_path / "ours.keras")
    file = keras_files.load(tmp_path / "ours.keras", mnist)
    assert file.classes == (*"0123456789", "other")
    assert share_right(file, printed) > 0.95


def test_a_functional_network_with_lists_is_read(network, printed, mnist, tmp_path):
    picture = keras.Input((28, 28, 1))
    keras.Model([picture], [network()(picture)]).save(tmp_path / "elsewhere.h5")
    file = keras_files.load(tmp_path / "elsewhere.h5", mnist)
    assert share_right(file, printed) > 0.95


def test_a_file_of_keras_2_is_read(network, printed, mnist, tmp_path):
    """Keras 2 called the shape of the input batch_input_shape, and knew no policy of types."""
    path = tmp_path / "old.h5"
    network().save(path)
    with h5py.File(path, "r+") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        for layer in layers:
            layer["config"]["dtype"] = "float32"
        first = {"name": "glyph", "batch_input_shape": [None, 28, 28, 1], "dtype": "float32"}
        layers[0] = {"class_name": "InputLayer", "config": first | {"sparse": False}}
        config = {"class_name": "Sequential", "config": {"name": "small", "layers": layers}}
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.4.0"
    assert share_right(keras_files.load(path, mnist), printed) > 0.95


def test_the_content_of_a_file_counts_and_not_its_ending(network, printed, mnist, tmp_path):
    network().save(tmp_path / "a.h5")
    (tmp_path / "a.h5").rename(tmp_path / "a.keras")
    network().save(tmp_path / "b.keras")
    (tmp_path / "b.keras").rename(tmp_path / "b.model")
    for name in ("a.keras", "b.model"):
        assert keras_files.is_keras_file(tmp_path / name)
        assert share_right(keras_files.load(tmp_path / name, mnist), printed) > 0.95


def test_without_mnist_the_commonest_convention_is_assumed_and_told(
    network, no_mnist, tmp_path, caplog
):
    network().save(tmp_path / "elsewhere.keras")
    file = keras_files.load(tmp_path / "elsewhere.keras", no_mnist)
    assert file.input == "0-1, white on black (assumed)"
    assert "no MNIST to try it on" in caplog.text


def test_a_network_that_reads_no_digits_is_warned_of(network, mnist, tmp_path, caplog):
    made = network()
    kernel, bias = made.get_layer("answer").get_weights()
    made.get_layer("answer").set_weights([np.roll(kernel, 1, axis=1), np.roll(bias, 1)])
    made.save(tmp_path / "fashion.keras")
    with caplog.at_level(logging.WARNING):
        keras_files.load(tmp_path / "fashion.keras", mnist)
    assert "was it trained on handwritten digits?" in caplog.text


def test_the_network_of_one_of_our_folders_is_not_tried(network, no_mnist, tmp_path, caplog):
    network().save(tmp_path / "model.keras")
    (tmp_path / "card.json").write_text("{}")
    assert keras_files.load(tmp_path / "model.keras", no_mnist).input == str(OURS)
    assert caplog.text == ""


# ---------------------------------------------------------------- what is refused


def weights_only(path, network):
    network().save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def old_weights_only(path, network):
    network().save(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]


def larger_pictures(path, network):
    keras.Sequential(
        [keras.Input((32, 32, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    ).save(path)


def colored_pictures(path, network):
    keras.Sequential(
        [keras.Input((28, 28, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    ).save(path)


def two_inputs(path, network):
    first, second = keras.Input((784,)), keras.Input((784,))
    joined = keras.layers.Add()([first, second])
    keras.Model([first, second], keras.layers.Dense(10)(joined)).save(path)


def letters(path, network):
    keras.Sequential([keras.Input((784,)), keras.layers.Dense(26)]).save(path)


def with_a_lambda(path, network):
    network(before=[keras.layers.Lambda(lambda x: x / 255)]).save(path)


def no_keras_file(path, network):
    path.write_text("weights, honestly")


def cut_short(path, network):
    network().save(path)
    path.write_bytes(path.read_bytes()[:3000])


def undefined_numbers(path, network):
    made = network()
    kernel, bias = made.get_layer("answer").get_weights()
    made.get_layer("answer").set_weights([np.full_like(kernel, np.nan), bias])
    made.save(path)


def missing(path, network):
    pass


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (weights_only, "holds weights without their network; build the network, load"),
        (old_weights_only, "holds weights without their network; build the network, load"),
        (larger_pictures, "takes 32x32x1; digitocr has pictures of 28x28"),
        (colored_pictures, "takes 28x28x3; digitocr has pictures of 28x28"),
        (two_inputs, "takes no single known shape; digitocr has pictures of 28x28"),
        (letters, "gives 26; a network for digits gives 10"),
        (with_a_lambda, "holds a Lambda layer, which brings code with it and is not run"),
        (no_keras_file, "is no Keras file; name one that was written by model.save"),
        (cut_short, "cannot be read as a Keras file: "),
        (undefined_numbers, "gives no finite numbers for any of the digits"),
        (missing, "No such file or directory; name a model folder or a Keras file"),
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_no_network_for_digits_is_refused_and_says_what_to_do(
    write, part, suffix, network, mnist, tmp_path
):
    path = tmp_path / f"elsewhere{suffix}"
    if write is old_weights_only and suffix == ".keras":
        path = tmp_path / "elsewhere.hdf5"
    write(path, network)
    with pytest.raises(ModelError) as refused:
        keras_files.load(path, mnist)
    assert str(refused.value).startswith(f"{path}: {part}")
    assert len(str(refused.value)) < len(str(path)) + 320


def test_the_code_of_a_lambda_is_not_run(network, mnist, tmp_path):
    """Also with a Keras that would run it: the file is looked into before Keras sees it."""
    path = tmp_path / "elsewhere.h5"
    with_a_lambda(path, network)
    seen = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras.models, "load_model", lambda *_, **__: seen.append(1))
        with pytest.raises(ModelError, match="Lambda"):
            keras_files.load(path, mnist)
    assert seen == []


# ---------------------------------------------------------------- conventions alone


@pytest.mark.parametrize(("ours", "theirs", "found"), [(1, 5, "0-255"), (5, 50, "0-1")])
def test_of_ways_that_read_alike_the_one_that_is_clearly_surer_or_the_commonest_is_taken(
    ours, theirs, found
):
    labels = np.arange(20) % 10

    def answer(pictures):
        sure = theirs if pictures.max() > 100 else ours
        return np.float32(sure) * (np.eye(10, dtype=np.float32)[labels] - np.float32(0.5))

    best, accuracy = find_convention(answer, np.full((20, 2, 2), 0.6, np.float32), labels)
    assert (best.scale, accuracy) == (found, 1.0)


def test_rows_of_a_softmax_are_told_from_logits():
    assert are_probabilities(np.array([[0.1, 0.9], [1.0, 0.0]], np.float32))
    assert not are_probabilities(np.array([[0.1, -0.1]], np.float32))
    assert not are_probabilities(np.array([[0.5, 1.5]], np.float32))
