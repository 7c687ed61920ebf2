import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from digitocr import resources
from digitocr.errors import DataError, ModelError, UsageError
from digitocr.settings import Settings
from digitocr.training import dataset, evaluate

pytest.importorskip("matplotlib", reason="reports need digitocr[train]")


@pytest.fixture
def model(tmp_path):
    """A copy of the model that travels with digitocr, without its report and plots."""
    leave = shutil.ignore_patterns("*.png", "report.md")
    return shutil.copytree(resources.default_model(), tmp_path / "model", ignore=leave)


@pytest.fixture
def file(printed, tmp_path):
    """Forty printed digits in a file, and two pictures that are none."""
    glyphs = np.concatenate([printed[0][:40], np.zeros((2, 28, 28), np.uint8)])
    glyphs[40, 10] = 255
    np.savez(tmp_path / "own.npz", x=glyphs, y=[*printed[1][:40], -1, -1])
    return tmp_path / "own.npz"


def test_a_model_folder_is_measured_on_mnist_and_a_file(model, file, mnist):
    found = evaluate.evaluate(model, ["mnist", str(file)], mnist)
    assert json.loads(json.dumps(found)) == found
    assert found["input"] == "0-1, white on black"
    assert list(found["sets"]) == ["mnist", "own"]
    assert found["sets"]["mnist"]["digits"] == 300
    assert (found["sets"]["own"]["digits"], found["sets"]["own"]["non_digits"]) == (40, 2)
    assert (
        evaluate.evaluate(model / "model.tflite", [str(file)], mnist)["model"] == found["model"]
    )


def test_the_report_shows_its_plots_and_the_training_and_fills_the_card(model, mnist):
    card = json.loads((model / "card.json").read_text())
    card["training"] = {"seed": 1, "best_epoch": 39, "teachers": ["a", "b"], "seconds": 1200}
    (model / "card.json").write_text(json.dumps(card))
    (model / "history.png").touch()
    (model / "zebra.png").touch()
    found = evaluate.evaluate(model, (), mnist, model)
    assert found["training"] == card["training"]
    text = (model / "report.md").read_text()
    assert "Training: seed 1; best epoch 39; teachers a, b; seconds 1200." in text
    shown = [line.rpartition("(")[2].rstrip(")") for line in text.splitlines() if "![" in line]
    assert sorted(shown) == sorted(path.name for path in model.glob("*.png"))
    assert shown[0] == "history.png" and shown[-1] == "zebra.png"
    metrics = json.loads((model / "card.json").read_text())["metrics"]
    assert list(metrics) == ["mnist"]
    assert metrics["mnist"]["accuracy"] == round(found["sets"]["mnist"]["accuracy"], 5)


def test_a_report_elsewhere_leaves_the_card_alone(model, file, mnist, tmp_path):
    before = (model / "card.json").read_bytes()
    evaluate.evaluate(model, [str(file)], mnist, tmp_path / "look" / "here")
    assert (model / "card.json").read_bytes() == before
    names = {path.name for path in (tmp_path / "look" / "here").iterdir()}
    assert {"report.md", "confusion.png", "calibration.png"} <= names
    assert not {"samples.png", "mistakes.png"} & names  # they may be anyone's


def test_a_report_that_cannot_be_written_is_named(model, file, mnist):
    with pytest.raises(UsageError, match=r"own\.npz: .*name a folder"):
        evaluate.evaluate(model, [str(file)], mnist, file)


def test_of_a_file_all_is_measured_or_only_the_writers_held_out(file):
    whole = evaluate.held_out([str(file)], "", whole_files=True)
    assert [len(one) for one in whole] == [42]
    writers = dataset.load(str(file), "").part("heldout")
    assert [len(one) for one in evaluate.held_out([str(file)], "", whole_files=False)] == [
        len(writers)
    ]


def test_what_is_all_trained_on_is_not_measured(tmp_path, printed):
    np.savez(tmp_path / "optdigits.npz", x=printed[0][:10], y=printed[1][:10])
    with pytest.raises(DataError, match="nothing is held out to measure on; add mnist"):
        evaluate.held_out(["optdigits"], str(tmp_path), whole_files=True)


def test_progress_is_shown_where_there_is_much_to_measure(printed):
    steps = []

    @contextmanager
    def watch(what, total, *, unit):
        steps.append((what, total, unit))
        yield steps.append

    def classify(glyphs):
        return np.full((len(glyphs), 10), 0.1, np.float32)

    def part(count):
        glyphs, labels = np.zeros((count, 2, 2), np.uint8), np.zeros(count, np.int64)
        return dataset.GlyphSet("much", glyphs, labels, np.full(count, "test"), "")

    (one,) = evaluate.score(classify, [part(2500)], watch=watch)
    assert one.probabilities.shape == (2500, 10) and steps == []
    evaluate.score(classify, [part(evaluate.LONG + 1)], watch=watch)
    assert steps[0] == ("Measuring", 21, "thousand glyph") and steps[1:] == ["much"] * 21


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.*--model wants a folder"):
        evaluate.evaluate(tmp_path / "nowhere", ["mnist"], Settings())


# ---------------------------------------------------------------- Keras files


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own
@pytest.mark.parametrize("name", ["elsewhere.h5", "elsewhere.keras"])
def test_a_keras_file_is_measured_with_the_input_it_wants(name, network, mnist, tmp_path):
    from digitocr.training.conventions import CONVENTIONS

    network((784,), convention=CONVENTIONS[3]).save(tmp_path / name)
    found = evaluate.evaluate(tmp_path / name, (), mnist, tmp_path / "look")
    assert (found["model"], found["input"]) == ("elsewhere", "0-255, black on white")
    assert found["classes"] == list("0123456789")
    assert found["sets"]["mnist"]["accuracy"] > 0.95
    assert "pictures as 0-255, black on white" in (tmp_path / "look" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own
def test_the_command_prints_the_input_in_its_table_and_as_json(
    digitocr, workplace, network, mnist
):
    (workplace / "digitocr.toml").write_text(f'data = "{mnist.data}"\n')
    network().save(workplace / "elsewhere.h5")
    done = digitocr("evaluate", "--model", "elsewhere.h5", "--data", "mnist", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["input"] == "0-1, white on black"
    done = digitocr("evaluate", "--model", "elsewhere.h5", "--report", "look")
    assert (done.code, done.err) == (0, "")
    first, *_ = done.out.splitlines()
    assert first.strip() == "elsewhere, which takes pictures as 0-1, white on black"
    assert (workplace / "look" / "samples.png").is_file()
    done = digitocr("evaluate", "--model", "nowhere.h5")
    assert (done.code, len(done.lines)) == (ModelError.exit_code, 1)
    assert "nowhere.h5: No such file or directory; name a model folder or a" in done.err
