"""Folders full of broken, hostile and oddly named files, through `digitocr process`.

Every file must be named: read, or failed with its cause. Good scans among them are read as
ever, nothing hangs, and no damage makes a number that is accepted and wrong: what is broken
here was a slip whose truth is known. Files are made from seeds. A hundred are in `make test`,
two thousand in `make soak`, there by processes that have a limit of time.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitocr import scans
from digitocr.batch.reading import DIED, TOO_LARGE
from digitocr.errors import ScanError
from digitocr.scans import opening

ROOT = Path(__file__).parent.parent
PARTIAL = 3
GOOD = 3
LINKED = 3  # scans of the workplace, which a link in the folder leads to
BUG = "this is a bug"
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def truth(slips) -> dict[str, dict[str, str]]:
    """Give the truth of each slip: field → value."""
    found: dict[str, dict[str, str]] = {}
    with (slips / "scans" / "truth.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(Path(row["source"]).stem, {})[row["field"]] = row["value"]
    return found


@pytest.fixture(scope="module")
def whole(slips) -> dict[str, bytes]:
    """Save slips in every format that is read: `<slip>.<kind>` → bytes."""
    found = {}
    for number in range(1, 9):
        name = f"slip-00{number}"
        with Image.open(slips / "scans" / f"{name}.png") as picture:
            gray = picture.convert("L")
        for kind, data in saved(gray).items():
            found[f"{name}.{kind}"] = data
    return found


def saved(gray: Image.Image) -> dict[str, bytes]:
    def one(form: str, mode: str = "L", **how: object) -> bytes:
        out = io.BytesIO()
        gray.convert(mode).save(out, form, **how)
        return out.getvalue()

    dpi = {"dpi": (100, 100)}
    more = [gray.copy(), gray.copy()]
    return {
        "png": one("PNG", **dpi),
        "rgba.png": one("PNG", "RGBA", **dpi),
        "palette.png": one("PNG", "P", **dpi),
        "jpg": one("JPEG", quality=90, **dpi),
        "color.jpg": one("JPEG", "RGB", quality=90, progressive=True, **dpi),
        "bmp": one("BMP", **dpi),
        "webp": one("WEBP", quality=90),
        "lossless.webp": one("WEBP", lossless=True),
        "clear.webp": one("WEBP", "RGBA", quality=80),
        "plain.tif": one("TIFF", **dpi),
        "lzw.tif": one("TIFF", compression="tiff_lzw", **dpi),
        "g4.tif": one("TIFF", "1", compression="group4", **dpi),
        "three.tif": one("TIFF", save_all=True, append_images=more, **dpi),
        "pdf": one("PDF", resolution=100, quality=90),
        "fax.pdf": one("PDF", "1", resolution=100),
        "three.pdf": one("PDF", save_all=True, append_images=more, resolution=100),
    }


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file short, flip bits of it, blot out or double a part, or write over its head."""
    odd = bytearray(data)
    way = rng.integers(6)
    if way == 0:
        return bytes(odd[: rng.integers(1, len(odd))])
    if way == 1:
        for place in rng.integers(0, len(odd), rng.integers(1, 9)):
            odd[place] ^= 1 << rng.integers(8)
    elif way == 2:
        start = int(rng.integers(len(odd)))
        length = int(rng.integers(1, 600))
        odd[start : start + length] = bytes(len(odd[start : start + length]))
    elif way == 3:
        start, end = sorted(rng.integers(0, len(odd), 2))
        del odd[start : min(end, start + 4000)]
    elif way == 4:
        start = int(rng.integers(len(odd)))
        odd[start:start] = odd[max(0, start - 700) : start]
    else:
        for place in rng.integers(0, min(len(odd), 200), 4):
            odd[place] = rng.integers(256)
    return bytes(odd)


def break_files(folder: Path, whole: dict[str, bytes], count: int, seed: int) -> dict[str, str]:
    """Write so many broken files; gives the slip that each was, by its source."""
    rng = np.random.default_rng(seed)
    kinds = sorted(whole)
    came = {}
    for number in range(count):
        kind = kinds[int(rng.integers(len(kinds)))]
        slip, _, ending = kind.partition(".")
        file = folder / f"{number:04}.{ending}"
        file.write_bytes(damaged(whole[kind], rng))
        came[f"{folder.name}/{file.name}"] = slip
    return came


