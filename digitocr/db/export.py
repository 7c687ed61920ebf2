"""The numbers, as rows: what `query` shows and `export` writes.

A row for each field and arrival: the same bytes under two names give two sets of rows. A page
that failed is one row without a field, its cause in `reasons` as `["failed: <cause>"]`. Blank
and ignored pages have no rows. Of a purged page the fields are left, and who decided on them.

`""` (blank) and missing (unknown) differ in the frame, in JSONL and in Parquet. In CSV and
XLSX both are an empty cell: there `status` tells them apart, since an accepted, corrected or
confirmed value that is empty is a blank field, and under any other status there is no value.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import IO, Any, Unpack

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from digitocr.db import spreadsheet
from digitocr.db.numbers import Filters, filtered, statement
from digitocr.errors import UsageError
from digitocr.types import FieldStatus, Format

COLUMNS = (
    "batch",
    "source",
    "document",
    "page",
    "form",
    "form_version",
    "field",
    "value",
    "status",
    "reading",
    "confidence",
    "reasons",
    "alternatives",
    "reviewer",
    "reviewed_at",
    "model",
    "read_at",
)
DTYPES = {
    "page": "Int64",
    "form_version": "Int64",
    "confidence": "Float64",
    "reviewed_at": "datetime64[us, UTC]",
    "read_at": "datetime64[us, UTC]",
}
PAGE_KEYS = ("batch", "source", "document", "page", "form")
JSON_COLUMNS = ("reasons", "alternatives")
FORMULA = re.compile(r"[=+\-@\t\r\n]")
CHUNK_ROWS = 20_000
SHEET_ROWS = 1_048_576  # the most rows a sheet of an .xlsx file has


def rows(session: Session, **wanted: Unpack[Filters]) -> pd.DataFrame:
    """Collect rows in the order of batch, source, page and position on the form.

    Returns
    -------
    Frame with `COLUMNS`; text is text, times are UTC, `reasons` and `alternatives` are JSON.
    """
    parts = list(chunks(session, **wanted))
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def chunks(
    session: Session, *, size: int = CHUNK_ROWS, **wanted: Unpack[Filters]
) -> Iterator[pd.DataFrame]:
    """Yield the frame of `rows` in parts of `size` rows; at least one, which may be empty."""
    asked = filtered(statement(session), wanted)
    found = session.execute(asked, execution_options={"yield_per": size})
    some = False
    for part in found.partitions():
        some = True
        yield _frame(part)
    if not some:
        yield _frame([])


def part(
    session: Session, start: int, count: int, **wanted: Unpack[Filters]
) -> tuple[pd.DataFrame, int]:
    """Collect `count` rows from the one at `start` on, and say how many there are in all."""
    asked = filtered(statement(session), wanted)
    total = session.scalar(select(func.count()).select_from(asked.order_by(None).subquery()))
    return _frame(session.execute(asked.offset(start).limit(count))), int(total or 0)


def wide_chunks(
    session: Session, *, size: int = CHUNK_ROWS, **wanted: Unpack[Filters]
) -> Iterator[pd.DataFrame]:
    """Yield what `wide` makes of all rows in parts, none of which cuts a page in two.

    The rows are asked for twice: the first time for the names of all fields alone.
    """
    names: dict[str, None] = {}
    for part in chunks(session, size=size, **wanted):
        names |= dict.fromkeys(part["field"].dropna())
    rest: pd.DataFrame | None = None
    for part in chunks(session, size=size, **wanted):
        whole = part if rest is None else pd.concat([rest, part], ignore_index=True)
        pages = whole.groupby(list(PAGE_KEYS), sort=False, dropna=False).ngroup()
        last = pages == (pages.iloc[-1] if len(pages) else 0)
        if not last.all():
            yield wide(whole[~last].reset_index(drop=True), list(names))
        rest = whole[last].reset_index(drop=True)
    if rest is not None:
        yield wide(rest, list(names))


def wide(frame: pd.DataFrame, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Turn rows into a row for each page, with a column for each field's value.

    A field whose name is that of a column in front (`page`, …) is called `field:page`.

    Parameters
    ----------
    names
        The fields that have a column; None: those of the frame.
    """
    keys = list(PAGE_KEYS)
    pages = frame.groupby(keys, sort=False, dropna=False).ngroup()
    left = frame.loc[~pages.duplicated(), keys].reset_index(drop=True)
    fields = pd.Index(frame["field"].dropna().unique() if names is None else names)
    read = frame["field"].notna()
    values = frame.loc[read].assign(row=pages[read]).pivot(
        index="row", columns="field", values="value"
    )  # fmt: skip
    values = values.reindex(index=range(len(left)), columns=fields).astype("str")
    values.columns = [f"field:{name}" if name in keys else name for name in fields]
    return pd.concat([left, values], axis="columns")


