"""The flow that retrains: its parts called plainly; `test_flows` deploys it on a server."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import digitocr.training  # noqa: F401  before TensorFlow: it says how much that says

ROOT = Path(__file__).parent.parent

pytest.importorskip("prefect", reason="prefect is not installed")
pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
pytestmark = [
    pytest.mark.slow,  # importing Prefect takes three seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


@pytest.fixture(scope="module")
def flow():
    path = ROOT / "flows" / "retrain.py"
    spec = importlib.util.spec_from_file_location("retrain_flow", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["retrain_flow"] = module  # pydantic looks types up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["retrain_flow"]


def test_only_a_database_that_is_away_is_tried_again(flow):
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Failed

    from digitocr.errors import DatabaseError, DataError, SchemaError

    def asked(cause):
        return flow.can_pass(None, None, Failed(data=cause))

    assert asked(DatabaseError("is locked"))
    assert not asked(SchemaError("is older"))
    assert not asked(DataError("has too few"))
    assert flow.learn.retry_condition_fn is flow.can_pass
    assert flow.learn.cache_policy == NO_CACHE


def test_a_candidate_that_failed_its_trials_is_completed_and_says_so(flow):
    good = flow.final_state(Path("models/mine"), ())
    assert good.is_completed() and good.name == "Completed"
    assert good.message == "models/mine may be promoted, by a person"
    bad = flow.final_state(Path("models/mine"), ("mnist: 60 of 10000",))
    assert bad.is_completed() and bad.name == "Rejected"
    assert bad.message == "models/mine must not be promoted: mnist: 60 of 10000"


def test_the_report_is_shown_without_its_pictures(flow, tmp_path):
    (tmp_path / "report.md").write_text("# mine\n\n![Wrong](a.png)\n\n| a |\n")
    assert flow.shown_report(tmp_path) == "# mine\n\n\n| a |"


def test_the_task_asks_the_library_for_what_was_given(flow, workplace, monkeypatch):
    from digitocr.training import correcting

    asked = {}

    def stand_in(settings, out, **more):
        asked.update(database=settings.database, model=settings.model, out=out, **more)
        return SimpleNamespace(folder=out, gate=SimpleNamespace(failures=("too bad",)))

    monkeypatch.setattr(correcting, "retrain_from_database", stand_in)
    how = {"database": "sqlite:///mine.db", "model": None}
    what = {"gold": 0.3, "epochs": 2, "seed": 5}
    assert flow.learn.fn(how, "models/x", what) == ("models/x", ("too bad",))
    assert asked == {
        "database": "sqlite:///mine.db", "model": "", "out": Path("models/x"), **what,
    }  # fmt: skip


def test_a_database_without_corrections_is_refused_with_what_is_needed(flow, digitocr):
    from digitocr.errors import DataError

    assert digitocr("db", "upgrade").code == 0
    with pytest.raises(DataError, match="retraining needs at least 200 and 100"):
        flow.learn.fn({"database": None, "model": None}, "models/x", {"gold": 0.2})


def test_the_deployment_is_one_of_those_that_are_made(flow):
    import yaml

    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (ours,) = [one for one in told["deployments"] if one["name"] == "corrections"]
    file, name = ours["entrypoint"].split(":")
    assert (ROOT / file).is_file() and getattr(flow, name).name == "retrain"
    assert not ours["schedules"][0]["active"]
