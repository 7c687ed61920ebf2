"""What `digitocr retrain` hands on and prints; the learning itself is in test_retraining.py."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from digitocr.db import decisions, schema, tables
from digitocr.training.gate import Gate, LabelTrial, Trial
from digitocr.types import Correction, Verdict

pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


def gate(*, passed):
    trials = (
        Trial("gold: digits read wrong", 140, 9, 4, 1, 6, 0.99),
        Trial("mnist: digits read wrong", 10_000, 28, 30 if passed else 60, 9, 7, 0.4)
        if passed
        else Trial("mnist: digits read wrong", 10_000, 28, 60, 40, 8, 0.0001),
    )
    return Gate(LabelTrial(900, 2, 0.9), trials)


@pytest.fixture
def asked(monkeypatch):
    """What was asked for; nothing is trained, and the candidate passes or not as `passed`."""
    from digitocr.training import correcting

    seen = {"passed": True}

    def stand_in(settings, out, *, gold, epochs, seed, watch):
        seen.update(database=settings.database, model=settings.model, out=out)
        seen.update(gold=gold, epochs=epochs, seed=seed)
        return SimpleNamespace(
            folder=out,
            gate=gate(passed=seen["passed"]),
            learned=640,
            held_out=140,
            suspicious=2,
            missing=("unipen",),
        )

    monkeypatch.setattr(correcting, "retrain_from_database", stand_in)
    return seen


def test_what_was_asked_for_is_handed_on_and_the_folder_printed(digitocr, asked):
    words = ("--database", "sqlite:///a.db", "--out", "models/mine", "--gold", "0.3")
    done = digitocr("retrain", *words, "--epochs", "2", "--seed", "5", "--model", "models/old")
    assert done.code == 0 and done.out.splitlines()[-1] == "models/mine"
    assert asked == {
        "passed": True, "database": "sqlite:///a.db", "model": "models/old",
        "out": Path("models/mine"), "gold": 0.3, "epochs": 2, "seed": 5,
    }  # fmt: skip
    assert "640 digits learned, 140 held out (gold), 2 set aside" in done.out
    assert "gold: digits read wrong" in done.out
    assert "not learned from again: unipen" in done.err
    assert "it may be promoted: digitocr models promote models/mine --by NAME" in done.err


def test_a_candidate_that_failed_is_told_with_what_failed(digitocr, asked):
    asked["passed"] = False
    done = digitocr("--quiet", "retrain", "--out", "m")
    assert done.code == 0 and done.out == "m\n"
    assert "mnist: digits read wrong: 60 of 10000, the model in use 28" in done.err
    assert "it must not be promoted; m/report.md says more" in done.err


def test_without_out_the_folder_is_named_for_the_day_and_lies_in_models(digitocr, asked):
    done = digitocr("--quiet", "retrain")
    assert done.out.strip() == f"models/retrained-{datetime.now(UTC):%Y-%m-%d}"


def test_the_defaults_of_command_and_flow_are_those_of_the_library(digitocr, asked):
    import ast

    from digitocr.training import retraining

    digitocr("--quiet", "retrain")
    assert (asked["gold"], asked["epochs"]) == (retraining.GOLD_SHARE, retraining.EPOCHS)
    tree = ast.parse((Path(__file__).parents[2] / "flows" / "retrain.py").read_text())
    (flow,) = [one for one in tree.body if getattr(one, "name", "") == "retrain"]
    names = [one.arg for one in flow.args.args][-len(flow.args.defaults) :]
    defaults = dict(zip(names, map(ast.literal_eval, flow.args.defaults), strict=True))
    assert (defaults["gold"], defaults["epochs"], defaults["seed"]) == (
        asked["gold"],
        asked["epochs"],
        asked["seed"],
    )


def test_a_share_that_is_none_is_refused(digitocr, asked):
    done = digitocr("retrain", "--gold", "1.5")
    assert done.code == 2 and "--gold" in done.err


def test_a_few_corrections_are_counted_and_more_are_asked_for(digitocr, monkeypatch):
    monkeypatch.setenv("DIGITOCR_SEQUENCE", "none")
    assert digitocr("process", "scans").code == 0
    engine = schema.connect("sqlite:///digitocr.db", create=False)
    try:
        with schema.writing(engine) as session:
            for reading in session.query(tables.Reading):
                if reading.text:
                    said = Correction(
                        reading.id, None, Verdict.CONFIRMED, reading.text, "ana",
                        datetime.now(UTC),
                    )  # fmt: skip
                    decisions.record_decision(session, said)
    finally:
        engine.dispose()
    with closing(sqlite3.connect("digitocr.db")) as database:
        ((glyphs,),) = database.execute("SELECT COUNT(*) FROM glyphs").fetchall()
    done = digitocr("retrain", "--out", "models/mine")
    assert done.code == 17 and len(done.lines) == 1
    assert "of 3 documents in all" in done.err and "needs at least 200 and 100" in done.err
    learned = int(done.err.split(" verified digits")[0].split()[-1])
    held_out = int(done.err.split("learn from and ")[1].split()[0])
    assert 0 < learned + held_out <= glyphs
    assert not Path("models/mine").exists()


def test_without_a_database_there_is_nothing_to_learn_from(digitocr):
    done = digitocr("retrain")
    assert done.code == 14 and "no such database" in done.err
