"""What runs write down of themselves: tries, claims on a watched folder, figures of a batch."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from digitocr.db import batches, measures, schema, store, tables, tries, watched
from digitocr.types import Document, PageStatus, Reason

A, B, C = ("scans/a.png", 10, 1), ("scans/b.png", 10, 2**62), ("scans/b.png", 11, 2**62)
HOUR = timedelta(hours=1)


@pytest.fixture
def begin(engine: Any, draw: Any) -> Any:
    """Begin a file, as a process whose earlier ones are dead or not; give the deaths."""

    def begin(page: int, process: str, dead: bool = True, source: str = "a.png") -> int:
        with schema.writing(engine) as session:
            return tries.begin(
                session,
                source,
                page,
                process=process,
                is_dead=lambda name, at: dead,
                now=draw.noon,
            )

    return begin


def test_deaths_at_a_page_are_counted_until_it_is_through(engine: Any, begin: Any) -> None:
    assert [begin(1, name) for name in "abc"] == [0, 1, 2]
    assert begin(1, "d", source="b.png") == 0
    with schema.writing(engine) as session:
        tries.end(session, "a.png")
    assert begin(1, "e") == 0


def test_who_got_further_died_of_another_page(begin: Any) -> None:
    assert [begin(1, "a"), begin(1, "b"), begin(7, "c"), begin(7, "d")] == [0, 1, 1, 2]


def test_a_process_that_lives_or_is_the_same_did_not_die(begin: Any) -> None:
    assert begin(1, "a") == 0
    assert begin(1, "a") == 0
    assert begin(1, "b", dead=False) == 0
    assert begin(1, "c") == 1
    assert begin(2, "c") == 0  # the page it died at was failed, by itself


def claim(engine: Any, draw: Any, run: str, *seen: Any, at: Any = timedelta()) -> Any:
    with schema.writing(engine) as session:
        now = draw.noon + at
        return watched.claim(session, seen, run=run, now=now, until=now + HOUR)


def test_a_file_is_claimed_once_and_a_changed_one_anew(engine: Any, draw: Any) -> None:
    assert claim(engine, draw, "one", A, B) == [A, B]
    assert claim(engine, draw, "two", A, B, C) == [C]
    assert claim(engine, draw, "one", A, B, C) == [A, B]  # put back, it has its claims still
    with schema.writing(engine) as session:
        watched.finish(session, [A], run="one", until=draw.noon + HOUR)
    with schema.reading(engine) as session:
        assert watched.done(session, [A, B, C]) == {A}
    assert claim(engine, draw, "one", A, B) == [B]


def test_a_claim_runs_out_or_is_given_back(engine: Any, draw: Any) -> None:
    claim(engine, draw, "one", A, B)
    assert claim(engine, draw, "two", A, B, at=HOUR) == []
    with schema.writing(engine) as session:
        watched.finish(session, [A], run="one", until=draw.noon + 3 * HOUR)
    assert claim(engine, draw, "two", A, B, at=2 * HOUR) == []  # one chunk puts off the rest
    assert claim(engine, draw, "two", A, B, at=4 * HOUR) == [B]
    with schema.writing(engine) as session:
        watched.release(session, "two")
    assert claim(engine, draw, "three", A, B, at=4 * HOUR) == [B]


def test_runs_that_claim_at_once_share_the_files(engine: Any, draw: Any) -> None:
    seen = [(f"scans/{n}.png", n, n) for n in range(700)]
    got: dict[str, Any] = {}

    def run(name: str) -> None:
        got[name] = claim(engine, draw, name, *seen)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(one for files in got.values() for one in files) == sorted(seen)


def test_a_batch_is_measured_by_form_without_blank_pages(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(*draw.some))
    desk.save(draw.page(page=2, status=PageStatus.BLANK))
    with schema.writing(desk.engine) as session:
        measures.write(session, "monday", draw.noon)
        measures.write(session, "monday", draw.noon)  # again is once
    with schema.reading(desk.engine) as session:
        (found,) = measures.of_batch(session, "monday")
    assert found.form == "tally 1"
    assert (found.rejected.count, found.rejected.mean) == (4, 0.5)
    assert found.confidence.mean == pytest.approx(0.98 * 3 / 4)
    assert (found.residual.count, found.residual.mean) == (1, 0.25)
    assert found.residual.variance == pytest.approx(0)


def test_earlier_batches_are_those_that_began_before(desk: Any, draw: Any) -> None:
    for name, document in (("monday", "d"), ("tuesday", "e")):
        desk.arrive(batch=name, document=document)
        desk.save(draw.page(draw.reading("votes", "1", document=document), document=document))
        with schema.writing(desk.engine) as session:
            measures.write(session, name, draw.noon)
    with schema.writing(desk.engine) as session:
        row = session.scalars(select(tables.Batch).where(tables.Batch.name == "tuesday")).one()
        row.created_at = draw.noon + HOUR
    with schema.reading(desk.engine) as session:
        assert [m.batch for m in measures.earlier(session, "tuesday", draw.noon)] == ["monday"]
        assert measures.earlier(session, "monday", draw.noon) == []
        assert measures.earlier(session, "tuesday", draw.noon + HOUR) == []


def test_what_others_read_is_counted_by_what_arrived(desk: Any, draw: Any) -> None:
    desk.arrive(source="scans/a.png")
    desk.save(draw.page(*draw.some))
    with schema.reading(desk.engine) as session:
        known = batches.sources_arrived(session, ["scans/a.png", "scans/b.png"])
        assert known == {"scans/a.png"}
        assert batches.arrivals_since(session, "monday", None) == 1
        assert batches.arrivals_since(session, "monday", draw.noon + HOUR) == 0
        assert batches.pages_since(session, "monday", draw.noon) == 1
        assert batches.pages_since(session, "monday", draw.noon + HOUR) == 0
        assert batches.running(session) == ["monday"]


def test_a_page_count_that_is_known_is_not_forgotten_where_a_file_cannot_be_opened(
    desk: Any, draw: Any
) -> None:
    desk.arrive()
    with schema.writing(desk.engine) as session:
        unknown = Document("d" * 64, 0)
        store.add_arrival(session, "monday", "scans/other.png", unknown, "png", draw.noon)
    with schema.reading(desk.engine) as session:
        assert session.scalars(select(tables.Document.page_count)).all() == [2]


def test_a_batch_with_its_figures_can_be_removed(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(draw.reading("votes", "1", reasons=(Reason.JUNK,))))
    with schema.writing(desk.engine) as session:
        measures.write(session, "monday", draw.noon)
    with schema.writing(desk.engine) as session:
        assert batches.remove_batch(session, "monday") == 1
    with schema.reading(desk.engine) as session:
        assert session.scalars(select(tables.Measure.batch_id)).all() == []


@pytest.mark.parametrize("batch", ["monday", "tuesday"])
def test_a_document_may_arrive_while_the_only_batch_that_has_it_is_removed(
    desk: Any, draw: Any, batch: str
) -> None:
    """On PostgreSQL it met a row that was going, and broke a constraint."""
    desk.arrive()
    desk.save(draw.page(*draw.some))
    came: list[Any] = []

    def arrive() -> None:
        came.append(desk.arrive(batch=batch, source="scans/again.png"))

    thread = threading.Thread(target=arrive)
    with schema.writing(desk.engine) as session:
        assert batches.remove_batch(session, "monday") == 1
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()  # it waits
    thread.join(30)
    assert came == [True]
    with schema.reading(desk.engine) as session:
        assert store.is_known(session, "scans/again.png", "d" * 64)
        assert not store.is_known(session, "scans/a.png", "d" * 64)
        assert [one.name for one in batches.list_batches(session)] == [batch]
        assert store.pages_done(session, "d" * 64) == {}


def test_a_batch_that_is_removed_while_a_document_arrives_takes_it_along_or_leaves_it_whole(
    desk: Any, draw: Any
) -> None:
    """The other way round: the arrival is first, and the removal waits for it."""
    desk.arrive()
    removed: list[int] = []

    def remove() -> None:
        with schema.writing(desk.engine) as session:
            removed.append(batches.remove_batch(session, "monday"))

    thread = threading.Thread(target=remove)
    with schema.writing(desk.engine) as session:
        store.open_batch(session, "monday", draw.noon)
        other = Document("d" * 64, 2)
        store.add_arrival(session, "monday", "scans/b.png", other, "png", draw.noon)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        store.add_arrival(session, "monday", "scans/c.png", other, "png", draw.noon)
    thread.join(30)
    assert removed == [1]
    with schema.reading(desk.engine) as session:
        assert batches.list_batches(session) == ()
        assert session.scalars(select(tables.Document.id)).all() == []
