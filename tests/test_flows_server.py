"""The flows on a real Prefect server, with workers that are processes of their own.

Everything is started as the README says: server, pool, deployments, automations, workers. The
server keeps its own data in SQLite; readings go to SQLite, and in `make soak` to PostgreSQL,
where two workers share a folder and one of them is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from digitocr.batch.surviving import TRIES

ROOT = Path(__file__).parent.parent
SLIP_FIELDS = 3

pytest.importorskip("prefect", reason="prefect is not installed")
pytestmark = pytest.mark.slow


class Place:
    """A folder as an operator has it, and the Prefect server that it belongs to."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PREFECT_", "DIGITOCR_"))
        }
        self.env = kept | {
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "DIGITOCR_WORKERS": "1",
            **more,
        }
        shutil.copytree(ROOT / "flows", folder / "flows")
        for name in ("prefect.yaml", "automations.yaml"):
            shutil.copy(ROOT / name, folder)

    @contextmanager
    def running(
        self, name: str, *words: str, again: bool = False
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a `prefect` command running, and end it with all its children.

        `again` begins it anew when it ends, as the README's loop does.
        """
        loop = ["sh", "-c", 'while :; do "$@"; sleep 2; done', "loop"] if again else []
        with (self.folder / f"{name}.log").open("wb") as out:
            process = subprocess.Popen(
                [*loop, sys.executable, "-m", "prefect", *words],
                cwd=self.folder,
                env=self.env,
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

    @contextmanager
    def server(self) -> Iterator[None]:
        words = ("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        with self.running("server", *words) as process:
            self.wait_until(
                lambda: process.poll() is None and self.is_up(), 90, "there is a server"
            )
            yield

    def worker(self, name: str, *words: str) -> Any:
        start = ("worker", "start", "--pool", "ocr", "--name", name, "--limit", "2")
        return self.running(name, *start, *words, again=True)

    def prefect(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return "".join(path.read_text()[-4000:] for path in sorted(self.folder.glob("*.log")))

    def asked(self, what: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.env['PREFECT_API_URL']}/{what}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its database is locked for a moment
                    raise
                time.sleep(0.5)
        raise AssertionError(f"{what}: the server is too busy")

    def is_up(self) -> bool:
        try:
            self.asked("health")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def wait_until(self, done: Callable[[], Any], limit_s: float, what: str) -> Any:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if found := done():
                return found
            time.sleep(0.3)
        raise AssertionError(f"not within {limit_s} s: {what}\n{self.logs()}")

    def begin(self, deployment: str, **parameters: Any) -> str:
        """Begin a run of a deployment; give its id."""
        found = self.asked(f"deployments/name/{deployment}")["id"]
        made = self.asked(
            f"deployments/{found}/create_flow_run",
            {"parameters": parameters, "state": {"type": "SCHEDULED"}},
        )
        return str(made["id"])

    def runs(self, flow: str) -> list[dict[str, Any]]:
        wanted = {"flows": {"name": {"any_": [flow]}}}
        return list(self.asked("flow_runs/filter", wanted))

    def ended(self, run: str, limit_s: float) -> dict[str, Any]:
        """Wait for a run to end well or badly."""

        def found() -> dict[str, Any] | None:
            one: dict[str, Any] = self.asked(f"flow_runs/{run}")
            over = one["state_type"] in ("COMPLETED", "FAILED", "CANCELLED")
            return one if over else None

        ended: dict[str, Any] = self.wait_until(found, limit_s, f"run {run} ends")
        return ended

    def artifacts(self, run: str) -> dict[str, Any]:
        wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        return {one["key"]: one["data"] for one in self.asked("artifacts/filter", wanted)}

    def readers(self, what: str) -> list[int]:
        """List the processes of this place's flow runs, and of what they started."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                about = entry.read_bytes()
                if str(self.folder).encode() in about and what.encode() in about:
                    found.append(int(entry.parent.name))
        return found


def family(oldest: int) -> list[int]:
    """List a process and all that it started, and those that they started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)] = int(words[1])
    found = [oldest]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def put_slips(slips: Path, folder: Path, count: int) -> None:
    """Lay out slips: eight pictures, made different by bytes behind their end."""
    folder.mkdir(parents=True)
    for number in range(count):
        slip = (slips / "scans" / f"slip-00{1 + number % 8}.png").read_bytes()
        (folder / f"slip-{number:03}.png").write_bytes(slip + b"\0" * (number // 8))


def pages(database: Path) -> Counter[str]:
    """Count the passes by status; each page must have one."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT page_id, status FROM page_readings").fetchall()
    assert len({page for page, _ in rows}) == len(rows)
    return Counter(status for _, status in rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, slips: Path) -> Iterator[Place]:
    """A server with everything the README has one make known to it, and a worker."""
    place = Place(tmp_path_factory.mktemp("place"))
    shutil.copytree(slips / "slip", place.folder / "forms" / "slip")
    put_slips(slips, place.folder / "scans", 2)
    (place.folder / "scans" / "cut.png").write_bytes(b"no picture")
    with place.server():
        place.prefect("work-pool", "create", "ocr", "--type", "process")
        place.prefect("deploy", "--all")
        place.prefect("automation", "create", "--from-file", "automations.yaml")
        with place.worker("worker"):
            yield place


