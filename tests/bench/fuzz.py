"""Fuzzing of what takes files from strangers: pictures, PDFs and form templates.

    python tests/bench/fuzz.py picture|pdf|template [--minutes N] [--corpus DIR] [--seed S]
    python tests/bench/fuzz.py pdf --again FILE…

Guided by coverage (atheris, libFuzzer) from small files of every kind drawn here. What must
come of any bytes is a page, a form, or one line of text; anything else, twenty seconds or two
gigabytes are findings: their bytes are kept in the corpus's folder `findings`, and fuzzing goes
on. `--again` runs such files once more.

atheris is no dependency of digitocr, and not for every Python. Where it is missing:

    python3.11 -m venv fuzzing && fuzzing/bin/pip install atheris
    PYTHONPATH=.:.venv/lib/python3.11/site-packages fuzzing/bin/python tests/bench/fuzz.py pdf
"""

from __future__ import annotations

import argparse
import io
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

LONGEST_S = 20
MOST_MB = 2048
MOST_BYTES = 1 << 16
MEGAPIXELS = 2
SAMPLES = Path(__file__).parents[2] / "sample_forms"
DRAWING = b"q 0.5 g 10 10 100 40 re f 0 G 4 w 20 120 m 200 150 l S Q BT /F1 12 Tf (12) Tj ET\n"


def main() -> None:
    """Fuzz one target for some minutes, and say how much was tried and found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--corpus", type=Path, help="kept from run to run; else a new folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=Path, nargs="+", metavar="FILE", help="try these once")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.again:
        attempt = TARGETS[asked.target][0]()
        for file in asked.again:
            attempt(file.read_bytes())
            print(f"{file}: well")
        return
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit("fuzz: atheris is not installed; " + __doc__.split("missing:")[1].strip())
    if asked.child is not None:
        fuzz(asked.target, asked.child)
        return
    folder = asked.corpus or Path(tempfile.mkdtemp(prefix="digitocr-fuzz-"))
    sys.exit(keep_fuzzing(asked.target, asked.minutes * 60, folder, asked.seed))


def keep_fuzzing(target: str, seconds: float, folder: Path, seed: int) -> int:
    """Start libFuzzer again whenever it stopped at a finding; 1 if there was one."""
    corpus, findings = folder / target, folder / "findings"
    for place in (corpus, findings):
        place.mkdir(parents=True, exist_ok=True)
    for name, data in TARGETS[target][1]().items():
        (corpus / f"seed-{name}").write_bytes(data)
    ends = time.monotonic() + seconds
    executions, found = 0, []
    while (left := int(ends - time.monotonic())) > 0:
        words = [
            f"-max_total_time={left}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MB}",
            f"-max_len={MOST_BYTES}", f"-artifact_prefix={findings}/{target}-",
            f"-seed={seed}", "-print_final_stats=1", "-verbosity=1", str(corpus),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__, target, "--child", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
        counts = [int(n) for n in re.findall(r"^#(\d+)\s", said, re.MULTILINE)]
        counts += [int(n) for n in re.findall(r"number_of_executed_units: (\d+)", said)]
        executions += max(counts, default=0)
        kept = re.findall(r"Test unit written to (\S+)", said)
        if done.returncode and not kept:
            sys.stdout.write(said[-3000:])
            sys.exit(f"fuzz: atheris ended with {done.returncode}")
        for file in kept:
            found.append(file)
            print(f"finding: {file}\n{said[-2500:]}", flush=True)
        seed += 1
    print(
        f"{target}: {executions} executions in {seconds / 60:.1f} minutes, "
        f"{len(found)} findings; corpus {corpus}"
    )
    return 1 if found else 0


def fuzz(target: str, words: list[str]) -> None:
    """Be libFuzzer, from here to the end of the process."""
    import atheris

    with atheris.instrument_imports(include=["digitocr", "PIL", "tomllib"]):
        attempt = TARGETS[target][0]()

    def changed(data: bytes, most: int, _seed: int) -> bytes:
        """Change some bytes; a PNG's checksums follow, or nothing behind them is reached."""
        return with_checksums(atheris.Mutate(data, most))[:most]

    how = {"custom_mutator": changed} if target == "picture" else {}
    atheris.Setup([sys.argv[0], *words], attempt, **how)
    atheris.Fuzz()


