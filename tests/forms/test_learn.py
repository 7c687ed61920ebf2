"""A form that is drawn, filled by many hands and learned back is the form that was drawn."""

from __future__ import annotations

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from digitocr import synth, templates
from digitocr.cli.learning import judge_with
from digitocr.forms import stack
from digitocr.forms.fill import fill
from digitocr.forms.learn import learn
from digitocr.forms.values import draw_values
from digitocr.forms.writing_toml import text_of
from digitocr.imaging.codes import draw_code
from digitocr.settings import Settings
from digitocr.synth import Damage
from digitocr.types import Document, FieldKind, Page

PARTIAL, USAGE, REGISTRATION = 3, 2, 12
HEAD = """
name = "count"
version = 1
[[pages]]
width = 1000
height = 1240
dpi = 150
reference = "blank.png"
"""
FIELDS = {  # name: box, kind, cells
    "station": ([300, 240, 540, 292], "boxed", 5),
    "cars": ([300, 330, 492, 382], "boxed", 4),
    "apart": ([295, 420, 495, 468], "boxed", 4),
    "hours": ([660, 244, 860, 292], "comb", 5),
    "speed": ([660, 334, 804, 382], "boxed", 3),
    "north": ([300, 600, 600, 660], "open", None),
    "south": ([600, 600, 900, 660], "open", None),
    "sum": ([300, 700, 560, 760], "open", None),
}
DECIMAL = 'type = "decimal"\ndecimals = 1\n'


def drawn(folder, more=lambda picture: None):
    """Draw a form with boxes, a comb, a table and a rule, a ruler, a logo and a headed box."""
    picture = np.full((1240, 1000), 255, np.uint8)

    def text(words, x, y, size=0.7):
        cv2.putText(picture, words, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, 30, 1, cv2.LINE_AA)

    text("COUNTY ROADS OFFICE", 80, 100, 1.2)
    text("Traffic count, form T-12: one digit in each box", 80, 150)
    cv2.line(picture, (80, 170), (920, 170), 30, 2)
    for words, x, y in (
        ("Station", 80, 275), ("Cars", 80, 365), ("Apart", 80, 450), ("Hours", 560, 275),
        ("Speed", 560, 365), ("Street", 100, 570), ("North", 320, 570), ("South", 620, 570),
        ("Mill Lane", 100, 640), ("Total", 80, 755), ("Office use only", 100, 955),
        ("County Roads Office, 3 Mill Lane", 80, 1180),
    ):  # fmt: skip
        text(words, x, y)
    for x, y, count, step, side in ((300, 240, 5, 48, 48), (300, 330, 4, 48, 48),
                                    (300, 420, 4, 50, 40), (660, 334, 3, 48, 48)):  # fmt: skip
        for left in range(x, x + count * step, step):
            cv2.rectangle(picture, (left, y), (left + side, y + 48 + (y < 400) * 4), 110, 2)
    cv2.circle(picture, (756, 397), 5, 30, -1)  # the point of `speed`
    cv2.line(picture, (660, 292), (860, 292), 110, 2)
    for x in range(660, 861, 40):
        cv2.line(picture, (x, 292), (x, 272), 110, 2)
    for left, right in ((80, 300), (300, 600), (600, 900)):
        for top, bottom in ((530, 600), (600, 660)):
            cv2.rectangle(picture, (left, top), (right, bottom), 110, 2)
    cv2.line(picture, (300, 760), (560, 760), 110, 2)
    for x in range(80, 700, 12):  # a ruler
        cv2.line(picture, (x, 860), (x, 860 - (18 if (x - 80) % 60 == 0 else 9)), 30, 1)
    cv2.line(picture, (80, 860), (692, 860), 30, 2)
    cv2.circle(picture, (840, 850), 45, 60, -1)  # a logo
    cv2.rectangle(picture, (80, 910), (600, 990), 30, 2)
    more(picture)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / "blank.png")
    lines = [HEAD]
    for name, (box, kind, cells) in FIELDS.items():
        size = "max_length = 4" if cells is None else f"cells = {cells}\nmin_length = 1"
        lines.append(f'[[fields]]\nname = "{name}"\nbox = {box}\nkind = "{kind}"\n{size}\n')
        lines.append(DECIMAL if name == "speed" else "")
    (folder / "template.toml").write_text("\n".join(lines), encoding="utf-8")
    return templates.load(folder)