def test_a_deployment_run_by_a_worker_fills_the_database(place: Place) -> None:
    made = {one["name"]: one for one in place.asked("deployments/filter", {})}
    assert set(made) == {"nightly", "shard", "incoming", "corrections"}
    (schedule,) = made["nightly"]["schedules"]
    assert not schedule["active"]
    assert schedule["schedule"]["cron"] == "0 2 * * *"
    run = ("deployment", "run", "process-batch/nightly", "-p", "folder=scans")
    place.prefect(*run, "--watch")
    (flow_run,) = place.runs("process-batch")
    assert (flow_run["state_type"], flow_run["state_name"]) == ("COMPLETED", "Partial")
    artifacts = place.artifacts(flow_run["id"])
    assert "scans/cut.png" in artifacts["failed-pages"]
    assert "| pages read now | 3 |" in artifacts["batch"]
    assert pages(place.folder / "digitocr.db") == {"read": 2, "failed": 1}


def test_what_comes_into_a_watched_folder_is_read_once_and_only_when_it_is_whole(
    place: Place, slips: Path
) -> None:
    incoming = place.folder / "incoming"
    put_slips(slips, incoming, 2)
    shutil.copy(incoming / "slip-000.png", incoming / "same.png")
    given = {"folder": "incoming", "settle_s": 3, "database": "sqlite:///incoming.db"}
    first = place.begin("watch-folder/incoming", **given)
    second = place.begin("watch-folder/incoming", **given)
    ended = [place.ended(run, 120) for run in (first, second)]
    states = sorted(one["state_name"] for one in ended)
    assert states == ["Cancelled", "Completed"], ended  # two do not overlap
    assert pages(place.folder / "incoming.db") == {"read": 2}  # the same bytes are read once
    third = place.begin("watch-folder/incoming", **given)
    assert place.ended(third, 120)["state_name"] == "NothingNew"


@pytest.mark.soak
def test_a_folder_in_shards_is_read_whole_where_a_shard_is_killed(
    place: Place, slips: Path
) -> None:
    put_slips(slips, place.folder / "many", 24)
    given = {"folder": ["many/*"], "shard_files": 12, "database": "sqlite:///many.db"}
    parent = place.begin("process-batch/nightly", **given)

    def shard_process() -> list[int]:
        begun = [
            one["id"] for one in place.runs("read-shard") if one["state_type"] == "RUNNING"
        ]
        return [pid for run in begun for pid in place.readers(f"PREFECT__FLOW_RUN_ID={run}")]

    victim = place.wait_until(shard_process, 90, "a shard reads")[0]
    os.kill(victim, signal.SIGKILL)
    ended = place.ended(parent, 600)
    assert ended["state_name"] == "Completed", (ended, place.logs())
    shards = place.runs("read-shard")
    assert [one["state_name"] for one in shards] == ["Completed"] * 2
    assert sorted(one["run_count"] for one in shards) == [1, 2]
    assert pages(place.folder / "many.db") == {"read": 24}
    artifacts = place.artifacts(parent)
    assert artifacts["progress"] == 100.0
    assert len(json.loads(artifacts["shards"])) == 2


# ---------------------------------------------------------------- PostgreSQL, two workers

INSIDE = """\
import os, signal, sys, time
if "PREFECT__FLOW_RUN_ID" in os.environ:
    from digitocr import pipeline
    read_page = pipeline.read_page
    def read_slowly(page, reader):
        time.sleep(0.2)
        if page.document.sha256 == os.environ["DEADLY"]:
            with open(f"/proc/{os.getppid()}/environ", "rb") as file:
                of_run = b"PREFECT__FLOW_RUN_ID" in file.read()
            # The flow run, which is this process or the one that began it: not its worker.
            os.kill(os.getppid() if of_run else os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return read_page(page, reader)
    pipeline.read_page = read_slowly
"""
SLIPS = 96


@pytest.fixture
def shared(cluster: str, slips: Path, tmp_path: Path) -> Iterator[Place]:
    """A server and a database on PostgreSQL, as several machines share them."""
    names = [f"{name}_{secrets.token_hex(4)}" for name in ("readings", "prefect")]
    admin = create_engine(
        cluster.replace("postgresql:", "postgresql+psycopg:") + "postgres",
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    put_slips(slips, tmp_path / "scans", SLIPS)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "sitecustomize.py").write_text(INSIDE)
    place = Place(
        tmp_path,
        DIGITOCR_DATABASE=cluster + names[0],
        PREFECT_SERVER_DATABASE_CONNECTION_URL=cluster.replace(
            "postgresql:", "postgresql+asyncpg:"
        )
        + names[1],
        PYTHONPATH=f"{inside}{os.pathsep}{ROOT}",
        DEADLY="",
    )
    shutil.copytree(slips / "slip", tmp_path / "forms" / "slip")
    with place.server():
        place.prefect("work-pool", "create", "ocr", "--type", "process")
        place.prefect("deploy", "--all")
        place.prefect("automation", "create", "--from-file", "automations.yaml")
        yield place


