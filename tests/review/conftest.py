"""A database with everything that can wait for a person, and the pages served from it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from sqlalchemy import Engine

from digitocr import templates
from digitocr.db import items, schema, store
from digitocr.db.tables import BatchStatus
from digitocr.review import app as review_app
from digitocr.settings import Settings
from digitocr.types import (
    Box,
    Document,
    FieldReading,
    FieldType,
    GlyphReading,
    Hypothesis,
    ModelCard,
    PageReading,
    PageStatus,
    Reason,
)

ROOT = Path(__file__).parents[2]


def _beside(path: str) -> Any:
    """Load the fixtures of another folder of tests: a PostgreSQL of its own is made there."""
    spec = importlib.util.spec_from_file_location("fixtures_beside", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_databases = _beside("tests/db/conftest.py")
postgres_database = _databases.postgres_database
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CHROMIUM = "/usr/bin/chromium"
LOW = (Reason.LOW_CONFIDENCE,)
FIELDS = 20
MODEL = ModelCard("small", tuple("0123456789"), 28, 1.0, "mass", ("mnist",), {}, "f" * 64)

SHEET = """\
name = "sheet"
version = 1
title = "Counting sheet"
[[pages]]
width = 400
height = 600
dpi = 100
""" + "".join(
    f"""
[[fields]]
name = "n{i:02}"
title = "Number {i}"
box = [20, {20 + 28 * i}, 200, {44 + 28 * i}]
kind = "open"
type = "integer"
{"double_key = true" if i == 19 else ""}
{'checks = [{rule = "range", max = 50}]' if i == 18 else ""}
"""
    for i in range(FIELDS)
)
SHEET += """
[[rules]]
rule = "sum"
of = ["n14", "n15"]
equals = "n16"
"""


def drawn(text: str, seed: int, size: tuple[int, int] = (44, 30)) -> Any:
    """Draw a text in gray, with spots of its own, so that no two pictures are the same."""
    rng = np.random.default_rng(seed)
    image = np.full(size, 250, np.uint8)
    cv2.putText(
        image, text, (3, size[0] - 9), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 20, 3, cv2.LINE_AA
    )
    for _ in range(4):
        x, y = int(rng.integers(2, size[1] - 2)), int(rng.integers(2, size[0] - 2))
        cv2.circle(image, (x, y), 3, int(rng.integers(60, 200)), -1)
    return image


def reading(
    form: Any, place: int, text: str | None, reasons: tuple[str, ...], sure: float, seed: int,
    others: tuple[str, ...] = (),
) -> FieldReading:  # fmt: skip
    field = form.fields[place]
    top = field.box.top
    return FieldReading(
        hypotheses=(
            *(() if text is None else (Hypothesis(text, min(sure, 0.985)),)),
            *(Hypothesis(other, 0.012) for other in others),
        ),
        glyphs=tuple(
            GlyphReading(
                Box(22 + 20 * i, top, 40 + 20 * i, top + 24),
                (Hypothesis(digit, sure), Hypothesis("7", (1 - sure) / 2)),
                drawn(digit, 100 * seed + i),
            )
            for i, digit in enumerate(text or "")
        ),
        reasons=reasons,
        model=MODEL.name,
        document="",
        page=1,
        field=field,
        template=form.name,
        version=form.version,
        image=drawn(text or "?", seed, (44, 140)),
    )


def page_of(form: Any, document: str, readings: list[FieldReading]) -> PageReading:
    return PageReading(
        document=document,
        page=1,
        status=PageStatus.READ,
        template=form.name,
        version=form.version,
        template_page=1,
        homography=np.eye(3),
        residual_mm=0.1,
        readings=tuple(replace(one, document=document) for one in readings),
    )


def fill(engine: Engine, pages: int) -> None:
    """Store pages whose first 14 numbers are doubtful fives, and one of every other kind."""
    form = replace(templates.from_source(SHEET), fingerprint="a" * 64)
    paper = np.full((600, 400), 255, np.uint8)
    for field in form.fields:
        box = field.box
        cv2.rectangle(paper, (box.left, box.top), (box.right - 1, box.bottom - 1), 0, 1)
    image = cv2.imencode(".webp", paper)[1].tobytes()
    with schema.writing(engine) as session:
        store.open_batch(session, "monday", NOON)
        store.register_form(session, form)
        store.register_model(session, MODEL)
        for number in range(pages):
            document = f"{number:064x}"
            arrived = Document(document, 1)
            store.add_arrival(session, "monday", f"scans/{number}.png", arrived, "png", NOON)
            seed = 1000 * number
            of = [reading(form, i, "5", LOW, 0.5 + 0.02 * i, seed + i) for i in range(14)]
            of += [
                reading(form, 14, "12", ("rule:sum-n16",), 0.97, seed + 14, ("17",)),
                reading(form, 15, "30", ("rule:sum-n16",), 0.999, seed + 15),
                reading(form, 16, "47", ("rule:sum-n16",), 0.999, seed + 16),
                reading(form, 17, "8", (Reason.JUNK,), 0.6, seed + 17, ("3",)),
                reading(form, 18, "31", (), 0.999, seed + 18),
                reading(form, 19, "64", (Reason.DOUBLE_KEY,), 0.999, seed + 19),
            ]
            page = page_of(form, document, of)
            store.save_page(
                session, page, model=MODEL.fingerprint, now=NOON, image=image,
                sure_from={FieldType.INTEGER: 0.99},
            )  # fmt: skip
        failed = Document("e" * 64, 0)
        store.add_arrival(session, "monday", "scans/torn.png", failed, "png", NOON)
        torn = PageReading("e" * 64, 1, PageStatus.FAILED, "is damaged or cut short")
        store.save_page(session, torn, model=MODEL.fingerprint, now=NOON)
        store.close_batch(session, "monday", BatchStatus.PARTIAL, NOON)
    done = 1
    while done:
        with schema.writing(engine) as session:
            done = items.fill(session)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a database once; tests work on copies. 31 pages: 434 doubtful fives."""
    path = tmp_path_factory.mktemp("review") / "filled.db"
    engine = schema.connect(f"sqlite:///{path}", create=True)
    fill(engine, 31)
    engine.dispose()  # the last to leave writes the WAL into the file
    return path


