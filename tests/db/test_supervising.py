"""Taking a person's work back, freeing what they have, and looking at accepted readings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from digitocr.db import (
    audits,
    certificates,
    claims,
    corrections,
    deciding,
    exports,
    items,
    people,
    schema,
    tables,
    undoing,
)
from digitocr.db.deciding import Said
from digitocr.db.tables import Queue
from digitocr.types import FieldType, Reason, Screen

LOW = (Reason.LOW_CONFIDENCE,)
HOUR = timedelta(hours=1)


def decide(floor: Any, field: str, text: str, who: str, key: str) -> None:
    with schema.writing(floor.engine) as session:
        reading = session.scalars(
            select(tables.Reading.id).where(tables.Reading.field == field)
        ).one()
        deciding.decide_once(session, key, reading, Said(text), reviewer=who, now=floor.now)


def save_field(floor: Any, claim: Any, text: str, who: str = "ana") -> None:
    with schema.writing(floor.engine) as session:
        deciding.save_fields(
            session, claim.id, {0: Said(text)}, reviewer=who, now=floor.now, screen=Screen.FIELD
        )


def revert(floor: Any, who: str = "ana", by: str = "eve") -> undoing.Reverted:
    with schema.writing(floor.engine) as session:
        return undoing.revert(
            session, who, floor.now - HOUR, floor.now + HOUR, by=by, now=floor.now + HOUR
        )


def test_the_work_of_a_person_is_taken_back_by_new_rows_and_waits_again(floor: Any) -> None:
    floor.read(
        ("a", "52", LOW, [0.6, 0.7]), ("b", None, (Reason.UNREADABLE,), []),
        ("small", "3", (), [1.0]), document="e",
    )  # fmt: skip
    before = floor.waiting()
    floor.save(floor.take(Queue.GROUP, "5"), {0: "7"})
    floor.save(floor.take(Queue.GROUP, "2"), {0: "?"})
    for text in ("9", "72"):
        save_field(floor, floor.take(Queue.FIELD), text)
    decide(floor, "small", "8", "ana", "k" * 9)
    assert floor.waiting() == {}
    rows = [(d.id, d.text) for d in floor.decisions()]
    done = revert(floor)
    after = floor.decisions()
    assert [(d.id, d.text) for d in after[: len(rows)]] == rows
    assert {d.reviewer for d in after[len(rows) :]} == {"eve"}
    assert (done.decisions, done.left) == (4, 0)
    assert floor.waiting() == before
    assert floor.values() == {"a": (None, "review"), "b": (None, "review"),
                              "small": ("3", "accepted")}  # fmt: skip
    assert revert(floor).decisions == 0
    assert floor.waiting() == before


def test_what_others_said_since_stays(floor: Any) -> None:
    floor.read(("a", "5", LOW, [0.6]), ("b", "5", LOW, [0.6]))
    floor.save(floor.take(Queue.GROUP, "5"))
    decide(floor, "a", "6", "ben", "k" * 9)
    done = revert(floor)
    assert (done.decisions, done.left) == (1, 1)
    assert floor.values() == {"a": ("6", "corrected"), "b": (None, "review")}
    assert floor.waiting() == {("group", "5"): 1}


def test_a_value_that_rests_on_a_digit_taken_back_goes_with_it(floor: Any) -> None:
    """Ana says one digit, Ben the other: without Ana's the number is not known."""
    floor.read(("a", "56", LOW, [0.6, 0.7]))
    floor.save(floor.take(Queue.GROUP, "5"), {0: "3"})
    floor.save(floor.take(Queue.GROUP, "6", "ben"), who="ben")
    assert floor.values()["a"] == ("36", "corrected")
    assert revert(floor).decisions == 1
    assert floor.values()["a"] == (None, "review")
    assert floor.waiting() == {("group", "5"): 1}
    assert revert(floor, "ben").decisions == 1
    assert floor.waiting() == {("group", "5"): 1, ("group", "6"): 1}
    for digit in "56":
        floor.save(floor.take(Queue.GROUP, digit, "eve"), who="eve")
    assert floor.values()["a"] == ("56", "confirmed")


def test_what_was_said_before_the_work_is_said_again(floor: Any) -> None:
    floor.read(("a", "5", (Reason.JUNK,), [0.6]))
    decide(floor, "a", "6", "ben", "k" * 9)
    floor.now += 3 * HOUR
    decide(floor, "a", "7", "ana", "l" * 9)
    decide(floor, "a", "8", "ana", "m" * 9)
    revert(floor)
    assert floor.values()["a"] == ("6", "corrected")


def test_pages_taken_back_one_by_one_are_not_taken_back_twice(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim, {1: "8"})
    again = floor.undo(claim)
    floor.save(again, {2: "9"})
    count = len(floor.decisions())
    assert revert(floor).decisions == 3
    assert len(floor.decisions()) == count + 6  # three digits, and what followed from them
    assert set(floor.rows()["status"]) == {"review"}
    assert floor.waiting() == {("group", "5"): 3}