# ---------------------------------------------------------------- made to do harm


def pdf(*objects: bytes, trailer: bytes = b"/Root 1 0 R") -> bytes:
    """Write a PDF of objects 1, 2, … by hand."""
    body, places = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n"
    return body + table + end % (len(objects) + 1, trailer, len(body))


def stream(data: bytes, how: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), how, data)


def one_page(content: bytes, *more: bytes, page: bytes = b"/MediaBox [0 0 345 259]") -> bytes:
    return pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R %s >>" % page,
        content,
        *more,
    )


def drawing_bomb() -> bytes:
    """Write half a megabyte that is 280 MB of drawing: minutes."""
    lines = zlib.compress(b"0 0 m 9 9 l S " * 20_000_000)
    return one_page(stream(lines, b"/Filter /FlateDecode"))


def hostile_pdfs() -> dict[str, bytes]:
    flate = b"/Filter /FlateDecode"
    double = zlib.compress(zlib.compress(bytes(300 * MEBIBYTE)))
    box = b"/MediaBox [0 0 345 259]"
    image = b"/Type /XObject /Subtype /Image /BitsPerComponent 8 /ColorSpace /DeviceGray "
    shown = box + b" /Resources << /XObject << /I 5 0 R >> >>"
    scan = stream(b"q 345 0 0 259 0 0 cm /I Do Q")
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 345 259] /Resources << /XObject << "
    return {
        "page-tree-in-a-circle": pdf(
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>",
        ),
        "million-pages": pdf(
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1000000 >>",
            b"<< /Type /Page /Parent 2 0 R " + box + b" >>",
        ),
        "no-root": pdf(b"null", trailer=b""),
        "table-in-a-circle": one_page(stream(b"")).replace(b"/Root", b"/Prev 9 /Root"),
        "deep": one_page(b"[" * 30_000 + b"]" * 30_000),
        "bomb-in-bomb": one_page(
            scan,
            stream(
                double, image + b"/Width 100 /Height 100 /Filter [/FlateDecode /FlateDecode]"
            ),
            page=shown,
        ),
        "huge-page": one_page(stream(b""), page=b"/MediaBox [0 0 9000000 9000000]"),
        "endless-page": one_page(
            stream(b""), page=b"/MediaBox [0 0 " + b"9" * 60 + b" " + b"9" * 60 + b"]"
        ),
        "no-size": one_page(stream(b""), page=b"/MediaBox [0 0 0 0]"),
        "huge-image": one_page(
            scan, stream(b"x", image + b"/Width 60000 /Height 60000 " + flate), page=shown
        ),
        "form-in-itself": one_page(
            stream(b"/I Do"), stream(b"/I Do", form + b"/I 5 0 R >> >>"), page=shown
        ),
        "jpx": one_page(
            scan,
            stream(bytes(99), image + b"/Width 48 /Height 36 /Filter /JPXDecode"),
            page=shown,
        ),
        "jbig2": one_page(
            scan,
            stream(bytes(range(99)), image + b"/Width 48 /Height 36 /Filter /JBIG2Decode"),
            page=shown,
        ),
        "unknown-filter": one_page(
            scan, stream(b"x", image + b"/Width 4 /Height 4 /Filter /\xff\xfe"), page=shown
        ),
        "script": pdf(
            b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript "
            b"/JS (while (true) {}) >> >>",
            b"<< /Type /Pages /Kids [] /Count 0 >>",
        ),
    }