# ---------------------------------------------------------------- what is tried


def scan_reader(scratch: Path | None = None) -> Callable[[bytes], None]:
    """Make what opens bytes as a scan and decodes its first pages."""
    from digitocr import scans
    from digitocr.errors import ScanError

    path = (scratch or Path(tempfile.mkdtemp(prefix="digitocr-fuzz-"))) / "scan.bin"

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with scans.open_scan(path, max_megapixels=MEGAPIXELS) as scan:
                for number in range(1, min(scan.document.page_count, 3) + 1):
                    image = scan.page(number).image
                    if image.ndim != 2 or not image.size:
                        raise AssertionError(f"a page of shape {image.shape}")
        except ScanError as error:
            if not str(error).isprintable():
                raise AssertionError(f"not one line: {error!r}") from error

    return attempt


def template_reader() -> Callable[[bytes], None]:
    """Make what loads bytes as `template.toml`, and again from the text that is stored."""
    from digitocr import templates
    from digitocr.errors import TemplateError

    folder = Path(tempfile.mkdtemp(prefix="digitocr-fuzz-"))
    (folder / "blank.png").write_bytes(picture("PNG", size=(60, 60)))

    def attempt(data: bytes) -> None:
        (folder / templates.FILE_NAME).write_bytes(data)
        try:
            form = templates.load(folder)
        except TemplateError:
            return
        stored = templates.from_source(form.source)
        if [field.name for field in stored.fields] != [field.name for field in form.fields]:
            raise AssertionError("the stored template has other fields")
        if set(templates.field_types(form.source)) != {field.name for field in form.fields}:
            raise AssertionError("the types are of other fields")

    return attempt


# ---------------------------------------------------------------- what it begins with


def picture(
    form: str, size: tuple[int, int] = (40, 30), mode: str = "L", **how: object
) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).line((3, 3, size[0] - 5, size[1] - 4), fill=0, width=3)
    out = io.BytesIO()
    image.convert(mode).save(out, form, **how)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    """Draw a small picture of every kind that is read."""
    from PIL import Image

    second = Image.new("1", (32, 20), 1)
    return {
        "png": picture("PNG"),
        "png-rgba": picture("PNG", mode="RGBA", dpi=(300, 300)),
        "png-palette": picture("PNG", mode="P"),
        "png-1": picture("PNG", mode="1"),
        "jpeg": picture("JPEG", dpi=(200, 100)),
        "jpeg-rgb": picture("JPEG", mode="RGB", progressive=True),
        "jpeg-cmyk": picture("JPEG", mode="CMYK"),
        "bmp": picture("BMP"),
        "bmp-rgb": picture("BMP", mode="RGB"),
        "webp": picture("WEBP"),
        "webp-lossless": picture("WEBP", lossless=True, mode="RGBA"),
        "tiff": picture("TIFF"),
        "tiff-g4": picture("TIFF", mode="1", compression="group4"),
        "tiff-g3": picture("TIFF", mode="1", compression="group3"),
        "tiff-lzw": picture("TIFF", compression="tiff_lzw"),
        "tiff-deflate": picture("TIFF", mode="RGB", compression="tiff_deflate"),
        "tiff-packbits": picture("TIFF", mode="1", compression="packbits"),
        "tiff-jpeg": picture("TIFF", mode="RGB", compression="jpeg"),
        "tiff-16": picture("TIFF", mode="I;16"),
        "tiff-two": picture("TIFF", mode="1", save_all=True, append_images=[second]),
        "tiff-big": picture("TIFF", big_tiff=True),
    }


