"""What a database costs as it grows: rows in, numbers out, claims, a page more.

    python tests/bench/scale.py [--readings 10000 100000] [--crops] [--database URL…]

Synthetic readings, 40 a page, three digits each, one in ten waiting for a person; texts and
confidences are random, crops (with --crops) random bytes of the sizes that sample forms have.
Each size is a database of its own: SQLite in a temporary folder, and with --database an empty
PostgreSQL, whose tables are emptied again. Measured are seconds by the clock, those of our own
processor, and, where a PostgreSQL runs on this machine, those of its processors: a busy machine
spoils the first alone. Each is the least of three, or of as many as are worth it; docs/scale.md
has what came of it.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, func, insert, select, text

from digitocr.db import batches, claims, export, items, measures, schema, store, tables
from digitocr.db.tables import Queue
from digitocr.types import (
    Box,
    Document,
    Field,
    FieldKind,
    FieldReading,
    FieldType,
    Format,
    GlyphReading,
    Hypothesis,
    ModelCard,
    PageReading,
    PageStatus,
)

FIELDS, DIGITS = 40, 3
PAGES_A_BATCH = 500
READING_CROP, GLYPH_CROP = 9_400, 1_100  # bytes; sample forms, October
START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "f" * 64
FORM = "name = 'scale'"
REASONS = (["low-confidence"], ["low-confidence", "junk"])


def named(number: int) -> str:
    return f"{number:064x}"


def fill_database(engine: Engine, readings: int, crops: bool) -> None:
    """Insert pages in bulk, with the ids of their rows worked out."""
    rng = np.random.default_rng(1)
    pages = readings // FIELDS
    card = ModelCard("m", tuple("0123456789"), 28, 1.0, "n", (), {}, MODEL)
    with schema.writing(engine) as session:
        store.register_model(session, card)
        form = {"id": 1, "name": "scale", "version": 1, "title": "", "source": FORM}
        session.execute(insert(tables.Form), [form | {"fingerprint": "a" * 64}])
        session.execute(
            insert(tables.Batch),
            [
                {"id": 1 + n, "name": f"batch {n}", "created_at": START + timedelta(days=n),
                 "status": "done", "finished_at": START + timedelta(days=n)}
                for n in range(-(-pages // PAGES_A_BATCH))
            ],
        )  # fmt: skip
    for at in range(0, pages, PAGES_A_BATCH):
        with schema.writing(engine) as session:
            for table, rows in page_rows(rng, range(at, min(at + PAGES_A_BATCH, pages)), crops):
                session.execute(insert(table), rows)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("batches", "documents", "forms", "pages", "page_readings", "readings",
                          "glyphs", "arrivals"):  # fmt: skip
                if table not in ("arrivals",):
                    top = f"(SELECT coalesce(max(id), 1) FROM {table})"
                    connection.execute(
                        text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {top})")
                    )
            connection.execute(text("ANALYZE"))
    else:
        with schema.writing(engine) as session:
            session.execute(text("ANALYZE"))


def page_rows(
    rng: np.random.Generator, numbers: range, crops: bool
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    ids = [1 + number for number in numbers]
    batch = 1 + numbers[0] // PAGES_A_BATCH
    when = START + timedelta(days=batch)
    yield (
        tables.Document,
        [{"id": id_, "sha256": named(id_), "page_count": 1, "media": "png"} for id_ in ids],
    )
    yield tables.Arrival, [
        {"batch_id": batch, "document_id": id_, "source": f"scans/{batch}/page-{id_}.png",
         "received_at": when}
        for id_ in ids
    ]  # fmt: skip
    yield tables.Page, [{"id": id_, "document_id": id_, "number": 1} for id_ in ids]
    yield tables.PageReading, [
        {"id": id_, "page_id": id_, "pass_number": 1, "form_id": 1, "model_id": 1,
         "template_page": 1, "status": "read", "cause": "", "homography": [[1, 0, 0]] * 3,
         "residual_mm": 0.1, "read_at": when, "image": None}
        for id_ in ids
    ]  # fmt: skip
    box = {"box_left": 0, "box_top": 0, "box_right": 90, "box_bottom": 30}
    readings, glyphs = [], []
    texts = rng.integers(0, 10**DIGITS, len(ids) * FIELDS)
    sure = rng.random(len(ids) * FIELDS) > 0.1
    for place, value in enumerate(texts):
        id_ = numbers[0] * FIELDS + 1 + place
        written = f"{value:0{DIGITS}d}"
        readings.append(
            {"id": id_, "page_reading_id": ids[place // FIELDS], "field": f"f{place % FIELDS}",
             "position": place % FIELDS, "text": written,
             "confidence": 0.999 if sure[place] else 0.9,
             "reasons": REASONS[place % 5 == 0] if not sure[place] else [],
             "alternatives": [{"text": written[::-1], "confidence": 0.01}],
             "crop": rng.bytes(READING_CROP) if crops else None, "weight": 1.0,
             "sure_from": 0.99, **box}
        )  # fmt: skip
        for position, digit in enumerate(written):
            glyphs.append(
                {"reading_id": id_, "position": position, "text": digit,
                 "confidence": 0.999 if sure[place] or position else 0.9,
                 "alternatives": [], "crop": rng.bytes(GLYPH_CROP) if crops else None, **box}
            )  # fmt: skip
    yield tables.Reading, readings
    yield tables.Glyph, glyphs


def one_more(number: int) -> PageReading:
    """Draw a page to be stored as reading stores it."""
    field = Field("f", 1, Box(0, 0, 90, 30), FieldKind.BOXED, FieldType.INTEGER)
    image = np.full((30, 90), 255, np.uint8)
    digits = tuple(
        GlyphReading(Box(0, 0, 20, 30), (Hypothesis(d, 0.99),), image[:, :20]) for d in "123"
    )
    fields = [
        FieldReading(
            (Hypothesis("123", 0.99),), digits, (), "m", named(number), 1,
            Field(f"f{n}", 1, field.box, field.kind, field.type), "scale", 1, image,
        )
        for n in range(FIELDS)
    ]  # fmt: skip
    return PageReading(
        named(number), 1, PageStatus.READ, "", "scale", 1, 1, np.eye(3), 0.1, tuple(fields)
    )


Times = tuple[float, float, float]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def measure_time(
    action: Callable[[], Any], times: int = 3, *, server: Callable[[], float]
) -> Times:
    """Time an action: seconds by the clock, of our processor, of the server's: the least."""
    taken = []
    for _ in range(times):
        before = (time.perf_counter(), time.process_time(), server())
        action()
        after = (time.perf_counter(), time.process_time(), server())
        taken.append([end - begin for begin, end in zip(before, after, strict=True)])
    clock, ours, theirs = zip(*taken, strict=True)
    return min(clock), min(ours), min(theirs)