def png_chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def hostile_pictures() -> dict[str, bytes]:
    head = b"\x89PNG\r\n\x1a\n"

    def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8) -> bytes:
        size = width.to_bytes(4) + height.to_bytes(4) + bytes([depth, 0, 0, 0, 0])
        all_chunks = [(b"IHDR", size), *chunks, (b"IEND", b"")]
        return head + b"".join(png_chunk(*one) for one in all_chunks)

    pixels = zlib.compress(bytes((1 + 1250) * 10_000))
    text = b"Comment\0\0" + zlib.compress(bytes(200 * MEBIBYTE))
    jpeg = io.BytesIO()
    Image.new("L", (48, 36), 255).save(jpeg, "JPEG")
    wide = jpeg.getvalue().replace(b"\0\x24\0\x30", b"\xff\xdc\xff\xdc", 1)
    chain = b"".join(struct.pack("<HI", 0, 14 + 6 * n) for n in range(20_000))
    return {
        "bomb.png": png(60_000, 60_000, (b"IDAT", pixels)),
        "black.png": png(10_000, 10_000, (b"IDAT", pixels), depth=1),  # 12 kB, 100 megapixels
        "promise.png": png(14_000, 14_000, (b"IDAT", zlib.compress(b""))),
        "text.png": png(48, 36, (b"zTXt", text), (b"IDAT", zlib.compress(bytes(49 * 36)))),
        "no-pixels.png": png(48, 36),
        "zero.png": png(0, 0),
        "line.png": png(100_000, 1, (b"IDAT", zlib.compress(bytes(100_001)))),
        "wide.jpg": wide,
        "chain.tif": struct.pack("<4sI", b"II*", 8) + chain,
        "circle.tif": struct.pack("<4sIHI", b"II*", 8, 0, 8),
        "far.tif": struct.pack("<4sIQ", b"II+", 8, 2**64 - 1),
        "head.bmp": b"BM" + bytes(60),
        "negative.bmp": struct.pack("<2s8xIIII40x", b"BM", 54, 40, 2**31, 2**31),
        "empty.png": b"",
        "one-byte.jpg": b"\xff",
        "zeros.tif": bytes(100_000),
        "text.pdf": b"%PDF-1.4 is all there is\n%%EOF",
        "letter.png": b"Dear Sir or Madam,\n" * 100,
        "archive.pdf": b"PK\x03\x04" + bytes(500),
    }  # fmt: skip


def odd_names() -> list[bytes]:
    return [
        b"new\nline.png",
        b"tab\tand\rreturn.png",
        b"\xff\xfe no text.png",
        b"-rf.png",
        b"--help.png",
        b"=cmd|' C calc'!A0.png",
        b"quote'\" and $(space).png",
        b"[markup] {braces} %s %d.png",
        "rechts\u202egnp.txt.png".encode(),
        "é ö 中文.png".encode(),
        b"x" * 251 + b".png",
        b"escape\x1b[31m.png",
    ]


