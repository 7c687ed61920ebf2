from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from digitocr.db import export, schema
from digitocr.errors import UsageError
from digitocr.types import FieldStatus, Format, PageStatus, Verdict


@pytest.fixture
def full(desk: Any, draw: Any) -> Any:
    """A document that arrived twice, with every status, and one that failed."""
    desk.arrive()
    desk.arrive(source="=scans/a.png")
    desk.arrive(source="scans/b.png", document="e")
    desk.save(
        draw.page(
            draw.reading("accepted", "0471"),
            draw.reading("review", "57", reasons=("low-confidence", "rule:sum-total")),
            draw.reading("corrected", "12", reasons=("junk",)),
            draw.reading("confirmed", "", reasons=("missing",)),
            draw.reading("illegible", "33"),
        )
    )
    desk.save(draw.page(page=2, status=PageStatus.BLANK))
    desk.save(draw.page(document="e", status=PageStatus.FAILED, cause='no form "fits"'))
    desk.save(draw.page(document="e", page=2, status=PageStatus.IGNORED))
    desk.decide("corrected", "0012")
    desk.decide("confirmed", "", verdict=Verdict.CONFIRMED)
    desk.decide("illegible", None, verdict=Verdict.ILLEGIBLE)
    return desk


def written(frames: Any, format: Format) -> bytes:
    stream = io.BytesIO()
    export.write(frames, format, stream)
    return stream.getvalue()


def test_rows_have_the_columns_people_script_against(full: Any) -> None:
    assert tuple(full.rows().columns) == (
        "batch", "source", "document", "page", "form", "form_version", "field", "value",
        "status", "reading", "confidence", "reasons", "alternatives", "reviewer",
        "reviewed_at", "model", "read_at",
    )  # fmt: skip


def test_every_status_comes_with_its_value(full: Any) -> None:
    frame = full.rows(source="scans/a.png")
    missing = (FieldStatus.FAILED, FieldStatus.PURGED)  # have tests of their own
    stored = [str(status) for status in FieldStatus if status not in missing]
    assert list(frame["field"]) == stored
    assert list(frame["status"]) == list(frame["field"])
    values = [None if pd.isna(value) else value for value in frame["value"]]
    assert values == ["0471", None, "0012", "", None]
    assert list(frame["reading"]) == ["0471", "57", "12", "", "33"]
    assert list(frame["reviewer"].fillna("")) == ["", "", "ana", "ana", "ana"]
    assert frame["reviewed_at"].notna().tolist() == [False, False, True, True, True]


def test_a_document_that_arrived_twice_has_two_sets_of_rows(full: Any) -> None:
    frame = full.rows()
    assert list(frame["source"]) == ["=scans/a.png"] * 5 + ["scans/a.png"] * 5 + ["scans/b.png"]


def test_a_failed_page_is_one_row_with_its_cause(full: Any, draw: Any) -> None:
    (row,) = full.rows(status=FieldStatus.FAILED).to_dict("records")
    assert (row["source"], row["page"], row["status"]) == ("scans/b.png", 1, "failed")
    assert json.loads(row["reasons"]) == ['failed: no form "fits"']
    assert json.loads(row["alternatives"]) == []
    assert all(pd.isna(row[name]) for name in ("field", "form", "value", "reading"))
    assert row["read_at"] == draw.noon


def test_rows_follow_back_to_form_model_and_alternatives(full: Any) -> None:
    row = full.rows(field="review").iloc[0]
    assert (row["form"], row["form_version"], row["model"]) == ("tally", 1, "small")
    assert json.loads(row["reasons"]) == ["low-confidence", "rule:sum-total"]
    assert json.loads(row["alternatives"]) == [{"text": "571", "confidence": 0.015}]
    assert row["confidence"] == 0.98


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 11),
        ({"batch": "monday"}, 11),
        ({"batch": "tuesday"}, 0),
        ({"form": "tally"}, 10),
        ({"field": "review"}, 2),
        ({"status": FieldStatus.REVIEW}, 2),
        ({"source": "scans/b.png"}, 1),
    ],
)
def test_rows_can_be_asked_for(full: Any, filters: dict[str, Any], count: int) -> None:
    frame = full.rows(**filters)
    assert len(frame) == count
    assert list(frame.dtypes) == list(full.rows().dtypes)