@pytest.fixture(scope="session")
def filled_server(postgres_database: Callable[..., str]) -> Callable[[], str]:
    """Fill a PostgreSQL database once; tests work on copies."""
    url = postgres_database()
    engine = schema.connect(url, create=False)
    fill(engine, 31)
    engine.dispose()
    return lambda: postgres_database(url.rsplit("/", 1)[1])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("filled_server")())
    shutil.copy(request.getfixturevalue("filled"), tmp_path / "review.db")
    return f"sqlite:///{tmp_path / 'review.db'}"


@dataclass
class Served:
    """The pages on a port of this machine, in a thread of this process."""

    url: str
    engine: Engine
    desk: Any
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def link(self, who: str = "ana", *, supervisor: bool = False) -> str:
        return self.base + self.desk.door.make_link(who, supervisor=supervisor)

    @contextlib.contextmanager
    def client(self, who: str = "ana", *, supervisor: bool = False) -> Iterator[httpx.Client]:
        """Let a client in that sends what our pages send."""
        headers = {"origin": self.base}
        with httpx.Client(base_url=self.base, headers=headers, timeout=30) as client:
            answer = client.get(self.link(who, supervisor=supervisor))
            assert answer.status_code == 303
            page = client.get("/try").text
            client.headers["x-csrf"] = page.split('name="csrf" content="')[1].split('"')[0]
            yield client


@contextlib.contextmanager
def serving(url: str, port: int = 0) -> Iterator[Served]:
    engine = schema.connect(url, create=False)
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    application, desk = review_app.make_app(engine, Settings(database=url), port=port)
    server = uvicorn.Server(
        uvicorn.Config(application, log_level="error", access_log=False, ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(url, engine, desk, port)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        engine.dispose()


@pytest.fixture
def served_at() -> Callable[..., Any]:
    """Serve the pages of a database while a `with` lasts."""
    return serving


@pytest.fixture
def filled_with() -> Callable[[Engine, int], None]:
    """Fill a database with so many pages."""
    return fill


@pytest.fixture
def served(url: str) -> Iterator[Served]:
    with serving(url) as one:
        yield one


@dataclass
class Program:
    """`digitocr review` as a process of its own, that can be killed."""

    process: subprocess.Popen[str]
    link: str
    port: int


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Start `digitocr review` on a database."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, port: int = 0) -> Program:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DIGITOCR_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "digitocr.cli", "review", "--database", url,
             "--port", str(port), "--no-browser"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
            cwd=ROOT,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        return Program(process, link, int(link.split(":")[2].split("/")[0]))

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Drive Debian's Chromium; the loop that Playwright runs in this thread must end, too."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@dataclass
class Watched:
    """A page of the browser, and what went wrong in it or left this machine."""

    page: Any
    wrong: list[str]
    asked: list[str]


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Open a browser context of its own, let in by a link; nothing may go wrong in it."""
    contexts = []

    def open_page(link: str, *, strict: bool = True, **options: Any) -> Watched:
        options = {"viewport": {"width": 1280, "height": 800}} | options
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15000)
        seen = Watched(page, [], [])
        if strict:
            page.on("console", lambda m: seen.wrong.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.goto(link)
        return seen

    yield open_page
    for context in contexts:
        context.close()
