"""The numbers a part at a time, from a place on: the same rows as an export, in its order."""

from __future__ import annotations

from typing import Any

import pytest

from digitocr.db import batches, parts, schema
from digitocr.types import FieldStatus, PageStatus, Verdict


@pytest.fixture
def full(desk: Any, draw: Any) -> Any:
    """Two batches, a document that came under three names, pages that failed, every status."""
    desk.arrive(source="scans/b.png")
    desk.arrive(source="scans/Z.png")
    desk.arrive(batch="friday", source="scans/é.png")
    desk.arrive(source="scans/a.png", document="e")
    desk.arrive(batch="Friday", source="scans/c.png", document="f")
    desk.arrive(batch="empty", source="scans/none.png", document="a")
    desk.save(
        draw.page(
            draw.reading("accepted", "0471"),
            draw.reading("review", "57", reasons=("low-confidence", "rule:sum-total")),
            draw.reading("corrected", "12", reasons=("junk",)),
            draw.reading("confirmed", "", reasons=("missing",)),
            draw.reading("illegible", "33"),
        )
    )
    desk.save(draw.page(draw.reading("accepted", "8"), page=2))
    desk.save(draw.page(document="e", status=PageStatus.FAILED, cause='no form "fits"'))
    desk.save(draw.page(document="e", page=2, status=PageStatus.BLANK))
    desk.save(draw.page(draw.reading("review", None, reasons=("unreadable",), document="f"),
                        document="f"))  # fmt: skip
    desk.decide("corrected", "0012")
    desk.decide("confirmed", "", verdict=Verdict.CONFIRMED)
    desk.decide("illegible", None, verdict=Verdict.ILLEGIBLE)
    return desk


def leafed(desk: Any, step: int, **wanted: Any) -> tuple[list[tuple[Any, ...]], Any]:
    """Go through all parts; give the rows, and the first part."""
    found: list[tuple[Any, ...]] = []
    first, after = None, None
    while True:
        with schema.reading(desk.engine) as session:
            part = parts.part(session, step, after, **wanted)
        first = first or part
        names = ("batch", "source", "page", "field", "value", "status", "reading")
        found += [tuple(row[name] for name in names) for row in part.rows]
        assert len(part.rows) <= step
        if part.next is None:
            return found, first
        assert part.next != after
        after = part.next


def exported(desk: Any, **wanted: Any) -> list[tuple[Any, ...]]:
    frame = desk.rows(**wanted).astype(object)
    frame = frame.where(frame.notna(), None)
    names = ["batch", "source", "page", "field", "value", "status", "reading"]
    return list(frame[names].itertuples(index=False, name=None))


FILTERS: list[dict[str, Any]] = [
    {}, {"batch": "monday"}, {"batch": "none"}, {"batch": "empty"}, {"source": "scans/Z.png"},
    {"field": "accepted"}, {"form": "tally"}, {"form": "none"},
    *({"status": status} for status in FieldStatus),
]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "looked_at", "few"), [(1, 2, 0), (3, 1, 1000), (100, 300, 1000)]
)
def test_parts_in_a_row_are_the_export(
    full: Any, step: int, looked_at: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOKED_AT", looked_at)
    monkeypatch.setattr(parts, "AT_ONCE", 1 if looked_at < 3 else 10)
    monkeypatch.setattr(parts, "FEW", few)
    for wanted in FILTERS:
        whole = exported(full, **wanted)
        found, first = leafed(full, step, **wanted)
        assert found == whole, wanted
        assert first.total <= len(whole)
        assert first.more or first.total == len(whole)
    assert len(exported(full)) == 20


def test_times_of_reading_filter_as_in_an_export(full: Any, draw: Any) -> None:
    for wanted, number in (({"since": draw.noon}, 20), ({"until": draw.noon}, 0)):
        assert len(leafed(full, 7, **wanted)[0]) == len(exported(full, **wanted)) == number


def test_a_place_whose_scan_was_removed_begins_anew(full: Any) -> None:
    with schema.reading(full.engine) as session:
        part = parts.part(session, 3, parts.Place(10**6, 1, 4))
    assert part.rows == numbers_of(full, 3)
    with schema.writing(full.engine) as session:
        batches.remove_batch(session, "monday")
    assert leafed(full, 2)[0] == exported(full)


def numbers_of(desk: Any, count: int) -> Any:
    with schema.reading(desk.engine) as session:
        return parts.part(session, count).rows