def put_code(sheet, text, dpi):
    """Print a code into the corner of a sheet."""
    code = 255 - 255 * draw_code(text, "QRCode").astype(np.uint8)
    code = cv2.resize(code, None, fx=dpi / 30, fy=dpi / 30, interpolation=cv2.INTER_NEAREST)
    side, right = len(code), sheet.shape[1] - dpi // 3
    sheet[dpi // 6 : dpi // 6 + side, right - side : right] = code


def filled(form, count, *, dpi=150, strength=0.3, damage=None, seed=5, coded=False):
    """Fill a form by so many hands and scan it; give the pictures and what is written."""
    pages = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        values = draw_values(form, rng)
        sheet = fill(form, values, rng, dpi=dpi)
        if coded:
            put_code(sheet, f"T-12 serial {rng.integers(10**9):09}", dpi)
        image = synth.scan_like(sheet, rng, strength=strength)
        for kind, much in (damage or {}).items():
            image = synth.degrade(image, kind, much, rng)
        pages.append((image, values))
    return pages


def scanned(images, dpi=150):
    return [
        stack.scanned(f"scan {i}", Page(Document(f"{i:064}", 1), 1, image, dpi))
        for i, image in enumerate(images)
    ]


def likeness(one, other):
    """Intersection over union of two boxes."""
    w = min(one.right, other.right) - max(one.left, other.left)
    h = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(w, 0) * max(h, 0)
    return both / (one.width * one.height + other.width * other.height - both)


def found_again(form, learned, scale):
    """For each field of the form: the learned one that lies on it, if any."""
    proposals = [one.field for page in learned.pages for one in page.proposals]
    pairs = {}
    for field in form.fields:
        edges = (field.box.left, field.box.top, field.box.right, field.box.bottom)
        box = type(field.box)(*(round(edge * scale) for edge in edges))
        best = max(proposals, key=lambda one: likeness(one.box, box))
        if likeness(best.box, box) > 0.6:
            pairs[field.name] = best
    return pairs, [one for one in proposals if one not in pairs.values()]


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("forms") / "count")


@pytest.fixture(scope="module")
def six(form):
    return [image for image, _ in filled(form, 6)]


@pytest.fixture(scope="module")
def learned(six):
    return learn(scanned(six), "x", max_residual_mm=0.8)


def assert_the_same(form, learned):
    assert learned.unfit == ()
    pairs, extra = found_again(form, learned, learned.pages[0].template.dpi / 150)
    assert set(pairs) == {field.name for field in form.fields}
    assert extra == []
    for field in form.fields:
        same = pairs[field.name]
        assert (same.kind, same.cells, same.decimals) == (
            field.kind,
            field.cells,
            field.decimals,
        )


@pytest.mark.slow
def test_a_form_that_was_drawn_and_filled_is_learned_back(form, learned):
    assert_the_same(form, learned)


@pytest.mark.slow
def test_a_code_that_is_another_on_every_sheet_is_no_field(form):
    images = [image for image, _ in filled(form, 5, coded=True)]
    assert_the_same(form, learn(scanned(images), "x", max_residual_mm=0.8))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("count", "dpi", "strength", "damage"),
    [
        (5, 150, 0.8, {Damage.FAINT: 0.3}),
        (8, 300, 0.6, {Damage.FAINT: 0.5}),
        (12, 200, 0.5, {Damage.TURN: 1.0}),
        (8, 150, 0.3, {Damage.PERSPECTIVE: 0.5}),
    ],
)
def test_bad_scans_are_learned_from_as_well(form, count, dpi, strength, damage):
    pages = filled(form, count, dpi=dpi, strength=strength, damage=damage)
    images = scanned([image for image, _ in pages], dpi)
    judge = judge_with(Settings())
    assert_the_same(form, learn(images, "x", max_residual_mm=0.8, judge=judge))


@pytest.mark.slow
def test_what_is_written_is_gone_from_the_blank_and_the_print_is_there(learned):
    template = learned.pages[0].template
    for one in learned.pages[0].proposals:
        box = one.field.box
        for left, right in zip(
            *(np.linspace(box.left, box.right, (one.field.cells or 1) + 1)[part].astype(int)
              for part in (slice(None, -1), slice(1, None))), strict=True,
        ):  # fmt: skip
            inside = template.reference[box.top + 8 : box.bottom - 8, left + 8 : right - 8]
            assert (inside < 200).mean() < 0.01, one.field.name
    assert (template.reference[60:110, 80:500] < 128).mean() > 0.1


@pytest.mark.slow
def test_pages_of_other_forms_do_not_spoil_the_blank_and_are_named(six, learned, tmp_path):
    def moved(picture):
        picture[400:820] = picture[820:400:-1].copy()  # the same head, another form below

    other = drawn(tmp_path / "other", moved)
    strangers = [image for image, _ in filled(other, 2, seed=9)]
    empty = np.full((1240, 1000), 250, np.uint8)
    mixed = [strangers[0], *six[:3], empty, *six[3:], strangers[1]]
    again = learn(scanned(mixed), "x", max_residual_mm=0.8)
    assert {one.source for one in again.unfit} == {"scan 0", "scan 4", "scan 8"}
    assert all(one.cause for one in again.unfit)
    blank = again.pages[0].template.reference
    assert (blank[680:700, 650:880] > 200).all()  # where the strangers have a line
    assert (blank[650:670, 650:880] < 200).mean() > 0.1  # and where the form has one
    kinds = [(p.field.kind, p.field.cells) for p in again.pages[0].proposals]
    assert kinds == [(p.field.kind, p.field.cells) for p in learned.pages[0].proposals]


