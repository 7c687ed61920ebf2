from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from alembic import command
from digitocr.db import people, schema
from digitocr.errors import DatabaseError, SchemaError
from digitocr.types import FieldType

ROOT = Path(__file__).parents[2]


def test_an_empty_database_gets_its_schema(empty_url: str) -> None:
    engine = schema.connect(empty_url, create=True)
    assert inspect(engine).has_table("readings")
    engine.dispose()
    assert schema.check(empty_url) == schema.NEWEST


def test_upgrade_fills_an_empty_database_and_is_content_with_a_full_one(empty_url: str) -> None:
    assert schema.upgrade(empty_url) == (None, schema.NEWEST)
    assert schema.upgrade(empty_url) == (schema.NEWEST, schema.NEWEST)


def test_an_empty_database_is_not_filled_by_who_only_asks(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(DatabaseError, match="is empty"):
        schema.connect(empty_url, create=False)


def test_the_migrations_are_in_step_with_the_tables(engine: Any) -> None:
    with engine.connect() as connection:
        assert schema.compare(connection) == []


def test_a_change_made_by_hand_is_found(own_url: str) -> None:
    engine = schema.make_engine(own_url)
    with engine.begin() as connection:
        on = " ON decisions" if engine.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER decisions_no_update{on}"))
    engine.dispose()
    with pytest.raises(SchemaError, match="decisions_no_update is missing"):
        schema.check(own_url)


def test_migrations_go_down_and_up_again_on_rows(draw: Any, own_url: str) -> None:
    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", "58")
    with schema.migrating(desk.engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(desk.engine).get_table_names() == ["alembic_version"]
    desk.engine.dispose()
    schema.upgrade(own_url)
    schema.check(own_url)
    assert len(desk.rows()) == 0
    desk.engine.dispose()


def migrate(engine: Any, way: Any, revision: str) -> None:
    with schema.migrating(engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        way(config, revision)


FIRST_ROWS = f"""
INSERT INTO batches VALUES (1, 'monday', '2026-03-01 12:00:00', 'running', NULL);
INSERT INTO documents VALUES (1, '{"d" * 64}', 1, 'png');
INSERT INTO arrivals VALUES (1, 1, 1, 'a.png', '2026-03-01 12:00:00');
INSERT INTO forms VALUES (1, 'tally', 1, 'Tally', 'f', 'name = "tally"');
INSERT INTO models VALUES (1, 'small', 'm', '{{}}');
INSERT INTO pages VALUES (1, 1, 1);
INSERT INTO page_readings
    VALUES (1, 1, 1, 1, 1, 1, 'read', '', NULL, 0.1, '2026-03-01 12:00:00', NULL);
INSERT INTO readings (id, page_reading_id, field, position, text, confidence, reasons,
    alternatives, box_left, box_top, box_right, box_bottom, crop, weight)
    VALUES (1, 1, 'votes', 0, '0471', 0.98, '[]', '[]', 0, 0, 9, 9, NULL, 1),
    (2, 1, 'void', 1, '5', 0.5, '["junk"]', '[]', 0, 9, 9, 19, NULL, 1);
INSERT INTO glyphs VALUES (1, 1, 0, 0, 0, 9, 9, '4', 0.99, '[]', NULL);
INSERT INTO decisions VALUES (1, 1, NULL, 'corrected', '0472', 'ana', '2026-03-01 12:00:00'),
    (2, 1, 1, 'confirmed', '4', 'ana', '2026-03-01 12:00:00');
"""


def test_a_database_of_the_first_schema_keeps_its_rows(draw: Any, empty_url: str) -> None:
    engine = schema.make_engine(empty_url)
    migrate(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in FIRST_ROWS.split(";\n")[:-1]:
            connection.execute(text(statement.replace(":00:00", r"\:00\:00")))
    with pytest.raises(SchemaError, match="db upgrade"):
        schema.connect(empty_url, create=False)
    assert schema.upgrade(empty_url) == ("0001", schema.NEWEST)
    assert schema.check(empty_url) == schema.NEWEST
    rows = draw.desk(engine).rows()
    assert list(rows["value"].fillna("unknown")) == ["0472", "unknown"]
    with engine.connect() as connection:
        audits = connection.execute(text("SELECT audit FROM decisions ORDER BY id")).all()
        assert [bool(audit) for (audit,) in audits] == [False, False]
        known = connection.execute(text("SELECT accepted, sure_from FROM readings ORDER BY id"))
        assert [(bool(accepted), sure) for accepted, sure in known] == [
            (True, None),
            (False, None),
        ]
    with pytest.raises(DBAPIError, match="kept for good"), engine.begin() as connection:
        connection.execute(text("DELETE FROM decisions"))
    engine.dispose()


def test_going_back_to_the_first_schema_keeps_rows_and_forgets_audits(
    draw: Any, own_url: str
) -> None:
    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some), sure_from={FieldType.INTEGER: 0.9})
    desk.decide("votes", "0472", audit=True)
    desk.decide("valid", "58")
    migrate(desk.engine, command.downgrade, "0001")
    with desk.engine.connect() as connection:
        said = connection.execute(text("SELECT text FROM decisions ORDER BY id")).all()
        assert [one for (one,) in said] == ["0472", "58"]
        assert connection.scalar(text("SELECT count(*) FROM readings WHERE accepted")) == 2
    columns = {column["name"] for column in inspect(desk.engine).get_columns("decisions")}
    assert "audit" not in columns
    with pytest.raises(DBAPIError, match="kept for good"), desk.engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET text = '1'"))
    desk.engine.dispose()
    assert schema.upgrade(own_url) == ("0001", schema.NEWEST)
    assert list(desk.rows(field="votes")["value"]) == ["0472"]
    desk.engine.dispose()


def test_a_database_of_the_second_schema_keeps_its_decisions_and_their_numbers(
    draw: Any, own_url: str
) -> None:
    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some), sure_from={FieldType.INTEGER: 0.9})
    desk.decide("votes", "0472", audit=True)
    said = desk.decide("valid", "58")
    migrate(desk.engine, command.downgrade, "0002")
    desk.engine.dispose()
    with pytest.raises(SchemaError, match="db upgrade"):
        schema.connect(own_url, create=False)
    assert schema.upgrade(own_url) == ("0002", schema.NEWEST)
    assert schema.check(own_url) == schema.NEWEST
    with desk.engine.connect() as connection:
        kept = connection.execute(
            text("SELECT id, text, audit, screen, followed FROM decisions ORDER BY id")
        ).all()
    assert [(row[1], bool(row[2]), row[3], bool(row[4])) for row in kept] == [
        ("0472", True, None, False),
        ("58", False, None, False),
    ]
    assert desk.decide("valid", "59") > said  # an id is never given twice
    with pytest.raises(DBAPIError, match="kept for good"), desk.engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET text = '1'"))
    desk.engine.dispose()


