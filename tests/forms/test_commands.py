"""`form draw`, `print` and `fill` as they are typed, and `process` on what came of them."""

import csv
import sys

import pypdfium2
import pytest

from digitocr import cli
from digitocr.errors import TemplateError, UsageError
from digitocr.imaging.codes import find_page_codes

FORM = """name = "two"
version = 1
title = "Two pages"
[[fields]]
name = "first"
cells = 3
[[fields]]
name = "ticked"
kind = "mark"
[[fields]]
name = "second"
page = 2
cells = 3
[[fields]]
name = "label"
page = 2
kind = "barcode"
checks = [{rule = "pattern", pattern = "[A-Z]{2}[0-9]{4}"}]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forms" / "two").mkdir(parents=True)
    (tmp_path / "forms" / "two" / "template.toml").write_text(FORM, encoding="utf-8")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["digitocr", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return run


def test_draw_names_its_pictures_and_what_comes_next(run, tmp_path):
    code, out, err = run("form", "draw", "forms/two")
    assert code == 0 and out.split() == ["forms/two/blank.png", "forms/two/blank-2.png"]
    assert "digitocr form print forms/two --out two.pdf" in err
    assert (tmp_path / "forms/two/blank-2.png").is_file()
    assert run("form", "check", "forms/two")[0] == 0


def test_print_numbers_copies_in_their_page_codes(run, tmp_path):
    run("form", "draw", "forms/two")
    code, _, err = run("form", "print", "forms/two", "--out", "p/two.pdf", "--serials", "9-10")
    assert code == 0 and "2 copies" in err and "100 %" in err
    document = pypdfium2.PdfDocument(tmp_path / "p" / "two.pdf")
    found = []
    for page in document:
        picture = page.render(scale=2, grayscale=True).to_numpy()
        found += find_page_codes(picture.reshape(picture.shape[:2]))
    document.close()
    assert [(code.page, code.serial) for code in found] == [
        (1, "000009"),
        (2, "000009"),
        (1, "000010"),
        (2, "000010"),
    ]
    run("form", "print", "forms/two", "--out", "three.pdf", "--copies", "3")
    document = pypdfium2.PdfDocument(tmp_path / "three.pdf")
    assert len(document) == 6
    document.close()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("draw", "nowhere"), TemplateError.exit_code, "nowhere/template.toml: no such file"),
        (("print", "forms/two", "--out", "x.pdf"), TemplateError.exit_code, "form draw"),
        (("print", "forms/two", "--out", "x", "--serials", "5"), UsageError.exit_code, "1-50"),
        (("print", "forms/two", "--out", "x", "--serials", "9-2"), UsageError.exit_code, "9-2"),
        (
            ("print", "forms/two", "--out", "x", "--serials", "1-2", "--copies", "2"),
            UsageError.exit_code,
            "--copies",
        ),
        (("fill", "forms/two", "--out", "x", "--damage", "fire"), UsageError.exit_code, "curl"),
        (
            ("fill", "forms/two", "--out", "x", "--strength", "1"),
            UsageError.exit_code,
            "--damage",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_with_what_to_do(run, words, code, said):
    left, out, err = run("form", *words)
    assert left == code and out == "" and said in err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err


@pytest.mark.slow
def test_what_is_drawn_filled_and_processed_comes_out_as_its_truth(run, tmp_path):
    run("form", "draw", "forms/two")
    fill = ("form", "fill", "forms/two", "--out", "scans", "--count", "1", "--seed", "3")
    assert run(*fill, "--damage", "stain", "--strength", "0.4")[0] == 0
    database = ("--database", "sqlite:///x.db")
    code, _, err = run("process", "scans", *database, "--workers", "1")
    assert code == 0 and "pages:" not in err
    run("export", *database, "--out", "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        read = {(r["source"], r["field"]): r["value"] for r in csv.DictReader(file)}
    with (tmp_path / "scans" / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {(f"scans/{r['source']}", r["field"]): r["value"] for r in csv.DictReader(file)}
    accepted = {key: value for key, value in read.items() if value}
    assert set(read) == set(truth) and len(accepted) >= 3
    assert accepted == {key: truth[key] for key in accepted}


@pytest.mark.slow
def test_a_missing_page_is_named_by_process_and_by_show(run, tmp_path):
    run("form", "draw", "forms/two")
    run("form", "fill", "forms/two", "--out", "full", "--count", "1", "--clean")
    from PIL import Image

    with Image.open(tmp_path / "full" / "two-001.tif") as picture:
        first = picture.copy()
        picture.seek(1)
        second = picture.copy()
    (tmp_path / "scans").mkdir()
    pages = [second, first, first]
    pages[0].save(tmp_path / "scans" / "a.tif", save_all=True, append_images=pages[1:])
    database = ("--database", "sqlite:///x.db")
    code, _, err = run(
        "process", "scans", *database, "--batch", "b", "--workers", "1", "--forms", "forms"
    )
    said = "scans/a.tif: form 'two' v1 has page 1 twice, page 2 once"
    assert code == 0 and said in err
    assert said in run("batch", "show", "b", *database)[1]