@pytest.mark.slow
def test_another_print_of_the_form_is_told_apart_and_named(six, learned, tmp_path):
    def shifted(picture):  # set anew: the left half a millimetre lower, and nothing else
        picture[220:, :560] = np.roll(picture[220:, :560], 6, axis=0)

    other = drawn(tmp_path / "anew", shifted)
    moved = [image for image, _ in filled(other, 3, seed=21)]
    again = learn(scanned([*moved, *six]), "x", max_residual_mm=0.8)
    assert {one.source for one in again.unfit} == {"scan 0", "scan 1", "scan 2"}
    assert all("another print" in one.cause for one in again.unfit)
    kinds = [(p.field.kind, p.field.cells) for p in again.pages[0].proposals]
    assert kinds == [(p.field.kind, p.field.cells) for p in learned.pages[0].proposals]


@pytest.mark.slow
def test_a_learned_template_loads_and_says_what_it_is_sure_of(learned, tmp_path):
    Image.fromarray(learned.pages[0].template.reference).save(tmp_path / "blank.png")
    (tmp_path / "template.toml").write_text(text_of(learned), encoding="utf-8")
    loaded = templates.load(tmp_path)
    assert [replace(one, title="") for one in loaded.fields] == [
        replace(one, title="") for one in learned.form.fields
    ]
    text = (tmp_path / "template.toml").read_text()
    assert text.count("written on in") == len(loaded.fields)
    assert FieldKind.COMB in {field.kind for field in loaded.fields}


def test_a_form_that_is_there_is_not_overwritten(digitocr, workplace):
    before = (workplace / "forms" / "slip" / "template.toml").read_bytes()
    for name, said in (("slip", "is not overwritten"), ("a b", "is no name for a form")):
        done = digitocr("form", "learn", "scans", "--name", name)
        assert done.code == USAGE and said in done.err and len(done.lines) == 1
    (workplace / "scans" / "broken.png").write_text("no picture")
    done = digitocr("--quiet", "form", "learn", "scans/broken.png", "--name", "new")
    assert done.code == USAGE and "none of the scans" in done.err
    assert (workplace / "forms" / "slip" / "template.toml").read_bytes() == before
    assert not (workplace / "forms" / "new").exists()


@pytest.mark.slow
def test_scans_too_few_are_refused_and_a_blank_helps(digitocr, workplace, form, six):
    (workplace / "few").mkdir()
    for number, image in enumerate(six[:3]):
        Image.fromarray(image).save(f"few/{number}.png", dpi=(150, 150))
    Image.fromarray(form.pages[0].reference).save("empty.png", dpi=(150, 150))
    done = digitocr("--quiet", "form", "learn", "few", "--name", "new")
    assert done.code == REGISTRATION and "at least 5" in done.err
    assert not (workplace / "forms" / "new").exists()
    done = digitocr("form", "learn", "few", "--name", "new", "--blank", "empty.png")
    assert done.code == 0, done.err
    assert "look at forms/new/fields.png" in done.err
    assert (workplace / "forms" / "new" / "fields.png").is_file()
    assert len(templates.load(workplace / "forms" / "new").fields) == len(form.fields)


@pytest.mark.soak
def test_a_learned_template_reads_what_the_drawn_one_reads(digitocr, workplace, form):
    (workplace / "pages").mkdir()
    for number, (image, _) in enumerate(filled(form, 8)):
        Image.fromarray(image).save(f"pages/{number}.png", dpi=(150, 150))
    learn_it = ("form", "learn", "pages", "--name", "count", "--forms", "own")
    assert digitocr(*learn_it).code == 0
    drawn(workplace / "drawn" / "count")
    values = {}
    for folder in ("own", "drawn"):
        database = f"sqlite:///{folder}.db"
        digitocr("process", "pages", "--forms", folder, "--database", database)
        digitocr("export", "--database", database, "--out", f"{folder}.csv")
        with (workplace / f"{folder}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        boxes = {f.name: f.box for f in templates.load(workplace / folder / "count").fields}
        order = sorted(boxes, key=lambda name: (boxes[name].top // 60, boxes[name].left))
        values[folder] = [
            (row["source"], order.index(row["field"]), row["reading"].replace(".", ""))
            for row in rows
        ]
    same = set(values["own"]) & set(values["drawn"])
    assert len(same) >= 0.95 * len(values["drawn"])