def test_since_is_included_and_until_is_not(full: Any, draw: Any) -> None:
    second = timedelta(seconds=1)
    assert len(full.rows(since=draw.noon)) == 11
    assert len(full.rows(since=draw.noon + second)) == 0
    assert len(full.rows(until=draw.noon)) == 0
    assert len(full.rows(until=draw.noon + second)) == 11


def test_rows_stand_in_the_order_of_the_form(desk: Any, draw: Any) -> None:
    names = ["b", "B", "a10", "a2"]
    for source, document in [("b.png", "e"), ("B.png", "f"), ("a.png", "d")]:
        desk.arrive(source=source, document=document)
        for page in (2, 1):
            desk.save(
                draw.page(
                    *(draw.reading(name, "1") for name in names), document=document, page=page
                )
            )
    frame = desk.rows()
    assert list(frame["source"].drop_duplicates()) == ["B.png", "a.png", "b.png"]
    assert list(frame["page"]) == ([1] * 4 + [2] * 4) * 3
    assert list(frame["field"]) == names * 6


def test_parts_put_together_are_the_whole(full: Any) -> None:
    with schema.reading(full.engine) as session:
        parts = list(export.chunks(session, size=4))
    assert [len(part) for part in parts] == [4, 4, 3]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), full.rows())
    for format in (Format.CSV, Format.JSONL):
        assert written(parts, format) == written(full.rows(), format)
    table = pd.read_parquet(io.BytesIO(written(parts, Format.PARQUET)))
    pd.testing.assert_frame_equal(
        table, pd.read_parquet(io.BytesIO(written(full.rows(), Format.PARQUET)))
    )


def test_csv_keeps_zeros_and_quotes_formulas(full: Any) -> None:
    data = written(full.rows(), Format.CSV)
    frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    assert tuple(frame.columns) == export.COLUMNS
    assert list(frame["value"])[:5] == ["0471", "", "0012", "", ""]
    assert frame["source"][0] == "'=scans/a.png"
    assert frame["page"][0] == "1"
    assert frame["form_version"][10] == ""
    assert frame["read_at"][0] == "2026-03-01T12:00:00Z"
    assert frame["reviewed_at"][0] == ""
    assert json.loads(frame["reasons"][10]) == ['failed: no form "fits"']


def test_jsonl_keeps_blank_and_unknown_apart(full: Any) -> None:
    lines = [json.loads(line) for line in written(full.rows(), Format.JSONL).splitlines()]
    assert [line["value"] for line in lines[:5]] == ["0471", None, "0012", "", None]
    assert tuple(lines[0]) == export.COLUMNS
    assert lines[0]["source"] == "=scans/a.png"
    assert lines[0]["page"] == 1
    assert lines[0]["confidence"] == 0.98
    assert lines[0]["read_at"] == "2026-03-01T12:00:00Z"
    assert lines[0]["reviewed_at"] is None
    assert lines[1]["reasons"] == ["low-confidence", "rule:sum-total"]
    assert lines[10]["field"] is None
    assert lines[10]["confidence"] is None


def test_parquet_keeps_text_as_text_and_times_as_times(full: Any) -> None:
    frame = pd.read_parquet(io.BytesIO(written(full.rows(), Format.PARQUET)))
    values = [None if pd.isna(value) else value for value in frame["value"][:5]]
    assert values == ["0471", None, "0012", "", None]
    assert str(frame["read_at"].dtype) == "datetime64[us, UTC]"
    assert frame["source"][0] == "=scans/a.png"


def test_xlsx_keeps_zeros_and_quotes_formulas(full: Any) -> None:
    book = openpyxl.load_workbook(io.BytesIO(written(full.rows(), Format.XLSX)))
    header, *lines = book.active.iter_rows(values_only=True)
    assert header == export.COLUMNS
    first = dict(zip(header, lines[0], strict=True))
    assert first["value"] == "0471"
    assert first["source"] == "'=scans/a.png"
    assert first["page"] == 1
    assert first["confidence"] == 0.98
    assert first["read_at"] == "2026-03-01T12:00:00Z"
    assert all(cell.data_type != "f" for row in book.active for cell in row)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
