"""Rules take part in reading: never silently, and only where they are clear."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.recognition.decoding import Decoded
from digitocr.recognition.rules import CLEAR_LEAD, LEAST_RATIO, resolve
from digitocr.types import Box, Check, Field, FieldKind, FieldType, FormRule, Rule

TOTAL = FormRule(Rule.SUM, ("a", "b"), "all", "total")


def field(name: str, *checks: Check, type_: FieldType = FieldType.INTEGER) -> Field:
    return Field(name, 1, Box(0, 0, 9, 9), FieldKind.BOXED, type_, cells=4, checks=checks)


FIELDS = {name: field(name) for name in ("a", "b", "all")}


def read(*options: tuple[str, float]) -> tuple[Decoded, ...]:
    return tuple(Decoded(text, probability, ()) for text, probability in options)


def first(resolved, name):
    return resolved.options[name][0]


def test_a_sum_that_comes_out_leaves_the_texts_and_names_nothing():
    options = {
        "a": read(("1", 0.9), ("7", 0.1)),
        "b": read(("2", 0.99)),
        "all": read(("3", 0.99)),
    }
    resolved = resolve((TOTAL,), FIELDS, options)
    assert first(resolved, "a").text == "1"
    assert not any(resolved.broken.values())


def test_a_sum_that_comes_out_is_evidence_for_its_fields():
    options = {
        "a": read(("1", 0.9), ("7", 0.1)),
        "b": read(("2", 0.99)),
        "all": read(("3", 0.99)),
    }
    assert first(resolve((TOTAL,), FIELDS, options), "a").probability > 0.99


def test_a_range_that_holds_is_no_evidence():
    fields = {"a": field("a", Check(Rule.RANGE, 0, 5))}
    options = {"a": read(("1", 0.9), ("7", 0.1))}
    assert first(resolve((), fields, options), "a").probability == 0.9


def test_clear_readings_that_do_not_add_up_stay_and_all_go_to_a_person():
    options = {
        "a": read(("1", 0.999), ("7", 1e-4)),
        "b": read(("2", 1.0)),
        "all": read(("9", 1.0)),
    }
    resolved = resolve((TOTAL,), FIELDS, options)
    assert {name: texts[0].text for name, texts in resolved.options.items()} == {
        "a": "1", "b": "2", "all": "9",
    }  # fmt: skip
    assert all(broken == ("total",) for broken in resolved.broken.values())


def test_a_doubtful_digit_follows_the_sum_and_says_so_and_keeps_both():
    options = {
        "a": read(("1", 0.6), ("7", 0.4)),
        "b": read(("2", 0.99)),
        "all": read(("9", 0.99)),
    }
    resolved = resolve((TOTAL,), FIELDS, options)
    assert [one.text for one in resolved.options["a"]] == ["7", "1"]
    assert resolved.broken == {"a": ("total",), "b": (), "all": ()}
    assert sum(one.probability for one in resolved.options["a"]) <= 1.0


def test_two_repairs_as_likely_as_each_other_are_not_chosen_between():
    options = {
        "a": read(("1", 0.6), ("2", 0.4)),
        "b": read(("1", 0.6), ("2", 0.4)),
        "all": read(("3", 0.99)),
    }
    resolved = resolve((TOTAL,), FIELDS, options)
    assert (first(resolved, "a").text, first(resolved, "b").text) == ("1", "1")
    assert all(broken == ("total",) for broken in resolved.broken.values())


def test_a_rule_with_an_unreadable_field_cannot_hold():
    options = {"a": (), "b": read(("2", 0.99)), "all": read(("3", 0.99))}
    resolved = resolve((TOTAL,), FIELDS, options)
    assert all(broken == ("total",) for broken in resolved.broken.values())


def test_a_blank_counts_as_nothing_in_a_sum():
    options = {"a": read(("", 1.0)), "b": read(("3", 0.99)), "all": read(("3", 0.99))}
    assert not any(resolve((TOTAL,), FIELDS, options).broken.values())


@pytest.mark.parametrize(
    ("check", "right", "wrong"), [(Rule.LUHN, "18", "13"), (Rule.DAMM, "5724", "5727")]
)
def test_a_check_digit_repairs_a_doubtful_code_and_says_so(check, right, wrong):
    fields = {"a": field("a", Check(check), type_=FieldType.CODE)}
    resolved = resolve((), fields, {"a": read((wrong, 0.55), (right, 0.45))})
    assert first(resolved, "a").text == right
    assert resolved.broken["a"] == (check.value,)


def test_a_rule_of_another_page_is_left_out():
    fields = {"other": field("other")}
    assert resolve((TOTAL,), fields, {"other": read(("1", 0.9))}).broken == {"other": ()}


texts = st.lists(
    st.tuples(st.integers(0, 12).map(str), st.floats(0.05, 1.0)),
    min_size=1, max_size=4, unique_by=lambda one: one[0],
)  # fmt: skip


@settings(max_examples=200)
@given(texts, texts, texts)
def test_what_the_rules_choose_is_the_most_probable_that_obeys(a, b, total):
    options = {}
    for name, found in (("a", a), ("b", b), ("all", total)):
        ranked = sorted(found, key=lambda one: -one[1])
        whole = sum(p for _, p in ranked)
        options[name] = read(*((text, p / whole) for text, p in ranked))
    resolved = resolve((TOTAL,), FIELDS, options)
    ways = sorted(
        (
            -x.probability * y.probability * z.probability,
            (x.text, y.text, z.text),
        )
        for x, y, z in product(*options.values())
        if int(x.text) + int(y.text) == int(z.text)
    )
    chosen = tuple(first(resolved, name).text for name in ("a", "b", "all"))
    as_read = tuple(found[0].text for found in options.values())
    best = -options["a"][0].probability * options["b"][0].probability
    best *= options["all"][0].probability
    if chosen != as_read:
        assert chosen == ways[0][1]
        assert ways[0][0] / best >= LEAST_RATIO * 0.999
        assert len(ways) == 1 or ways[0][0] <= CLEAR_LEAD * ways[1][0] * 0.999
        changed = [n for n, x, y in zip(options, chosen, as_read, strict=True) if x != y]
        assert all(resolved.broken[name] for name in changed)
