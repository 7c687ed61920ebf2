"""Kill -9 at moments drawn at random: run again, what is left is as after an undisturbed run.

Killed are the whole of a run, the program alone, one of its readers, the Prefect flow, and a
migration, on SQLite and on PostgreSQL. (`test_batch` has more of runs that are killed whole.)
Three kills are in `make test`, twenty-five in `make soak`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from alembic import command
from digitocr.db import schema

ROOT = Path(__file__).parent.parent
BATCH = "night"
FIELDS = 3  # of a slip
LIMIT_S = 240
FLOW = """\
import sys
sys.path.insert(0, sys.argv[1])
from process_batch import process_batch
if __name__ == "__main__":
    process_batch(folder="scans", batch="night", chunk_size=4)
"""
ROWS = """
SELECT d.sha256, p.number, r.pass_number, r.status, f.field, f.text, f.confidence, f.reasons,
    f.alternatives, f.crop, g.position, g.text, g.confidence, g.alternatives, g.crop
FROM documents d JOIN pages p ON p.document_id = d.id
LEFT JOIN page_readings r ON r.page_id = p.id
LEFT JOIN readings f ON f.page_reading_id = r.id LEFT JOIN glyphs g ON g.reading_id = f.id
ORDER BY d.sha256, p.number, r.pass_number, f.position, g.position
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What a run left: the export without its times, and a hash of all that was read."""

    export: tuple[str, ...]
    batches: tuple[tuple[str, str], ...]
    read: str


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with forms and scans, and the database that they are read into.

    `command` is digitocr in this process, which has its libraries imported; `members` lists
    the processes of a group.
    """

    folder: Path
    url: str
    command: Callable[..., Any]
    members: Callable[[int], list[int]]

    def environment(self) -> dict[str, str]:
        (self.folder / "temporary").mkdir(exist_ok=True)
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder / "temporary"),
            "DIGITOCR_DATABASE": self.url,
            "DIGITOCR_WORKERS": "2",
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PYTHONWARNINGS": "ignore",
            "DO_NOT_TRACK": "1",
        }

    @contextmanager
    def begun(self, *words: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Begin a program in a process group of its own, all of which is ended at the end."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd or self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill_all(process.pid)
            process.communicate(timeout=LIMIT_S)

    def finished(self, *words: str, cwd: Path | None = None) -> str:
        with self.begun(*words, cwd=cwd) as process:
            out, _ = process.communicate(timeout=LIMIT_S)
        said = out.decode()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        return said

    def digitocr(self, *words: str) -> str:
        done = self.command(*words, "--database", self.url)
        assert done.code == 0, done.err
        return done.out

    def asked(self, statement: str) -> list[tuple]:
        engine = schema.make_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(statement))]
        finally:
            engine.dispose()

    def pages(self) -> int:
        """Count the pages that are stored; none before there is a schema."""
        try:
            return self.asked("SELECT count(*) FROM page_readings")[0][0]
        except Exception:
            return 0

    def readers(self, group: int) -> list[int]:
        """List the processes of a run that read."""
        found = []
        for pid in self.members(group):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"spawn_main" in words:
                found.append(pid)
        return sorted(found)

    def left(self) -> Left:
        """Take what is there; refuse what a kill may leave and no run does."""
        assert (
            self.asked("SELECT page_id FROM page_readings GROUP BY 1 HAVING count(*) > 1") == []
        )
        whole = (
            "SELECT count(f.id) FROM page_readings r "
            "LEFT JOIN readings f ON f.page_reading_id = r.id WHERE r.status = 'read' "
            "GROUP BY r.id"
        )
        assert {count for (count,) in self.asked(whole)} <= {FIELDS}
        if self.url.startswith("sqlite"):
            assert self.asked("PRAGMA integrity_check") == [("ok",)]
            assert self.asked("PRAGMA foreign_key_check") == []
        digest = hashlib.sha256(repr(self.asked(ROWS)).encode()).hexdigest()
        rows = map(json.loads, self.digitocr("export", "--format", "jsonl").splitlines())
        return Left(
            tuple(json.dumps(row | {"read_at": None}, sort_keys=True) for row in rows),
            tuple(self.asked("SELECT name, status FROM batches ORDER BY name")),
            digest,
        )


