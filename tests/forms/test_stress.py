"""The stress set, small here and whole in `make soak`: nothing is read from a wrong place."""

import importlib.util
import sys
from pathlib import Path

import pytest

from digitocr.forms.damage import Condition
from digitocr.types import PageStatus

FILE = Path(__file__).parents[1] / "bench" / "stress.py"
LEAST_RIGHT = 0.97  # share of all fields of the whole set
MOST_WRONG = 0.001  # share of accepted readings that are not what was written
BLANK = {"blank page", "back side"}


@pytest.fixture(scope="module")
def stress():
    spec = importlib.util.spec_from_file_location("stress", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stress"] = module
    spec.loader.exec_module(module)
    yield module
    module.forms_and_reader.cache_clear()
    del sys.modules["stress"]


@pytest.fixture(scope="module")
def folder(stress, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress") / "forms"
    stress.make_forms(folder)
    return folder


def total_of(stress, found):
    total = stress.Outcome()
    for one in found.values():
        total += one
    return total


def test_the_set_has_every_condition_at_every_strength_on_every_form(stress):
    listed = stress.cases(stress.PAGES, ["a", "b", "c", "d"])
    assert {(c.condition, c.strength, c.form) for c in listed} == {
        (c, s, form) for c in Condition for s in stress.STRENGTHS for form in "abcd"
    }


@pytest.mark.slow
def test_what_is_no_page_ends_without_numbers(stress, folder):
    for name, reading in stress.read_odd(folder, 1).items():
        wanted = PageStatus.BLANK if name in BLANK else PageStatus.FAILED
        assert reading.status is wanted, f"{name}: {reading.status} {reading.cause}"
        assert not reading.readings


@pytest.mark.slow
def test_pages_turned_bent_and_covered_are_read_from_the_right_places(stress, folder):
    wanted = {Condition.TURN, Condition.CURL, Condition.PHOTO, Condition.COVERED}
    listed = [
        case
        for case in stress.cases(stress.PAGES, ["stress"])
        if case.condition in wanted and case.strength == 1.0
    ][:4]
    found = stress.run_all(listed, folder=folder, seed=1, workers=1)
    total = total_of(stress, found)
    assert (total.pages, total.failed, total.wrong, total.misplaced) == (4, 0, 0, 0)
    assert total.right >= LEAST_RIGHT * total.fields


@pytest.mark.soak
def test_the_whole_set_keeps_its_budgets(stress, folder, tmp_path):
    names = sorted(path.name for path in folder.iterdir())
    listed = stress.cases(stress.PAGES, names)
    found = stress.run_all(listed, folder=folder, seed=1, workers=2)
    said = stress.table(found)
    stress.plot(found, tmp_path / "stress.png")
    total = total_of(stress, found)
    assert total.pages == stress.PAGES
    assert total.misplaced == 0, said
    assert total.wrong <= MOST_WRONG * total.accepted, said
    assert total.right >= LEAST_RIGHT * total.fields, said
