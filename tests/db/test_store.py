from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from digitocr.db import batches, decisions, schema, store
from digitocr.db.tables import BatchStatus
from digitocr.errors import DatabaseError, TemplateError, UsageError
from digitocr.types import (
    Correction,
    Document,
    FieldType,
    Hypothesis,
    PageStatus,
    Verdict,
)


def test_a_saved_page_comes_back_as_it_was(desk: Any, draw: Any) -> None:
    desk.arrive()
    assert desk.save(draw.page(*draw.some))
    with schema.reading(desk.engine) as session:
        found = store.load_readings(session, "d" * 64, 1)
    for stored, drawn in zip(found, draw.some, strict=True):
        assert stored.field == drawn.field.name
        assert stored.text == drawn.text
        assert stored.confidence == drawn.confidence
        assert stored.alternatives == drawn.alternatives
        assert stored.reasons == drawn.reasons
        assert stored.accepted is drawn.accepted
        assert stored.box == drawn.field.box
        assert stored.weight == drawn.field.weight
        assert [g.hypotheses for g in stored.glyphs] == [g.hypotheses for g in drawn.glyphs]
        assert [g.box for g in stored.glyphs] == [g.box for g in drawn.glyphs]
        for crop, image in [
            (stored.crop, drawn.image),
            *((g.crop, h.image) for g, h in zip(stored.glyphs, drawn.glyphs, strict=True)),
        ]:
            decoded = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(decoded, image)


