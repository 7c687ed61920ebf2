"""A target for wrong accepted readings: what audits prove, and what `process` makes of it.

The slips have no open fields, so the classifier reads alone and a network need not be loaded.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from digitocr import batch as job
from digitocr import resources, settings, templates, types
from digitocr.batch.thresholds import derive
from digitocr.db import decisions, schema, store
from digitocr.db.decisions import AuditedReading
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings
from digitocr.types import FieldType, Verdict

NOW = datetime(2026, 3, 1, tzinfo=UTC)
URL = "sqlite:///digitocr.db"
STAND = "accept_field 0.99 and accept_digit 0.99 stand"
FIELD = """
[[fields]]
name = "{name}"
box = [0, 0, 9, 9]
kind = "open"
type = "{type}"
"""


@pytest.fixture
def workplace(workplace, monkeypatch):
    monkeypatch.setenv("DIGITOCR_SEQUENCE", "none")
    return workplace


def audited(count, *, wrong=0, confidence=0.95, sure_from=0.9, type=FieldType.INTEGER):
    return [
        AuditedReading(type, confidence, place >= wrong, sure_from) for place in range(count)
    ]


def store_audits(count, *, wrong=0, confidence=0.5, type=FieldType.INTEGER):
    """Put a page of accepted readings into the database, and audit all of them."""
    source = "".join(FIELD.format(name=f"a{i}", type=type) for i in range(count))
    form = templates.FormTemplate("audited", 1, "", (), (), (), "a" * 64, source)
    readings = tuple(
        types.FieldReading(
            hypotheses=(types.Hypothesis("57", confidence),),
            glyphs=(),
            reasons=(),
            model="",
            document="d" * 64,
            page=1,
            field=types.Field(f"a{i}", 1, types.Box(0, 0, 9, 9), types.FieldKind.OPEN, type),
            template="audited",
            version=1,
            image=np.zeros((0, 0), np.uint8),
        )
        for i in range(count)
    )
    page = types.PageReading(
        "d" * 64, 1, types.PageStatus.READ, template="audited", version=1, readings=readings
    )
    card = load_model(resources.default_model()).card
    engine = schema.connect(URL, create=True)
    with schema.writing(engine) as session:
        store.open_batch(session, "audits", NOW)
        store.register_form(session, form)
        store.register_model(session, card)
        document = types.Document("d" * 64, 1)
        store.add_arrival(session, "audits", "a.png", document, "png", NOW)
        known = {type: confidence}
        store.save_page(session, page, model=card.fingerprint, now=NOW, sure_from=known)
        for place, reading in enumerate(store.load_readings(session, "d" * 64, 1)):
            said = "75" if place < wrong else "57"
            correction = types.Correction(
                reading.id, None, Verdict.CORRECTED, said, "ana", NOW, audit=True
            )
            decisions.record_decision(session, correction)
    engine.dispose()


def asked(statement):
    with closing(sqlite3.connect("digitocr.db")) as connection:
        return connection.execute(statement).fetchall()


def slips(field="field"):
    """Take what was read on the slips: field, accepted, sure from where, and reasons."""
    latest = "SELECT max(pass_number) FROM page_readings o WHERE o.page_id = r.page_id"
    return asked(
        f"SELECT {field}, accepted, sure_from, reasons FROM readings f "
        "JOIN page_readings r ON r.id = f.page_reading_id "
        "JOIN forms ON forms.id = r.form_id AND forms.name = 'slip' "
        f"WHERE r.pass_number = ({latest}) ORDER BY f.id"
    )


# ---------------------------------------------------------------- what stands


@pytest.mark.parametrize(
    ("readings", "target", "line"),
    [
        ([], 0.005, f"integer: 0 audited of at least 598 that prove 0.5 %: {STAND}"),
        (
            audited(40),
            0.005,
            f"integer: 40 audited of at least 598 that prove 0.5 %: {STAND}",
        ),
        (
            audited(612),
            0.005,
            "integer: 612 audited, 0 wrong: accepted from 0.95 on (at most 0.49 % wrong, "
            "95 % sure)",
        ),
        (
            audited(700, wrong=1),
            0.005,
            f"integer: 700 audited, 1 wrong: they do not prove 0.5 %: {STAND}",
        ),
        (
            audited(951, wrong=1),
            0.005,
            "integer: 951 audited, 1 wrong: accepted from 0.95 on (at most 0.5 % wrong, "
            "95 % sure)",
        ),
        (
            audited(800, confidence=0.999) + audited(800, wrong=200, confidence=0.93),
            0.005,
            "integer: 800 audited, 0 wrong: accepted from 0.999 on (at most 0.38 % wrong, "
            "95 % sure)",
        ),
        (
            audited(700, sure_from=0.95) + audited(500, confidence=0.93, sure_from=0.93),
            0.005,
            "integer: 700 audited, 0 wrong: accepted from 0.95 on (at most 0.43 % wrong, "
            "95 % sure)",
        ),
        (
            audited(600, type=FieldType.CODE),
            0.02,
            f"integer: 0 audited of at least 149 that prove 2 %: {STAND}",
        ),
    ],
)
def test_the_line_says_what_stands_and_why(readings, target, line):
    (found,) = derive(readings, {FieldType.INTEGER}, Settings(target_error=target))
    assert str(found) == line


def test_types_without_a_target_or_a_field_are_left_to_the_settings():
    every = [one for type in FieldType for one in audited(700, type=type)]
    targets = {"code": 0.01, "date": 0.02, "integer": 0.0}
    used = {FieldType.INTEGER, FieldType.DECIMAL, FieldType.CODE}
    (found,) = derive(every, used, Settings(target_error=targets))
    assert (found.type, found.promise.target) == (FieldType.CODE, 0.01)
    assert found.promise.threshold == 0.95
    assert derive(every, set(FieldType), Settings()) == ()


# ---------------------------------------------------------------- process


def test_without_a_target_nothing_is_said_and_the_settings_stand(digitocr):
    store_audits(700)
    done = digitocr("process", "scans")
    assert "audited" not in done.err
    assert job.plan([Path("scans")], settings.load()).thresholds == {}
    assert {sure_from for _, _, sure_from, _ in slips()} == {0.99}


def test_while_too_few_are_audited_the_settings_stand(digitocr, monkeypatch):
    digitocr("process", "scans")
    before = slips()
    monkeypatch.setenv("DIGITOCR_TARGET_ERROR", "0.005")
    store_audits(40)
    done = digitocr("process", "scans", "--again")
    assert done.lines[:2] == [
        f"integer: 40 audited of at least 598 that prove 0.5 %: {STAND}",
        f"code: 0 audited of at least 598 that prove 0.5 %: {STAND}",
    ]
    assert slips() == before


def test_what_audits_prove_is_accepted_from_then_on(digitocr, workplace, monkeypatch):
    (workplace / "digitocr.toml").write_text(
        "accept_field = 1.0\naccept_digit = 1.0\n[target_error]\ninteger = 0.005\n"
    )
    done = digitocr("process", "scans")
    assert done.lines[0] == (
        "integer: 0 audited of at least 598 that prove 0.5 %: accept_field 1 and "
        "accept_digit 1 stand"
    )
    before = slips()
    waiting = json.dumps(["low-confidence"], separators=(",", ":"))
    assert waiting in [reasons for field, _, _, reasons in before if field != "second"]
    store_audits(700)
    line = (
        "integer: 700 audited, 0 wrong: accepted from 0.5 on (at most 0.43 % wrong, 95 % sure)"
    )
    done = digitocr("process", "scans")
    assert done.lines[0] == line
    assert slips() == before  # what was read before keeps its reasons
    done = digitocr("process", "scans", "--again")
    assert done.lines[0] == line
    for (field, *_, old), (_, accepted, sure_from, new) in zip(before, slips(), strict=True):
        if field == "second":  # a code: no target
            assert (sure_from, new) == (1.0, old)
        else:
            assert sure_from == 0.5
            assert accepted or new != waiting
    assert waiting not in [reasons for field, _, _, reasons in slips() if field != "second"]


def test_one_wrong_among_700_proves_nothing_yet(digitocr, monkeypatch):
    monkeypatch.setenv("DIGITOCR_TARGET_ERROR", "0.005")
    store_audits(700, wrong=1)
    done = digitocr("process", "scans")
    assert done.lines[0] == f"integer: 700 audited, 1 wrong: they do not prove 0.5 %: {STAND}"
    assert {sure_from for _, _, sure_from, _ in slips()} == {0.99}


def test_quiet_says_nothing_of_it(digitocr, monkeypatch):
    monkeypatch.setenv("DIGITOCR_TARGET_ERROR", "0.005")
    assert digitocr("--quiet", "process", "scans").err == ""


def test_a_plan_takes_its_thresholds_along(workplace, monkeypatch):
    monkeypatch.setenv("DIGITOCR_TARGET_ERROR", "0.01")
    store_audits(300)
    plan = job.plan([Path("scans")], settings.load())
    assert plan.thresholds == {FieldType.INTEGER: 0.5}
    assert [standing.type for standing in plan.standing] == [FieldType.INTEGER, FieldType.CODE]
    assert pickle.loads(pickle.dumps(plan)) == plan
