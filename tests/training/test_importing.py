import json

import numpy as np
import pytest

from digitocr.errors import ModelError, UsageError
from digitocr.imaging.normalization import normalize_all
from digitocr.recognition.classifier import load_model
from digitocr.training import export, importing, keras_files
from digitocr.training.conventions import CONVENTIONS

keras = pytest.importorskip("keras", reason="Keras files need digitocr[train]")
pytest.importorskip("tensorflow", reason="Keras files need digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    """A flat network of black on white, 0-255, in an old file."""
    path = tmp_path_factory.mktemp("elsewhere") / "their net.h5"
    network((784,), convention=CONVENTIONS[3]).save(path)
    return path


@pytest.fixture(scope="module")
def imported(file, mnist, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "theirs"
    return importing.import_model(file, out, "theirs", mnist)


def test_an_imported_network_is_read_with_and_says_the_same(imported, file, mnist, printed):
    model, network = load_model(imported), keras_files.load(file, mnist)
    glyphs = normalize_all(printed[0])
    rows = model.classify(glyphs)
    np.testing.assert_array_equal(rows.argmax(axis=1), network.classify(glyphs).argmax(axis=1))
    assert (rows.argmax(axis=1) == printed[1]).mean() > 0.95
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)


def test_its_card_says_where_it_is_from_and_what_it_is_worth(imported):
    model = load_model(imported)
    assert model.card.name == "theirs"
    assert model.card.classes == tuple("0123456789")
    assert model.card.trained_on == ("unknown: imported from their net.h5",)
    assert model.card.metrics["mnist"]["digits"] == 300
    card = json.loads((imported / "card.json").read_text())
    assert card["architecture"] == "imported"
    assert card["input"] == "0-255, black on white"
    assert card["parameters"] == 784 * 150 + 150 + 151 * 10
    names = {path.name for path in imported.iterdir()}
    assert {"model.keras", "model.tflite", "report.md", "confusion.png"} <= names


def test_its_keras_file_can_be_loaded_again_and_wants_our_pictures(imported, mnist, printed):
    again = keras_files.load(imported / "model.keras", mnist)
    assert again.input == "0-1, white on black"
    rows = again.classify(normalize_all(printed[0]))
    assert (rows.argmax(axis=1) == printed[1]).mean() > 0.95


def test_a_folder_in_use_is_left_alone(imported, file, mnist, tmp_path):
    before = {path.name: path.read_bytes() for path in imported.iterdir()}
    with pytest.raises(UsageError, match="is not empty; name a new folder with --out"):
        importing.import_model(file, imported, "theirs", mnist)
    assert {path.name: path.read_bytes() for path in imported.iterdir()} == before
    (tmp_path / "a file").touch()
    with pytest.raises(UsageError, match="--out"):
        importing.import_model(file, tmp_path / "a file" / "below", "theirs", mnist)


def test_a_file_that_does_not_fit_leaves_no_folder(mnist, tmp_path):
    (tmp_path / "text.h5").write_text("no network")
    with pytest.raises(ModelError):
        importing.import_model(tmp_path / "text.h5", tmp_path / "out", "x", mnist)
    assert not (tmp_path / "out").exists()


def test_without_mnist_the_temperature_is_1_and_nothing_is_measured(
    network, no_mnist, printed, tmp_path, caplog
):
    network().save(tmp_path / "theirs.keras")
    out = importing.import_model(tmp_path / "theirs.keras", tmp_path / "m", "m", no_mnist)
    model = load_model(out)
    assert (model.card.temperature, model.card.metrics) == (1.0, {})
    assert "(assumed)" in json.loads((out / "card.json").read_text())["input"]
    assert "no MNIST to measure it on; its temperature is left at 1" in caplog.text
    assert "Not measured" in (out / "report.md").read_text()
    rows = model.classify(normalize_all(printed[0]))
    assert (rows.argmax(axis=1) == printed[1]).mean() > 0.95


def test_a_network_that_comes_out_different_in_litert_is_refused(
    file, mnist, monkeypatch, tmp_path
):
    monkeypatch.setattr(export, "from_bytes", lambda _: lambda x: np.eye(10)[[3] * len(x)])
    with pytest.raises(ModelError, match=r"their net\.h5: .*not written"):
        importing.import_model(file, tmp_path / "out", "x", mnist)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("factor", [0.1, 1.0, 60.0])
def test_a_network_may_be_far_too_sure_or_too_modest(factor):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    logits = rng.normal(0, 1, (400, 10)).astype(np.float32)
    logits[np.arange(400), labels] += 2.0
    plain = importing.fitted_temperature(logits, labels)
    other = importing.fitted_temperature(logits * np.float32(factor), labels)
    assert other == pytest.approx(factor * plain, rel=0.05)


def test_drawn_digits_are_glyphs():
    glyphs = importing.drawn_digits(hands=2)
    assert glyphs.shape == (20, 28, 28)
    assert (glyphs.max(axis=(1, 2)) == 1.0).all()


# ---------------------------------------------------------------- the commands


def test_the_command_makes_a_folder_that_is_listed_and_reads_forms(
    digitocr, workplace, network, mnist
):
    (workplace / "digitocr.toml").write_text(f'data = "{mnist.data}"\n')
    network().save(workplace / "lenet.h5")
    done = digitocr("--quiet", "models", "import", "lenet.h5")
    assert (done.code, done.out, done.err) == (0, "models/lenet\n", "")
    done = digitocr("models", "list")
    assert (done.code, done.err) == (0, "")
    rows = map(str.split, done.out.splitlines())
    (row,) = (row for row in rows if row[-1:] == ["models/lenet"])
    assert row[:3] == ["lenet", "10", "119,260"] and row[3].endswith("%")
    done = digitocr("process", "scans", "--model", "models/lenet")
    assert done.code == 0, done.err
    done = digitocr("models", "import", "lenet.h5")
    assert (done.code, len(done.lines)) == (UsageError.exit_code, 1)
    assert "models/lenet: is not empty; name a new folder with --out" in done.err


def test_a_name_that_is_no_name_is_refused(digitocr, workplace):
    for name in ("", "a/b", ".."):
        done = digitocr("models", "import", "lenet.h5", "--name", name)
        assert (done.code, len(done.lines)) == (UsageError.exit_code, 1)
        assert "--name" in done.err
