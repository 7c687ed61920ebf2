"""The third opinion: read where it is installed, asked only where both readers are not sure."""

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from digitocr import numbers
from digitocr.recognition import recognizer as third_opinion
from digitocr.recognition.combining import FEATURES, Combination, Combinations, Evidence
from digitocr.recognition.ctc import BLANK, COLUMNS, best_texts
from digitocr.recognition.decoding import Decoded
from digitocr.recognition.recognizer import Recognizer, load_recognizer
from digitocr.recognition.sequence import SequenceCard, SequenceModel, joint_card
from digitocr.types import Box, ModelCard

WEIGHTS = Combination(
    1.0, 1.0, 1e-3, 1e-3, -6.0, tuple(float(name == "share") for name in FEATURES)
)


def spelled(text, *, sure=0.98):
    """Give frames that say a text, with a blank after each digit."""
    frames = np.full((2 * max(1, len(text)), COLUMNS), (1 - sure) / (COLUMNS - 1), np.float32)
    frames[:, BLANK] = sure
    for place, digit in enumerate(text):
        frames[2 * place, BLANK] = (1 - sure) / (COLUMNS - 1)
        frames[2 * place, int(digit)] = sure
    return np.log(frames / frames.sum(axis=1, keepdims=True))


def with_recognizer(asked, text, *, sure=0.98):
    def read(line):
        asked.append(line)
        return spelled(text, sure=sure)

    weights = Combinations(WEIGHTS, WEIGHTS, "print", WEIGHTS, WEIGHTS)
    card = SequenceCard("lines", 1.0, "strip", (), {}, "weights", weights)
    third = None if text is None else Recognizer("ppocr", "print", read)
    return SequenceModel("nowhere", card, lambda strips: [], third)


def weigh(
    sequence, *, sure, printed_cells=False, lattice=(("11", 0.5), ("17", 0.5)), whole=None
):
    image = np.full((40, 100), 255, np.uint8)
    whole = whole or numbers.WholeReading(Box(10, 10, 90, 30), (spelled("17", sure=0.6),))
    return numbers.weigh(
        image,
        [Decoded(text, probability, ()) for text, probability in lattice],
        whole,
        Evidence(False, False, {}),
        sequence,
        printed_cells=printed_cells,
        sure=sure,
    )


def test_in_printed_cells_a_text_is_no_surer_than_the_lattice_leaves_it():
    against = (("11", 0.9), ("17", 0.1))
    alone = replace(with_recognizer([], "17"), recognizer=None)
    free = weigh(alone, sure=1.0, lattice=against)
    cells = weigh(alone, sure=1.0, lattice=against, printed_cells=True)
    assert free[0].text == "17"
    bounded = {one.text: one.probability for one in cells}["17"]
    assert bounded <= 0.1 + 1e-9 < free[0].probability
    agreed = weigh(alone, sure=1.0, lattice=(("17", 0.9),), printed_cells=True)
    assert agreed == weigh(alone, sure=1.0, lattice=(("17", 0.9),))


@pytest.mark.parametrize("third", ["17", "11", "42"])
def test_in_printed_cells_the_recognizer_does_not_outvote_the_lattice(third):
    # It sees the guide that is printed in a cell, an 8 of seven segments, as the network does.
    against = (("11", 0.9), ("17", 0.1))
    cells = weigh(with_recognizer([], third), sure=1.0, lattice=against, printed_cells=True)
    assert {one.text: one.probability for one in cells}["17"] <= 0.1 + 1e-9
    assert all(one.probability <= 0.1 + 1e-9 for one in cells if one.text != "11")


def test_in_printed_cells_the_recognizer_changes_no_text():
    agreed = (("17", 0.9), ("42", 0.1))
    cells = weigh(with_recognizer([], "42"), sure=1.0, lattice=agreed, printed_cells=True)
    assert cells[0].text == "17"


def test_the_recognizer_is_weighed_only_where_both_readers_are_not_sure():
    asked = []
    sequence = with_recognizer(asked, "17")
    both = weigh(sequence, sure=0.0)
    assert both == weigh(with_recognizer([], None), sure=1.0)
    three = weigh(sequence, sure=1.0)
    assert {line.shape for line in asked} == {(30, 90)}
    assert both[0].text == three[0].text == "17"
    assert three[0].probability > both[0].probability