def pdf(*pages: bytes, extra: tuple[bytes, ...] = (), resources: bytes = b"") -> bytes:
    """Write a PDF by hand: its pages' contents, and what else it holds from object 10 on."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * n) for n in range(len(pages)))
    objects = [
        (1, b"<< /Type /Catalog /Pages 2 0 R >>"),
        (2, b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages))),
    ]
    for number, content in enumerate(pages):
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 240 160] /Contents %d 0 R %s >>"
        objects.append((3 + 2 * number, page % (4 + 2 * number, resources)))
        stream = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
        objects.append((4 + 2 * number, stream))
    objects += list(enumerate(extra, 10))
    body, places = b"%PDF-1.5\n", []
    for number, content in objects:
        places.append((number, len(body)))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"xref\n0 1\n0000000000 65535 f \n"
    table += b"".join(b"%d 1\n%010d 00000 n \n" % one for one in places)
    end = b"trailer << /Size 20 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + table + end


def image_object(data: bytes, filters: bytes, how: bytes, bits: int = 8) -> bytes:
    return (
        b"<< /Type /XObject /Subtype /Image /Width 40 /Height 30 /BitsPerComponent %d %s "
        b"/Filter %s /Length %d >>\nstream\n%s\nendstream"
        % (bits, how, filters, len(data), data)
    )


def pdfs() -> dict[str, bytes]:
    """Write small PDFs: scans inside by several filters, drawings, forms, several pages."""
    scan = b"q 240 0 0 160 0 0 cm /I Do Q"
    use = b"/Resources << /XObject << /I 10 0 R >> /Font << /F1 11 0 R >> >>"
    gray = b"/ColorSpace /DeviceGray"
    raw = bytes(range(240)) * 5
    fax = picture("TIFF", mode="1", compression="group4")
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    shown = {
        "jpeg": image_object(picture("JPEG"), b"/DCTDecode", gray),
        "flate": image_object(zlib.compress(raw), b"/FlateDecode", gray),
        "fax": image_object(
            fax[8:], b"/CCITTFaxDecode", gray + b" /DecodeParms << /K -1 /Columns 40 >>", 1
        ),
        "hex": image_object(raw.hex().encode() + b">", b"[/ASCIIHexDecode]", gray),
        "palette": image_object(
            zlib.compress(raw),
            b"/FlateDecode",
            b"/ColorSpace [/Indexed /DeviceRGB 1 <00ff00ff0000>]",
        ),
        "mask": image_object(zlib.compress(raw[:150]), b"/FlateDecode", b"/ImageMask true", 1),
    }
    found = {
        f"scan-{name}": pdf(scan, extra=(one, font), resources=use)
        for name, one in shown.items()
    }
    found["drawn"] = pdf(DRAWING, extra=(b"null", font), resources=use)
    found["three"] = pdf(DRAWING, scan, b"", extra=(shown["jpeg"], font), resources=use)
    found["turned"] = pdf(scan, extra=(shown["jpeg"],), resources=use + b" /Rotate 90")
    found["note"] = pdf(
        DRAWING,
        extra=(b"<< /Type /Annot /Subtype /Square /Rect [9 9 99 99] /C [1 0 0] >>", font),
        resources=b"/Annots [10 0 R] /Resources << /Font << /F1 11 0 R >> >>",
    )
    found["by-pillow"] = picture("PDF")
    return found


def template_sources() -> dict[str, bytes]:
    """Take the templates of the sample forms, and a short one for a small picture."""
    found = {
        file.parent.name: file.read_bytes().replace(b"reference", b"# reference")
        for file in sorted(SAMPLES.glob("*/template.toml"))
    }
    found["small"] = b"""name = "a"
version = 1
[[pages]]
width = 60
height = 60
dpi = 50
reference = "blank.png"
anchors = [{kind = "aruco", center = [9, 9], size = 5, id = 1}]
identifier = {kind = "qr", box = [1, 1, 9, 9]}
[[fields]]
name = "b"
box = [5, 5, 50, 20]
kind = "boxed"
cells = 6
type = "integer"
max_length = 6
checks = [{rule = "pattern", pattern = "[0-9]+"}, {rule = "range", min = 1, max = 9}]
[[rules]]
rule = "sum"
of = ["b"]
equals = "b"
[print]
labels = {b = "B"}
"""
    return found


def with_checksums(data: bytes) -> bytes:
    """Write the right checksum behind every chunk of a PNG; other bytes stay as they are."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, at)
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)


TARGETS: dict[str, tuple[Callable[[], Callable[[bytes], None]], Callable[[], dict[str, bytes]]]]
TARGETS = {
    "picture": (scan_reader, pictures),
    "pdf": (scan_reader, pdfs),
    "template": (template_reader, template_sources),
}

if __name__ == "__main__":
    main()
