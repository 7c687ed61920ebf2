"""Fill the sample forms and scan them: python sample_forms/make_scans.py [FOLDER].

Every scan has its own generator, so that one may change and the others stay.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digitocr import synth, templates
from digitocr.forms.fill import TruthRow, fill, truth_of, write_truth
from digitocr.forms.values import draw_values
from digitocr.synth import Damage, Hand
from digitocr.templates import FormTemplate
from digitocr.types import Gray

HERE = Path(__file__).resolve().parent
SEED = 2026
BACK, LETTER = 0, -1  # beside the pages of the form, from 1
BLUE_PEN = (45, 65, 150)  # red, green, blue
TINTS = (1.0, 0.985, 0.94)
KEPT_SHARE = 0.4  # of the bytes of a truncated file
ROTATED = {6: 1, 3: 2, 8: 3}  # EXIF orientation: quarter turns to the left that it undoes

SKEW, PERSPECTIVE, TURN = Damage.SKEW, Damage.PERSPECTIVE, Damage.TURN
FAINT, UNEVEN, BLUR, NOISE = Damage.FAINT, Damage.UNEVEN, Damage.BLUR, Damage.NOISE
SPECKLE, JPEG = Damage.SPECKLE, Damage.JPEG


@dataclass(frozen=True, slots=True)
class Scan:
    """How one file is scanned.

    Attributes
    ----------
    sheets
        What is on its pages: pages of the form, BACK or LETTER. A page that comes again is
        another form.
    mode
        gray, bilevel, color or 16-bit.
    stated_dpi
        What the file says of its resolution: None the truth, 0 nothing.
    orientation
        EXIF; the pixels are turned so that it puts them right.
    quarters
        Quarter turns to the left that nothing in the file undoes.
    """

    name: str
    dpi: int
    damage: Mapping[Damage, float]
    sheets: tuple[int, ...] = (1,)
    mode: str = "gray"
    quality: int = 70
    stated_dpi: int | None = None
    orientation: int = 1
    quarters: int = 0
    torn: bool = False
    truncated: bool = False


SCANS: dict[str, tuple[Scan, ...]] = {
    "clinic-tally": (
        Scan("tally-01.png", 150, {SKEW: 0.15, BLUR: 0.3}),
        Scan("tally-02.jpg", 200, {SKEW: 0.7, NOISE: 0.5, SPECKLE: 0.3}, quality=55),
        Scan("tally-03.jpg", 150, {SKEW: 0.3, BLUR: 0.3}, mode="color", orientation=6),
        Scan("tally-04.tif", 300, {SKEW: 0.3, SPECKLE: 0.4}, mode="bilevel"),
        Scan("tally-05.tif", 100, {SKEW: 0.2}),
        Scan("tally-06.png", 200, {SKEW: 0.5, BLUR: 0.3}, mode="bilevel", stated_dpi=72),
        Scan("tally-07.jpg", 150, {SKEW: 0.3, FAINT: 0.75, NOISE: 0.2, TURN: 1}),
        Scan("tally-08.pdf", 150, {SKEW: 0.4, UNEVEN: 0.6, NOISE: 0.2}),
        Scan("tally-09.webp", 150, {PERSPECTIVE: 0.8, UNEVEN: 0.9, BLUR: 0.4}, stated_dpi=0),
        Scan("tally-10.tif", 200, {SKEW: 0.4, SPECKLE: 0.2}, (1, BACK, 1), "bilevel"),
        Scan("tally-11.jpg", 150, {SKEW: 0.5, NOISE: 0.2}, torn=True),
        Scan("tally-12.pdf", 200, {SKEW: 0.9}, (1, 1), "bilevel"),
        Scan("tally-13.jpg", 150, {SKEW: 0.3, NOISE: 0.2}, (LETTER,)),
    ),
    "meter-reading": (
        Scan("card-01.png", 200, {SKEW: 0.15, BLUR: 0.3}),
        Scan("card-02.jpg", 200, {SKEW: 0.8, NOISE: 0.6}, quality=55),
        Scan("card-03.bmp", 200, {SKEW: 0.3, SPECKLE: 0.3}, mode="bilevel"),
        Scan("card-04.png", 100, {SKEW: 0.4}, mode="16-bit"),
        Scan("card-05.tif", 300, {SKEW: 0.5, TURN: 1}, mode="bilevel"),
        Scan("card-06.webp", 200, {PERSPECTIVE: 0.6, UNEVEN: 0.7}, stated_dpi=0),
        Scan("card-07.jpg", 150, {SKEW: 0.3, BLUR: 0.2}, mode="color", orientation=3),
        Scan("card-08.pdf", 200, {SKEW: 0.6, UNEVEN: 0.4}),
        Scan("card-09.jpg", 150, {SKEW: 0.2, FAINT: 0.75, NOISE: 0.3}, stated_dpi=96),
        Scan("card-10.tif", 150, {SKEW: 1.0}),
        Scan("card-11.png", 200, {BLUR: 0.6, SPECKLE: 0.6}, mode="bilevel"),
        Scan("card-12.jpg", 150, {SKEW: 0.3}, truncated=True),
    ),
    "school-register": (
        Scan("register-01.tif", 200, {SKEW: 0.3}, (1, 2), "bilevel"),
        Scan("register-02.pdf", 150, {SKEW: 0.5, NOISE: 0.2}, (1, 2)),
        Scan("register-03.jpg", 150, {SKEW: 0.9, NOISE: 0.4}),
        Scan("register-04.jpg", 150, {SKEW: 0.3, TURN: 1}, (2,)),
        Scan("register-05.pdf", 300, {SKEW: 0.4, SPECKLE: 0.3}, (2, 1), "bilevel"),
        Scan("register-06.webp", 150, {PERSPECTIVE: 1, UNEVEN: 1}, stated_dpi=0),
        Scan("register-07.png", 100, {SKEW: 0.2}, (2,)),
        Scan("register-08.jpg", 150, {SKEW: 0.4, FAINT: 0.5}, quarters=1),
        Scan("register-09.tif", 100, {SKEW: 0.3}, (1, 2, BACK)),
        Scan("register-10.tif", 200, {SKEW: 0.6}, (1, BACK, 2, BACK), "bilevel"),
        Scan("register-11.jpg", 150, {BLUR: 0.7, NOISE: 0.5, JPEG: 0.7}, (2,)),
        Scan("register-12.jpg", 150, {SKEW: 0.5, BLUR: 0.2}, mode="color", orientation=8),
    ),
}


@dataclass(slots=True)
class Filled:
    """The forms of one file as they are filled in, one after another."""

    form: FormTemplate
    rng: np.random.Generator
    values: dict[str, str] = field(default_factory=dict)
    hand: Hand | None = None
    done: set[int] = field(default_factory=set)

    def sheet(self, number: int, dpi: int) -> tuple[list[Gray], dict[str, str]]:
        """Fill one page; give its red, green and blue, and what is written on the form."""
        if self.hand is None or number in self.done:
            self.values = draw_values(self.form, self.rng)
            self.hand = synth.draw_hand(self.rng)
            self.done = set()
        self.done.add(number)
        seed = int(self.rng.integers(2**32))
        # The gray of the pen takes no random number, so the three lie upon each other.
        layers = [
            fill(
                self.form,
                self.values,
                np.random.default_rng(seed),
                page=number,
                dpi=dpi,
                hand=replace(self.hand, gray=gray),
            )
            for gray in (self.hand.gray, *BLUE_PEN)
        ]
        return layers, self.values


def letter(shape: tuple[int, int], dpi: int) -> Gray:
    """Draw a page that is no form at all."""
    h, w = shape
    image = Image.new("L", (w, h), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(dpi * 0.155)
    lines = (
        "Valley Clinic, 3 March 2026",
        "",
        "Dear colleagues,",
        "",
        "please find enclosed the tally sheets of the last six weeks. The",
        "sheet of week 7 got wet and could not be saved; we have asked the",
        "nurses to count once more from the day book and will send it as",
        "soon as we have it.",
        "",
        "We are out of forms. Could you send us 50 copies of CT-7 with the",
        "next delivery, and two boxes of black pens?",
        "",
        "With kind regards",
    )
    for row, words in enumerate(lines):
        place = (w * 0.12, h * 0.12 + row * dpi * 0.24)
        draw.text(place, words, fill=40, font=font)
    return np.asarray(image, np.uint8)


def tear(gray: Gray) -> Gray:
    """Lose the upper right corner."""
    h, w = gray.shape
    torn = gray.copy()
    corner = np.array([[w * 0.84, 0], [w, 0], [w, h * 0.1], [w * 0.93, h * 0.085]])
    cv2.fillPoly(torn, [corner.astype(np.int32)], 255)
    return torn


def damage(gray: Gray, scan: Scan, seed: int) -> Gray:
    """Damage a page as its scan says."""
    rng = np.random.default_rng(seed)
    image = tear(gray) if scan.torn else gray
    for kind, strength in scan.damage.items():
        image = synth.degrade(image, kind, strength, rng)
    return image


def scan_pages(
    form: FormTemplate, scan: Scan, rng: np.random.Generator
) -> tuple[list[Image.Image], list[TruthRow]]:
    """Fill and damage the pages of one file; give the pictures and what is written."""
    filled = Filled(form, rng)
    pictures: list[Image.Image] = []
    rows: list[TruthRow] = []
    front: Gray | None = None
    for place, sheet in enumerate(scan.sheets, 1):
        template = form.page(max(sheet, 1))
        scale = scan.dpi / template.dpi
        shape = (round(template.height * scale), round(template.width * scale))
        if sheet == LETTER:
            layers = [letter(shape, scan.dpi)] * 4
        elif sheet == BACK:
            shine = np.full(shape, 255, np.uint8) if front is None else front[:, ::-1]
            layers = [(255 - (255 - shine) // 20).astype(np.uint8)] * 4
        else:
            layers, values = filled.sheet(sheet, scan.dpi)
            front = layers[0]
            rows += truth_of(form, values, scan.name, pages={sheet: place})
        seed = int(rng.integers(2**32))
        if scan.mode == "color":
            tinted = [
                np.round(damage(layer, scan, seed) * tint).astype(np.uint8)
                for layer, tint in zip(layers[1:], TINTS, strict=True)
            ]
            pictures.append(Image.fromarray(np.dstack(tinted)))
        else:
            pictures.append(picture(damage(layers[0], scan, seed), scan.mode))
    return pictures, rows


def picture(gray: Gray, mode: str) -> Image.Image:
    """Give a page the depth that its file has."""
    if mode == "bilevel":
        return Image.fromarray(np.where(gray > 150, 255, 0).astype(np.uint8)).convert("1")
    if mode == "16-bit":
        return Image.fromarray(gray.astype(np.uint16) * 257)
    return Image.fromarray(gray)


def coded(pictures: list[Image.Image], scan: Scan) -> bytes:
    """Code pages as the file that the scan's name ends in."""
    turns = ROTATED.get(scan.orientation, 0) + scan.quarters
    first, *rest = [one.rotate(90 * turns, expand=True) if turns else one for one in pictures]
    stated = scan.dpi if scan.stated_dpi is None else scan.stated_dpi
    options: dict[str, object] = {"dpi": (stated, stated)} if stated else {}
    kind = scan.name.rsplit(".", 1)[1]
    if kind == "tif":
        bilevel = scan.mode == "bilevel"
        options["compression"] = "group4" if bilevel else "tiff_lzw"
    elif kind == "pdf":
        options = {"resolution": stated}
        if scan.mode != "bilevel":
            options["quality"] = scan.quality
        options |= {"creationDate": time.gmtime(0), "modDate": time.gmtime(0)}
    elif kind in ("jpg", "webp"):
        options["quality"] = scan.quality
        if scan.orientation != 1:
            exif = Image.Exif()
            exif[0x0112] = scan.orientation
            options["exif"] = exif
    elif kind == "png":
        options["optimize"] = True
    if kind in ("tif", "pdf"):
        options |= {"save_all": True, "append_images": rest}
    buffer = io.BytesIO()
    names = {"tif": "TIFF", "jpg": "JPEG"}
    first.save(buffer, names.get(kind, kind.upper()), **options)
    data = buffer.getvalue()
    return data[: round(KEPT_SHARE * len(data))] if scan.truncated else data


def main(folder: Path = HERE) -> None:
    """Write scans/ and truth.csv of each form into `folder`."""
    for place, (name, scans) in enumerate(SCANS.items()):
        form = templates.load(HERE / name)
        (folder / name / "scans").mkdir(parents=True, exist_ok=True)
        truth: list[TruthRow] = []
        for number, scan in enumerate(scans, 1):
            rng = np.random.default_rng([SEED, place, number])
            pictures, rows = scan_pages(form, scan, rng)
            (folder / name / "scans" / scan.name).write_bytes(coded(pictures, scan))
            truth += [] if scan.truncated else rows
        write_truth(folder / name / "truth.csv", truth)


if __name__ == "__main__":
    main(*(Path(folder) for folder in sys.argv[1:2]))