def test_an_open_page_is_seen_and_freed_and_its_person_keeps_what_nobody_took(
    floor: Any,
) -> None:
    floor.many(4)
    claim = floor.take(Queue.GROUP, "5")
    with schema.writing(floor.engine) as session:
        (seen,) = claims.in_hand(session, floor.now)
        assert (seen.reviewer, seen.queue, seen.label, seen.items) == ("ana", "group", "5", 4)
        assert claims.in_hand(session, seen.until + HOUR) == ()
        assert claims.free(session, claim.id) == 4
        assert claims.free(session, claim.id) == 0
        assert claims.in_hand(session, floor.now) == ()
    other = floor.take(Queue.GROUP, "5", who="ben", limit=1)
    saved = floor.save(claim)
    assert (saved.saved, len(saved.dropped)) == (3, 1)
    assert floor.save(other, who="ben").saved == 1


def test_work_is_told_by_stretches_between_pauses(floor: Any) -> None:
    floor.many(6)
    for minutes, who in ((0, "ana"), (20, "ana"), (70, "ana"), (75, "ben")):
        now = floor.now + timedelta(minutes=minutes)
        claim = floor.take(Queue.GROUP, "5", who=who, limit=1, now=now)
        floor.save(claim, {0: "8"}, who=who, now=now, ms=60_000)
    with schema.reading(floor.engine) as session:
        found = people.stretches(session, floor.now - HOUR)
        assert people.stretches(session, floor.now + 2 * HOUR) == ()
        assert [one.reviewer for one in people.stretches(session, floor.now, "ben")] == ["ben"]
    told = [(one.reviewer, one.digits, one.changed) for one in found]
    assert told == [("ben", 1, 1), ("ana", 1, 1), ("ana", 2, 2)]
    assert found[2].ended - found[2].began == timedelta(minutes=21)
    assert found[2].an_hour == pytest.approx(2 / 21 * 60)
    revert(floor)
    with schema.reading(floor.engine) as session:
        found = people.stretches(session, floor.now - HOUR)
    assert [one.withdrawn for one in found if one.reviewer == "ana"] == [0, 2]


def counted(session: Any) -> list[tuple[Any, ...]]:
    """Count the decisions themselves: who, how many digits, fields, changed, taken back."""
    said = tables.Decision
    undone = set(session.scalars(select(said.undoes).where(said.undoes.is_not(None))))
    found: dict[str, list[int]] = {}
    for one in session.scalars(select(said).where(said.undoes.is_(None), ~said.followed)):
        row = found.setdefault(one.reviewer, [0, 0, 0, 0])
        row[0] += one.glyph_id is not None
        row[1] += one.glyph_id is None
        row[2] += one.verdict != "confirmed"
        row[3] += one.id in undone
    return sorted((who, *row) for who, row in found.items())


def test_work_that_is_counted_as_it_is_saved_is_what_a_count_gives(floor: Any) -> None:
    floor.read(
        ("a", "5", LOW, [0.6]), ("b", "6", (Reason.JUNK,), []), ("small", "3", LOW, [0.5]),
        ("twice", "64", (Reason.DOUBLE_KEY,), []),
    )  # fmt: skip
    first = floor.take(Queue.GROUP, "5")
    floor.save(first, {0: "8"}, ms=9)
    save_field(floor, floor.take(Queue.FIELD), "7")
    again = floor.undo(first)
    with schema.writing(floor.engine) as session:
        claims.free(session, again.id)
    floor.save(floor.take(Queue.GROUP, "5", "ben"), who="ben")
    decide(floor, "a", "4", "eve", "k" * 9)
    with schema.writing(floor.engine) as session:
        claim = claims.take(session, Queue.BLIND, reviewer="eve", now=floor.now)
        deciding.save_keyed(session, claim.id, {0: "64"}, reviewer="eve", now=floor.now)
    revert(floor, "ben")
    with schema.reading(floor.engine) as session:
        told = people.stretches(session, floor.now - HOUR)
        wanted = counted(session)
    found = [(s.reviewer, s.digits, s.fields, s.changed, s.withdrawn) for s in told]
    assert sorted(found) == wanted
    assert {who for who, *_ in wanted} == {"ana", "ben", "eve"}


def test_who_takes_work_back_is_told_what_went_out(floor: Any) -> None:
    floor.many(3)
    floor.save(floor.take(Queue.GROUP, "5", limit=2))
    with exports.noted(floor.engine, {}, format="csv", by="eve", now=floor.now) as note:
        note.rows = 3
    floor.save(floor.take(Queue.GROUP, "5"))
    taken = revert(floor)
    assert (taken.decisions, taken.left, taken.exported) == (3, 0, 2)


def seed(session: Any, shown: int, caught: int) -> None:
    """Have Ana shown known-wrong digits, and notice some."""
    glyph = session.scalars(select(tables.Glyph.id)).first()
    for place in range(shown):
        session.add(
            tables.Seed(
                claim_id="c", glyph_id=glyph, shown_as="3", reviewer="ana",
                caught=place < caught, made_at=session.scalar(select(tables.Batch.created_at)),
            )
        )  # fmt: skip
    session.flush()


