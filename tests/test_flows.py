"""The Prefect flows: their plain parts, called plainly. `test_flows_server` has the rest."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("prefect", reason="prefect is not installed")
pytestmark = pytest.mark.slow  # importing Prefect takes three seconds


@pytest.fixture(scope="module")
def flow():
    """Name what the flows are made of; importing it takes seconds."""
    from flows import process_batch, read_shard, reading, retrain, retrying, watch_folder

    return SimpleNamespace(
        process_batch=process_batch,
        read_shard=read_shard,
        reading=reading,
        retrain=retrain,
        retrying=retrying,
        watch_folder=watch_folder,
    )


def summary(failed=(), batch=True):
    from digitocr.batch import RunSummary
    from digitocr.db.batches import BatchSummary
    from digitocr.db.tables import BatchStatus

    now = datetime(2026, 1, 2, tzinfo=UTC)
    whole = BatchSummary(
        name="scans 2026-01-02",
        status=BatchStatus.PARTIAL if failed else BatchStatus.DONE,
        created_at=now,
        finished_at=now,
        documents=3,
        pages=4,
        blank_pages=1,
        ignored_pages=0,
        fields=20,
        accepted=17,
        to_review=3,
        decided=0,
        failed_pages=tuple(failed),
    )
    return RunSummary(whole if batch else None, 3, 0, 4, tuple(failed))


def failed_page():
    from digitocr.db.batches import FailedPage

    return FailedPage("scans/b.png", 1, "scans/b.png: is empty; scan or copy it again")


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (16, [16]), (17, [16, 1]), (40, [16, 16, 8])]
)
def test_files_are_cut_into_chunks_in_order(flow, count, sizes):
    from digitocr.scans import ScanFile

    files = [ScanFile(Path(f"{n}.png"), f"{n}.png") for n in range(count)]
    chunks = flow.reading.in_chunks(files, 16)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [file for chunk in chunks for file in chunk] == files


def test_only_a_database_that_is_away_is_tried_again(flow):
    from prefect.states import Failed

    from digitocr.errors import DatabaseError, SchemaError, TemplateError

    def asked(cause):
        return flow.retrying.can_pass(None, None, Failed(data=cause))

    assert asked(DatabaseError("is locked"))
    assert not asked(SchemaError("is older"))
    assert not asked(TemplateError("is wrong"))
    assert not asked(ZeroDivisionError())


def test_every_task_is_tried_again_on_that_condition_and_cached_never(flow):
    from prefect.cache_policies import NO_CACHE

    tasks = (
        flow.reading.plan_batch,
        flow.reading.read_files,
        flow.reading.finish_batch,
        flow.process_batch.finish_shards,
        flow.watch_folder.look,
    )
    for task in tasks:
        assert task.retries == 3
    for task in (*tasks, flow.retrain.learn):
        assert task.retry_condition_fn is flow.retrying.can_pass
        assert task.cache_policy == NO_CACHE


def test_the_batch_is_shown_as_a_table(flow):
    table = flow.reading.batch_table(summary([failed_page()])).splitlines()
    assert table[0] == "| scans 2026-01-02 | |"
    for row in ("documents | 3", "pages | 4", "fields | 20", "accepted | 17", "to review | 3"):
        assert f"| {row} |" in table
    assert "| blank pages | 1 |" in table
    assert "| failed pages | 1 |" in table
    assert flow.reading.batch_table(summary(batch=False)).startswith("| nothing new | |")


def test_failed_pages_are_listed_with_their_causes(flow):
    assert flow.reading.failed_table(summary([failed_page()])) == [
        {
            "source": "scans/b.png",
            "page": 1,
            "cause": "scans/b.png: is empty; scan or copy it again",
        }
    ]


def test_a_run_with_failed_pages_is_completed_and_says_it_is_partial(flow):
    partial = flow.reading.final_state(summary([failed_page()]))
    assert partial.is_completed()
    assert (partial.name, partial.message) == (
        "Partial",
        "partial: 1 page failed, see failed-pages",
    )
    done = flow.reading.final_state(summary())
    assert (done.name, done.message) == ("Completed", "4 pages read")


def test_a_shard_that_crashed_is_waited_for_until_nobody_will_put_it_back(flow):
    from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled

    now = datetime.now(UTC)
    later = now + timedelta(seconds=flow.process_batch.PUT_BACK_S + 1)
    for state in (Running(), Scheduled(), Crashed()):
        assert not flow.process_batch.is_over(state, now)
    for state in (Completed(), Completed(name="Partial"), Failed(), Cancelled()):
        assert flow.process_batch.is_over(state, now)
    assert flow.process_batch.is_over(Crashed(), later)
    assert not flow.process_batch.is_over(Running(), later)


@pytest.mark.parametrize(
    ("name", "given", "wrong"),
    [
        ("process_batch", {"folder": "scans", "chunk_size": 0}, "chunk_size"),
        ("process_batch", {"folder": "scans", "shard_files": -1}, "shard_files"),
        ("process_batch", {"folder": "scans", "workers": 0}, "workers"),
        ("process_batch", {"folder": 3}, "folder"),
        ("read_shard", {"files": [], "batch": "x", "reads_by": "y"}, "files"),
        ("read_shard", {"files": ["a.png"], "batch": "", "reads_by": "y"}, "batch"),
        ("watch_folder", {"folder": "scans", "settle_s": -1}, "settle_s"),
    ],
)
def test_wrong_parameters_are_refused_by_name(flow, name, given, wrong):
    from prefect.exceptions import ParameterTypeError

    one = getattr(getattr(flow, name), name)
    with pytest.raises(ParameterTypeError, match=rf"- {wrong}\b"):
        one.validate_parameters(given)


def test_a_run_that_died_too_often_is_not_put_back_for_ever(flow, monkeypatch):
    from digitocr.errors import UsageError

    runs = SimpleNamespace(run_count=1)
    monkeypatch.setattr(flow.retrying.runtime, "flow_run", runs)
    assert not flow.retrying.was_put_back()
    runs.run_count = flow.retrying.MOST_RUNS
    assert flow.retrying.was_put_back()
    runs.run_count += 1
    with pytest.raises(UsageError, match="this run died 10 times"):
        flow.retrying.was_put_back()