def test_zero_and_blank_and_unreadable_stay_three_things(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(
        draw.page(
            draw.reading("zero", "0"),
            draw.reading("blank", ""),
            draw.reading("unreadable", None, reasons=("unreadable",)),
        )
    )
    with schema.reading(desk.engine) as session:
        texts = [reading.text for reading in store.load_readings(session, "d" * 64, 1)]
    assert texts == ["0", "", None]


def test_saving_twice_is_saving_once(desk: Any, draw: Any) -> None:
    assert desk.arrive() is True
    assert desk.arrive() is False
    assert desk.save(draw.page(*draw.some)) is True
    assert desk.save(draw.page(*draw.some)) is False
    assert len(desk.rows()) == len(draw.some)


def test_eight_who_save_the_same_page_at_once_save_it_once(desk: Any, draw: Any) -> None:
    desk.arrive()
    gate = threading.Barrier(8)
    saved: list[bool] = []

    def save() -> None:
        gate.wait()
        saved.append(desk.save(draw.page(*draw.some)))

    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(saved) == [False] * 7 + [True]
    assert len(desk.rows()) == len(draw.some)


def test_the_latest_pass_is_the_current_one(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(draw.reading("votes", "1")))
    assert desk.save(draw.page(draw.reading("votes", "2")), again=True)
    assert list(desk.rows()["reading"]) == ["2"]
    with schema.reading(desk.engine) as session:
        assert [r.text for r in store.load_readings(session, "d" * 64, 1)] == ["2"]


def test_again_on_a_page_that_was_never_read_is_its_first_pass(desk: Any, draw: Any) -> None:
    desk.arrive()
    assert desk.save(draw.page(*draw.some), again=True)
    assert len(desk.rows()) == len(draw.some)


def test_a_correction_survives_a_new_pass(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(draw.reading("votes", "1", reasons=("junk",))))
    desk.decide("votes", "7")
    desk.save(draw.page(draw.reading("votes", "2")), again=True)
    row = desk.rows().iloc[0]
    assert (row["value"], row["status"], row["reading"]) == ("7", "corrected", "2")


def test_a_correction_on_another_form_does_not_count(desk: Any, draw: Any) -> None:
    desk.arrive()
    with schema.writing(desk.engine) as session:
        store.register_form(session, draw.form(name="other", fingerprint="b"))
    desk.save(draw.page(draw.reading("votes", "1")))
    desk.decide("votes", "7")
    desk.save(draw.page(draw.reading("votes", "2"), template="other"), again=True)
    assert list(desk.rows()["value"]) == ["2"]


def test_the_latest_decision_counts(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", "1")
    desk.decide("valid", None, verdict=Verdict.ILLEGIBLE)
    desk.decide("valid", "57", verdict=Verdict.CONFIRMED)
    row = desk.rows(field="valid").iloc[0]
    assert (row["value"], row["status"], row["reviewer"]) == ("57", "confirmed", "ana")


def test_a_decision_on_a_glyph_is_kept_and_decides_no_value(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    assert desk.decide("valid", "3", glyph=0) > 0
    assert desk.rows(field="valid").iloc[0]["status"] == "review"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET text = '1'",
        "DELETE FROM decisions",
        "DELETE FROM readings",
        "DELETE FROM documents",
    ],
)
def test_a_decision_cannot_be_changed_or_taken_out(
    desk: Any, draw: Any, statement: str
) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", "58")
    message = "kept for good" if "decisions" in statement else "(?i)foreign key"
    with pytest.raises(DBAPIError, match=message), desk.engine.begin() as connection:
        connection.execute(text(statement))
    assert desk.rows(field="valid").iloc[0]["value"] == "58"


def test_a_decision_cannot_be_replaced_or_truncated(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", "58")
    statement = (
        "INSERT OR REPLACE INTO decisions (id, reading_id, verdict, text, reviewer, made_at) "
        "SELECT id, reading_id, verdict, '1', reviewer, made_at FROM decisions"
        if desk.engine.dialect.name == "sqlite"
        else "TRUNCATE decisions"
    )
    with pytest.raises(DBAPIError, match="kept for good"), desk.engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "fault", [{"text": None}, {"verdict": Verdict.ILLEGIBLE}, {"reviewer": " "}]
)
def test_a_decision_that_makes_no_sense_is_refused(
    desk: Any, draw: Any, fault: dict[str, Any]
) -> None:
    good = Correction(1, None, Verdict.CORRECTED, "5", "ana", draw.noon)
    with pytest.raises(ValueError), schema.writing(desk.engine) as session:
        decisions.record_decision(session, dataclasses.replace(good, **fault))


def test_a_decision_on_what_is_not_there_says_so(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    gone = Correction(999, None, Verdict.CORRECTED, "5", "ana", draw.noon)
    with (
        pytest.raises(DatabaseError, match="reading 999 is not in the database"),
        schema.writing(desk.engine) as session,
    ):
        decisions.record_decision(session, gone)
    with schema.reading(desk.engine) as session:
        first, second, *_ = store.load_readings(session, "d" * 64, 1)
    crossed = dataclasses.replace(gone, reading=second.id, glyph=first.glyphs[0].id)
    with (
        pytest.raises(DatabaseError, match="glyph"),
        schema.writing(desk.engine) as session,
    ):
        decisions.record_decision(session, crossed)


# Audits

FIELDS = """
[[fields]]
name = "votes"
[[fields]]
name = "void"
type = "integer"
[[fields]]
name = "station"
type = "code"
"""


@pytest.fixture
def audits(desk: Any, draw: Any) -> Any:
    """Save a page of three accepted readings, of which audits say something from 0.9 on."""
    with schema.writing(desk.engine) as session:
        store.register_form(session, draw.form(fields=FIELDS))
    desk.arrive()

    def save(*, sure_from: Any = 0.9, **options: Any) -> None:
        readings = [draw.reading(name, "0471") for name in ("votes", "void", "station")]
        code = dataclasses.replace(readings[2].field, type=FieldType.CODE)
        readings[2] = dataclasses.replace(readings[2], field=code)
        known = None if sure_from is None else dict.fromkeys(FieldType, sure_from)
        desk.save(draw.page(*readings), sure_from=known, **options)

    def found(model: str = draw.model.fingerprint) -> list[tuple[str, float, bool, float]]:
        with schema.reading(desk.engine) as session:
            return [dataclasses.astuple(one) for one in decisions.audited(session, model=model)]

    desk.save_accepted, desk.audited = save, found
    return desk


def test_an_audit_says_whether_the_machine_was_right(audits: Any) -> None:
    audits.save_accepted()
    audits.decide("votes", "0471", verdict=Verdict.CONFIRMED, audit=True)
    audits.decide("void", "471", audit=True)
    audits.decide("station", "0471", audit=True)
    assert audits.audited() == [
        (FieldType.INTEGER, 0.98, True, 0.9),
        (FieldType.INTEGER, 0.98, False, 0.9),
        (FieldType.CODE, 0.98, True, 0.9),
    ]


def test_what_a_person_cannot_read_confirms_nothing(audits: Any) -> None:
    audits.save_accepted()
    audits.decide("votes", None, verdict=Verdict.ILLEGIBLE, audit=True)
    assert audits.audited() == [(FieldType.INTEGER, 0.98, False, 0.9)]


def test_a_decision_that_is_no_audit_is_not_counted_as_one(audits: Any) -> None:
    audits.save_accepted()
    audits.decide("votes", "0471", verdict=Verdict.CONFIRMED)
    assert audits.audited() == []
    assert audits.rows(field="votes").iloc[0]["status"] == "confirmed"


def test_only_the_first_audit_of_a_field_counts(audits: Any) -> None:
    audits.save_accepted()
    audits.decide("votes", "1", audit=True)
    audits.decide("votes", "0471", audit=True)
    audits.save_accepted(again=True)
    audits.decide("votes", "0471", audit=True)
    assert audits.audited() == [(FieldType.INTEGER, 0.98, False, 0.9)]
    assert audits.rows(field="votes").iloc[0]["value"] == "0471"


def test_audits_of_another_model_say_nothing(audits: Any, draw: Any) -> None:
    other = dataclasses.replace(draw.model, fingerprint="e" * 64)
    with schema.writing(audits.engine) as session:
        store.register_model(session, other)
    audits.save_accepted()
    audits.decide("votes", "1", audit=True)
    audits.save_accepted(again=True, model=other.fingerprint)
    audits.decide("votes", "0471", audit=True)
    assert [right for _, _, right, _ in audits.audited()] == [False]
    assert [right for _, _, right, _ in audits.audited(other.fingerprint)] == [True]
    assert audits.audited("0") == []


@pytest.mark.parametrize("sure_from", [None, 0.99])
def test_an_audit_below_what_could_be_drawn_whole_is_left_out(
    audits: Any, sure_from: float | None
) -> None:
    audits.save_accepted(sure_from=sure_from)
    audits.decide("votes", "0471", audit=True)
    assert audits.audited() == []


def test_an_audit_is_of_a_whole_field_that_was_accepted(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    with pytest.raises(ValueError, match="whole field"):
        desk.decide("votes", "4", glyph=0, audit=True)
    with pytest.raises(ValueError, match="was not accepted"):
        desk.decide("valid", "57", audit=True)
    decision = desk.decide("votes", "0471", glyph=0)
    with desk.engine.connect() as connection:
        of = connection.execute(text(f"SELECT * FROM decisions WHERE id = {decision}")).one()
    columns = "reading_id, glyph_id, verdict, text, reviewer, made_at, audit"
    values = f"{of.reading_id}, {of.glyph_id}, 'corrected', '4', 'ana', '2026-03-01', true"
    statement = f"INSERT INTO decisions ({columns}) VALUES ({values})"
    with pytest.raises(IntegrityError, match="ck_decisions_audit"), desk.engine.begin() as one:
        one.execute(text(statement))


def test_an_audit_cannot_be_made_of_what_was_none(audits: Any) -> None:
    audits.save_accepted()
    audits.decide("votes", "0471")
    with pytest.raises(DBAPIError, match="kept for good"), audits.engine.begin() as one:
        one.execute(text("UPDATE decisions SET audit = true"))
    assert audits.audited() == []


def test_a_run_that_was_killed_finds_which_pages_are_done(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    failed = draw.page(page=2, status=PageStatus.FAILED, cause="no form fits")
    desk.save(failed)
    with schema.reading(desk.engine) as session:
        assert store.pages_done(session, "d" * 64) == {
            1: PageStatus.READ,
            2: PageStatus.FAILED,
        }
        assert store.pages_done(session, "e" * 64) == {}
        assert store.arrivals_known(session) == {("scans/a.png", "d" * 64)}
    desk.save(draw.page(page=2, status=PageStatus.BLANK), again=True)
    with schema.reading(desk.engine) as session:
        assert store.pages_done(session, "d" * 64)[2] is PageStatus.BLANK


def test_an_interrupted_page_leaves_nothing(desk: Any, draw: Any) -> None:
    desk.arrive()
    twice = draw.page(draw.reading("votes", "1"), draw.reading("votes", "2"))
    with pytest.raises(IntegrityError):
        desk.save(twice)
    with schema.reading(desk.engine) as session:
        assert store.pages_done(session, "d" * 64) == {}


@pytest.mark.parametrize("confidence", [-0.1, 1.5])
def test_a_confidence_that_is_no_probability_is_refused(
    desk: Any, draw: Any, confidence: float
) -> None:
    desk.arrive()
    reading = dataclasses.replace(
        draw.reading("votes", "1"), hypotheses=(Hypothesis("1", confidence),)
    )
    with pytest.raises(IntegrityError, match="confidence"):
        desk.save(draw.page(reading))


def test_an_unreadable_field_is_never_accepted(desk: Any, draw: Any) -> None:
    desk.arrive()
    with pytest.raises(IntegrityError, match="accepted_has_text"):
        desk.save(draw.page(draw.reading("votes", None)))


def test_what_is_not_registered_is_named(desk: Any, draw: Any) -> None:
    with pytest.raises(ValueError, match="not arrived"):
        desk.save(draw.page(*draw.some))
    desk.arrive()
    with pytest.raises(ValueError, match="form 'tally' v9"):
        desk.save(draw.page(*draw.some, version=9))
    with pytest.raises(ValueError, match="model = '0'"):
        desk.save(draw.page(*draw.some), model="0")
    with pytest.raises(ValueError, match="needs a cause"):
        desk.save(draw.page(status=PageStatus.FAILED))


def test_a_form_that_was_used_is_frozen(desk: Any, draw: Any) -> None:
    def register(**change: Any) -> None:
        with schema.writing(desk.engine) as session:
            store.register_form(session, draw.form(**change))

    register(fingerprint="c")
    desk.arrive()  # registers "a" over it: no page was read with it yet
    desk.save(draw.page(*draw.some))
    register()
    with pytest.raises(TemplateError, match=r"'tally' v1.*version = 2"):
        register(fingerprint="b")
    register(fingerprint="b", version=2)


def test_times_come_back_as_utc(desk: Any, draw: Any) -> None:
    desk.arrive()
    local = datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    desk.save(draw.page(*draw.some), now=local)
    with schema.writing(desk.engine) as session:
        store.close_batch(session, "monday", BatchStatus.DONE, local)
        found = batches.batch_summary(session, "monday").finished_at
    assert found == local
    assert found is not None and found.tzinfo is UTC
    assert desk.rows().iloc[0]["read_at"] == local


def test_a_time_without_zone_is_refused(desk: Any, draw: Any) -> None:
    desk.arrive()
    naive = draw.noon.replace(tzinfo=None)
    with pytest.raises(StatementError, match="has no zone"):
        desk.save(draw.page(*draw.some), now=naive)


def test_a_file_name_that_is_no_text_is_kept_readable(desk: Any) -> None:
    source = b"scans/\xff.png".decode("utf-8", "surrogateescape")
    assert desk.arrive(source=source)
    assert not desk.arrive(source=source)
    with schema.reading(desk.engine) as session:
        assert store.arrivals_known(session) == {(store.stored_source(source), "d" * 64)}
    assert store.stored_source(source) == "scans/\\xff.png"


def test_a_batch_is_counted_by_what_became_of_its_pages(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.arrive(source="scans/copy of a.png")
    desk.arrive(source="scans/b.png", document="e")
    desk.save(draw.page(*draw.some))
    desk.save(draw.page(page=2, status=PageStatus.BLANK))
    desk.save(
        draw.page(document="e", status=PageStatus.FAILED, cause="no form fits"),
    )
    desk.decide("total", "9")
    with schema.writing(desk.engine) as session:
        store.close_batch(session, "monday", BatchStatus.PARTIAL, draw.noon)
    with schema.reading(desk.engine) as session:
        summary = batches.batch_summary(session, "monday")
        assert batches.list_batches(session) == (summary,)
    assert summary == batches.BatchSummary(
        name="monday",
        status=BatchStatus.PARTIAL,
        created_at=draw.noon,
        finished_at=draw.noon,
        documents=2,
        pages=3,
        blank_pages=1,
        ignored_pages=0,
        fields=4,
        accepted=2,
        to_review=1,
        decided=1,
        failed_pages=(batches.FailedPage("scans/b.png", 1, "no form fits"),),
    )


def test_a_batch_opened_again_is_running(desk: Any, draw: Any) -> None:
    desk.arrive()
    with schema.writing(desk.engine) as session:
        store.close_batch(session, "monday", BatchStatus.DONE, draw.noon)
        store.open_batch(session, "monday", draw.noon)
        summary = batches.batch_summary(session, "monday")
    assert (summary.status, summary.finished_at) == (BatchStatus.RUNNING, None)


def test_a_batch_that_is_not_there_is_named(desk: Any) -> None:
    with schema.reading(desk.engine) as session, pytest.raises(UsageError, match="'tuesday'"):
        batches.batch_summary(session, "tuesday")


def test_removing_a_batch_leaves_what_another_batch_has(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.arrive(source="scans/b.png", document="e")
    desk.arrive(batch="tuesday")
    for document in "de":
        desk.save(draw.page(*draw.some, document=document))
    with schema.writing(desk.engine) as session:
        assert batches.remove_batch(session, "monday") == 1
        assert store.pages_done(session, "d" * 64) == {1: PageStatus.READ}
        assert store.pages_done(session, "e" * 64) == {}
        assert [batch.name for batch in batches.list_batches(session)] == ["tuesday"]
        assert batches.remove_batch(session, "tuesday") == 1
    with desk.engine.connect() as connection:
        for table in ("documents", "arrivals", "pages", "page_readings", "readings", "glyphs"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table


def test_a_batch_with_decisions_stays(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.decide("valid", "58")
    with (
        pytest.raises(UsageError, match="1 decision made in review"),
        schema.writing(desk.engine) as session,
    ):
        batches.remove_batch(session, "monday")
    assert len(desk.rows()) == len(draw.some)


def test_a_document_that_opens_at_last_takes_its_true_page_count(desk: Any, draw: Any) -> None:
    desk.arrive()
    with schema.writing(desk.engine) as session:
        known = Document("d" * 64, 12)
        assert not store.add_arrival(session, "monday", "scans/a.png", known, ".pdf", draw.noon)
        assert session.scalar(text("SELECT page_count FROM documents")) == 12


def test_a_page_can_be_kept_as_a_picture(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some), image=b"webp")
    with desk.engine.connect() as connection:
        assert bytes(connection.scalar(text("SELECT image FROM page_readings"))) == b"webp"