def write_hostile(folder: Path, good: bytes) -> set[str]:
    """Write what is broken on purpose, and good scans under odd names; gives the sources."""
    for name, data in hostile_pictures().items():
        (folder / f"h-{name}").write_bytes(data)
    for name, data in hostile_pdfs().items():
        (folder / f"h-{name}.pdf").write_bytes(data)
    for number, name in enumerate(odd_names()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(good + bytes(number))
    (folder / "h-circle.png").symlink_to("h-circle.png")
    (folder / "h-nowhere.png").symlink_to("gone.png")
    (folder / "h-up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "h-here").symlink_to(".", target_is_directory=True)
    os.mkfifo(folder / "h-pipe.png")
    (folder / "h-folder.png").mkdir()
    with (folder / "h-huge.tif").open("wb") as sparse:
        sparse.truncate(opening.MOST_BYTES + 1)
    return {file.source for file in scans.find([Path(folder.name)])}


# ---------------------------------------------------------------- through the command


def check(
    exported: str,
    err: str,
    sources: set[str],
    came: dict[str, str],
    truth: dict[str, dict[str, str]],
) -> dict[str, str]:
    """Check that every file is named, and that nothing accepted is wrong; gives the causes."""
    assert "Traceback" not in err, err
    rows = [json.loads(line) for line in exported.splitlines()]
    named = {row["source"] for row in rows} | blank_pages()
    named |= {
        line.removeprefix("failed: ").rpartition(" page ")[0]
        for line in err.splitlines()
        if line.startswith("failed: ")
    }
    lost = {one for one in sources if one not in named and shown(one) not in named}
    assert lost == set()
    causes = {}
    for row in rows:
        if row["status"] == "failed":
            causes[row["source"]] = cause = row["reasons"][0]
            assert BUG not in cause, row
            assert cause.isprintable()
        elif row["status"] == "accepted" and row["source"] in came:
            assert row["value"] == truth[came[row["source"]]][row["field"]], row
    return causes


def blank_pages() -> set[str]:
    """List what became blank; of damaged PDF alone, where the name of a picture is lost."""
    with closing(sqlite3.connect("digitocr.db")) as connection:
        found = connection.execute(
            "SELECT a.source FROM arrivals a JOIN pages p ON p.document_id = a.document_id "
            "JOIN page_readings r ON r.page_id = p.id WHERE r.status = 'blank'"
        ).fetchall()
    assert all(source.endswith(".pdf") for (source,) in found), found
    return {source for (source,) in found}


def shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def good_scans(slips: Path, folder: Path) -> dict[str, str]:
    """Put good scans among the others, under names of their own."""
    folder.mkdir(exist_ok=True)
    came = {}
    for number in range(1, GOOD + 1):
        file = folder / f"good-{number}.png"
        shutil.copy(slips / "scans" / f"slip-00{number}.png", file)
        came[f"{folder.name}/{file.name}"] = f"slip-00{number}"
    return came


def check_good(exported: str, truth: dict[str, dict[str, str]], good: dict[str, str]) -> None:
    read = [json.loads(line) for line in exported.splitlines()]
    for source, slip in good.items():
        values = {row["field"]: row["reading"] for row in read if row["source"] == source}
        assert values == truth[slip], source


@pytest.mark.slow
def test_a_hundred_broken_files_are_named_and_the_good_ones_read(
    digitocr, workplace, slips, whole, truth
):
    folder = workplace / "broken"
    good = good_scans(slips, folder)
    came = break_files(folder, whole, 100, seed=1) | good
    sources = {file.source for file in scans.find([Path("broken")])}
    done = digitocr("process", "broken")
    assert done.code == PARTIAL
    exported = digitocr("export", "--format", "jsonl").out
    causes = check(exported, done.err, sources, came, truth)
    assert len(causes) > 30
    check_good(exported, truth, good)
    known = f"{len(sources)} of {len(sources)} files read before."
    assert known in digitocr("process", "broken").out


@pytest.mark.slow
def test_hostile_files_and_odd_names_are_named_in_time(digitocr, workplace, slips, truth):
    folder = workplace / "hostile"
    good = good_scans(slips, folder)
    sources = write_hostile(folder, (slips / "scans" / "slip-004.png").read_bytes())
    began = time.monotonic()
    done = digitocr("process", "hostile")
    assert done.code == PARTIAL
    assert time.monotonic() - began < 60
    exported = digitocr("export", "--format", "jsonl").out
    causes = check(exported, done.err, sources, good, truth)
    check_good(exported, truth, good)
    read = {json.loads(line)["source"] for line in exported.splitlines()} - set(causes)
    assert len(read) == GOOD + len(odd_names()) + LINKED
    assert all("\n" not in line for line in done.lines)


# ---------------------------------------------------------------- a PDF that lost its scan


def test_a_pdf_page_whose_scan_is_drawn_into_a_point_is_not_blank(whole, tmp_path):
    placed = b"q 345.600000 0 0 259.200000 0 0 cm"
    head, found, tail = whole["slip-001.three.pdf"].rpartition(placed)
    assert found
    file = tmp_path / "scan.pdf"
    file.write_bytes(head + b"q   1.000000 0 0   1.000000 0 0 cm" + tail)
    with scans.open_scan(file) as scan:
        assert scan.page(2).image.min() < 128
        with pytest.raises(ScanError, match="shows nothing of the pictures"):
            scan.page(3)


@pytest.mark.parametrize("other", [b"null", b"<< /Type /Page /Parent 2 0 R >>"])
def test_an_empty_pdf_page_is_blank_only_where_no_other_page_is_lost(tmp_path, other):
    file = tmp_path / "scan.pdf"
    file.write_bytes(
        pdf(
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 /MediaBox [0 0 345 259] >>",
            b"<< /Type /Page /Parent 2 0 R >>",
            other,
        )
    )
    with scans.open_scan(file) as scan:
        if other == b"null":
            with pytest.raises(ScanError, match="shows nothing of the pictures"):
                scan.page(1)
        else:
            assert scan.page(1).image.min() == 255


# ---------------------------------------------------------------- WebP, which has no checksum

WEBPS: dict[str, dict[str, object]] = {
    "lossy": {"quality": 90},
    "rough": {"quality": 20, "method": 0},
    "lossless": {"lossless": True},
    "transparent": {"quality": 80, "alpha_quality": 50},
    "moving": {"save_all": True, "quality": 80},
}


def webp(picture: Image.Image, kind: str) -> bytes:
    how = dict(WEBPS[kind])
    if kind == "transparent":
        picture = picture.convert("RGBA")
        picture.putalpha(picture.convert("L").rotate(7).point(lambda v: 255 if v > 90 else v))
    if kind == "moving":
        how["append_images"] = [picture.rotate(5)]
    out = io.BytesIO()
    picture.save(out, "WEBP", **how)
    return out.getvalue()


def decoded(file: Path, data: bytes) -> np.ndarray | None:
    """Decode a scan, or give None where it is refused with a cause that says what to do."""
    file.write_bytes(data)
    try:
        with scans.open_scan(file) as scan:
            return scan.page(1).image
    except ScanError as error:
        assert "scan the page again" in str(error) or "save it as" in str(error)
        return None


@pytest.mark.parametrize("kind", WEBPS)
def test_a_webp_that_is_cut_or_flipped_is_refused_and_never_loses_its_ink(
    slips, tmp_path, kind
):
    """Of a lossless one a flip may leave every code as long as it was: nothing tells then."""
    with Image.open(slips / "scans" / "slip-001.png") as slip:
        data = webp(slip.convert("L"), kind)
    file = tmp_path / "scan.webp"
    whole = decoded(file, data)
    ink = whole < 128
    rng = np.random.default_rng(7)
    # The first picture of two ends in the middle: what is cut behind it is not its pixels.
    length = len(data)
    for end in rng.integers(1, length, 40):
        cut = bytearray(data[:end])
        assert decoded(file, bytes(cut)) is None
        if end > 12:  # a copying program may mend the length of the whole
            cut[4:8] = (len(cut) - 8).to_bytes(4, "little")
            assert decoded(file, bytes(cut)) is None
    refused = 0
    for place in rng.integers(100, length // 2 if kind == "moving" else length, 60):
        odd = bytearray(data)
        odd[place] ^= 1 << rng.integers(8)
        image = decoded(file, bytes(odd))
        refused += image is None
        if image is not None:
            assert image.shape == whole.shape
            assert (image[ink] < 170).mean() > 0.3
    assert refused > 50 or kind == "lossless"


def test_a_webp_that_is_whole_is_never_refused(slips, tmp_path):
    """Of any size, paper without anything on it too: its last bytes are always needed."""
    rng = np.random.default_rng(3)
    with Image.open(slips / "scans" / "slip-001.png") as picture:
        slip = picture.convert("L")
    for number in range(60):
        size = tuple(int(side) for side in rng.integers(16, 400, 2))
        pictures = [
            slip.crop((0, 0, *size)),
            slip.resize(size),
            Image.new("L", size, int(rng.integers(256))),
            Image.fromarray(rng.integers(0, 256, size[::-1], np.uint8)),
        ]
        kind = list(WEBPS)[number % len(WEBPS)]
        data = webp(pictures[number % len(pictures)], kind)
        assert decoded(tmp_path / "scan.webp", data) is not None, (number, kind, size)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_two_thousand_broken_files_by_processes(workplace, slips, whole, truth, digitocr, seed):
    """Five hundred a seed, with what is hostile and with a drawing that takes minutes."""
    folder = workplace / "broken"
    good = good_scans(slips, folder)
    came = break_files(folder, whole, 500, seed=10 + seed) | good
    write_hostile(folder, (slips / "scans" / "slip-004.png").read_bytes())
    (folder / "h-drawing.pdf").write_bytes(drawing_bomb())
    sources = {file.source for file in scans.find([Path("broken")])}
    done = subprocess.run(
        [sys.executable, "-m", "digitocr.cli", "process", "broken"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "DIGITOCR_WORKERS": "2",
                          "DIGITOCR_PAGE_SECONDS": "20"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )  # fmt: skip
    assert done.returncode == PARTIAL, done.stderr
    exported = digitocr("export", "--format", "jsonl").out
    causes = check(exported, done.stderr, sources, came, truth)
    check_good(exported, truth, good)
    # Whether time or memory ends it first depends on the machine.
    dead = {source for source, cause in causes.items() if cause.endswith((DIED, TOO_LARGE))}
    assert dead == {"broken/h-drawing.pdf"}
    assert len(causes) > 150
