"""A person promotes a model, and from then on it reads: told by the commands alone."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from digitocr import resources

MODELS = resources.folder("models")

pytestmark = pytest.mark.slow  # whole commands, with the real models


@pytest.fixture
def database(digitocr, workplace, monkeypatch):
    """An empty database with its schema, and the rows that are asked of it."""
    monkeypatch.setenv("DIGITOCR_SEQUENCE", "none")
    assert digitocr("db", "upgrade").code == 0

    def rows(query):
        with closing(sqlite3.connect(workplace / "digitocr.db")) as opened:
            return opened.execute(query).fetchall()

    return rows


@pytest.fixture
def candidate(workplace):
    """Lay out `models/mine`: another network than the one that reads by default."""
    folder = workplace / "models" / "mine"
    folder.mkdir(parents=True)
    for name in ("model.tflite", "card.json"):
        shutil.copy(MODELS / "simple-cnn" / name, folder)
    _change_card(folder, name="mine")
    return folder


def _change_card(folder, **entries):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | entries))


def _judged(folder, *, passed, failures=()):
    weights = (folder / "model.tflite").read_bytes()
    gate = {"passed": passed, "failures": list(failures)}
    _change_card(folder, gate=gate | {"fingerprint": hashlib.sha256(weights).hexdigest()})


def _marked(listed):
    """Name what `models list` marks."""
    return [line.split()[1] for line in listed.out.splitlines() if line.strip().startswith("*")]


def test_a_promoted_model_reads_from_then_on_until_another_is_promoted(
    digitocr, database, candidate
):
    assert _marked(digitocr("models", "list")) == [resources.DEFAULT_MODEL]
    _judged(candidate, passed=True)
    done = digitocr("models", "promote", "models/mine", "--by", "Ana")
    assert done.code == 0 and done.out.startswith("mine reads from now on")
    assert "it may be promoted" in done.err
    listed = digitocr("models", "list")
    assert _marked(listed) == ["mine"]
    assert "mine was promoted by Ana on 20" in listed.err

    assert digitocr("process", "scans").code == 0
    used = "SELECT DISTINCT name FROM models JOIN page_readings ON model_id = models.id"
    assert database(used) == [("mine",)]
    named = digitocr("process", "scans", "--again", "--model", str(resources.default_model()))
    assert named.code == 0
    assert set(database(used)) == {("mine",), (resources.DEFAULT_MODEL,)}

    back = digitocr("models", "promote", str(resources.default_model()), "--by", "Ben")
    assert back.code == 0 and "was not made by `retrain`" in back.err
    assert _marked(digitocr("models", "list")) == [resources.DEFAULT_MODEL]
    who = database("SELECT model, promoted_by FROM promotions ORDER BY id")
    assert who == [("mine", "Ana"), (resources.DEFAULT_MODEL, "Ben")]


def test_a_model_that_failed_its_trials_is_promoted_only_anyway_and_that_is_written_down(
    digitocr, database, candidate
):
    _judged(candidate, passed=False, failures=["mnist: digits read wrong: 60 of 10000"])
    refused = digitocr("models", "promote", "models/mine", "--by", "Ana")
    assert refused.code == 2 and "60 of 10000" in refused.err and "--anyway" in refused.err
    assert database("SELECT * FROM promotions") == []
    assert digitocr("models", "promote", "models/mine", "--by", "Ana", "--anyway").code == 0
    ((note,),) = database("SELECT note FROM promotions")
    assert note.startswith("anyway: its report says: it must not be promoted")


def test_a_verdict_on_other_weights_is_none_in_favor(digitocr, database, candidate):
    _judged(candidate, passed=True)
    shutil.copy(MODELS / "lenet5-relu" / "model.tflite", candidate)
    refused = digitocr("models", "promote", "models/mine", "--by", "Ana")
    assert refused.code == 2
    assert "its weights are others than those that were judged" in refused.err


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_reading_stops_where_the_promoted_model_is_not_what_it_was(
    digitocr, database, candidate, harm
):
    assert digitocr("models", "promote", "models/mine", "--by", "Ana").code == 0
    if harm == "gone":
        shutil.rmtree(candidate)
    else:
        shutil.copy(MODELS / "lenet5-relu" / "model.tflite", candidate)
    done = digitocr("process", "scans")
    assert done.code == 13 and len(done.lines) == 1
    assert "model 'mine', promoted by Ana on 20" in done.err
    assert ("other weights" if harm == "changed" else "not below `models` here") in done.err
    assert "digitocr models promote" in done.err and "--model" in done.err
    assert database("SELECT * FROM page_readings") == []
    assert digitocr("process", "scans", "--model", str(resources.default_model())).code == 0


def test_a_promoted_model_is_found_under_another_folder_name(digitocr, database, candidate):
    assert digitocr("models", "promote", "models/mine", "--by", "Ana").code == 0
    candidate.rename(candidate.with_name("renamed"))
    assert _marked(digitocr("models", "list")) == ["mine"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs/mine", "--by", "Ana"), "put this one there, as models/mine"),
        (("models/none", "--by", "Ana"), "card.json"),
        ((str(MODELS / resources.DEFAULT_SEQUENCE), "--by", "Ana"), "reads whole numbers"),
        (("models/mine", "--by", " "), "--by is empty"),
        (("models/mine",), "--by"),
    ],
)
def test_what_cannot_be_promoted_is_refused_in_one_line(
    digitocr, database, candidate, workplace, words, said
):
    shutil.copytree(candidate, workplace / "runs" / "mine")
    done = digitocr("models", "promote", *words)
    assert done.code in (2, 13) and said in done.err
    assert "Traceback" not in done.err
    assert database("SELECT * FROM promotions") == []


def test_without_a_database_there_is_none_to_promote_in(digitocr, candidate):
    done = digitocr("models", "promote", "models/mine", "--by", "Ana")
    assert done.code == 14 and "no such database" in done.err
    assert not Path("digitocr.db").exists()
    assert _marked(digitocr("models", "list")) == [resources.DEFAULT_MODEL]


def test_a_named_model_goes_before_the_promoted_one_and_that_is_said(
    digitocr, database, candidate, monkeypatch
):
    monkeypatch.setenv("DIGITOCR_MODEL", str(resources.default_model()))
    done = digitocr("models", "promote", "models/mine", "--by", "Ana")
    assert done.code == 0 and "the setting `model` names" in done.err
    assert _marked(digitocr("models", "list")) == [resources.DEFAULT_MODEL]
