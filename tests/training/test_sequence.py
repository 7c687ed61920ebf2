import json
from itertools import product

import cv2
import numpy as np
import pytest

from digitocr.errors import ModelError, UsageError
from digitocr.imaging.strips import normalize_strip
from digitocr.recognition.ctc import best_seen
from digitocr.recognition.sequence import load_sequence
from digitocr.settings import Settings
from digitocr.training.composition import hands
from digitocr.types import STRIP_HEIGHT, STRIP_WIDTHS

pytest.importorskip("tensorflow", reason="training needs digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


@pytest.fixture(scope="module")
def writers(printed_hand):
    """One hand that writes printed digits."""
    return hands.gather([printed_hand()], [], "drawn")


@pytest.fixture(scope="module")
def train(writers):
    """Train on numbers in that hand, two epochs on forty crops."""
    from digitocr.training import dataset, sequence

    def train(out, *, seed=7, architecture="sequence-1m", start=None):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(hands, "load", lambda folder, part: writers)
            drawn = dataset.GlyphSet(
                "drawn", np.zeros((0, 28, 28), np.uint8), np.zeros(0), np.zeros(0), "drawn"
            )
            patched.setattr(dataset, "load", lambda name, folder: drawn)
            small = {"crops_an_epoch": 40, "validated": 30, "batch": 16}
            return sequence.train(architecture, 2, out, seed, Settings(), start=start, **small)

    return train


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "lines")