def kill_all(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def place(workplace, slips, digitocr, members) -> Callable[..., Place]:
    """Lay out as many scans as wanted; a PNG with more bytes behind its end is another file."""

    def lay(pages: int, url: str = "") -> Place:
        for number in range(4, pages + 1):
            slip = (slips / "scans" / f"slip-00{1 + number % 8}.png").read_bytes()
            file = workplace / "scans" / f"slip-{number:03}.png"
            file.write_bytes(slip + b"\0" * (number // 8))
        (workplace / "flow.py").write_text(FLOW)
        url = url or f"sqlite:///{workplace / 'night.db'}"
        return Place(workplace, url, digitocr, members)

    return lay


READ = ("process", "scans", "--batch", BATCH)
PROCESS = ("-m", "digitocr.cli", *READ)
PREFECT = ("flow.py", str(ROOT / "flows"))


def undisturbed(place: Place) -> Left:
    url = f"sqlite:///{place.folder / 'undisturbed.db'}"
    other = replace(place, url=url)
    other.digitocr(*READ)
    left = other.left()
    assert left.batches == ((BATCH, "done"),)
    return left


def kill_at_some_moment(
    place: Place, words: tuple[str, ...], whom: str, pages: int, moment: random.Random
) -> None:
    """Begin a run, and kill of it what is named, once some number of pages is stored."""
    wanted = moment.randrange(pages)
    with place.begun(*words) as process:
        end = time.monotonic() + LIMIT_S
        while process.poll() is None and place.pages() < wanted:
            assert time.monotonic() < end, f"{wanted} pages were not read in {LIMIT_S} s"
            time.sleep(0.02)
        time.sleep(moment.random() * (0.05 if wanted else 4.0))
        if process.poll() is not None:  # it was quicker
            out, _ = process.communicate()
            assert process.returncode == 0, out.decode()
            return
        if whom == "all":
            kill_all(process.pid)
        elif whom == "program":
            process.kill()
        elif found := place.readers(process.pid):
            os.kill(moment.choice(found), signal.SIGKILL)
        if whom == "reader":
            out, _ = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0, out.decode()
            assert b"Traceback" not in out
            return
        process.wait(LIMIT_S)
        while whom == "program" and place.readers(process.pid):
            assert time.monotonic() < end, "its readers go on without it"
            time.sleep(0.05)


@pytest.mark.slow
def test_a_run_whose_reader_is_killed_ends_with_the_rows_of_an_undisturbed_one(place):
    here = place(10)
    expected = undisturbed(here)
    kill_at_some_moment(here, PROCESS, "reader", 10, random.Random(5))
    assert here.left() == expected


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("prefect") is None, reason="prefect is not installed"
)
def test_a_flow_that_is_killed_is_finished_by_the_command(place):
    here = place(10)
    expected = undisturbed(here)
    kill_at_some_moment(here, PREFECT, "all", 10, random.Random(1))
    here.digitocr(*READ)
    assert here.left() == expected


# ---------------------------------------------------------------- migrations

OLD = "0003"
FILLED = """
INSERT INTO batches VALUES (1, 'monday', '2026-03-01 12:00:00', 'done', '2026-03-01 12:00:00');
INSERT INTO documents VALUES (1, '{sha}', 1, 'png');
INSERT INTO arrivals VALUES (1, 1, 1, 'a.png', '2026-03-01 12:00:00');
INSERT INTO forms VALUES (1, 'tally', 1, 'Tally', 'f', 'name = "tally"');
INSERT INTO models VALUES (1, 'small', 'm', '{{}}');
INSERT INTO pages VALUES (1, 1, 1);
INSERT INTO page_readings (id, page_id, pass_number, form_id, model_id, template_page, status,
    cause, residual_mm, read_at)
    VALUES (1, 1, 1, 1, 1, 1, 'read', '', 0.1, '2026-03-01 12:00:00');
INSERT INTO readings (id, page_reading_id, field, position, text, confidence, reasons,
    alternatives, box_left, box_top, box_right, box_bottom, crop, weight)
    SELECT n, 1, 'f' || n, n, '0471', 0.98, '[]', '[]', 0, 0, 9, 9, NULL, 1 FROM ({numbers}) x;
INSERT INTO decisions (reading_id, verdict, text, reviewer, made_at)
    SELECT n, 'corrected', '' || n, 'ana', '2026-03-01 12:00:00' FROM ({numbers}) x
"""
LITE_NUMBERS = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) "
    "SELECT n FROM c"
)
DECIDED = "SELECT id, reading_id, verdict, text, reviewer FROM decisions ORDER BY id"


