"""Items, claims and decisions of the review pages, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from digitocr.db import (
    audits,
    claims,
    deciding,
    decisions,
    exports,
    items,
    review,
    schema,
    tables,
)
from digitocr.db.claims import ClaimError
from digitocr.db.deciding import Said
from digitocr.db.tables import ItemState, Queue
from digitocr.errors import UsageError
from digitocr.types import FieldStatus, Reason, Screen

LOW = (Reason.LOW_CONFIDENCE,)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_doubtful_digit_waits_among_its_like_and_the_value_follows(floor: Any) -> None:
    floor.read(("a", "52", LOW, [0.6, 0.999]), ("b", "", (), []))
    assert floor.waiting() == {("group", "5"): 1}
    claim = floor.take(Queue.GROUP, "5")
    assert floor.values()["a"] == (None, "review")
    assert floor.save(claim).saved == 1
    assert floor.values()["a"] == ("52", "confirmed")
    assert floor.waiting() == {}


def test_a_corrected_digit_corrects_the_value(floor: Any) -> None:
    floor.read(("a", "52", LOW, [0.6, 0.999]))
    floor.save(floor.take(Queue.GROUP, "5"), {0: "3"})
    assert floor.values()["a"] == ("32", "corrected")
    kinds = [(d.glyph_id is None, d.verdict, d.text, d.followed) for d in floor.decisions()]
    assert kinds == [(False, "corrected", "3", False), (True, "corrected", "32", True)]


def test_a_value_follows_only_when_every_digit_in_doubt_is_decided(floor: Any) -> None:
    floor.read(("a", "56", LOW, [0.6, 0.7]))
    floor.save(floor.take(Queue.GROUP, "5"))
    assert floor.values()["a"] == (None, "review")
    floor.save(floor.take(Queue.GROUP, "6"))
    assert floor.values()["a"] == ("56", "confirmed")


@pytest.mark.parametrize("mark", ["blank", "none", "?"])
def test_what_is_no_digit_sends_the_whole_field_to_a_look(floor: Any, mark: str) -> None:
    floor.read(("a", "56", LOW, [0.6, 0.7]))
    floor.save(floor.take(Queue.GROUP, "5"), {0: mark})
    assert floor.values()["a"] == (None, "review")
    assert floor.waiting() == {("field", "tally"): 1}


def test_a_digit_that_breaks_a_check_sends_the_field_to_a_look(floor: Any) -> None:
    floor.read(("small", "42", LOW, [0.6, 0.999]))
    floor.save(floor.take(Queue.GROUP, "4"), {0: "9"})
    assert floor.values()["small"] == (None, "review")
    assert floor.waiting() == {("field", "tally"): 1}


def test_a_digit_that_breaks_a_sum_makes_a_conflict(floor: Any) -> None:
    floor.read(("a", "5", LOW, [0.6]), ("b", "2", (), [1.0]), ("sum", "7", (), [1.0]))
    floor.save(floor.take(Queue.GROUP, "5"), {0: "3"})
    assert floor.values()["a"] == (None, "review")
    assert floor.waiting() == {("conflict", "tally"): 1}


def test_a_decision_on_the_field_supersedes_its_digits(floor: Any) -> None:
    floor.read(("a", "52", LOW, [0.6, 0.7]))
    claim = floor.take(Queue.GROUP, "5")
    with schema.writing(floor.engine) as session:
        reading = session.scalars(select(tables.Reading.id)).one()
        deciding.decide_once(
            session, "key-of-page", reading, Said("99"), reviewer="ben", now=floor.now
        )
    saved = floor.save(claim)
    assert (saved.saved, saved.dropped) == (0, (0,))
    assert floor.values()["a"] == ("99", "corrected")
    assert floor.waiting() == {}


def test_where_readings_wait(floor: Any) -> None:
    floor.read(
        ("a", "1", ("rule:sum-sum",), [1.0]),
        ("b", None, (Reason.UNREADABLE,), []),
        ("small", "3", (Reason.JUNK,), [0.5]),
        ("twice", "4", (Reason.DOUBLE_KEY,), [1.0]),
    )
    assert floor.waiting() == {
        ("conflict", "tally"): 1, ("field", "tally"): 2, ("blind", "tally"): 1,
    }  # fmt: skip


def test_a_page_read_anew_closes_what_waited_and_keeps_what_was_said(floor: Any) -> None:
    floor.read(("a", "5", LOW, [0.6]), ("b", "6", LOW, [0.6]))
    floor.save(floor.take(Queue.GROUP, "5"))
    floor.read(("a", "5", LOW, [0.6]), ("b", "8", LOW, [0.6]))
    assert floor.waiting() == {("group", "8"): 1}
    assert floor.values()["a"] == ("5", "confirmed")


def test_two_people_never_hold_one_digit(floor: Any) -> None:
    floor.many(12)
    first, second = floor.take(Queue.GROUP, "5", limit=7), floor.take(Queue.GROUP, "5", "ben")
    held = [{c.item for c in claim.cells} for claim in (first, second)]
    assert [len(one) for one in held] == [7, 5]
    assert not held[0] & held[1]
    assert floor.take(Queue.GROUP, "5", who="eve") is None


def test_the_least_sure_come_first(floor: Any) -> None:
    floor.many(5)
    claim = floor.take(Queue.GROUP, "5", limit=2)
    with schema.reading(floor.engine) as session:
        sure = review.glyph_confidences(session, [c.glyph for c in claim.cells])
    assert sorted(sure.values()) == [0.5, 0.501]


def test_an_expired_claim_goes_to_another_and_is_refused_by_place(floor: Any) -> None:
    floor.many(4)
    late = floor.take(Queue.GROUP, "5")
    floor.now += timedelta(seconds=claims.LEASE_S + 1)
    other = floor.take(Queue.GROUP, "5", who="ben", limit=3)
    saved = floor.save(late, {0: "7"})
    assert saved.saved == 1
    assert len(saved.dropped) == 3
    assert {late.cells[place].item for place in saved.dropped} == {c.item for c in other.cells}
    assert floor.save(other, who="ben").saved == 3


def test_an_expired_claim_that_nobody_took_is_saved_whole(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    floor.now += timedelta(hours=5)
    assert floor.save(claim).dropped == ()


def test_a_claim_is_renewed_and_released(floor: Any) -> None:
    floor.many(2)
    claim = floor.take(Queue.GROUP, "5")
    floor.now += timedelta(seconds=claims.LEASE_S - 1)
    with schema.writing(floor.engine) as session:
        assert claims.renew(session, claim.id, reviewer="ana", now=floor.now)
    floor.now += timedelta(seconds=claims.LEASE_S - 1)
    assert floor.take(Queue.GROUP, "5", who="ben") is None
    with schema.writing(floor.engine) as session:
        claims.release(session, claim.id, reviewer="ana")
    assert len(floor.take(Queue.GROUP, "5", who="ben").cells) == 2


def test_what_an_old_page_gives_back_late_stays_with_the_new_one(floor: Any) -> None:
    floor.many(2)
    claim = floor.take(Queue.GROUP, "5")
    floor.now += timedelta(seconds=3)
    with schema.writing(floor.engine) as session:
        claims.resume(session, claim.id, reviewer="ana", now=floor.now)
        claims.release(session, claim.id, reviewer="ana", until=claim.until)
    assert floor.take(Queue.GROUP, "5", who="ben") is None
    assert floor.save(claim).saved == 2


def test_a_claim_is_gone_on_with_after_a_reload(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    with schema.writing(floor.engine) as session:
        claims.release(session, claim.id, reviewer="ana")
        again = claims.resume(session, claim.id, reviewer="ana", now=floor.now)
        assert again is not None
        assert again.cells == claim.cells
        assert claims.resume(session, claim.id, reviewer="ben", now=floor.now) is None
    assert floor.save(claim).saved == 3
    with schema.writing(floor.engine) as session:
        assert claims.resume(session, claim.id, reviewer="ana", now=floor.now) is None


def test_saving_twice_is_saving_once(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    assert floor.save(claim, {1: "8"}).saved == 3
    before = len(floor.decisions())
    assert floor.save(claim, {1: "9"}) == deciding.Saved(claim.id, 0, again=True)
    assert len(floor.decisions()) == before


def test_a_page_of_somebody_else_is_refused(floor: Any) -> None:
    floor.many(2)
    claim = floor.take(Queue.GROUP, "5")
    with pytest.raises(ClaimError, match="not yours"):
        floor.save(claim, who="ben")


@pytest.mark.parametrize("marks", [{0: "12"}, {0: ""}, {9: "1"}, {-1: "1"}])
def test_marks_that_are_none_are_refused(floor: Any, marks: dict[int, str]) -> None:
    floor.many(2)
    with pytest.raises(UsageError, match="no such thing"):
        floor.save(floor.take(Queue.GROUP, "5"), marks)
    assert floor.decisions() == []


def test_what_is_postponed_waits_on(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    assert floor.save(claim, {1: "8"}, postpone=True).saved == 1
    assert floor.waiting() == {("group", "5"): 2}


def test_undo_adds_rows_and_deletes_none(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim, {1: "8", 2: "?"})
    before = [(d.id, d.verdict, d.text) for d in floor.decisions()]
    again = floor.undo(claim)
    after = [(d.id, d.verdict, d.text) for d in floor.decisions()]
    assert after[: len(before)] == before
    assert {verdict for _, verdict, _ in after[len(before) :]} == {"withdrawn"}
    assert [c.item for c in again.cells] == [c.item for c in claim.cells]
    assert set(floor.rows()["status"]) == {"review"}
    assert floor.waiting() == {("group", "5"): 3}
    assert floor.save(again).saved == 3
    assert set(floor.rows()["status"]) == {"confirmed"}


def test_undo_is_refused_after_a_while(floor: Any) -> None:
    floor.many(1)
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim)
    with pytest.raises(UsageError, match="15 minutes"):
        floor.undo(claim, now=floor.now + timedelta(minutes=16))


def take_out(floor: Any, **wanted: Any) -> None:
    with exports.noted(floor.engine, wanted, format="csv", by="eve", now=floor.now) as note:
        note.rows = len(floor.rows(**wanted))


def test_what_was_exported_is_not_taken_back(floor: Any) -> None:
    floor.many(3)
    claim = floor.take(Queue.GROUP, "5", limit=2)
    floor.save(claim, {0: "8"})
    take_out(floor)
    before = len(floor.decisions())
    with pytest.raises(UsageError, match=r"2 values .* export of 12:00 UTC by eve"):
        floor.undo(claim)
    assert len(floor.decisions()) == before
    later = floor.take(Queue.GROUP, "5")
    floor.save(later)
    assert len(floor.undo(later).cells) == 1  # said after the export


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"batch": "monday"}, True),
        ({"batch": "tuesday"}, False),
        ({"form": "tally", "field": "a"}, True),
        ({"field": "b"}, False),
        ({"status": FieldStatus.CORRECTED}, True),
        ({"status": FieldStatus.CONFIRMED}, False),
        ({"status": FieldStatus.REVIEW}, False),
        ({"source": "d.png"}, True),
        ({"source": "e.png"}, False),
        ({"since": NOON}, True),
        ({"until": NOON}, False),
    ],
)
def test_an_export_of_other_numbers_keeps_nobody_from_taking_back(
    floor: Any, wanted: dict[str, Any], holds: bool
) -> None:
    floor.read(("a", "5", LOW, [0.6]))
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim, {0: "8"})
    assert (len(floor.rows(**wanted).query("value == '8'")) > 0) == holds
    take_out(floor, **wanted)
    if holds:
        with pytest.raises(UsageError, match="a value of that page went out"):
            floor.undo(claim)
    else:
        assert len(floor.undo(claim).cells) == 1


def test_a_field_that_is_decided_by_half_is_in_no_export(floor: Any) -> None:
    floor.read(("a", "56", LOW, [0.6, 0.7]))
    first = floor.take(Queue.GROUP, "5")
    floor.save(first)
    take_out(floor)
    second = floor.take(Queue.GROUP, "6")
    floor.save(second)
    floor.save(floor.undo(second))
    take_out(floor)
    with pytest.raises(UsageError, match="went out"):
        floor.undo(first)  # the value that followed from both pages is in the file


def test_an_export_that_is_being_written_counts_and_one_that_failed_does_not(
    floor: Any,
) -> None:
    floor.many(1)
    claim = floor.take(Queue.GROUP, "5")
    with (
        pytest.raises(ValueError, match="disk"),
        exports.noted(floor.engine, {}, format="csv", by="eve", now=floor.now),
    ):
        floor.save(claim)
        with pytest.raises(UsageError, match="went out"):
            floor.undo(claim)
        raise ValueError("disk")
    with schema.reading(floor.engine) as session:
        assert exports.latest(session, 9) == ()
    assert len(floor.undo(claim).cells) == 1


def test_an_export_that_was_killed_counts_for_a_day(floor: Any) -> None:
    floor.many(1)
    claim = floor.take(Queue.GROUP, "5")
    with schema.writing(floor.engine) as session:
        session.add(
            tables.Export(begun_at=floor.now - timedelta(hours=23), made_by="eve", format="csv",
                          filters={})
        )  # fmt: skip
    floor.save(claim)
    with pytest.raises(UsageError, match="went out"):
        floor.undo(claim)
    with schema.writing(floor.engine) as session:
        session.execute(update(tables.Export).values(begun_at=floor.now - timedelta(hours=25)))
    assert len(floor.undo(claim).cells) == 1


def test_where_nothing_can_be_written_numbers_are_taken_out_with_a_warning(
    tmp_path: Any, caplog: Any
) -> None:
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    engine = schema.connect(url, create=True, busy_s=0.1)
    with schema.writing(schema.make_engine(url)) as session:
        session.execute(text("UPDATE batches SET name = name"))  # somebody else writes
        with exports.noted(engine, {}, format="csv", by="eve", now=NOON) as note:
            note.rows = 3
    (said,) = caplog.messages
    assert "not written down" in said
    with schema.reading(engine) as session:
        assert exports.latest(session, 9) == ()
    engine.dispose()


def test_undo_leaves_alone_what_was_decided_since(floor: Any) -> None:
    floor.read(("a", "5", LOW, [0.6]), ("b", "5", LOW, [0.6]))
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim)
    with schema.writing(floor.engine) as session:
        reading = claim.cells[0].reading
        deciding.decide_once(
            session, "k" * 9, reading, Said("6"), reviewer="ben", now=floor.now
        )
    assert len(floor.undo(claim).cells) == 1
    assert sorted(status for _, status in floor.values().values()) == ["corrected", "review"]


def test_undoing_a_second_thought_says_the_first_again(floor: Any) -> None:
    floor.read(("a", "5", (Reason.JUNK,), [0.6]))
    with schema.writing(floor.engine) as session:
        reading = session.scalars(select(tables.Reading.id)).one()
        deciding.decide_once(session, "k" * 9, reading, Said("6"), reviewer="b", now=floor.now)
        item = session.scalars(select(tables.Item)).one()
        items.reopen(session, [item])
    claim = floor.take(Queue.FIELD)
    with schema.writing(floor.engine) as session:
        deciding.save_fields(
            session, claim.id, {0: Said("8")}, reviewer="ana", now=floor.now,
            screen=Screen.FIELD,
        )  # fmt: skip
    assert floor.values()["a"] == ("8", "corrected")
    floor.undo(claim)
    assert floor.values()["a"] == ("6", "corrected")


def test_decisions_cannot_be_changed_or_deleted(floor: Any) -> None:
    floor.many(1)
    floor.save(floor.take(Queue.GROUP, "5"))
    for change in ("UPDATE decisions SET text = '1'", "DELETE FROM decisions"):
        with pytest.raises(DBAPIError, match="kept for good"), floor.engine.begin() as one:
            one.execute(text(change))


def key(floor: Any, queue: Queue, keyed: str | None, who: str = "ana") -> Any:
    claim = floor.take(queue, who=who, limit=1)
    with schema.writing(floor.engine) as session:
        deciding.save_keyed(session, claim.id, {0: keyed}, reviewer=who, now=floor.now)
    return claim


def test_keyed_blind_as_it_was_read_is_confirmed(floor: Any) -> None:
    floor.read(("twice", "42", (Reason.DOUBLE_KEY,), [1.0, 1.0]))
    key(floor, Queue.BLIND, "42")
    assert floor.values()["twice"] == ("42", "confirmed")
    (decision,) = floor.decisions()
    assert (decision.screen, decision.shown) == ("blind", False)


def test_keyed_blind_otherwise_goes_to_somebody_else(floor: Any) -> None:
    floor.read(("twice", "42", (Reason.DOUBLE_KEY,), [1.0, 1.0]))
    key(floor, Queue.BLIND, "43")
    assert floor.values()["twice"] == (None, "review")
    assert floor.take(Queue.CONFLICT, who="ana") is None
    claim = floor.take(Queue.CONFLICT, who="ben")
    with schema.writing(floor.engine) as session:
        deciding.save_fields(
            session, claim.id, {0: Said("43")}, reviewer="ben", now=floor.now,
            screen=Screen.CONFLICT,
        )  # fmt: skip
    assert floor.values()["twice"] == ("43", "corrected")


def audited(floor: Any, count: int = 5) -> None:
    for number in range(count):
        floor.read(("a", "31", (), [1.0, 1.0]), document=f"{number:x}")
    with schema.writing(floor.engine) as session:
        assert audits.draw(session, count, np.random.default_rng(1), now=floor.now) == count


def standing(floor: Any) -> audits.AuditStanding:
    with schema.reading(floor.engine) as session:
        return audits.standing(session)


def test_an_audit_that_agrees_counts_as_right(floor: Any) -> None:
    audited(floor)
    assert standing(floor).waiting == 5
    for _ in range(5):
        key(floor, Queue.AUDIT, "31")
    found = standing(floor)
    assert (found.audited, found.wrong, found.waiting) == (5, 0, 0)
    assert all(d.audit for d in floor.decisions())
    with schema.reading(floor.engine) as session:
        fingerprint = session.scalars(select(tables.Model.fingerprint)).one()
        assert decisions.audited(session, model=fingerprint) == ()  # no sure_from was stored


def test_an_audit_that_disagrees_counts_as_wrong_until_it_is_keyed_once_more(
    floor: Any,
) -> None:
    audited(floor, 2)
    with schema.writing(floor.engine) as session:
        session.execute(update(tables.Reading).values(sure_from=0.5))
    first = key(floor, Queue.AUDIT, "13")
    assert (standing(floor).audited, standing(floor).wrong) == (1, 1)
    with schema.reading(floor.engine) as session:
        fingerprint = session.scalars(select(tables.Model.fingerprint)).one()
        assert [one.right for one in decisions.audited(session, model=fingerprint)] == [False]
    second = key(floor, Queue.AUDIT, "31")
    assert second.cells[0].reading != first.cells[0].reading  # the others come first
    third = key(floor, Queue.AUDIT, "31")
    assert third.cells[0].reading == first.cells[0].reading
    assert (standing(floor).audited, standing(floor).wrong) == (2, 0)
    with schema.reading(floor.engine) as session:
        found = decisions.audited(session, model=fingerprint)
    assert [one.right for one in found] == [True, True]


@pytest.mark.parametrize(
    ("second", "status"), [("13", FieldStatus.CORRECTED), ("77", FieldStatus.ILLEGIBLE)]
)
def test_two_keyings_against_the_machine_count_as_wrong(
    floor: Any, second: str, status: FieldStatus
) -> None:
    audited(floor, 1)
    key(floor, Queue.AUDIT, "13")
    key(floor, Queue.AUDIT, second)
    assert (standing(floor).audited, standing(floor).wrong) == (1, 1)
    assert floor.values()["a"][1] == status
    assert standing(floor).bound == 1.0


def test_what_was_drawn_is_not_drawn_again(floor: Any) -> None:
    audited(floor, 4)
    with schema.writing(floor.engine) as session:
        assert audits.draw(session, 9, np.random.default_rng(2), now=floor.now) == 0


def test_seeds_are_known_digits_under_a_wrong_class_and_change_nothing(floor: Any) -> None:
    audited(floor, 3)
    for _ in range(3):
        key(floor, Queue.AUDIT, "31")
    floor.many(30)
    claim = floor.take(Queue.GROUP, "5", seeds=3)
    places = [place for place, cell in enumerate(claim.cells) if cell.item is None]
    assert len(places) == 3
    before = floor.rows(field="a", status=FieldStatus.CONFIRMED)
    floor.save(claim, {places[0]: "3", places[1]: "?"})
    with schema.reading(floor.engine) as session:
        seeds = session.scalars(select(tables.Seed).order_by(tables.Seed.id)).all()
        texts = {session.get_one(tables.Glyph, seed.glyph_id).text for seed in seeds}
        both = audits.watchfulness(session, ["ana", "ben"])
    eyes = both["ana"]
    assert both["ben"].most_missed is None
    assert [seed.caught for seed in seeds] == [True, True, False]
    assert (eyes.shown, eyes.caught) == (3, 2)
    assert 0.8 < (eyes.most_missed or 0) < 0.9
    assert "5" not in texts
    known = set(before["document"])
    after = floor.rows(field="a", status=FieldStatus.CONFIRMED)
    assert known <= set(after["document"])
    assert {d.glyph_id for d in floor.decisions()} & {s.glyph_id for s in seeds} == set()


def test_counts_are_what_a_count_gives(floor: Any) -> None:
    floor.many(6)
    floor.read(
        ("a", "56", LOW, [0.6, 0.7]), ("b", None, (Reason.UNREADABLE,), []), document="f"
    )
    claim = floor.take(Queue.GROUP, "5")
    floor.save(claim, {0: "?", 1: "7"})
    before = floor.waiting()
    with schema.writing(floor.engine) as session:
        counted = {
            (queue, label): number
            for queue, label, number in session.execute(
                select(tables.Item.queue, tables.Item.label, func.count())
                .where(tables.Item.state == ItemState.OPEN)
                .group_by(tables.Item.queue, tables.Item.label)
            )
        }
        items.recount(session)
    assert before == counted == floor.waiting()


def test_people_who_claim_and_save_at_once_share_nothing(floor: Any) -> None:
    floor.many(48)
    gate = threading.Barrier(4)

    def work(who: str) -> list[int]:
        gate.wait()
        seen = []
        while claim := floor.take(Queue.GROUP, "5", who=who, limit=5):
            seen += [cell.item for cell in claim.cells]
            assert floor.save(claim, who=who).dropped == ()
        return seen

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(work, ["ana", "ben", "cid", "eve"]))
    seen = [item for one in found for item in one]
    assert len(seen) == len(set(seen)) == 48
    assert sum(d.glyph_id is not None for d in floor.decisions()) == 48
    assert floor.waiting() == {}