def test_training_writes_a_folder_that_loads_and_reads(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {"model.keras", "model.tflite", "card.json", "report.md", "history.png"}
    model = load_sequence(trained)
    crops = [np.full((40, width), 200, np.uint8) for width in (30, 500, 90, 41)]
    for crop in crops:
        cv2.putText(crop, "17", (4, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 30, 2)
    strips = [normalize_strip(crop) for crop in crops]
    looks = model.look(strips)
    assert [one[0].shape[1] for one in looks] == [11] * 4
    for of_strip, strip in zip(looks, strips, strict=True):
        for frames, again in zip(of_strip, model.look([strip])[0], strict=True):
            np.testing.assert_allclose(np.exp(frames).sum(axis=1), 1.0, atol=1e-5)
            np.testing.assert_allclose(frames, again, atol=1e-4)
        assert best_seen(of_strip)
    assert model.look([]) == []
    card = json.loads((trained / "card.json").read_text())
    assert card["training"]["seed"] == 7 and card["parameters"] < 1_500_000
    assert card["metrics"]["composed-validation"]["all"]["count"] == 30


@pytest.mark.soak
def test_the_same_seed_gives_the_same_weights(trained, train, tmp_path):
    import keras

    again = train(tmp_path / "again")
    first, second = (
        keras.models.load_model(folder / "model.keras").get_weights()
        for folder in (trained, again)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_card_of_digits_does_not_pass_for_one_of_lines(trained, tmp_path):
    card = json.loads((trained / "card.json").read_text())
    (tmp_path / "model.tflite").write_bytes((trained / "model.tflite").read_bytes())
    (tmp_path / "card.json").write_text(json.dumps(card | {"kind": None}))
    with pytest.raises(ModelError, match="kind"):
        load_sequence(tmp_path)


def test_an_unknown_architecture_is_refused_with_those_there_are(train, tmp_path):
    with pytest.raises(UsageError, match="sequence-1m"):
        train(tmp_path / "x", architecture="sequence-9b")
    assert not (tmp_path / "x").exists()


def test_composed_lines_are_the_same_for_the_same_seed_and_can_be_spelled(writers):
    from digitocr.training import lines as composed
    from digitocr.training import pictures

    sheaves = [(pictures.HEAVY, 30), (pictures.LIGHT, 20)]
    first, again = (list(composed.compose_lines(writers, sheaves, seed=3)) for _ in range(2))
    assert [len(sheaf) for sheaf in first] == [30, 20]
    lines, same = ([*heavy, *light] for heavy, light in (first, again))
    for one, other in zip(lines, same, strict=True):
        assert np.array_equal(one.strip, other.strip) and one.text == other.text
        assert composed.frames_wanted(one.text) <= -(-one.strip.shape[1] // 4)
    assert any(not line.text for line in lines)


@pytest.mark.parametrize("learned_from", [False, True])
def test_every_line_is_in_a_batch_of_its_bucket(writers, learned_from):
    from digitocr.training import pictures, sequence

    (lines,) = sequence.compose_lines(writers, [(pictures.LIGHT, 50)], seed=4)
    seen = []
    for places, (strips, frames, _, lengths) in sequence.batches(
        lines, 8, np.random.default_rng(1) if learned_from else None
    ):
        assert strips.shape[:2] == (8, STRIP_HEIGHT) and strips.shape[2] in STRIP_WIDTHS
        for place, strip, count, length in zip(places, strips, frames, lengths, strict=True):
            line = lines[place]
            inside = strip[:, : line.strip.shape[1], 0]
            assert np.array_equal(inside, line.strip) is not learned_from  # jittered
            assert not strip[:, line.strip.shape[1] :].any()
            assert length == len(line.text) and count * 4 >= line.strip.shape[1]
        seen += places.tolist()
    assert set(seen) == set(range(50))


def test_the_loss_is_that_of_the_probability_of_the_text():
    from digitocr.recognition.ctc import text_probabilities
    from digitocr.training.sequence import ctc_loss

    rng = np.random.default_rng(2)
    texts, frames = ["", "4", "77", "905"], np.array([6, 3, 5, 6], np.int32)
    logits = rng.normal(0.0, 2.0, (4, 6, 11)).astype(np.float32)
    digits = np.array([[0, 0, 0], [4, 0, 0], [7, 7, 0], [9, 0, 5]], np.int32)
    lengths = np.array([0, 1, 2, 3], np.int32)
    losses = ctc_loss(logits, frames, digits, lengths).numpy()
    rows = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    for loss, text, row, count in zip(losses, texts, rows, frames, strict=True):
        assert np.exp(-loss) == pytest.approx(
            text_probabilities(row[:count], [text])[0], rel=1e-4
        )


@pytest.mark.parametrize(
    ("read", "truth", "count"), [("", "", 0), ("12", "", 2), ("", "7", 1), ("1213", "123", 1)]
)
def test_edits_count_what_must_be_changed(read, truth, count):
    from digitocr.training.line_scores import edits

    assert edits(read, truth) == edits(truth, read) == count


def test_edits_are_no_fewer_than_the_difference_in_length():
    from digitocr.training.line_scores import edits

    words = ["", "1", "11", "12", "212"]
    for one, other in product(words, words):
        assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))


@pytest.mark.soak
def test_training_goes_on_from_the_weights_of_a_folder(train, trained, tmp_path):
    further = train(tmp_path / "further", start=trained)
    card, before = (
        json.loads((folder / "card.json").read_text()) for folder in (further, trained)
    )
    assert card["training"]["started_from"] == {"name": before["name"], **before["training"]}
    assert before["training"]["started_from"] is None
    # The optimizer's moments are not kept: 4 bytes a parameter, and what names them.
    assert (further / "model.keras").stat().st_size < 6 * card["parameters"]


def test_a_folder_that_holds_no_such_network_is_refused_to_start_from(train, tmp_path):
    with pytest.raises(ModelError, match="--start"):
        train(tmp_path / "out", start=tmp_path / "nowhere")


@pytest.mark.parametrize("lacking", [("_deepened",), ("_deepened", "_gated")])
def test_a_network_of_an_older_make_is_gone_on_with_as_it_is(lacking, tmp_path, monkeypatch):
    from digitocr.training import sequence, sequence_networks

    now = sequence_networks.sequence_1m()
    with monkeypatch.context() as patched:
        for name in lacking:
            patched.setattr(sequence_networks, name, lambda x, filters, dtype: x)
        older = sequence_networks.sequence_1m()
    assert len(older.weights) < len(now.weights)
    older.save(tmp_path / "model.keras")
    now.set_weights(sequence._weights_of(tmp_path, now))
    strips = np.random.default_rng(2).random((2, STRIP_HEIGHT, 96, 1), np.float32)
    np.testing.assert_allclose(
        now.predict(strips, verbose=0), older.predict(strips, verbose=0), atol=1e-5
    )