def test_a_recognizer_that_reads_otherwise_lowers_the_confidence():
    both = weigh(with_recognizer([], "17"), sure=0.0)
    three = weigh(with_recognizer([], "42"), sure=1.0)
    assert three[0].probability < both[0].probability


AGREED = (("17", 0.999), ("11", 0.001))


def agreed(third, *, sure=0.95, asked=None, said="17", lattice=AGREED, **more):
    """Weigh what lattice and network agree on and are sure of."""
    sequence = with_recognizer([] if asked is None else asked, third, sure=sure)
    whole = numbers.WholeReading(Box(10, 10, 90, 30), (spelled(said, sure=0.99999),))
    return weigh(sequence, sure=0.9, lattice=lattice, whole=whole, **more)


def test_what_two_agree_on_is_believed_less_where_the_third_is_rather_sure_of_another():
    alone, confirmed, denied = (agreed(third) for third in (None, "17", "12"))
    assert alone[0].text == "17" and alone[0].probability > 0.99
    assert confirmed == alone
    assert (denied[0].text, denied[0].probability) == ("17", 0.9)
    assert denied[1].text == "12"
    assert sum(one.probability for one in denied) <= 1.0 + 1e-9
    assert agreed("12", sure=0.5) == alone  # it is not even half sure itself


def test_in_printed_cells_and_where_no_digit_is_seen_the_third_is_not_asked():
    asked = []
    assert agreed("12", asked=asked, printed_cells=True)[0].probability > 0.99
    blank = agreed("12", asked=asked, said="", lattice=(("", 0.999),))
    assert blank[0].text == "" and blank[0].probability > 0.99
    assert asked == []
    # A blank over what the lattice might read as a digit is one that the third may deny.
    doubted = agreed("12", asked=asked, said="", lattice=(("", 0.999), ("4", 0.0005)))
    assert len(asked) == 1 and doubted[0].probability <= 0.9


def test_readings_say_that_the_recognizer_was_there_to_be_asked():
    card = ModelCard("glyphs", tuple("0123456789"), 28, 1.0, "", (), {}, "ab")
    three = with_recognizer([], "1")
    two = SequenceModel(three.path, three.card, three.look)
    assert joint_card(card, three).name == "glyphs+lines+ppocr"
    assert joint_card(card, three).fingerprint != joint_card(card, two).fingerprint


def test_the_weights_of_three_stand_in_a_card_and_come_back():
    weights = Combinations(WEIGHTS, WEIGHTS, "print", WEIGHTS, WEIGHTS)
    assert Combinations.of_card(weights.entry(), "card") == weights
    two = Combinations(WEIGHTS, WEIGHTS)
    assert Combinations.of_card(two.entry(), "card") == two


def test_without_the_extra_there_is_no_recognizer(monkeypatch):
    load_recognizer.cache_clear()
    monkeypatch.setattr(third_opinion, "find_spec", lambda name: None)
    assert load_recognizer() is None
    load_recognizer.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 200, 2000])
def test_the_recognizer_reads_a_line_of_any_width(width):
    pytest.importorskip("rapidocr", reason="a third opinion needs digitocr[ocr]")
    line = np.full((40, width), 255, np.uint8)
    cv2.putText(line, "47", (8, 32), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 0, 2)
    before = line.copy()
    recognizer = load_recognizer()
    frames = recognizer.read(line)
    assert frames.shape[1] == COLUMNS
    np.testing.assert_allclose(np.exp(frames).sum(axis=1), 1.0, atol=1e-4)
    assert best_texts(frames, keep=1)[0].text == "47"
    assert np.array_equal(line, before)


@pytest.mark.slow
@pytest.mark.skipif(load_recognizer() is None, reason="the extra ocr is not installed")
def test_the_recognizer_tells_nobody_that_it_runs(tmp_path):
    # ONNX Runtime from 1.28 on keeps a session's name in the temporary folder to send it home.
    watched = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    quiet = {name: value for name, value in os.environ.items() if name != "CI"}
    program = (
        "import numpy as np\n"
        "from digitocr.recognition.recognizer import load_recognizer\n"
        "print(len(load_recognizer().read(np.full((40, 90), 255, np.uint8))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=quiet | watched,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == []
