import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from digitocr.errors import DataError
from digitocr.imaging.normalization import normalize_all
from digitocr.training import dataset, pictures, skeletons
from digitocr.training.dataset import GlyphSet
from digitocr.training.pictures import Kind, Source, draw_sheaves, sheaf_of, spoilings


@pytest.fixture
def digits():
    """Forty blots, each its own."""
    rng = np.random.default_rng(2)
    glyphs = np.zeros((40, 24, 20), np.uint8)
    glyphs[:, 4:20, 6:14] = rng.integers(60, 256, (40, 16, 8))
    return GlyphSet("blots", glyphs, np.arange(40) % 10, np.full(40, "train"), "")


def test_clean_pictures_are_all_digits_once_as_they_are_read(digits):
    (sheaf,) = draw_sheaves(Kind.CLEAN, [digits], epochs=9, seed=1)
    np.testing.assert_array_equal(sheaf.labels, digits.labels)
    np.testing.assert_allclose(sheaf.images / 255.0, normalize_all(digits.glyphs), atol=0.002)


@pytest.mark.parametrize("kind", [Kind.MOVED, Kind.SCANNED])
def test_the_same_seed_draws_the_same_pictures_and_another_others(digits, kind):
    first, again = (draw_sheaves(kind, [digits], epochs=4, seed=1, size=40) for _ in range(2))
    other = draw_sheaves(kind, [digits], epochs=4, seed=2, size=40)
    assert len(first) == len(again) == len(other) > 1
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert not np.array_equal(one.images, three.images)
    assert not np.array_equal(first[0].images, first[1].images)


@pytest.mark.slow
def test_several_processes_draw_what_one_draws(digits, monkeypatch):
    monkeypatch.setattr(pictures, "_CHUNK", 10)
    drawn = []
    for cores in (1, 2):
        monkeypatch.setattr(pictures.os, "cpu_count", lambda cores=cores: cores)
        drawn.append(draw_sheaves(Kind.SCANNED, [digits], epochs=3, seed=5, size=40))
    for one, two in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)


def test_scanned_pictures_hold_their_share_of_non_digits_and_the_others_none(digits):
    (sheaf,) = draw_sheaves(Kind.SCANNED, [digits], epochs=1, seed=3, size=600)
    assert 0.12 < (sheaf.labels == dataset.OTHER).mean() < 0.26
    junk = digits.where(digits.labels < 3)
    junk.labels[:] = dataset.OTHER
    for sheaf in draw_sheaves(Kind.MOVED, [digits, junk], epochs=2, seed=3):
        assert sheaf.labels.max() < dataset.OTHER


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 42])
def test_every_sheaf_is_used_and_none_oftener_than_it_may(kind, epochs):
    used = [sheaf_of(kind, epoch, epochs) for epoch in range(epochs)]
    assert set(used) == set(range(len(spoilings(kind, epochs))))
    if kind is not Kind.CLEAN:
        assert max(used.count(sheaf) for sheaf in used) <= pictures.TIMES_USED


def test_the_end_of_a_training_sees_lighter_pictures():
    plan = spoilings(Kind.SCANNED, 40)
    levels = [plan[sheaf_of(Kind.SCANNED, epoch, 40)] for epoch in range(40)]
    assert levels == [pictures.HEAVY] * 26 + [pictures.LIGHT] * 14


def test_data_without_digits_is_refused(digits):
    digits.labels[:] = dataset.OTHER
    with pytest.raises(DataError, match="no digits"):
        Source.of([digits])


def test_every_way_of_writing_a_digit_is_drawn_inside_the_picture():
    glyphs, labels = skeletons.draw_digits(np.random.default_rng(4), each=8)
    assert np.bincount(labels).tolist() == [8] * 10
    for glyph in glyphs:
        assert glyph.any() and not glyph[[0, -1]].any() and not glyph[:, [0, -1]].any()
    assert len({glyph.tobytes() for glyph in glyphs}) == 80


def test_who_writes_ones_like_sevens_writes_most_sevens_with_a_bar():
    rng = np.random.default_rng(5)
    hands = np.array([skeletons.choose_ways(rng) for _ in range(4000)])
    for digit, ways in enumerate(skeletons.SKELETONS):
        assert set(hands[:, digit]) == set(range(len(ways)))
    long = np.isin(hands[:, 1], skeletons.LONG_ONES)
    barred = np.isin(hands[:, 7], skeletons.BARRED_SEVENS)
    assert 0.93 < barred[long].mean() < 0.97
    assert barred[~long].mean() < 0.8


def test_printed_digits_are_drawn_in_fonts_some_of_which_are_never_trained_on():
    pytest.importorskip("matplotlib", reason="the fonts come with digitocr[train]")
    printed = dataset.load("printed", "")
    assert (printed.glyphs.max(axis=(1, 2)) > 200).all()
    for part in ("train", "heldout"):
        assert set(printed.part(part).labels) == set(range(10))


@pytest.mark.slow
def test_those_who_draw_end_with_who_had_them_draw(tmp_path):
    """They hold whole data sets, and would wait for work for ever."""
    script = tmp_path / "draw.py"
    script.write_text(
        "import multiprocessing, operator, os\n"
        "from digitocr.training import pictures\n"
        "if __name__ == '__main__':\n"
        "    drawn = pictures.draw_all(operator.add, 1, list(range(40)))\n"
        "    next(drawn)\n"
        "    print(*(one.pid for one in multiprocessing.active_children()), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    drawing = [Path("/proc", pid, "stat") for pid in said.stdout.split()]
    assert len(drawing) >= 2, said.stderr
    for _ in range(200):
        if all(_is_over(one) for one in drawing):
            return
        time.sleep(0.1)
    pytest.fail("they are still there")


def _is_over(stat: Path) -> bool:
    """A process is no more, or nobody has asked yet what became of it."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