def test_a_decision_that_was_withdrawn_cannot_go_back_to_the_second_schema(
    draw: Any, own_url: str
) -> None:
    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some))
    said = desk.decide("valid", "58")
    with desk.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO decisions (reading_id, verdict, reviewer, made_at, undoes) "
                "SELECT reading_id, 'withdrawn', reviewer, made_at, id FROM decisions "
                f"WHERE id = {said}"
            )
        )
    assert list(desk.rows(field="valid")["status"]) == ["review"]
    with pytest.raises(RuntimeError, match="withdrawn"):
        migrate(desk.engine, command.downgrade, "0002")
    assert schema.check(own_url) == schema.NEWEST
    desk.engine.dispose()


def test_work_is_counted_from_the_decisions_there_are(draw: Any, own_url: str) -> None:
    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some))
    migrate(desk.engine, command.downgrade, "0007")
    row = (
        "INSERT INTO decisions (id, reading_id, verdict, text, reviewer, made_at, claim_id,"
        " screen, ms, undoes) VALUES "
    )
    rows = [
        "(1, 1, 'corrected', '1', 'ana', '2026-03-01 12:00:00+00', 'a', 'field', 60000, NULL)",
        "(2, 2, 'confirmed', '57', 'ana', '2026-03-01 12:20:00+00', 'b', 'field', NULL, NULL)",
        "(3, 1, 'withdrawn', NULL, 'ana', '2026-03-01 12:21:00+00', 'a', 'field', NULL, 1)",
        "(4, 3, 'corrected', '9', 'ana', '2026-03-01 14:00:00+00', 'c', 'field', 5, NULL)",
        "(5, 4, 'corrected', '9', 'ben', '2026-03-01 14:00:00+00', NULL, NULL, NULL, NULL)",
    ]
    lite = desk.engine.dialect.name == "sqlite"
    with desk.engine.begin() as connection:
        for values in rows:
            connection.execute(text(row + (values.replace("+00", "") if lite else values)))
    migrate(desk.engine, command.upgrade, "head")
    with schema.reading(desk.engine) as session:
        found = people.stretches(session, draw.noon - timedelta(days=1))
    told = [(one.reviewer, one.fields, one.changed, one.withdrawn) for one in found]
    assert told == [("ana", 1, 1, 0), ("ana", 2, 1, 1)]
    assert found[1].ended - found[1].began == timedelta(minutes=21)
    assert schema.check(own_url) == schema.NEWEST
    desk.engine.dispose()


