"""Purges: values and pictures out for good, keys and times in, and the purge written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from digitocr.db import (
    audits,
    batches,
    claims,
    corrections,
    deciding,
    decisions,
    items,
    purging,
    schema,
    store,
    tables,
)
from digitocr.db.purging import Purged, Wanted
from digitocr.db.tables import Queue
from digitocr.errors import UsageError
from digitocr.types import FieldType, Verdict

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
TYPED = "918273645"  # nothing else in the database has these digits


@pytest.fixture
def filled(desk: Any, draw: Any) -> Any:
    """Two documents of two batches, one kept as a page, decided on, audited and keyed."""
    for document, batch in (("d", "monday"), ("e", "tuesday")):
        desk.arrive(batch, f"scans/{document}.png", document)
        readings = [
            draw.reading("votes", "0471", document=document),
            draw.reading("valid", "57", reasons=("low-confidence",), document=document),
            draw.reading("void", "", document=document),
        ]
        desk.save(
            draw.page(*readings, document=document),
            image=b"the whole page",
            sure_from={FieldType.INTEGER: 0.5},
        )
        desk.decide("valid", TYPED, document=document)
        desk.decide("valid", "5", glyph=0, document=document)
        desk.decide("votes", "0471", verdict=Verdict.CONFIRMED, audit=True, document=document)
    return desk


def purge(desk: Any, **wanted: Any) -> Purged:
    return purging.purge(desk.engine, Wanted(**wanted), by="ana", now=NOW)


def rows_of(desk: Any, table: Any) -> list[dict[str, Any]]:
    with schema.reading(desk.engine) as session:
        return [
            {column.name: getattr(row, column.name) for column in table.__table__.columns}
            for row in session.scalars(
                select(table).order_by(table.__table__.primary_key.columns)
            )
        ]


def test_values_and_pictures_go_and_keys_verdicts_and_times_stay(filled: Any) -> None:
    before = {table: rows_of(filled, table) for table in (tables.Decision, tables.Reading)}
    assert purge(filled, batch="monday") == Purged(1, 1, 3, 3)
    gone = {
        "text", "alternatives", "reasons", "crop", "accepted", "purge_id",
    }  # fmt: skip
    for table, old in before.items():
        for row, was in zip(rows_of(filled, table), old, strict=True):
            kept = {name for name in row if row[name] == was[name]}
            assert set(row) - kept <= gone
    purged = [row for row in rows_of(filled, tables.Reading) if row["reasons"] == ["purged"]]
    assert len(purged) == 3
    for row in purged:
        assert row["text"] is None and row["crop"] is None and row["alternatives"] == []
        assert not row["accepted"]
    glyphs = rows_of(filled, tables.Glyph)
    assert sum(row["crop"] is None and row["text"] == "" for row in glyphs) == len(glyphs) / 2
    images = [row["image"] for row in rows_of(filled, tables.PageReading)]
    assert images == [None, b"the whole page"]
    said = [row["text"] for row in rows_of(filled, tables.Decision)]
    assert said == [None, None, None, TYPED, "5", "0471"]


def test_the_purge_is_written_down_and_done_once(filled: Any) -> None:
    purge(filled, document="d" * 64)
    (row,) = rows_of(filled, tables.Purge)
    assert (row["purged_by"], row["purged_at"]) == ("ana", NOW)
    assert row["wanted"] == {"before": None, "batch": None, "document": "d" * 64}
    counted = [row[name] for name in ("documents", "pages", "readings", "decisions")]
    assert counted == [1, 1, 3, 3]
    assert purge(filled, document="d" * 8) == Purged(0, 0, 0, 0)
    assert len(rows_of(filled, tables.Purge)) == 1


def test_the_age_of_a_document_is_that_of_its_last_coming(filled: Any, draw: Any) -> None:
    noon = draw.noon
    with schema.writing(filled.engine) as session:
        store.open_batch(session, "later", noon)
        known = store.Document("e" * 64, 2)
        store.add_arrival(
            session, "later", "scans/e.png", known, ".png", noon + timedelta(days=9)
        )
    counted = {}
    with schema.reading(filled.engine) as session:
        for days in (0, 5, 10):
            wanted = Wanted(before=noon + timedelta(days=days, seconds=1))
            counted[days] = purging.count(session, wanted).documents
        both = Wanted(before=noon + timedelta(days=5), batch="tuesday")
        assert purging.count(session, both).documents == 0
        assert purging.count(session, Wanted(batch="tuesday")).elsewhere == 1
    assert counted == {0: 1, 5: 1, 10: 2}


def test_the_export_says_purged_and_no_number(filled: Any) -> None:
    purge(filled, batch="monday")
    frame = filled.rows(batch="monday")
    assert set(frame["status"]) == {"purged"}
    for column in ("value", "reading", "confidence"):
        assert frame[column].isna().all()
    assert set(frame["reasons"]) == {'["purged"]'}
    assert set(frame["alternatives"]) == {"[]"}
    decided = frame[frame["field"] == "valid"].iloc[0]
    assert (decided["reviewer"], decided["source"]) == ("ana", "scans/d.png")
    assert (
        decided["reviewed_at"] == filled.rows(batch="tuesday")["reviewed_at"].dropna().iloc[0]
    )
    other = filled.rows(batch="tuesday").set_index("field")
    assert other.loc["valid", "value"] == TYPED
    assert len(filled.rows(status="purged")) == 3


def test_what_counts_of_a_batch_is_neither_accepted_nor_waiting(filled: Any) -> None:
    with schema.reading(filled.engine) as session:
        before = batches.batch_summary(session, "monday")
    purge(filled, batch="monday")
    with schema.reading(filled.engine) as session:
        after = batches.batch_summary(session, "monday")
    assert (before.accepted, before.decided, before.purged) == (1, 2, 0)
    assert (after.accepted, after.to_review, after.decided, after.purged) == (0, 0, 0, 3)
    assert (after.documents, after.pages, after.fields) == (1, 1, 3)


def test_audits_of_purged_readings_count_as_they_did(filled: Any, draw: Any) -> None:
    filled.decide("void", "7", audit=True)
    with schema.writing(filled.engine) as session:
        listed = "".join(f'[[fields]]\nname = "{name}"\n' for name in ("votes", "void"))
        session.execute(update(tables.Form).values(source=listed))
    with schema.reading(filled.engine) as session:
        standing = audits.standing(session)
        audited = decisions.audited(session, model=draw.model.fingerprint)
    purge(filled, batch="monday")
    with schema.reading(filled.engine) as session:
        assert audits.standing(session) == standing
        assert decisions.audited(session, model=draw.model.fingerprint) == audited
    assert (standing.audited, standing.wrong, len(audited)) == (3, 1, 3)


def test_nothing_is_learned_from_what_was_purged(filled: Any) -> None:
    with schema.reading(filled.engine) as session:
        assert {one.document for one in corrections.verified_glyphs(session)} == {
            "d" * 64, "e" * 64,
        }  # fmt: skip
    purge(filled, batch="monday")
    with schema.reading(filled.engine) as session:
        found = corrections.verified_glyphs(session)
    assert {one.document for one in found} == {"e" * 64}


def test_a_page_read_anew_after_its_purge_has_what_was_read_then(
    filled: Any, draw: Any
) -> None:
    purge(filled, batch="monday")
    assert filled.save(draw.page(draw.reading("valid", "57")), again=True)
    frame = filled.rows(batch="monday")
    assert list(frame["value"]) == ["57"]  # and not what a person said before
    assert list(frame["status"]) == ["accepted"]


def test_what_waited_waits_no_more_and_what_was_shown_is_forgotten(
    desk: Any, draw: Any
) -> None:
    for document, batch in (("d", "monday"), ("e", "tuesday")):
        desk.arrive(batch, f"scans/{document}.png", document)
        doubtful = draw.reading("valid", "57", reasons=("low-confidence",), document=document)
        desk.save(draw.page(doubtful, document=document))
    with schema.writing(desk.engine) as session:
        items.fill(session)
        first, second = session.scalars(select(tables.Batch.id).order_by(tables.Batch.id))
        glyphs = session.execute(
            select(tables.Glyph.id, tables.Glyph.reading_id).order_by(tables.Glyph.id)
        ).all()
        assert len(glyphs) == 4
        for number, (glyph, reading) in enumerate(glyphs):
            session.add(
                tables.Item(
                    reading_id=reading,
                    glyph_id=glyph,
                    batch_id=first if number < 2 else second,
                    queue="group",
                    label="5",
                    state="open",
                    priority=4.0 - number,
                )
            )
        items.recount(session)
    shown = []
    for ending in (claims.release, deciding.save_group, None):
        with schema.writing(desk.engine) as session:
            claim = claims.take(session, Queue.GROUP, reviewer="ana", now=NOW, limit=1)
            assert claim is not None
            shown.append(claim)
            if ending is claims.release:
                claims.release(session, claim.id, reviewer="ana")
            elif ending is deciding.save_group:
                deciding.save_group(session, claim.id, {}, reviewer="ana", now=NOW)
    assert {cell.shown_as for claim in shown for cell in claim.cells} == {"5"}
    counted = {row["batch_id"]: row["waiting"] for row in rows_of(desk, tables.Count)}
    assert len(counted) == 2 and all(counted.values())
    purge(desk, batch="monday")
    waiting: dict[int, int] = {first: 0, second: 0}
    for row in rows_of(desk, tables.Count):
        waiting[row["batch_id"]] += row["waiting"]
    assert waiting[first] == 0 < waiting[second]
    purged = {row["id"] for row in rows_of(desk, tables.Reading) if row["text"] is None}
    known = {row["id"]: row for row in rows_of(desk, tables.Claim)}
    assert any(cell.reading in purged for claim in shown for cell in claim.cells)
    for claim in shown:
        if purged & {cell.reading for cell in claim.cells}:
            row = known[claim.id]
            assert (row["label"], row["cells"]) == ("", [])
            assert row["state"] != "open"
    assert not {row["reading_id"] for row in rows_of(desk, tables.Item)} & purged
    with schema.writing(desk.engine) as session:
        assert items.fill(session) == 0


def test_nobody_decides_on_what_was_purged(filled: Any) -> None:
    with schema.reading(filled.engine) as session:
        (reading,) = (
            row.id for row in store.load_readings(session, "d" * 64, 1) if row.field == "void"
        )
    purge(filled, batch="monday")
    with pytest.raises(UsageError, match="purged"), schema.writing(filled.engine) as session:
        deciding.decide_once(
            session, "a-key-of-it", reading, deciding.Said("3"), reviewer="ana", now=NOW
        )


@pytest.mark.parametrize(
    "change",
    [
        "text = NULL",
        "text = 'x', purge_id = 1",
        "text = NULL, purge_id = 1, reviewer = 'eve'",
        "text = NULL, purge_id = 1, made_at = '2020-01-01 00:00:00'",
        "text = NULL, purge_id = 1, verdict = 'illegible'",
        "text = NULL, purge_id = 99",
        "purge_id = NULL",
    ],
)
def test_the_database_lets_nothing_of_a_decision_be_changed_but_that(
    filled: Any, change: str
) -> None:
    purge(filled, batch="monday")
    decided = "SELECT max(id) FROM decisions WHERE purge_id IS "
    which = decided + ("NOT NULL" if change == "purge_id = NULL" else "NULL")
    statement = text(f"UPDATE decisions SET {change} WHERE id = ({which})".replace(":", r"\:"))
    with pytest.raises(DBAPIError), filled.engine.begin() as connection:
        connection.execute(statement)
    with pytest.raises(DBAPIError, match="kept for good"), filled.engine.begin() as connection:
        connection.execute(text("DELETE FROM decisions"))


def test_nothing_of_a_value_stays_in_the_file(desk: Any, draw: Any) -> None:
    if desk.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no file of one database")
    desk.arrive()
    image = np.random.default_rng(4).integers(0, 256, (40, 120), np.uint8)
    reading = draw.reading("votes", "0471")
    desk.save(draw.page(reading), image=image.tobytes())
    desk.decide("votes", TYPED)
    file = Path(str(desk.engine.url.database))
    with desk.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    crop = rows_of(desk, tables.Reading)[0]["crop"][60:120]
    marks = [TYPED.encode(), image.tobytes()[:60], crop]
    whole = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert all(mark in whole for mark in marks)
    purge(desk, batch="monday")
    whole = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert not any(mark in whole for mark in marks)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "say what to purge"),
        ({"batch": "sunday"}, "no batch 'sunday'"),
        ({"document": "abc"}, "is no hash"),
        ({"document": "0" * 8}, "no document begins so"),
    ],
)
def test_a_purge_of_nothing_is_refused(
    filled: Any, wanted: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        purge(filled, **wanted)
    assert rows_of(filled, tables.Purge) == []


def test_a_purge_that_is_stopped_leaves_whole_documents_and_goes_on(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "DOCUMENTS_AT_ONCE", 1)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    wanted = Wanted(before=NOW + timedelta(days=1))
    with pytest.raises(KeyboardInterrupt):
        purging.purge(filled.engine, wanted, by="ana", now=NOW, progress=stop)
    assert set(filled.rows(batch="monday")["status"]) == {"purged"}
    assert "purged" not in set(filled.rows(batch="tuesday")["status"])
    assert purge(filled, before=NOW + timedelta(days=1)) == Purged(1, 1, 3, 3)
    assert [row["documents"] for row in rows_of(filled, tables.Purge)] == [1, 1]
    assert set(filled.rows()["status"]) == {"purged"}


def test_the_schema_of_before_cannot_say_what_was_purged(draw: Any, own_url: str) -> None:
    from alembic import command

    desk = draw.desk(schema.connect(own_url, create=False))
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", TYPED)

    def downgrade() -> None:
        with schema.migrating(desk.engine) as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.downgrade(config, "0003")

    downgrade()
    schema.upgrade(own_url)
    assert TYPED in set(desk.rows()["value"])
    purge(desk, batch="monday")
    with pytest.raises(RuntimeError, match="purges"):
        downgrade()
    assert set(desk.rows()["status"]) == {"purged"}
    desk.engine.dispose()
