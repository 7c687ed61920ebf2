import numpy as np
import pytest
from PIL import Image

from digitocr.training import dataset, plots
from digitocr.training.scores import Scored

pytest.importorskip("matplotlib", reason="plots need digitocr[train]")

MOST_BYTES = 150_000


@pytest.fixture
def scored(printed):
    """A function that scores the printed digits at random, under any name."""

    def make(name, *, columns=11, count=300, others=0):
        rng = np.random.default_rng(3)
        glyphs, labels = printed[0][:count], printed[1][:count].astype(np.int64)
        labels = np.where(np.arange(count) < others, dataset.OTHER, labels)
        logits = rng.normal(0, 1, (count, columns))
        known = labels < columns
        logits[known, labels[known]] += 4
        rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        data = dataset.GlyphSet(name, glyphs, labels, np.full(count, "test"), "")
        return Scored(data, rows.astype(np.float32))

    return make


def check_picture(file):
    assert 0 < file.stat().st_size <= MOST_BYTES
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 100
        assert len(np.unique(np.asarray(image.convert("L")))) > 2


@pytest.mark.parametrize("columns", [10, 11])
def test_every_plot_of_a_measurement_is_drawn(columns, scored, tmp_path):
    mnist, mixed = scored("mnist", columns=columns), scored("mixed", columns=columns, others=20)
    plots.draw_plots([mnist, mixed], tmp_path)
    drawn = {file.stem for file in tmp_path.iterdir()}
    assert drawn == set(plots.CAPTIONS) - {"history", "classes", "gold_reject"}
    for file in tmp_path.iterdir():
        check_picture(file)


def test_no_picture_of_another_set_than_mnist_is_drawn(scored, tmp_path):
    plots.draw_plots([scored("nsysu-dev"), scored("own")], tmp_path)
    drawn = {file.stem for file in tmp_path.iterdir()}
    assert drawn == {"confusion", "by_class", "calibration", "error_reject"}
    for draw in (plots.draw_samples, plots.draw_mistakes):
        with pytest.raises(ValueError, match="nsysu-dev must not be shown"):
            draw(scored("nsysu-dev"), tmp_path / "pictures.png")
    assert not (tmp_path / "pictures.png").exists()


def test_of_sets_without_digits_nothing_is_drawn(scored, tmp_path):
    plots.draw_plots([scored("junk-dev", others=300)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_perfect_reader_leaves_an_empty_gallery_of_mistakes(scored, tmp_path):
    one = scored("mnist", count=10)
    perfect = Scored(one.data, np.eye(11, dtype=np.float32)[one.data.labels])
    plots.draw_plots([perfect], tmp_path)
    assert (tmp_path / "mistakes.png").stat().st_size > 0


def test_the_surest_mistake_comes_first(scored, tmp_path, monkeypatch):
    rows = np.full((4, 11), 0.001, np.float32)
    rows[[0, 1, 2, 3], [5, 1, 6, 10]] = 0.6, 0.99, 0.98, 0.95  # wrong, right, wrong, wrong
    shown = []
    monkeypatch.setattr(plots, "_draw_gallery", lambda one, rows, *_, **__: shown.extend(rows))
    plots.draw_mistakes(Scored(scored("mnist", count=4).data, rows), tmp_path / "x.png")
    assert shown == [2, 3, 0]


def test_the_course_of_training_is_drawn_with_the_epoch_that_was_kept(tmp_path):
    history = {
        "accuracy": [0.5, 0.8, 0.9],
        "loss": [2.0, 1.0, 0.5],
        "val_accuracy": [0.6, 0.9, 0.88],
        "val_loss": [1.5, 0.6, 0.7],
    }
    plots.draw_history(history, 2, tmp_path / "history.png")
    check_picture(tmp_path / "history.png")


def test_the_classes_trained_on_are_drawn(tmp_path):
    counts = {"mnist": [*range(100, 110), 0], "letters": np.eye(11, dtype=np.int64)[10] * 50}
    plots.draw_class_counts(counts, tmp_path / "classes.png")
    check_picture(tmp_path / "classes.png")


@pytest.mark.parametrize("sets", [1, 3, 4])
def test_models_are_drawn_side_by_side(sets, tmp_path):
    one = {"accuracy": 0.99, "accuracy_interval": [0.98, 0.995], "glyphs_per_s": 40_000}
    models = {f"model {n}": one | {"accuracy": 0.98 + n / 1000} for n in range(12)}
    plots.draw_comparison({f"set {n}": models for n in range(sets)}, tmp_path / "compare.png")
    check_picture(tmp_path / "compare.png")