def test_a_schema_this_version_does_not_know_asks_for_a_newer_digitocr(own_url: str) -> None:
    engine = schema.make_engine(own_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for create in (True, False):
        with pytest.raises(SchemaError, match="upgrade digitocr"):
            schema.connect(own_url, create=create)
    with pytest.raises(SchemaError, match="upgrade digitocr"):
        schema.upgrade(own_url)


def test_an_older_schema_names_the_command_that_upgrades_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "NEWEST", "0099")
    for create in (True, False):
        with pytest.raises(SchemaError, match="digitocr db upgrade"):
            schema.connect(url, create=create)


def test_a_database_with_other_tables_is_left_alone(empty_url: str) -> None:
    engine = schema.make_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (id integer)"))
    engine.dispose()
    for call in (lambda: schema.connect(empty_url, create=True),
                 lambda: schema.upgrade(empty_url)):  # fmt: skip
        with pytest.raises(SchemaError, match="not digitocr's"):
            call()


def test_a_missing_sqlite_file_is_not_made_by_who_only_asks(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(DatabaseError, match="no such database"):
        schema.connect(f"sqlite:///{path}", create=False)
    with pytest.raises(DatabaseError, match="no such database"):
        schema.check(f"sqlite:///{path}")
    assert not path.exists()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("quark", "not a database URL"),
        ("", "not a database URL"),
        ("mysql://ana:pw-s3cret@host/x", "'mysql' is not supported"),
        ("postgresql://ana:pw-s3cret@host:port/x", "not a database URL"),
        ("postgresql://ana:pw@s3cret@127.0.0.1:1/x", "%40"),
        ("postgresql://ana:pw-s3cret@127.0.0.1:1/x", "is the server running"),
        ("postgresql://ana:pw-s3cret@nowhere.invalid/x", "name of the server"),
        ("postgresql://127.0.0.1:1/x?user=ana&password=pw-s3cret", "is the server running"),
        ("sqlite:////nowhere/at/all/x.db", "no such database|unable to open"),
        ("sqlite:////tmp", "unable to open"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_clear_line_without_the_password(
    url: str, message: str, create: bool
) -> None:
    with pytest.raises(DatabaseError, match=message) as caught:
        schema.connect(url, create=create)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG not a database" * 100)
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(DatabaseError, match=r"scan\.png.*not a database"):
            schema.connect(f"sqlite:///{path}", create=create)
    assert path.read_bytes() == before


def test_a_locked_file_says_so(tmp_path: Path, migrated_file: Path) -> None:
    path = tmp_path / "locked.db"
    shutil.copy(migrated_file, path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(DatabaseError, match="is locked; another program"):
            schema.connect(f"sqlite:///{path}", create=True, busy_s=0.05)
    finally:
        other.close()


def test_a_writer_who_waits_too_long_says_so(tmp_path: Path, migrated_file: Path) -> None:
    path = tmp_path / "busy.db"
    shutil.copy(migrated_file, path)
    engine = schema.connect(f"sqlite:///{path}", create=False, busy_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with schema.reading(engine) as session:
            assert session.scalar(text("SELECT count(*) FROM batches")) == 0
        with (
            pytest.raises(DatabaseError, match="is locked"),
            schema.writing(engine) as session,
        ):
            session.execute(text("DELETE FROM batches"))
    finally:
        other.close()
        engine.dispose()


def test_a_driver_that_is_not_installed_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"digitocr\[postgresql\]"):
        schema.connect("postgresql://127.0.0.1:1/x", create=False)


def test_sqlite_is_set_up_for_several_writers(tmp_path: Path) -> None:
    engine = schema.connect(f"sqlite:///{tmp_path / 'new.db'}", create=True)
    with engine.connect() as connection:
        settings = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    engine.dispose()
    assert settings == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "synchronous": 1,
    }


def test_a_database_in_memory_will_do() -> None:
    engine = schema.connect("sqlite://", create=True)
    with schema.reading(engine) as session:
        assert session.scalar(text("SELECT count(*) FROM batches")) == 0
    engine.dispose()


def test_four_who_make_one_database_at_once_make_it_once(empty_url: str) -> None:
    gate = threading.Barrier(4)

    def make(_: int) -> None:
        gate.wait()
        schema.connect(empty_url, create=True).dispose()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make, range(4)))
    assert schema.check(empty_url) == schema.NEWEST


@pytest.mark.slow
def test_alembic_works_from_the_command_line(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'cli.db'}"
    program = "from alembic.config import main; main()"

    def alembic(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            check=False, capture_output=True, text=True, cwd=ROOT,
            env=os.environ | {"DIGITOCR_DATABASE": "sqlite:////nowhere/x.db"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    alembic("-x", f"url={database}", "upgrade", "head")
    assert "No new upgrade operations" in alembic("-x", f"url={database}", "check")
    schema.connect(database, create=False).dispose()
