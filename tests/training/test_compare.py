import json
import shutil

import numpy as np
import pytest

from digitocr import resources
from digitocr.errors import ModelError, UsageError
from digitocr.training import compare, dataset

pytest.importorskip("matplotlib", reason="comparisons need digitocr[train]")


@pytest.fixture
def folders(tmp_path):
    """The model that travels with digitocr, and a modest copy of it under another name."""
    copy = tmp_path / "modest"
    shutil.copytree(resources.default_model(), copy)
    card = json.loads((copy / "card.json").read_text())
    card |= {"name": "modest", "temperature": 8.0}
    (copy / "card.json").write_text(json.dumps(card))
    return [resources.default_model(), copy]


@pytest.fixture
def junk(tmp_path):
    glyphs = np.zeros((20, 28, 28), np.uint8)
    glyphs[:, 13:15, 2:26] = 255
    np.savez(tmp_path / "dashes.npz", x=glyphs, y=np.full(20, -1))
    return tmp_path / "dashes.npz"


def ticking():
    """A clock that a second goes by on every look."""
    seconds = iter(range(10_000))
    return lambda: float(next(seconds))


def test_models_stand_side_by_side_in_figures_tables_and_files(folders, junk, mnist, tmp_path):
    out = tmp_path / "look"
    found = compare.compare(folders, ["mnist", str(junk)], mnist, out, clock=ticking())
    assert json.loads((out / "compare.json").read_text()) == found
    first, second = found["models"]
    assert second == "modest"
    one = found["models"][first]
    assert one["size_bytes"] == (folders[0] / "model.tflite").stat().st_size
    assert one["parameters"] == json.loads((folders[0] / "card.json").read_text())["parameters"]
    assert one["glyphs_per_s"] == compare.TIMED_GLYPHS
    scores = found["sets"]["mnist"]
    assert scores[first]["accuracy"] == scores["modest"]["accuracy"]
    assert scores[first]["accepted"] > scores["modest"]["accepted"] == 0.0
    assert scores[first]["log_loss"] < scores["modest"]["log_loss"]
    assert found["sets"]["dashes"]["modest"]["refused"] == 1.0
    titles = [table.title for table in compare.tables(found)]
    assert [title.partition(":")[0] for title in titles[1:]] == ["mnist", "dashes"]
    assert all(len(table.rows) == 2 for table in compare.tables(found))
    text = (out / "compare.md").read_text()
    assert "![Accuracy against speed](compare.png)" in text
    assert all(f"| {name} |" in text for name in (first, "modest"))
    assert (out / "compare.png").stat().st_size > 0


def test_models_of_one_name_are_told_apart_by_their_paths(folders, junk, mnist):
    found = compare.compare([folders[0]] * 2 + folders[1:], [str(junk)], mnist, clock=ticking())
    assert "modest" in found["models"]
    assert all("(" in name for name in found["models"] if name != "modest")


def test_no_model_or_a_folder_that_cannot_be_written_is_refused_at_once(folders, junk, mnist):
    with pytest.raises(UsageError, match="--models"):
        compare.compare([], [str(junk)], mnist)
    with pytest.raises(UsageError, match="--out"):
        compare.compare(folders, [str(junk)], mnist, junk / "below")
    with pytest.raises(ModelError, match="nowhere"):
        compare.compare([folders[0], junk.parent / "nowhere"], [str(junk)], mnist)


@pytest.mark.parametrize("wrong", ["nowhere", "no card", "nowhere.h5", "nowhere.keras"])
def test_a_wrong_model_is_named_before_any_data_is_looked_for(
    wrong, folders, tmp_path, digitocr, monkeypatch
):
    def load(name, folder):
        raise AssertionError(f"{name} was looked for")

    monkeypatch.setattr(dataset, "load", load)
    shutil.copytree(folders[0], tmp_path / "no card", ignore=shutil.ignore_patterns("*.json"))
    done = digitocr("compare", "--models", folders[0], wrong, "--out", "look")
    assert (done.code, len(done.lines)) == (ModelError.exit_code, 1)
    assert wrong in done.err and "No such file" in done.err
    assert not (tmp_path / "look").exists()


def test_the_best_run_of_each_counts():
    seconds = iter([0.0, 2.0, 2.0, 3.0, 3.0, 7.0, 7.0, 7.5])
    glyphs = np.zeros((3, 28, 28), np.float32)
    seen = []
    speeds = compare.glyphs_per_s(
        [seen.append, seen.append], glyphs, count=10, runs=2, clock=lambda: next(seconds)
    )
    assert speeds == [5.0, 20.0]
    assert [one.shape for one in seen] == [(10, 28, 28)] * 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own
def test_keras_files_are_compared_with_folders_by_the_command(
    digitocr, workplace, network, mnist, folders, junk
):
    (workplace / "digitocr.toml").write_text(f'data = "{mnist.data}"\n')
    network().save(workplace / "theirs.h5")
    words = ("compare", "--models", folders[1], "theirs.h5", "--data", "mnist", junk, "--json")
    done = digitocr("--quiet", *words)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert list(found["models"]) == ["modest", "theirs"]
    assert list(found["sets"]) == ["mnist", "dashes"]
    theirs = found["models"]["theirs"]
    assert (theirs["classes"], theirs["parameters"]) == (10, 119_260)
    assert 0 < theirs["size_bytes"] < (workplace / "theirs.h5").stat().st_size
    assert theirs["glyphs_per_s"] > 0
    assert found["sets"]["mnist"]["theirs"]["accuracy"] > 0.95


def test_the_command_compares_all_models_there_are_and_prints_tables(
    digitocr, workplace, folders, mnist
):
    (workplace / "digitocr.toml").write_text(f'data = "{mnist.data}"\n')
    shutil.copytree(folders[1], workplace / "models" / "modest")
    done = digitocr("compare", "--out", "look")
    assert done.code == 0, done.err
    assert "mnist: 300 digits" in done.out
    for name in ("modest", resources.DEFAULT_MODEL):
        assert sum(line.split()[:1] == [name] for line in done.out.splitlines()) == 2
    assert (workplace / "look" / "compare.md").is_file()
    done = digitocr("models", "list")
    assert (done.code, done.err) == (0, "")
    marked = [
        line.split()[1] for line in done.out.splitlines() if line.lstrip().startswith("*")
    ]
    assert marked == [resources.DEFAULT_MODEL]
    (workplace / "models" / "modest" / "card.json").write_text("{}")
    done = digitocr("models", "list")
    assert done.code == 0
    assert "models/modest/card.json: key 'name' is missing" in done.out