def accept(floor: Any, count: int) -> None:
    for number in range(count):
        floor.read(("a", "31", (), [1.0, 1.0]), document=f"{number:x}")


def test_the_least_sure_accepted_readings_wait_when_the_meter_asks_for_them(
    floor: Any,
) -> None:
    accept(floor, 12)
    with schema.writing(floor.engine) as session:
        for place, reading in enumerate(session.scalars(select(tables.Reading))):
            reading.confidence = 0.9 + place / 1000
    drawn = floor.now + timedelta(minutes=1)
    with schema.writing(floor.engine) as session:
        audits.draw(session, 4, np.random.default_rng(1), now=drawn)
        seed(session, 60, 60)
    targets = {FieldType.INTEGER: 0.3}
    floor.now = drawn
    claim = floor.take(Queue.AUDIT)
    with schema.writing(floor.engine) as session:
        keyed = {place: "31" for place in range(4)}
        deciding.save_keyed(session, claim.id, keyed, reviewer="ana", now=floor.now)
    with schema.reading(floor.engine) as session:
        (meter,) = certificates.meters(session, "monday", targets)
        audited = {cell.reading for cell in claim.cells}
        least = [r for r in session.scalars(
            select(tables.Reading.id).order_by(tables.Reading.confidence)
        )][: meter.certificate.needed]  # fmt: skip
    assert meter.certificate.needed
    assert meter.to_review == tuple(one for one in least if one not in audited)
    with schema.writing(floor.engine) as session:
        assert items.send_accepted(session, meter.to_review) == len(meter.to_review)
        assert items.send_accepted(session, meter.to_review) == 0
        (again,) = certificates.meters(session, "monday", targets)
    assert again.to_review == ()
    assert floor.waiting() == {("group", "1"): len(meter.to_review),
                               ("group", "3"): len(meter.to_review)}  # fmt: skip
    for digit in "31":
        floor.save(floor.take(Queue.GROUP, digit, "ben"), who="ben")
    with schema.reading(floor.engine) as session:
        (meter,) = certificates.meters(session, "monday", targets)
    assert meter.certificate.reviewed >= (meter.certificate.needed or 0)
    assert set(floor.rows()["value"]) == {"31"}


def test_one_marked_digit_of_an_accepted_field_brings_it_whole_to_a_look(floor: Any) -> None:
    accept(floor, 1)
    with schema.writing(floor.engine) as session:
        items.send_accepted(session, session.scalars(select(tables.Reading.id)).all())
    floor.save(floor.take(Queue.GROUP, "3"), {0: "8"})
    assert floor.waiting() == {("field", "tally"): 1}
    save_field(floor, floor.take(Queue.FIELD), "81")
    assert floor.values()["a"] == ("81", "corrected")


def test_what_was_read_after_the_draw_is_not_spoken_of(floor: Any) -> None:
    accept(floor, 3)
    draw_at = floor.now + timedelta(minutes=1)
    with schema.writing(floor.engine) as session:
        audits.draw(session, 3, np.random.default_rng(1), now=draw_at)
    floor.now += timedelta(minutes=2)
    floor.read(("a", "44", (), [1.0, 1.0]), document="f")  # before the first answer
    floor.now += timedelta(minutes=2)
    claim = floor.take(Queue.AUDIT)
    with schema.writing(floor.engine) as session:
        keyed = {place: "31" for place in range(3)}
        deciding.save_keyed(session, claim.id, keyed, reviewer="ana", now=floor.now)
        (meter,) = certificates.meters(session, "monday", {FieldType.INTEGER: 0.5})
    assert (meter.certificate.readings, meter.later) == (3, 1)


def test_digits_that_were_drawn_and_kept_are_labels_of_one_writer(floor: Any) -> None:
    with schema.writing(floor.engine) as session:
        for label, who in ((7, "ana"), (10, "ana"), (3, "ben")):
            corrections.keep_sample(
                session, b"png%d" % label, label, "7", by=who, now=floor.now
            )
    with schema.reading(floor.engine) as session:
        found = corrections.verified_glyphs(session)
        assert corrections.samples_kept(session) == 3
    assert [(one.id, one.label, one.reviewers) for one in found] == [
        (-1, 7, ("ana",)), (-2, 10, ("ana",)), (-3, 3, ("ben",)),
    ]  # fmt: skip
    assert len({one.document for one in found}) == 2


@pytest.mark.parametrize(("caught", "tired"), [(9, False), (8, True)])
def test_who_misses_known_wrong_digits_gets_smaller_pages(
    floor: Any, caught: int, tired: bool
) -> None:
    floor.many(1)
    with schema.writing(floor.engine) as session:
        seed(session, 10, caught)
        assert audits.is_tired(session, "ana") is tired
        assert not audits.is_tired(session, "ben")