def stored(place: Place) -> list[tuple[Any, ...]]:
    """List what is in the database: a row a field, and a row a failed page."""
    engine = create_engine(place.env["DIGITOCR_DATABASE"].replace(":", "+psycopg:", 1))
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT a.source, p.number, r.pass_number, r.status, f.field, f.text "
                "FROM arrivals a JOIN pages p ON p.document_id = a.document_id "
                "LEFT JOIN page_readings r ON r.page_id = p.id "
                "LEFT JOIN readings f ON f.page_reading_id = r.id ORDER BY 1, 2, 3, f.position"
            )
        ).all()
    engine.dispose()
    return [tuple(row) for row in rows]


def undisturbed(place: Place, slips: Path) -> list[tuple[Any, ...]]:
    """Read the same scans by the command, without Prefect and with nobody killed."""
    env = {key: value for key, value in place.env.items() if not key.startswith("PREFECT")}
    env |= {"DIGITOCR_DATABASE": "sqlite:///undisturbed.db", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "digitocr.cli", "--quiet", "process", "scans"]
    subprocess.run(command, cwd=place.folder, env=env, check=True, timeout=300)
    with closing(sqlite3.connect(place.folder / "undisturbed.db")) as connection:
        return connection.execute(
            "SELECT a.source, p.number, r.pass_number, r.status, f.field, f.text "
            "FROM arrivals a JOIN pages p ON p.document_id = a.document_id "
            "LEFT JOIN page_readings r ON r.page_id = p.id "
            "LEFT JOIN readings f ON f.page_reading_id = r.id ORDER BY 1, 2, 3, f.position"
        ).fetchall()


@pytest.mark.soak
def test_two_workers_finish_a_folder_after_one_of_them_is_killed(
    shared: Place, slips: Path
) -> None:
    with shared.worker("first") as first, shared.worker("second"):
        parent = shared.begin("process-batch/nightly", folder="scans", shard_files=16)

        def both_read() -> bool:
            """Say whether the first worker has a shard in hand, and pages are stored."""
            running = [r for r in shared.runs("read-shard") if r["state_type"] == "RUNNING"]
            pids = [p for r in running for p in shared.readers(f"FLOW_RUN_ID={r['id']}")]
            of_first = set(pids) & set(family(first.pid))
            return bool(of_first) and len(stored_or_none(shared)) > 10 * SLIP_FIELDS

        shared.wait_until(both_read, 300, "the first worker reads a shard")
        for pid in family(first.pid):  # the worker, its runs, and what reads for them
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = shared.ended(parent, 900)
    assert ended["state_name"] == "Completed", (ended, shared.logs())
    shards = shared.runs("read-shard")
    assert {one["state_name"] for one in shards} == {"Completed"}
    assert len(shards) == SLIPS // 16
    runs = [*shards, ended]
    assert max(one["run_count"] for one in runs) == 2, "nothing was put back"
    found = stored(shared)
    assert len(found) == SLIPS * SLIP_FIELDS
    assert found == undisturbed(shared, slips)


def stored_or_none(place: Place) -> list[tuple[Any, ...]]:
    try:
        return stored(place)
    except DBAPIError:  # its tables are being made
        return []


@pytest.mark.soak
def test_a_page_that_always_kills_its_run_is_failed_and_the_rest_goes_on(
    shared: Place, slips: Path
) -> None:
    deadly = shared.folder / "scans" / "slip-021.png"
    shared.env["DEADLY"] = hashlib.sha256(deadly.read_bytes()).hexdigest()
    with shared.worker("only"):
        parent = shared.begin("process-batch/nightly", folder="scans", shard_files=48)
        ended = shared.ended(parent, 900)
    assert ended["state_name"] == "Partial", (ended, shared.logs())
    shards = shared.runs("read-shard")
    assert sorted(one["state_name"] for one in shards) == ["Completed", "Partial"]
    assert max(one["run_count"] for one in shards) == 1 + TRIES
    assert min(one["run_count"] for one in shards) == 1
    found = stored(shared)
    failed = [row for row in found if row[3] == "failed"]
    assert failed == [("scans/slip-021.png", 1, 1, "failed", None, None)]
    assert len(found) == (SLIPS - 1) * SLIP_FIELDS + 1
    assert "the process that read it died" in shared.artifacts(parent)["failed-pages"]