def server_of(engine: Engine) -> Callable[[], float]:
    """Give what counts the processor seconds of a PostgreSQL on this machine, else zero."""
    if engine.dialect.name != "postgresql":
        return lambda: 0.0
    with engine.connect() as connection:
        backend = Path(f"/proc/{connection.scalar(text('SELECT pg_backend_pid()'))}/stat")
        if "postgres" not in (backend.read_text() if backend.exists() else ""):
            return lambda: 0.0
    main = of_process(backend)[1]

    def count() -> float:
        # What ended was counted with the one it belonged to; what runs counts for itself.
        ended = sum(of_process(Path(f"/proc/{main}/stat"))[11:15]) / TICKS_A_SECOND
        running = 0
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            with suppress(OSError):
                running += int(Path(f"/proc/{child}/schedstat").read_text().split()[0])
        return ended + running / 1e9

    return count


def of_process(stat: Path) -> list[int]:
    """Give the numbers that the system has of a process, from that of its parent (1) on."""
    return [0, *map(int, stat.read_text().rpartition(")")[2].split()[1:])]


def measure(engine: Engine, readings: int, folder: Path) -> Iterator[tuple[str, Times]]:
    timed = partial(measure_time, server=server_of(engine))

    def reading(action: Callable[[Any], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with schema.reading(engine) as session:
                return action(session)

        return run

    def writing(action: Callable[[Any], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with schema.writing(engine) as session:
                return action(session)

        return run

    def query(**wanted: Any) -> Callable[[], Any]:
        return reading(lambda session: export.part(session, 0, 50, **wanted))

    middle = readings // FIELDS // 2
    yield "query, 50 rows of all", timed(query())
    yield "query, 50 rows of a batch", timed(query(batch="batch 0"))
    yield "query, 50 rows that wait", timed(query(status="review"))
    yield "query, one source", timed(query(source=f"scans/1/page-{min(middle, 400)}.png"))
    yield "query, one field", timed(query(field="f7"))
    for format in Format:
        if format is Format.XLSX and readings > 300_000:
            continue
        out = folder / f"out.{format}"
        yield (
            f"export {format}",
            timed(reading(lambda s, o=out, f=format: export.write(export.chunks(s), f, o)), 1),
        )
    yield "export csv, a batch", timed(
        reading(lambda s: export.write(export.chunks(s, batch="batch 0"), Format.CSV,
                                       folder / "one.csv"))
    )  # fmt: skip
    yield "export csv, wide", timed(
        reading(lambda s: export.write(export.wide_chunks(s), Format.CSV,
                                       folder / "wide.csv")), 1
    )  # fmt: skip
    yield "batch list", timed(reading(batches.list_batches), 1)
    yield "batch show", timed(reading(lambda s: batches.batch_summary(s, "batch 0")))
    yield "figures of a batch", timed(writing(lambda s: measures.write(s, "batch 0", START)))

    def fill_all() -> None:
        while writing(items.fill)():
            pass

    yield "items of all pages", timed(fill_all, 1)
    now = START + timedelta(days=9000)

    def take(queue: Queue, size: int, label: str | None) -> None:
        with schema.writing(engine) as session:
            taken = claims.take(
                session, queue, reviewer="ana", now=now, limit=size, label=label
            )
        if taken is None:
            sys.exit(f"nothing waits in {queue}")

    yield "claim of a page of digits", timed(lambda: take(Queue.GROUP, 200, "7"), 1)
    yield "claim of a field", timed(lambda: take(Queue.FIELD, 1, None))
    numbers = iter(range(10**9, 10**9 + 1000))

    def store_page() -> None:
        number = next(numbers)
        document = Document(named(number), 1)
        with schema.reading(engine) as session:
            store.is_known(session, "x", document.sha256)
            store.pages_done(session, document.sha256)
        with schema.writing(engine) as session:
            store.add_arrival(session, "batch 0", f"new/{number}.png", document, "png", now)
        with schema.writing(engine) as session:
            store.save_page(session, one_more(number), model=MODEL, now=now)

    yield "store one page more", timed(store_page, 30)


def size_of(engine: Engine) -> float:
    """Megabytes on disk."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            size = connection.scalar(text("SELECT pg_database_size(current_database())"))
            return float(size) / 1e6
    return sum(f.stat().st_size for f in Path(str(engine.url.database)).parent.iterdir()) / 1e6


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--crops", action="store_true")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database")
    given = parser.parse_args()
    for readings in given.readings:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "db").mkdir()
            url = given.database or f"sqlite:///{folder / 'db' / 'scale.db'}"
            engine = schema.connect(url, create=True)
            with engine.connect() as connection:
                if connection.scalar(select(func.count(tables.Reading.id))):
                    sys.exit(f"{schema.shown(url)}: is not empty; name an empty database")
            fill = partial(fill_database, engine, readings, given.crops)
            inserted = measure_time(fill, 1, server=server_of(engine))
            about = {"database": engine.dialect.name, "readings": readings,
                     "crops": given.crops}  # fmt: skip
            print(json.dumps(about | {"what": "size", "megabytes": round(size_of(engine))}))
            for what, (seconds, cpu, server) in chain(
                [("insert all", inserted)], measure(engine, readings, folder)
            ):
                shown = {"what": what, "seconds": round(seconds, 4), "cpu": round(cpu, 4),
                         "server_cpu": round(server, 4)}  # fmt: skip
                print(json.dumps(about | shown), flush=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps(about | {"what": "peak memory", "megabytes": round(peak)}))
            if given.database:
                empty(engine)
            engine.dispose()


if __name__ == "__main__":
    main()
