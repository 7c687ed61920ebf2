"""The server by HTTP: who is let in, what is refused, what pages say, and what is stored."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import html
import io
import json
import shutil
import struct
import sys
import threading
import zlib
from dataclasses import replace
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from sqlalchemy import func, select

from digitocr import resources
from digitocr.cli import numbers
from digitocr.db import batches, export, exports, promotions, schema, store, tables
from digitocr.errors import DatabaseError, UsageError
from digitocr.recognition.promise import upper_bound
from digitocr.review import app as review_app
from digitocr.review import trial
from digitocr.settings import Settings
from digitocr.types import Document, PageReading, PageStatus

SCREENS = [
    "/", "/parts/batches", "/batch/monday", "/group/5", "/field", "/conflict", "/blind",
    "/audit", "/page/1", "/page/1/image.webp", "/readings/1/panel", "/readings/1/crop.png",
    "/query", "/people", "/parts/failed?batch=monday", "/page/1/image.webp?scale=2", "/try",
]  # fmt: skip


def test_a_link_lets_one_browser_in_once(served: Any) -> None:
    link = served.link()
    first = httpx.get(link)
    cookie = first.headers["set-cookie"]
    assert first.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert httpx.get(link).status_code == 401
    assert httpx.get(served.base + "/open?token=guess").status_code == 401


@pytest.mark.parametrize("path", [*SCREENS, "/docs", "/openapi.json", "/redoc"])
def test_nothing_is_shown_to_who_was_not_let_in(served: Any, path: str) -> None:
    assert httpx.get(served.base + path).status_code == 401


def test_every_screen_is_there_and_fenced(served: Any) -> None:
    with served.client() as client:
        for path in SCREENS:
            answer = client.get(path)
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'self'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            if "html" in answer.headers["content-type"]:
                assert " style=" not in answer.text
                assert "onclick=" not in answer.text
                assert "<script>" not in answer.text
        for path in ("/docs", "/openapi.json", "/redoc", "/static/../app.py", "/nothing"):
            assert client.get(path).status_code == 404, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"x-csrf": "0" * 64}, 403),
    ],
)
def test_changes_from_elsewhere_are_refused(
    served: Any, headers: dict[str, str], status: int
) -> None:
    with served.client() as client:
        assert client.post("/group/5/next", headers=headers).status_code == status
    with schema.reading(served.engine) as session:
        assert session.scalar(select(func.count(tables.Claim.id))) == 0


def test_a_body_that_says_it_is_large_is_not_waited_for(served: Any) -> None:
    with served.client() as client, contextlib.suppress(httpx.HTTPError):
        assert client.post("/try/digit", content=b"0" * 11_500_000).status_code == 413


def test_a_change_without_any_word_of_where_it_is_from_is_refused(served: Any) -> None:
    with served.client() as client:
        del client.headers["origin"]
        assert client.post("/group/5/next").status_code == 403
        client.headers["sec-fetch-site"] = "same-origin"
        assert client.post("/group/5/next").status_code == 200


def test_a_session_outlives_the_server(served: Any) -> None:
    with served.client("eve") as client:
        served.desk.door.known.clear()
        assert ">eve<" in client.get("/try").text


@pytest.mark.parametrize(
    "path",
    [
        "/claims/nothing/digits.jpg", "/claims/nothing/field/0.png", "/page/999",
        "/readings/999/panel", "/batch/nothing", "/query?status=strange", "/query?since=late",
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_in_a_line(served: Any, path: str) -> None:
    with served.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert len(answer.text.splitlines()) == 1
    assert "Traceback" not in answer.text


def test_pictures_of_a_claim_are_for_its_person(served: Any) -> None:
    with served.client("ana") as ana, served.client("ben") as ben:
        text = ana.post("/group/5/next").text
        claim = text.split('data-claim="')[1].split('"')[0]
        assert ana.get(f"/claims/{claim}/digits.jpg").status_code == 200
        assert ben.get(f"/claims/{claim}/digits.jpg").status_code == 404
        assert ben.post(f"/claims/{claim}/save", json={"marks": {}}).status_code == 422
        assert ana.get(f"/claims/{claim}/field/999.png").status_code == 404


def test_a_page_of_digits_is_small(served: Any) -> None:
    with served.client() as client:
        page = client.get("/group/5")
        claim = page.text.split('data-claim="')[1].split('"')[0]
        picture = client.get(f"/claims/{claim}/digits.jpg").content
        static = sum(
            len(client.get(f"/static/{name}").content)
            for name in ("style.css", "htmx.min.js", "page.js", "group.js")
        )
    assert len(page.content) + len(picture) + static < 350_000
    assert len(page.content) < 60_000


def test_a_page_that_was_lost_in_part_is_409_with_the_places(served: Any) -> None:
    with served.client() as client:
        text = client.post("/group/5/next?size=100").text
        claim = text.split('data-claim="')[1].split('"')[0]
        with schema.writing(served.engine) as session:
            cells = session.get_one(tables.Claim, claim).cells
            session.get_one(tables.Item, cells[4][0]).claim_id = "other"
        answer = client.post(f"/claims/{claim}/save", json={"marks": {"0": "8"}})
        assert answer.status_code == 409
        assert answer.json()["dropped"] == [4]
        assert answer.json()["saved"] == 99
        again = client.post(f"/claims/{claim}/save", json={"marks": {"0": "8"}})
        assert again.json()["again"] is True


@pytest.mark.parametrize(
    "body", [{}, {"marks": {"x": "1"}}, {"marks": {}, "more": 1}, {"marks": {"0": "ten"}}]
)
def test_a_strange_post_changes_nothing(served: Any, body: Any) -> None:
    with served.client() as client:
        claim = client.post("/group/5/next").text.split('data-claim="')[1].split('"')[0]
        assert client.post(f"/claims/{claim}/save", json=body).status_code == 422
    with schema.reading(served.engine) as session:
        assert session.scalar(select(func.count(tables.Decision.id))) == 0


def test_a_broken_check_is_said_first_and_taken_when_insisted_on(served: Any) -> None:
    with schema.reading(served.engine) as session:
        reading = session.scalar(select(tables.Reading.id).where(tables.Reading.field == "n18"))
    said = {"said": {"0": {"text": "99"}}}
    with served.client() as client:
        send = f"/readings/{reading}/decide"
        first = client.post(send, json=said, headers={"x-key": "a" * 20})
        assert (first.status_code, first.json()["broken"]) == (422, True)
        assert "range" in first.json()["message"]
        insisted = said | {"as_written": True}
        for _ in range(2):
            answer = client.post(send, json=insisted, headers={"x-key": "a" * 20})
            assert answer.json() == {"value": "99", "status": "corrected"}
        panel = client.get(f"/readings/{reading}/panel").text
    assert panel.count("corrected as written") == 1
    assert "as written" in panel


def test_an_audit_is_drawn_keyed_and_counted(served: Any) -> None:
    with served.client() as client:
        client.post("/audit/draw", data={"count": "12"})
        page = client.get("/audit").text
        claim = page.split('data-claim="')[1].split('"')[0]
        assert page.count("data-key") == 12
        body = {"said": {str(place): {"text": "31"} for place in range(12)}}
        answer = client.post(f"/claims/{claim}/keyed", json=body)
        assert answer.json() == {
            "saved": 12, "dropped": [], "again": False, "waiting": "0 fields",
        }  # fmt: skip
        home = client.get("/").text
    assert "12 accepted numbers keyed blind, 0 of them" in home


def test_the_numbers_are_those_of_the_export(served: Any) -> None:
    with served.client() as client:
        page = client.get("/query?field=n18")
        assert "31 rows" in page.text
        found = client.get("/export?format=csv&field=n18")
        assert "attachment" in found.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(found.text)))
    with schema.reading(served.engine) as session:
        same = export.rows(session, field="n18")
    assert [row["value"] for row in rows] == list(same["value"]) == ["31"] * 31


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_every_file_of_the_export_is_given(served: Any, format: str) -> None:
    with served.client() as client:
        for wide in ("", "&wide=true"):
            answer = client.get(f"/export?format={format}{wide}")
            assert answer.status_code == 200
            assert len(answer.content) > 500


def test_a_page_that_went_out_with_an_export_is_not_opened_again(served: Any) -> None:
    with served.client("ana") as ana:
        claims_ = []
        for _ in range(2):
            page = ana.post("/group/5/next?size=100").text
            claims_.append(page.split('data-claim="')[1].split('"')[0])
        for claim in claims_:
            assert ana.post(f"/claims/{claim}/save", json={"marks": {"0": "8"}}).is_success
            if claim == claims_[0]:
                assert "Taken out last" not in ana.get("/query").text
                assert ana.get("/export?format=csv&batch=monday").is_success
        said = ana.get("/query").text
        assert "by ana: csv, 621 rows, batch monday" in said
        refused = ana.post(f"/claims/{claims_[0]}/undo")
        assert refused.status_code == 422
        assert "went out with the export" in refused.json()["message"]
        assert "document view" in refused.json()["message"]
        assert ana.post(f"/claims/{claims_[1]}/undo").is_success
        assert ana.get("/export?format=csv&status=strange").status_code == 404
    with schema.reading(served.engine) as session:
        assert [one.rows for one in session.scalars(select(tables.Export))] == [621]


def test_the_command_writes_down_what_it_takes_out(
    served: Any, tmp_path: Any, capsysbinary: Any
) -> None:
    out = tmp_path / "numbers.csv"
    with served.client("ana") as ana:
        claim = ana.post("/group/5/next").text.split('data-claim="')[1].split('"')[0]
        assert ana.post(f"/claims/{claim}/save", json={"marks": {}}).is_success
        numbers.export(database=served.url, out=out, status=None, field="n01")
        with pytest.raises(UsageError, match=r"cannot|directory"):
            numbers.export(database=served.url, out=tmp_path / "no" / "folder.csv")
        refused = ana.post(f"/claims/{claim}/undo")
        assert (refused.status_code, "went out" in refused.text) == (422, True)
    with schema.reading(served.engine) as session:
        (taken,) = exports.latest(session, 9)
    rows = len(out.read_text().splitlines()) - 1
    assert (taken.rows, taken.filters, taken.format) == (rows, {"field": "n01"}, "csv")
    assert rows == 31


def test_filters_are_saved_and_forgotten(served: Any) -> None:
    with served.client() as client:
        client.post("/query/save?status=review&form=sheet", data={"name": "what waits"})
        page = client.get("/query").text
        assert "/query?form=sheet&amp;status=review" in page
        assert "what waits" in page
        client.post("/query/forget", data={"name": "what waits"})
        assert "what waits" not in client.get("/query").text


def test_a_scan_that_changed_is_not_shown(
    served: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with schema.writing(served.engine) as session:
        for page in session.scalars(select(tables.PageReading)):
            page.image = None
    monkeypatch.chdir(tmp_path)
    with served.client() as client:
        assert "is not where it was read from" in client.get("/page/1").text
        (tmp_path / "scans").mkdir()
        (tmp_path / "scans" / "1.png").write_bytes(b"something else")
        changed = client.get("/page/2").text
        assert "has changed since it was read" in changed
        assert "crop.png" in changed
        assert client.get("/page/2/image.webp").status_code == 404


def bomb() -> bytes:
    """Make a PNG that says it has 30,000 × 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)

    def part(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"0" * 99))
        + part(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"GIF89a" + b"0" * 50, "no picture"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "no picture"),
        (bomb(), "too large"),
        (b"0" * 10_500_000, "10 MB"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(served: Any, data: bytes, words: str) -> None:
    with served.client() as client:
        answer = client.post("/try/digit", content=data)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_body_without_a_length_is_counted_as_it_comes(served: Any) -> None:
    def stream() -> Any:
        for _ in range(20):
            yield b"0" * 1_000_000

    with served.client() as client:
        with contextlib.suppress(httpx.HTTPError):  # cut off while still sending
            assert client.post("/try/digit", content=stream()).status_code == 413
        assert client.get("/try").status_code == 200


def test_pictures_are_opened_upright_gray_and_on_white() -> None:
    clear = np.zeros((40, 30, 4), np.uint8)
    clear[10:30, 10:20] = (0, 0, 0, 255)
    _, data = cv2.imencode(".png", clear)
    gray = trial.decode(data.tobytes())
    assert gray.shape == (40, 30)
    assert (gray[0, 0], gray[20, 15]) == (255, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::"])
def test_another_host_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="no accounts yet"):
        review_app.serve(
            Settings(), host=host, port=0, reviewer="ana", started=lambda link: None
        )


def test_a_missing_database_is_named(tmp_path: Any) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(DatabaseError, match="no such database"):
        review_app.serve(
            settings, host="127.0.0.1", port=0, reviewer="ana", started=lambda link: None
        )


def test_a_port_that_is_taken_is_named(served: Any) -> None:
    with pytest.raises(UsageError, match=f"--port {served.port}: .*in use"):
        review_app.serve(
            Settings(database=served.url), host="127.0.0.1", port=served.port, reviewer="ana",
            started=lambda link: None,
        )  # fmt: skip


def test_starting_loads_neither_pandas_nor_a_network() -> None:
    import subprocess

    code = (
        "import sys; from digitocr.review import app; "
        "print([m for m in ('pandas', 'ai_edge_litert', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_page_of_a_batch_says_how_much_must_be_reviewed(served: Any) -> None:
    with served.client() as client:
        assert "Say which share" in client.get("/batch/monday").text
        page = client.get("/batch/monday?percent=20").text
        assert "Nobody audited the accepted readings of type integer" in page
        assert client.post("/audit/draw", data={"count": "31"}).status_code == 204
        claim = client.get("/audit").text.split('data-claim="')[1].split('"')[0]
        with schema.reading(served.engine) as session:
            cells = session.get_one(tables.Claim, claim).cells
        said = {str(place): {"text": "31"} for place in range(len(cells))}
        saved = client.post(f"/claims/{claim}/keyed", json={"said": said, "ms": 1})
        assert saved.status_code == 200
        page = client.get("/batch/monday?percent=20").text
        (told,) = client.get("/certificate?batch=monday&percent=20").json()
        assert client.get("/batch/monday?percent=0").status_code == 422
        refused = client.get("/certificate?batch=monday")
    (found,) = told["certificates"]
    assert (found["readings"], found["audited"], found["wrong"]) == (31, len(cells), 0)
    assert found["rest_bound"] == upper_bound(0, len(cells))
    assert found["sentence"] in html.unescape(page)
    assert found["population"] in html.unescape(page)
    assert "of 31 advised" in page
    assert (refused.status_code, "needs a target" in refused.text) == (404, True)


def test_what_is_tried_is_read_by_the_promoted_model(
    served: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "models" / "mine"
    mine.mkdir(parents=True)
    delivered = resources.folder("models") / "simple-cnn"
    shutil.copy(delivered / "model.tflite", mine)
    card = json.loads((delivered / "card.json").read_text()) | {"name": "mine"}
    (mine / "card.json").write_text(json.dumps(card))
    with schema.writing(served.engine) as session:
        promotions.promote(session, mine, by="ana", now=served.desk.now())
    desk = replace(served.desk, settings=Settings(sequence="none"))
    white = np.full((40, 30), 255, np.uint8)
    assert trial._read(white, desk).reading.model == "mine"
    shutil.rmtree(mine)
    _, data = cv2.imencode(".png", white)
    with served.client() as client:
        gone = client.post("/try/digit", content=data.tobytes())
    assert (gone.status_code, "promoted by ana" in gone.json()["message"]) == (503, True)


def test_only_a_supervisor_sees_and_takes_back_the_work_of_others(served: Any) -> None:
    with (
        served.client("eve", supervisor=True) as eve,
        served.client("ana") as ana,
        served.client("ben") as ben,
    ):
        claim = ana.post("/group/5/next").text.split('data-claim="')[1].split('"')[0]
        assert ana.post(f"/claims/{claim}/save", json={"marks": {"0": "8"}}).is_success
        open_ = ana.post("/group/5/next").text.split('data-claim="')[1].split('"')[0]
        mine, others = ana.get("/people").text, ben.get("/people").text
        assert "Your work" in mine
        assert "<td>ana</td>" in mine
        assert "<td>ana</td>" not in others
        assert "/people/revert" not in mine
        seen = eve.get("/people").text
        assert seen.count("<td>ana</td>") == 2
        values = json.loads(
            html.unescape(seen.split("/people/revert\" hx-vals='")[1].split("'")[0])
        )
        for way, body in (("free", {"claim": open_}), ("revert", values)):
            refused = ben.post(f"/people/{way}", data=body)
            assert (refused.status_code, "printed" in refused.text) == (422, True)
            done = eve.post(f"/people/{way}", data=body)
            assert done.is_success, done.text
        assert "200 decisions of ana" in done.text
        assert ben.post("/group/5/next").text.count('role="gridcell"') == 200
        again = eve.post("/people/free", data={"claim": open_})
        assert again.status_code == 422
    with schema.reading(served.engine) as session:
        said = session.scalars(select(tables.Decision)).all()
    assert sum(one.verdict == "withdrawn" for one in said if one.glyph_id) == 200


def test_regions_are_parts_of_the_page_and_bounded(served: Any) -> None:
    with served.client() as client:
        part = client.get("/page/1/region.webp?left=20&top=20&right=200&bottom=44&scale=3")
        gray = cv2.imdecode(np.frombuffer(part.content, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert gray is not None
        assert gray.shape == (72, 540)
        assert gray.min() < 100 < 200 < gray.mean()  # the field's border, on paper
        for wrong in ("right=20&bottom=44&scale=3", "right=200&bottom=9999&scale=3",
                      "right=200&bottom=44&scale=9"):  # fmt: skip
            assert not client.get(f"/page/1/region.webp?left=20&top=20&{wrong}").is_success
        assert client.get("/page/1/image.webp?scale=2").is_success
        assert client.get("/page/99/image.webp?scale=2").status_code == 404


def test_least_sure_readings_are_sent_only_where_the_meter_asks(served: Any) -> None:
    with served.client() as client:
        refused = client.post("/batch-review", data={"batch": "monday", "percent": "5"})
    assert (refused.status_code, "waits already" in refused.text) == (422, True)


def test_scans_that_are_not_here_are_not_read_again(served: Any) -> None:
    with served.client() as client:
        refused = client.post("/batch-retry", data={"batch": "monday"})
        assert (refused.status_code, "not where they were" in refused.text) == (422, True)
        assert client.post("/batch-retry", data={"batch": "none"}).status_code == 422
        assert "scans/torn.png" in client.get("/parts/failed?batch=monday").text


@pytest.mark.slow
def test_a_failed_page_is_read_again_from_the_browser(
    served: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(resources.folder("sample_forms") / "clinic-tally", "forms/clinic-tally")
    scan = sorted((tmp_path / "forms/clinic-tally/scans").glob("*.*"))[0]
    (tmp_path / "scans").mkdir()
    shutil.copy(scan, "scans/late.png")
    monkeypatch.setenv("DIGITOCR_SEQUENCE", "none")
    sha256, now = hashlib.sha256(scan.read_bytes()).hexdigest(), served.desk.now()
    with schema.writing(served.engine) as session:  # its form was not there yet
        model = session.scalars(select(tables.Model.fingerprint)).first()
        late = Document(sha256, 1)
        store.add_arrival(session, "monday", "scans/late.png", late, "png", now)
        failed = PageReading(sha256, 1, PageStatus.FAILED, "is of no form")
        store.save_page(session, failed, model=model, now=now)
    with served.client() as client:
        assert "is of no form" in client.get("/parts/failed?batch=monday").text
        body = {"batch": "monday", "source": "scans/late.png"}
        shown = client.post("/batch-retry", data=body).text
        assert "1 scan being read again" in shown
        assert 'hx-trigger="every 2s"' in shown
        busy = client.post("/batch-retry", data=body)
        assert (busy.status_code, "wait for it" in busy.text) == (422, True)
        served.desk.retrying.last.process.wait(120)
        shown = client.get("/parts/failed?batch=monday").text
        assert "every 2s" not in shown
        assert "Read again; what is still listed" in shown, shown
        page = client.get("/batch/monday").text
    assert "scans/late.png" in page.split('id="failed-pages"')[1]
    assert "scans/late.png" not in page.split('id="failed-pages"')[1].split("<h2>Pages")[0]


def test_batches_that_take_long_to_count_are_not_waited_for(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Semaphore(0), threading.Event()
    counted = batches.list_batches

    def slowly(session: Any) -> Any:
        began.release()
        assert go_on.wait(30)
        return counted(session)

    monkeypatch.setattr(batches, "list_batches", slowly)
    tally = served.desk.tally
    with served.client() as client:
        page = client.get("/").text
        assert "being counted" in page
        assert "every 2s" in page
        client.get("/")
        go_on.set()
        tally._counting.join(30)
        assert "/batch/monday" in client.get("/").text
        tally._took_s = 60.0  # as over a million readings: shown as it was, not counted anew
        for _ in range(3):
            assert "/batch/monday" in client.get("/parts/batches").text
    assert began.acquire(blocking=False)
    while began.acquire(blocking=False):
        pass
    with served.client() as client:
        client.get("/")
    assert not began.acquire(blocking=False)