def write(
    frames: pd.DataFrame | Iterable[pd.DataFrame], format: Format, out: Path | IO[bytes]
) -> int:
    """Write rows, or wide rows, to a file or an open binary stream.

    Parameters
    ----------
    frames
        One frame, or the parts of one (`chunks`), which are written as they come.

    Returns
    -------
    How many rows were written.

    Raises
    ------
    UsageError
        If the file cannot be written, or has more rows than the format can hold.
    """
    parts = iter([frames] if isinstance(frames, pd.DataFrame) else frames)
    writers = {
        Format.CSV: _write_csv,
        Format.JSONL: _write_jsonl,
        Format.PARQUET: _write_parquet,
        Format.XLSX: _write_xlsx,
    }
    with _opened(out) as stream:
        return writers[Format(format)](parts, stream)


def _frame(found: Iterable[Any]) -> pd.DataFrame:
    table = pd.DataFrame(
        [tuple(row) for row in found], columns=pd.Index([*COLUMNS, "cause"]), dtype=object
    )
    failed = table["status"] == FieldStatus.FAILED
    table.loc[failed, "reasons"] = [
        json.dumps([f"failed: {cause}"], ensure_ascii=False)
        for cause in table.loc[failed, "cause"]
    ]
    table.loc[failed, "alternatives"] = "[]"
    return table[list(COLUMNS)].astype(
        {column: DTYPES.get(column, "str") for column in COLUMNS}
    )


@contextmanager
def _opened(out: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(out, Path):
        yield out
        return
    try:
        with out.open("wb") as stream:
            yield stream
    except OSError as error:
        raise UsageError(
            f"{out}: {error.strerror or error}; name a file that can be written with --out"
        ) from error


def _write_csv(parts: Iterator[pd.DataFrame], stream: IO[bytes]) -> int:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    count = 0
    for number, part in enumerate(parts):
        _for_spreadsheet(part).to_csv(
            text, index=False, header=number == 0, lineterminator="\n",
            quoting=csv.QUOTE_MINIMAL,
        )  # fmt: skip
        count += len(part)
    text.detach()
    return count


def _write_jsonl(parts: Iterator[pd.DataFrame], stream: IO[bytes]) -> int:
    """Write an object a line; here `reasons` and `alternatives` are arrays, not text."""
    count = 0
    for part in parts:
        plain = _iso_times(part).astype(object)
        plain = plain.where(part.notna(), None)
        for row in plain.to_dict("records"):
            for column in JSON_COLUMNS:
                if isinstance(row.get(column), str):
                    row[column] = json.loads(row[column])
            line = json.dumps(row, ensure_ascii=False, default=_plain_number)
            stream.write(line.encode() + b"\n")
        count += len(part)
    return count


def _write_parquet(parts: Iterator[pd.DataFrame], stream: IO[bytes]) -> int:
    count = 0
    writer: Any = None
    for part in parts:
        table = _arrow(part)
        if writer is None:
            writer = pq.ParquetWriter(stream, table.schema)
        writer.write_table(table)
        count += len(part)
    if writer is not None:
        writer.close()
    return count


def _arrow(part: pd.DataFrame) -> Any:
    """Make an Arrow table whose schema follows from the column names, not from the rows."""
    kinds = {
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "datetime64[us, UTC]": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, kinds.get(str(part[name].dtype), pa.string())) for name in part])
    return pa.Table.from_pandas(part, schema=schema, preserve_index=False)


def _write_xlsx(parts: Iterator[pd.DataFrame], stream: IO[bytes]) -> int:
    first = next(parts)
    count = 0

    def columns() -> Iterator[list[list[Any]]]:
        nonlocal count
        for part in itertools.chain([first], parts):
            count += len(part)
            if count >= SHEET_ROWS:
                raise UsageError(
                    f"more than {SHEET_ROWS - 1:,} rows do not fit an xlsx sheet; export "
                    "csv or parquet, or a batch at a time"
                )
            plain = _for_spreadsheet(part)
            cells = plain.astype(object).where(plain.notna(), None)
            yield [cells[name].tolist() for name in cells]

    spreadsheet.write(stream, "digitocr", list(first.columns), columns())
    return count


def _for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """Put `'` before text that a spreadsheet would run as a formula; write times as text."""
    plain = _iso_times(frame)
    for name in plain.columns[plain.dtypes == "str"]:
        risky = plain[name].str.match(FORMULA).fillna(False).astype(bool)
        if risky.any():
            plain[name] = plain[name].where(~risky, "'" + plain[name])
        # A lone CR would end the row for some readers of CSV, and XLSX has none.
        plain[name] = plain[name].str.replace("\r", "\n", regex=False)
    return plain


def _iso_times(frame: pd.DataFrame) -> pd.DataFrame:
    plain = frame.copy(deep=False)
    for name in plain.columns:
        if isinstance(plain[name].dtype, pd.DatetimeTZDtype):
            utc = plain[name].dt.tz_convert(UTC)
            plain[name] = utc.dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("str")
    return plain


def _plain_number(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not plain")