def old_database(place: Place, count: int) -> None:
    """Make a database of an earlier schema with some thousand decisions in it."""
    engine = schema.make_engine(place.url)
    lite = engine.dialect.name == "sqlite"
    numbers = LITE_NUMBERS if lite else "SELECT generate_series(1, {count}) AS n"
    filled = FILLED.format(sha="d" * 64, numbers=numbers.format(count=count))
    with schema.migrating(engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    with engine.begin() as connection:
        for statement in filled.split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()


def kill_a_migration(place: Place, words: tuple[str, ...], takes_s: float, moment) -> bool:
    """Kill a migration from the moment it begins to write; True if it was not done by then."""
    with place.begun(*words, cwd=ROOT) as process:
        end = time.monotonic() + LIMIT_S
        while process.poll() is None and not writes(place):
            assert time.monotonic() < end, "the migration does not begin"
            time.sleep(0.001)
        time.sleep(moment.random() * takes_s)
        kill_all(process.pid)
        process.wait(LIMIT_S)
    return place.asked("SELECT version_num FROM alembic_version") == [(OLD,)]


def time_a_migration(place: Place, words: tuple[str, ...]) -> float:
    """Measure how many seconds a migration takes from the moment it begins to write."""
    with place.begun(*words, cwd=ROOT) as process:
        while process.poll() is None and not writes(place):
            time.sleep(0.001)
        began = time.monotonic()
        process.wait(LIMIT_S)
        assert process.returncode == 0
    return time.monotonic() - began


def writes(place: Place) -> bool:
    """Tell whether a migration has begun: SQLite's log is there, PostgreSQL's lock is held."""
    if place.url.startswith("sqlite"):
        log = Path(place.url.removeprefix("sqlite:///") + "-wal")
        return log.exists() and log.stat().st_size > 0
    return place.asked("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != [(0,)]


def check_migrated(place: Place, before: list[tuple]) -> None:
    place.digitocr("db", "upgrade")
    assert place.digitocr("db", "check").startswith(f"schema is at {schema.NEWEST}")
    assert place.asked(DECIDED) == before
    if place.url.startswith("sqlite"):
        assert place.asked("PRAGMA integrity_check") == [("ok",)]
        assert place.asked("PRAGMA foreign_key_check") == []


ALEMBIC = ("-c", "from alembic.config import main; main()", "upgrade", "head")
UPGRADE = ("-m", "digitocr.cli", "db", "upgrade")


@pytest.mark.slow
def test_a_migration_that_is_killed_is_done_whole_the_next_time(place):
    here = place(3)
    old_database(here, 60_000)
    before = here.asked(DECIDED)
    kill_a_migration(here, ALEMBIC, 0.1, random.Random(1))
    check_migrated(here, before)


# ---------------------------------------------------------------- twenty-five

PAGES = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, workplace, tmp_path) -> Callable[[str], str]:
    """Give the URL of a new database of a kind, by name."""
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path / name}.db"
    cluster = request.getfixturevalue("cluster")

    def make(name: str) -> str:
        admin = schema.make_engine(cluster + "postgres").execution_options(
            isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        return cluster + name

    return make


# The command, run in this process, leaves its connections to the end of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
def test_runs_killed_at_any_moment_leave_the_rows_of_an_undisturbed_one(place, database):
    """Fourteen kills: the command by all ways on both databases, and the flow."""
    expected = undisturbed(place(PAGES))
    kinds = [(PROCESS, "program"), (PROCESS, "reader"), (PROCESS, "all"), (PREFECT, "all")]
    for seed in range(7):
        words, whom = kinds[seed % len(kinds)]
        here = place(PAGES, database(f"killed_{seed}"))
        kill_at_some_moment(here, words, whom, PAGES, random.Random(seed))
        here.finished(*words)
        assert here.left() == expected, (seed, whom)
        shutil.rmtree(here.folder / "prefect", ignore_errors=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
def test_migrations_killed_at_any_moment_are_done_whole_the_next_time(place, database):
    """Eleven kills, six of them on SQLite."""
    lite = "sqlite" in database("timed")
    timed = place(3, database("timed"))
    old_database(timed, 200_000)
    takes_s = time_a_migration(timed, UPGRADE)
    cut = 0
    for seed in range(6 if lite else 5):
        here = place(3, database(f"migrated_{seed}"))
        old_database(here, 200_000)
        before = here.asked(DECIDED)
        way = ALEMBIC if seed % 2 else UPGRADE
        cut += kill_a_migration(here, way, takes_s, random.Random(seed))
        check_migrated(here, before)
    assert cut > 1, "nearly every migration was done before it was killed"