@pytest.mark.parametrize("format", [Format.CSV, Format.XLSX])
def test_what_a_spreadsheet_would_run_is_quoted(start: str, format: Format) -> None:
    frame = pd.DataFrame({"value": pd.Series([f"{start}1+1", "1=1", None], dtype="str")})
    data = written(frame, format)
    if format is Format.CSV:
        cell = pd.read_csv(io.BytesIO(data), dtype=str)["value"][0]
    else:
        cell = openpyxl.load_workbook(io.BytesIO(data)).active["A2"].value
    assert cell == f"'{start}1+1".replace("\r", "\n")


def test_a_control_character_does_not_stop_a_sheet() -> None:
    frame = pd.DataFrame({"source": pd.Series(["a\x07b"], dtype="str")})
    book = openpyxl.load_workbook(io.BytesIO(written(frame, Format.XLSX)))
    assert book.active["A2"].value == "ab"


@pytest.mark.parametrize("format", list(Format))
def test_no_rows_are_a_file_with_its_columns(desk: Any, tmp_path: Path, format: Format) -> None:
    out = tmp_path / f"none.{format}"
    assert export.write(desk.rows(), format, out) == 0
    if format is Format.CSV:
        assert out.read_text().strip() == ",".join(export.COLUMNS)
    elif format is Format.PARQUET:
        assert tuple(pd.read_parquet(out).columns) == export.COLUMNS
    elif format is Format.JSONL:
        assert out.read_bytes() == b""


def test_a_file_that_cannot_be_written_is_named(desk: Any, tmp_path: Path) -> None:
    out = tmp_path / "none" / "out.csv"
    with pytest.raises(UsageError, match=r"out\.csv.*--out"):
        export.write(desk.rows(), Format.CSV, out)


def test_wide_is_a_row_a_page_and_a_column_a_field(full: Any) -> None:
    frame = export.wide(full.rows())
    assert list(frame.columns) == [
        "batch", "source", "document", "page", "form",
        "accepted", "review", "corrected", "confirmed", "illegible",
    ]  # fmt: skip
    assert list(frame["source"]) == ["=scans/a.png", "scans/a.png", "scans/b.png"]
    first = [None if pd.isna(value) else value for value in frame.iloc[1, 5:]]
    assert first == ["0471", None, "0012", "", None]
    assert frame.iloc[2, 4:].isna().all()
    lines = written(frame, Format.CSV).decode().splitlines()
    assert lines[2] == f"monday,scans/a.png,{'d' * 64},1,tally,0471,,0012,,"


def test_wide_of_a_field_named_like_a_column_keeps_both(desk: Any, draw: Any) -> None:
    desk.arrive()
    desk.save(draw.page(draw.reading("page", "9"), draw.reading("void", "")))
    frame = export.wide(desk.rows())
    assert list(frame["page"]) == [1]
    assert list(frame["field:page"]) == ["9"]


@pytest.mark.parametrize("format", list(Format))
def test_wide_of_nothing_is_nothing(desk: Any, format: Format) -> None:
    frame = export.wide(desk.rows())
    assert list(frame.columns) == list(export.PAGE_KEYS)
    assert export.write(frame, format, io.BytesIO()) == 0


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_wide_rows_in_parts_are_those_of_the_whole(full: Any, size: int) -> None:
    whole = export.wide(full.rows())
    with schema.reading(full.engine) as session:
        parts = list(export.wide_chunks(session, size=size))
    assert len(parts) > 1 or size == 1000
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


def test_wide_rows_of_nothing_are_a_header(desk: Any) -> None:
    with schema.reading(desk.engine) as session:
        (part,) = export.wide_chunks(session)
    assert (list(part.columns), len(part)) == (list(export.PAGE_KEYS), 0)
