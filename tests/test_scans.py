"""Scan files: found in order, decoded alike from every format, refused by name when broken."""

import io
import logging
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, TiffImagePlugin
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from digitocr import scans
from digitocr.errors import ScanError
from digitocr.scans import pdf

W, H = 240, 160


@pytest.fixture(autouse=True)
def silent(capfd, caplog):
    """No decoder writes to stdout or stderr or logs a warning, whatever it is given."""
    yield
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def drawing() -> Image.Image:
    """Gray picture that is the same in no other orientation, of levels that 4 bits can say."""
    image = Image.new("L", (W, H), 255)
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 10, 60, 40), fill=0)
    draw.rectangle((10, 110, 100, 150), fill=0x77)
    draw.ellipse((150, 30, 220, 130), outline=0, width=5)
    draw.line((70, 20, 140, 140), fill=0, width=4)
    return image


DRAWING = np.array(drawing())
BINARY = np.where(DRAWING > 200, 255, 0).astype(np.uint8)


def saved(image: Image.Image, form: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def gray() -> Image.Image:
    return Image.fromarray(DRAWING)


def binary() -> Image.Image:
    return Image.fromarray(BINARY).convert("1", dither=Image.Dither.NONE)


def rgb() -> Image.Image:
    return gray().convert("RGB")


def palette() -> Image.Image:
    return rgb().quantize(16)


def clear_paper(mode: str) -> Image.Image:
    """Ink on nothing: black everywhere, and only as opaque as it is dark."""
    alpha = Image.fromarray(255 - DRAWING)
    if mode == "LA":
        return Image.merge("LA", (Image.new("L", (W, H), 0), alpha))
    image = Image.new("RGBA", (W, H), (0, 0, 0, 0))
    image.putalpha(alpha)
    return image


def clear_palette() -> Image.Image:
    image = Image.fromarray(np.where(BINARY > 0, 1, 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    return image


def deep(bits: int) -> np.ndarray:
    return np.rint(DRAWING / 255 * (2**bits - 1)).astype(np.uint16)


def by_cv2(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def fax(compression: str) -> bytes:
    return saved(binary(), "TIFF", compression=compression, dpi=(200, 200))


EXACT: dict[str, tuple[Callable[[], bytes], np.ndarray]] = {
    "png-gray": (lambda: saved(gray(), "PNG"), DRAWING),
    "png-1-bit": (lambda: saved(binary(), "PNG"), BINARY),
    "png-rgb": (lambda: saved(rgb(), "PNG"), DRAWING),
    "png-palette": (lambda: saved(palette(), "PNG"), DRAWING),
    "png-palette-4-bit": (lambda: saved(palette(), "PNG", bits=4), DRAWING),
    "png-gray-alpha": (lambda: saved(clear_paper("LA"), "PNG"), DRAWING),
    "png-rgb-alpha": (lambda: saved(clear_paper("RGBA"), "PNG"), DRAWING),
    "png-clear-color": (lambda: saved(clear_palette(), "PNG", transparency=1), BINARY),
    "png-16-bit": (lambda: by_cv2(".png", deep(16)), DRAWING),
    "png-16-bit-rgb": (lambda: by_cv2(".png", np.dstack([deep(16)] * 3)), DRAWING),
    "tiff-raw": (lambda: saved(gray(), "TIFF"), DRAWING),
    "tiff-white-is-zero": (lambda: saved(gray(), "TIFF", tiffinfo={262: 0}), DRAWING),
    "tiff-lzw": (lambda: saved(rgb(), "TIFF", compression="tiff_lzw"), DRAWING),
    "tiff-deflate": (lambda: saved(gray(), "TIFF", compression="tiff_deflate"), DRAWING),
    "tiff-packbits": (lambda: saved(gray(), "TIFF", compression="packbits"), DRAWING),
    "tiff-big": (lambda: saved(gray(), "TIFF", big_tiff=True), DRAWING),
    "tiff-1-bit": (lambda: saved(binary(), "TIFF"), BINARY),
    "tiff-1-bit-white-is-zero": (lambda: saved(binary(), "TIFF", tiffinfo={262: 0}), BINARY),
    "tiff-group3": (lambda: fax("group3"), BINARY),
    "tiff-group4": (lambda: fax("group4"), BINARY),
    "tiff-palette": (lambda: saved(palette(), "TIFF"), DRAWING),
    "tiff-alpha": (lambda: saved(clear_paper("RGBA"), "TIFF"), DRAWING),
    "tiff-cmyk": (lambda: saved(rgb().convert("CMYK"), "TIFF"), DRAWING),
    "tiff-16-bit": (lambda: saved(Image.fromarray(deep(16)), "TIFF"), DRAWING),
    "tiff-12-in-16-bit": (lambda: saved(Image.fromarray(deep(12)), "TIFF"), DRAWING),
    "tiff-16-bit-white-is-zero": (
        lambda: saved(Image.fromarray(65535 - deep(16)), "TIFF", tiffinfo={262: 0}),
        DRAWING,
    ),
    "tiff-float": (
        lambda: saved(Image.fromarray((DRAWING / 255).astype(np.float32)), "TIFF"),
        DRAWING,
    ),
    "bmp-gray": (lambda: saved(gray(), "BMP"), DRAWING),
    "bmp-rgb": (lambda: saved(rgb(), "BMP"), DRAWING),
    "bmp-1-bit": (lambda: saved(binary(), "BMP"), BINARY),
    "webp-lossless": (lambda: saved(rgb(), "WEBP", lossless=True), DRAWING),
    "webp-alpha": (lambda: saved(clear_paper("RGBA"), "WEBP", lossless=True), DRAWING),
}
LOSSY: dict[str, Callable[[], bytes]] = {
    "jpeg-gray": lambda: saved(gray(), "JPEG", quality=95),
    "jpeg-rgb": lambda: saved(rgb(), "JPEG", quality=95),
    "jpeg-progressive": lambda: saved(rgb(), "JPEG", quality=95, progressive=True),
    "jpeg-cmyk": lambda: saved(rgb().convert("CMYK"), "JPEG", quality=95),
    "tiff-jpeg": lambda: saved(rgb(), "TIFF", compression="jpeg", quality=95),
    "webp-lossy": lambda: saved(rgb(), "WEBP", quality=95),
    "pdf-jpeg": lambda: saved(gray(), "PDF", resolution=200),
    "pdf-rgb": lambda: saved(rgb(), "PDF", resolution=200),
}


def written(tmp_path: Path, data: bytes, name: str = "scan.png") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def only_page(tmp_path: Path, data: bytes, **how):
    with scans.open_scan(written(tmp_path, data), **how) as scan:
        assert scan.document.page_count == 1
        return scan.page(1)


@pytest.mark.parametrize("kind", EXACT)
def test_every_lossless_format_and_depth_gives_the_same_gray(tmp_path, kind):
    make, expected = EXACT[kind]
    page = only_page(tmp_path, make())
    assert page.image.dtype == np.uint8
    np.testing.assert_allclose(page.image.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("kind", LOSSY)
def test_every_lossy_format_gives_nearly_the_same_gray(tmp_path, kind):
    page = only_page(tmp_path, LOSSY[kind]())
    assert page.image.shape == DRAWING.shape
    assert np.abs(page.image.astype(int) - DRAWING).mean() < 3


def test_a_document_is_known_by_the_hash_of_its_bytes(tmp_path):
    data = saved(gray(), "PNG")
    with scans.open_scan(written(tmp_path, data)) as scan:
        assert scan.document.sha256 == sha256(data).hexdigest()


def test_blue_ink_stays_dark(tmp_path):
    page = only_page(tmp_path, saved(Image.new("RGB", (9, 9), (20, 30, 160)), "PNG"))
    assert page.image.max() < 60


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_orientation_says(tmp_path, form, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = gray().transpose(undo[orientation]) if orientation > 1 else gray()
    exif = Image.Exif()
    exif[274] = orientation
    if form == "TIFF":
        data = saved(image, form, tiffinfo={274: orientation}, compression="tiff_lzw")
    else:
        data = saved(image, form, exif=exif)
    page = only_page(tmp_path, data)
    assert page.image.shape == DRAWING.shape
    assert np.abs(page.image.astype(int) - DRAWING).mean() < 4


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PDF", "drawn"])
def test_colors_are_given_where_they_are_asked_for(tmp_path, form, orientation):
    red = Image.new("RGB", (160, 96), "white")
    red.paste((200, 40, 30), (0, 0, 80, 40))  # the upper left corner
    if form == "drawn":
        page = canvas.Canvas(file := io.BytesIO(), pagesize=red.size)
        page.drawImage(ImageReader(red), 0, 0, *red.size)
        page.line(159, 0, 160, 0)
        page.save()
        data = file.getvalue()
    elif orientation == 6 and form in ("PNG", "JPEG", "WEBP"):
        exif = Image.Exif()
        exif[274] = orientation
        data = saved(red.transpose(Image.Transpose.ROTATE_90), form, exif=exif)
    else:
        data = saved(red, form)
    assert only_page(tmp_path, data).color is None
    page = only_page(tmp_path, data, color=True)
    h, w = page.image.shape
    assert page.color.shape == (h, w, 3)
    blue, green, red_ = page.color[h // 5, w // 4].astype(int)
    assert red_ > 170
    assert max(blue, green) < 90
    assert page.color[-h // 5, -w // 4].min() > 240
    plain = only_page(tmp_path, data).image
    assert np.abs(page.image.astype(int) - plain).max() < 12


def test_a_gray_picture_has_no_colors(tmp_path):
    assert only_page(tmp_path, saved(gray(), "PNG"), color=True).color is None


# --- resolution


def exif_dpi(value: float, unit: int = 2) -> Image.Exif:
    exif = Image.Exif()
    exif[282] = exif[283] = value
    exif[296] = unit
    return exif


@pytest.mark.parametrize(
    ("data", "dpi"),
    [
        (lambda: saved(gray(), "PNG", dpi=(300, 300)), 300),
        (lambda: saved(gray(), "PNG"), None),
        (lambda: saved(gray(), "JPEG", dpi=(200, 200)), 200),
        (lambda: saved(gray(), "JPEG", exif=exif_dpi(400)), 400),
        (lambda: saved(gray(), "JPEG"), None),
        (lambda: saved(gray(), "TIFF", dpi=(300, 300)), 300),
        (lambda: saved(gray(), "TIFF", resolution_unit=3, resolution=118.11), 300),
        (lambda: saved(gray(), "TIFF", resolution_unit=1, resolution=300), None),
        (lambda: saved(gray(), "BMP", dpi=(600, 600)), 600),
        (lambda: saved(rgb(), "WEBP", exif=exif_dpi(150)), 150),
        (lambda: saved(gray(), "PDF", resolution=200), 200),
        (lambda: saved(gray(), "PNG", dpi=(1, 1)), None),
        (lambda: saved(gray(), "PNG", dpi=(5000, 5000)), None),
        (lambda: saved(gray(), "TIFF", tiffinfo=nonsense_resolution()), None),
    ],
)
def test_the_resolution_is_what_the_file_says_if_that_can_be_believed(tmp_path, data, dpi):
    found = only_page(tmp_path, data()).dpi
    assert found == (None if dpi is None else pytest.approx(dpi, rel=0.002))


def nonsense_resolution():
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[282] = info[283] = TiffImagePlugin.IFDRational(0, 0)
    info[296] = 2
    return info


def test_72_dpi_is_not_believed_of_a_picture_that_would_be_larger_than_a3(tmp_path):
    small, large = Image.new("L", (600, 800), 255), Image.new("L", (1240, 1754), 255)
    assert only_page(tmp_path, saved(small, "PNG", dpi=(72, 72))).dpi == pytest.approx(72, 0.01)
    assert only_page(tmp_path, saved(large, "JPEG", dpi=(72, 72))).dpi is None


def test_coarse_fax_is_stretched_to_square_pixels(tmp_path):
    squashed = binary().resize((W, H // 2))
    page = only_page(tmp_path, saved(squashed, "TIFF", compression="group3", dpi=(204, 102)))
    assert page.image.shape == (H, W)
    assert page.dpi == pytest.approx(204)


# --- several pages


def three_pages(form: str, **how) -> bytes:
    pages = [gray(), gray().rotate(180), gray().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    if form == "PDF":
        how["resolution"] = 200
    return saved(pages[0], form, save_all=True, append_images=pages[1:], **how)


@pytest.mark.parametrize(
    ("form", "how"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True, "compression": "tiff_lzw"}),
        ("PDF", {}),
    ],
)
def test_pages_are_decoded_one_by_one_in_any_order(tmp_path, form, how):
    with scans.open_scan(written(tmp_path, three_pages(form, **how))) as scan:
        assert scan.document.page_count == 3
        for number in (3, 1, 2, 1):
            page = scan.page(number)
            assert page.number == number
            expected = {1: DRAWING, 2: DRAWING[::-1, ::-1], 3: DRAWING[:, ::-1]}[number]
            assert np.abs(page.image.astype(int) - expected).mean() < 3
        assert [page.number for page in scan] == [1, 2, 3]
        for number in (0, 4):
            with pytest.raises(ValueError, match=f"number = {number}"):
                scan.page(number)


def test_load_gives_all_pages_at_once(tmp_path):
    document, pages = scans.load(written(tmp_path, three_pages("TIFF")))
    assert document.page_count == len(pages) == 3


@pytest.mark.parametrize("bad", [1, 2, 3])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
def test_a_bad_page_of_a_tiff_does_not_lose_the_others(tmp_path, bad, compression):
    pages = [binary()] * 3
    data = bytearray(
        saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=compression)
    )
    for place in directories(data)[bad - 1 : bad]:
        (count,) = struct.unpack_from("<H", data, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry)[0] == 259:  # compression
                struct.pack_into("<I", data, entry + 8, 31234)
    with scans.open_scan(written(tmp_path, bytes(data), "three.tif")) as scan:
        assert scan.document.page_count == 3
        for number in (1, 2, 3):
            if number == bad:
                with pytest.raises(ScanError, match=rf"three\.tif page {number}: is damaged"):
                    scan.page(number)
            else:
                np.testing.assert_array_equal(scan.page(number).image, BINARY)


def directories(data: bytes) -> list[int]:
    places = []
    (place,) = struct.unpack_from("<I", data, 4)
    while place:
        places.append(place)
        (count,) = struct.unpack_from("<H", data, place)
        (place,) = struct.unpack_from("<I", data, place + 2 + 12 * count)
    return places


def test_the_thumbnail_of_a_tiff_is_no_page(tmp_path):
    thumbnail = gray().resize((24, 16))
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved(gray(), "TIFF", save_all=True, append_images=[thumbnail])
    np.testing.assert_array_equal(only_page(tmp_path, data).image, DRAWING)


def test_directories_that_go_in_a_circle_end(tmp_path):
    data = bytearray(three_pages("TIFF"))
    places = directories(data)
    (count,) = struct.unpack_from("<H", data, places[-1])
    struct.pack_into("<I", data, places[-1] + 2 + 12 * count, places[0])
    with scans.open_scan(written(tmp_path, bytes(data))) as scan:
        assert scan.document.page_count == 3


# --- PDF


def pdf_of(
    *contents: bytes, page: bytes = b"", extra: bytes = b"", image: bytes = b""
) -> bytes:
    """Write a PDF of 72 × 48 points a page, whose /Im is the drawing at 240 dpi."""
    jpeg = saved(gray(), "JPEG", quality=95)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>"
        % (len(contents), b" ".join(b"%d 0 R" % (6 + 2 * i) for i in range(len(contents)))),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 "
        b"/ColorSpace /DeviceGray /Filter /DCTDecode /Length %d %s >>\nstream\n%s\nendstream"
        % (W, H, len(jpeg), image, jpeg),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        extra or b"null",
    ]
    for i, content in enumerate(contents):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 48] /Contents %d 0 R /Resources "
            b"<< /XObject << /Im 3 0 R >> /Font << /F 4 0 R >> >> %s >>" % (7 + 2 * i, page)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    data = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"/Encrypt 5 0 R /ID [<00><00>]" if b"/Standard" in extra else b""
    return data + b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        trailer,
        table,
    )


SCAN = b"q 72 0 0 48 0 0 cm /Im Do Q"
HIDDEN_TEXT = b" BT /F 9 Tf 3 Tr 5 5 Td (0471) Tj ET"


@pytest.fixture
def no_drawing(monkeypatch):
    def refuse(page, dpi):
        raise AssertionError("the page was drawn")

    monkeypatch.setattr(pdf, "_drawn", refuse)


@pytest.mark.parametrize(
    "content",
    [
        SCAN,
        b"q 0 0 72 48 re W n 72 0 0 48 0 0 cm /Im Do Q",
        SCAN + HIDDEN_TEXT,
        b"q 72.4 0 0 48.4 -0.2 -0.2 cm /Im Do Q",
    ],
)
def test_a_page_that_is_one_scan_is_taken_as_it_is(tmp_path, no_drawing, content):
    page = only_page(tmp_path, pdf_of(content))
    assert page.image.shape == (H, W)
    assert np.abs(page.image.astype(int) - DRAWING).mean() < 3
    assert page.dpi == pytest.approx(240, rel=0.01)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK"])
def test_scans_of_any_depth_are_taken_out_of_a_pdf(tmp_path, no_drawing, mode):
    image = binary() if mode == "1" else palette() if mode == "P" else gray().convert(mode)
    expected = BINARY if mode == "1" else DRAWING
    page = only_page(tmp_path, saved(image, "PDF", resolution=200))
    assert page.image.shape == (H, W)
    # PDFium takes CMYK for printer's ink, whose black is a dark gray.
    assert np.abs(page.image.astype(int) - expected).mean() < (9 if mode == "CMYK" else 3)


@pytest.mark.parametrize(("rotation", "turns"), [(90, -1), (180, 2), (270, 1)])
def test_the_rotation_of_a_pdf_page_is_applied(tmp_path, rotation, turns, monkeypatch):
    data = pdf_of(SCAN, page=b"/Rotate %d" % rotation)
    taken = only_page(tmp_path, data)
    monkeypatch.setattr(pdf, "_embedded_scan", lambda *_: None)
    drawn = only_page(tmp_path, data)
    expected = np.rot90(DRAWING, turns)
    assert taken.image.shape == expected.shape
    assert np.abs(taken.image.astype(int) - expected).mean() < 3
    assert drawn.image.shape == tuple(side * 300 // 240 for side in expected.shape)
    again = cv2.resize(drawn.image, expected.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(again.astype(int) - expected).mean() < 6


INK = b"<< /Type /Annot /Subtype /Square /Rect [5 5 40 40] /C [0 0 0] /BS << /W 5 >> >>"
LINK = b"<< /Type /Annot /Subtype /Link /Rect [5 5 40 40] /Border [0 0 0] >>"
DRAWN = {
    "two images": pdf_of(SCAN + b" q 36 0 0 24 0 0 cm /Im Do Q"),
    "a line over it": pdf_of(SCAN + b" 5 w 0 0 m 72 48 l S"),
    "visible text": pdf_of(SCAN + b" BT /F 30 Tf 5 5 Td (0471) Tj ET"),
    "mirrored": pdf_of(b"q -72 0 0 48 72 0 cm /Im Do Q"),
    "turned inside the page": pdf_of(b"q 0 48 -72 0 72 0 cm /Im Do Q"),
    "not from edge to edge": pdf_of(b"q 36 0 0 24 10 10 cm /Im Do Q"),
    "beyond the edge": pdf_of(b"q 90 0 0 60 -9 -6 cm /Im Do Q"),
    "cut by a clip": pdf_of(b"q 0 0 36 48 re W n 72 0 0 48 0 0 cm /Im Do Q"),
    "a mask": pdf_of(SCAN, image=b"/Mask [0 10]"),
    "an annotation": pdf_of(SCAN, page=b"/Annots [5 0 R]", extra=INK),
    "vectors only": pdf_of(b"5 w 0 0 m 72 48 l S"),
    "nothing": pdf_of(b"").replace(b"/Subtype /Image", b"/Subtype /Thing"),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_any_other_page_is_drawn_at_300_dpi(tmp_path, kind):
    page = only_page(tmp_path, DRAWN[kind])
    assert page.image.shape == (200, 300)
    assert page.dpi == 300


def test_what_is_drawn_over_a_scan_is_seen(tmp_path):
    plain = only_page(tmp_path, DRAWN["two images"]).image
    for kind in ("a line over it", "visible text", "an annotation"):
        assert (only_page(tmp_path, DRAWN[kind]).image < 50).any()
    assert (only_page(tmp_path, DRAWN["nothing"]).image == 255).all()
    assert (plain < 50).any()


def test_a_page_that_shows_nothing_of_its_scan_is_no_blank_page(tmp_path):
    with pytest.raises(ScanError, match="shows nothing of the pictures in the file"):
        only_page(tmp_path, pdf_of(b"q 72 0 0 48 0 0 cm /Im D\0 Q"))
    path = written(tmp_path, pdf_of(SCAN, b""))
    with scans.open_scan(path) as scan:  # a scan, and the blank back of its sheet
        assert (scan.page(1).image < 50).any()
        assert (scan.page(2).image == 255).all()


@pytest.mark.parametrize("place", [60, -60])
def test_a_png_whose_pixels_are_damaged_is_no_blank_page(tmp_path, place):
    data = bytearray(saved(gray(), "PNG"))
    data[place] ^= 1
    with pytest.raises(ScanError, match="is damaged"):
        only_page(tmp_path, bytes(data))


def test_a_jpeg_that_ends_before_its_picture_is_refused(tmp_path):
    data = saved(gray(), "JPEG").replace(struct.pack(">HH", H, W), struct.pack(">HH", 9 * H, W))
    with pytest.raises(ScanError, match="is damaged, cut short"):
        only_page(tmp_path, data)


def test_a_link_is_nothing_drawn_over_a_scan(tmp_path, no_drawing):
    data = pdf_of(SCAN, page=b"/Annots [5 0 R]", extra=LINK)
    assert only_page(tmp_path, data).image.shape == (H, W)


def test_a_decode_array_is_obeyed(tmp_path, no_drawing):
    page = only_page(tmp_path, pdf_of(SCAN, image=b"/Decode [1 0]"))
    assert np.abs(page.image.astype(int) - (255 - DRAWING)).mean() < 3


def test_a_huge_pdf_page_is_drawn_within_the_bound(tmp_path):
    data = DRAWN["vectors only"].replace(b"[0 0 72 48]", b"[0 0 9999 9999]")
    page = only_page(tmp_path, data, max_megapixels=4)
    assert 3_900_000 < page.image.size < 4_100_000
    assert page.dpi is None  # 14 dots an inch


def test_a_damaged_scan_in_a_pdf_loses_its_own_page_only(tmp_path):
    data = bytearray(three_pages("PDF"))
    second = [match.start() for match in re.finditer(b"\xff\xd8\xff", data)][1]
    data[second : second + 200] = bytes(200)
    with scans.open_scan(written(tmp_path, bytes(data), "three.pdf")) as scan:
        assert [scan.page(number).number for number in (1, 3)] == [1, 3]
        with pytest.raises(ScanError, match=r"three\.pdf page 2: "):
            scan.page(2)


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="pdftoppm is not installed")
def test_poppler_draws_what_pdfium_draws(tmp_path):
    path = written(tmp_path, DRAWN["a line over it"], "- odd name.pdf")
    with scans.open_scan(path) as one, scans.open_scan(path, renderer="poppler") as other:
        assert other.page(1).dpi == 300
        difference = one.page(1).image.astype(int) - other.page(1).image
    assert np.abs(difference).mean() < 6


def test_poppler_that_is_not_installed_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScanError, match="install poppler-utils"):
        only_page(tmp_path, DRAWN["nothing"], renderer="poppler")


# --- what cannot be read


def bomb(form: str) -> bytes:
    """Write a header that promises 30,000 × 30,000 pixels."""
    if form == "PNG":
        size = struct.pack(">II", 30_000, 30_000)
        return saved(gray(), "PNG").replace(struct.pack(">II", W, H), size)
    if form == "BMP":
        size = struct.pack("<ii", 30_000, 30_000)
        return saved(gray(), "BMP").replace(struct.pack("<ii", W, H), size)
    if form == "JPEG":
        size = struct.pack(">HH", 30_000, 30_000)
        return saved(gray(), "JPEG").replace(struct.pack(">HH", H, W), size, 1)
    if form == "PDF":
        return pdf_of(SCAN).replace(b"/Width 240 /Height 160", b"/Width 30000 /Height 30000")
    data = bytearray(saved(gray(), "TIFF"))
    for place in directories(data):
        (count,) = struct.unpack_from("<H", data, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HI", data, entry + 2, 4, 1)
                struct.pack_into("<I", data, entry + 8, 30_000)
    return bytes(data)


def fix_checksum(data: bytes) -> bytes:
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]


ENCRYPTED = pdf_of(
    SCAN,
    extra=b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"11" * 32, b"22" * 32),
)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "is empty"),
    "text.png": (lambda: b"not a picture\n" * 100, "is not a scan"),
    "gif.png": (lambda: saved(gray(), "GIF"), "is not a scan"),
    "zeros.jpg": (lambda: bytes(5000), "is not a scan"),
    "head.png": (lambda: b"\x89PNG\r\n\x1a\n", "is damaged"),
    "head.jpg": (lambda: b"\xff\xd8\xff\xe0", "is damaged"),
    "head.tif": (lambda: b"II*\0\x08\0\0\0", "is damaged|is cut short"),
    "no-page.tif": (lambda: b"II*\0\0\0\0\0", "holds no page"),
    "head.bmp": (lambda: b"BM", "is damaged"),
    "head.webp": (lambda: b"RIFF\0\0\0\0WEBP", "is damaged"),
    "head.pdf": (lambda: b"%PDF-1.4\n", "is cut short"),
    "no-pages.pdf": (lambda: pdf_of(), "has no pages"),
    "junk.pdf": (lambda: b"%PDF-1.4\n" + b"junk " * 500 + b"%%EOF", "is damaged"),
    "encrypted.pdf": (lambda: ENCRYPTED, "is encrypted; save it without a password"),
    "bomb.png": (lambda: fix_checksum(bomb("PNG")), "30000 × 30000 pixels.*max_megapixels"),
    "bomb.jpg": (lambda: bomb("JPEG"), "30000 × 30000 pixels"),
    "bomb.bmp": (lambda: bomb("BMP"), "30000 × 30000 pixels"),
    "bomb.tif": (lambda: bomb("TIFF"), "30000 × 30000 pixels"),
    "bomb.pdf": (lambda: bomb("PDF"), "30000 × 30000 pixels"),
    "new\nline.png": (lambda: b"x", r"new\\nline\.png: is not a scan"),
    "\udcff.png": (lambda: b"x", r"udcff\.png: is not a scan"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_scan_is_refused_on_one_line_that_names_it(tmp_path, name):
    make, message = BAD[name]
    path = written(tmp_path, make(), name)
    with pytest.raises(ScanError, match=message) as raised, scans.open_scan(path) as scan:
        scan.page(1)
    line = str(raised.value)
    assert line.startswith(scans.shown(path) + ":")
    assert line.isprintable()


def test_the_bound_on_pixels_is_a_setting(tmp_path):
    data = saved(Image.new("1", (1500, 1000), 1), "TIFF", compression="group4")
    assert only_page(tmp_path, data, max_megapixels=2).image.size == 1_500_000
    with pytest.raises(ScanError, match="max_megapixels = 1"):
        only_page(tmp_path, data, max_megapixels=1)


def test_pillows_own_bound_does_not_stand_in_the_way_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for form in ("PNG", "JPEG", "TIFF", "BMP"):
        assert only_page(tmp_path, saved(rgb(), form)).image.shape == (H, W)
    with pytest.raises(ScanError, match="too many pixels"):  # of more than 178,956,970
        only_page(tmp_path, saved(rgb(), "WEBP"))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_folder_a_pipe_and_a_missing_file_are_no_scans(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to("gone.png")
    for name, message in [
        ("folder.png", "is a folder"),
        ("pipe.png", "is no regular file"),
        ("dangling.png", "no such file"),
        ("missing.png", "no such file"),
    ]:
        with pytest.raises(ScanError, match=message):
            scans.open_scan(tmp_path / name)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, saved(gray(), "PNG"))

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ScanError, match=r"scan\.png: permission denied; "):
        scans.open_scan(path)


WHOLE = {
    **{kind: make for kind, (make, _) in EXACT.items() if "alpha" not in kind},
    **LOSSY,
    "tiff-three-pages": lambda: three_pages("TIFF", compression="tiff_lzw"),
    "pdf-three-pages": lambda: three_pages("PDF"),
    "pdf-1-bit": lambda: saved(binary(), "PDF", resolution=200),
    "pdf-vectors": lambda: DRAWN["a line over it"],
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path, kind):
    data = WHOLE[kind]()
    _, pages = scans.load(written(tmp_path, data))
    rng = np.random.default_rng(len(data))
    cuts = {len(data) - 1, len(data) - 2, len(data) - 9, *rng.integers(1, len(data), 12)}
    for cut in sorted(cuts):
        read = []
        try:
            with scans.open_scan(written(tmp_path, data[:cut])) as scan:
                for number in range(1, scan.document.page_count + 1):
                    read.append((number, scan.page(number)))
        except ScanError:
            refused = True
        else:
            refused = False
        assert refused or len(read) == len(pages), f"cut at {cut} of {len(data)}"
        for number, page in read:
            np.testing.assert_array_equal(
                page.image, pages[number - 1].image, f"cut at {cut} of {len(data)}"
            )


@pytest.mark.parametrize("kind", WHOLE)
def test_flipped_bytes_give_a_page_or_a_scan_error(tmp_path, kind):
    data = WHOLE[kind]()
    rng = np.random.default_rng(len(data))
    for _ in range(8):
        odd = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            odd[place] = rng.integers(256)
        try:
            with scans.open_scan(written(tmp_path, bytes(odd)), max_megapixels=2) as scan:
                scan.page(1)
        except ScanError as error:
            assert str(error).isprintable()


# --- finding


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_scans_are_found_below_a_folder_in_natural_order(tmp_path, monkeypatch):
    tree(tmp_path, "scans/p10.png", "scans/p2.PNG", "scans/B/x.pdf", "scans/a.webp")
    tree(tmp_path, "scans/notes.txt", "scans/.hidden.png", "scans/.cache/y.png", "scans/c.TIFF")
    monkeypatch.chdir(tmp_path)
    found = scans.find([Path("scans")])
    assert [file.source for file in found] == [
        "scans/a.webp",
        "scans/B/x.pdf",
        "scans/c.TIFF",
        "scans/p2.PNG",
        "scans/p10.png",
    ]
    assert [file.path for file in found] == [Path(file.source) for file in found]
    assert scans.skipped([Path("scans")]) == 2


def test_a_source_is_the_path_as_reached_from_what_was_given(tmp_path, monkeypatch):
    tree(tmp_path, "in/scans/a.png")
    monkeypatch.chdir(tmp_path / "in")
    for given, source in [
        ("scans", "scans/a.png"),
        ("./scans/", "scans/a.png"),
        (".", "scans/a.png"),
        ("../in", "../in/scans/a.png"),
        ("scans/a.png", "scans/a.png"),
        (str(tmp_path), f"{tmp_path}/in/scans/a.png"),
    ]:
        assert [file.source for file in scans.find([Path(given)])] == [source]


def test_what_is_given_by_name_is_tried_whatever_its_suffix(tmp_path):
    tree(tmp_path, "a.dat", ".b")
    assert len(scans.find([tmp_path / "a.dat", tmp_path / ".b"])) == 2
    assert scans.find([tmp_path]) == []


def test_a_file_given_twice_is_found_once(tmp_path):
    tree(tmp_path, "a.png", "b.png")
    found = scans.find([tmp_path / "b.png", tmp_path, tmp_path])
    assert [file.path.name for file in found] == ["b.png", "a.png"]


def test_links_that_go_in_a_circle_are_followed_once(tmp_path):
    tree(tmp_path, "b/x.png", "c/y.png")
    (tmp_path / "b/up").symlink_to("..")
    (tmp_path / "a").symlink_to("c")
    names = [file.path.relative_to(tmp_path).as_posix() for file in scans.find([tmp_path])]
    assert names == ["b/x.png", "c/y.png"]


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(ScanError, match="gone: no such file or folder"):
        scans.find([tmp_path / "gone"])


def test_odd_names_give_a_source_that_can_be_stored(tmp_path):
    path = Path(os.fsdecode(bytes(tmp_path / "n") + b"\xff.png"))
    path.write_bytes(b"x")
    (file,) = scans.find([tmp_path])
    assert file.path == path
    assert file.source.endswith("n\\xff.png")
    file.source.encode()


def test_a_folder_that_may_not_be_opened_is_not_passed_over(tmp_path, monkeypatch):
    tree(tmp_path, "a.png", "shut/b.png")
    real = Path.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = scans.find([tmp_path])
    assert [file.path.name for file in found] == ["a.png", "shut"]
    with pytest.raises(ScanError, match="shut: permission denied"):
        scans.open_scan(found[1].path)
