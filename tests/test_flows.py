"""The Prefect flow: its plain parts called plainly, and all of it once, on a real server."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytest.importorskip("prefect", reason="prefect is not installed")
pytestmark = pytest.mark.slow  # importing Prefect takes three seconds


@pytest.fixture(scope="module")
def flow():
    path = ROOT / "flows" / "process_batch.py"
    spec = importlib.util.spec_from_file_location("process_batch", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["process_batch"] = module  # pydantic looks types up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["process_batch"]


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
    chunks = flow.in_chunks(files, 16)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [file for chunk in chunks for file in chunk] == files


def test_only_a_database_that_is_away_is_tried_again(flow):
    from prefect.states import Failed

    from digitocr.errors import DatabaseError, SchemaError, TemplateError

    def asked(cause):
        return flow.can_pass(None, None, Failed(data=cause))

    assert asked(DatabaseError("is locked"))
    assert not asked(SchemaError("is older"))
    assert not asked(TemplateError("is wrong"))
    assert not asked(ZeroDivisionError())


def test_every_task_is_tried_again_on_that_condition_and_cached_never(flow):
    from prefect.cache_policies import NO_CACHE

    for task in (flow.plan_batch, flow.read_files, flow.finish_batch):
        assert task.retries == 3
        assert task.retry_condition_fn is flow.can_pass
        assert task.cache_policy == NO_CACHE


def test_the_batch_is_shown_as_a_table(flow):
    table = flow.batch_table(summary([failed_page()])).splitlines()
    assert table[0] == "| scans 2026-01-02 | |"
    for row in ("documents | 3", "pages | 4", "fields | 20", "accepted | 17", "to review | 3"):
        assert f"| {row} |" in table
    assert "| blank pages | 1 |" in table
    assert "| failed pages | 1 |" in table
    assert flow.batch_table(summary(batch=False)).startswith("| nothing new | |")


def test_failed_pages_are_listed_with_their_causes(flow):
    assert flow.failed_table(summary([failed_page()])) == [
        {
            "source": "scans/b.png",
            "page": 1,
            "cause": "scans/b.png: is empty; scan or copy it again",
        }
    ]


def test_a_run_with_failed_pages_is_completed_and_says_it_is_partial(flow):
    partial = flow.final_state(summary([failed_page()]))
    assert partial.is_completed()
    assert (partial.name, partial.message) == (
        "Partial",
        "partial: 1 page failed, see failed-pages",
    )
    done = flow.final_state(summary())
    assert (done.name, done.message) == ("Completed", "4 pages read")


# --- the whole of it


@pytest.fixture
def folder(tmp_path) -> Path:
    """Lay out a folder as an operator has it: forms, scans, prefect.yaml."""
    form = "meter-reading"
    shutil.copytree(ROOT / "sample_forms" / form, tmp_path / "forms" / form)
    scans = tmp_path / "forms" / form / "scans"
    (tmp_path / "scans").mkdir()
    for scan in ("card-01.png", "card-02.jpg"):
        shutil.copy(scans / scan, tmp_path / "scans")
    (tmp_path / "scans" / "cut.png").write_bytes((scans / "card-03.bmp").read_bytes()[:999])
    shutil.rmtree(scans)
    shutil.copytree(ROOT / "flows", tmp_path / "flows")
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    return tmp_path


def surroundings(folder: Path, port: int) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PREFECT_", "DIGITOCR_"))
    }
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@contextmanager
def running(folder: Path, name: str, env: dict[str, str], *words: str):
    """Keep a `prefect` command running, and end it with all its children."""
    with (folder / f"{name}.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *words],
            cwd=folder,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def prefect(folder: Path, env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    logs = "".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{logs}"
    return done.stdout


def asked(env: dict[str, str], what: str, body: dict | None = None):
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/{what}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def wait_for_server(env: dict[str, str], process: subprocess.Popen, *, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            asked(env, "health")
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"no server after {limit_s} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_deployment_run_by_a_worker_fills_the_database(folder):
    port = free_port()
    env = surroundings(folder, port)
    server = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
    with running(folder, "server", env, *server) as process:
        wait_for_server(env, process, limit_s=60)
        prefect(folder, env, "work-pool", "create", "ocr", "--type", "process")
        with running(folder, "worker", env, "worker", "start", "--pool", "ocr"):
            prefect(folder, env, "deploy", "--all")
            made = {one["name"]: one for one in asked(env, "deployments/filter", {})}
            assert set(made) == {"nightly", "corrections"}
            deployment = made["nightly"]
            (schedule,) = deployment["schedules"]
            assert not schedule["active"]
            assert schedule["schedule"]["cron"] == "0 2 * * *"
            run = ("deployment", "run", "process-batch/nightly", "-p", "folder=scans")
            prefect(folder, env, *run, "--watch")
        (flow_run,) = asked(env, "flow_runs/filter", {})
        assert (flow_run["state_type"], flow_run["state_name"]) == ("COMPLETED", "Partial")
        artifacts = {one["key"]: one for one in asked(env, "artifacts/filter", {})}
        assert set(artifacts) == {"batch", "failed-pages"}
        assert "scans/cut.png" in artifacts["failed-pages"]["data"]
    with closing(sqlite3.connect(folder / "digitocr.db")) as database:
        sources = database.execute("SELECT source FROM arrivals ORDER BY source").fetchall()
        assert [source for (source,) in sources] == [
            "scans/card-01.png",
            "scans/card-02.jpg",
            "scans/cut.png",
        ]
        pages = database.execute("SELECT status, COUNT(*) FROM page_readings GROUP BY status")
        assert dict(pages.fetchall()) == {"read": 2, "failed": 1}
        (readings,) = database.execute("SELECT COUNT(*) FROM readings").fetchone()
        assert readings > 0
