"""Rules take part in reading: the most probable set of texts that obeys them is preferred.

The fields that rules and checks bind together are looked at together. Combinations of what each
may be are tried in the order of their probability until one obeys. It is taken only when it is
not much less probable than the texts as they stand and clearly ahead of the next that obeys;
and a text that a rule changed goes to a person with both. A rule never turns a clear reading
into another: when nothing near obeys, writers may have added wrongly, and the fields that the
rule names all go to a person as they were read.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from digitocr.recognition import checks
from digitocr.recognition.decoding import Decoded
from digitocr.types import Field, FormRule

MOST_TRIED = 3000  # combinations
LEAST_RATIO = 0.01  # of the probability that obeys to the one as it stands
CLEAR_LEAD = 10.0  # of the best that obeys over the next
RULES_HOLD = 0.97  # share of pages whose writers obeyed the rules
LEAST_PROBABILITY = 1e-9

Options = Mapping[str, tuple[Decoded, ...]]  # field → what it may be, best first


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the rules made of the fields of a page.

    `options` are those given; where a rule changed a text it comes first, with its confidence
    under the rule. `broken` names, field by field, the rules and checks that the text as
    first read does not obey.
    """

    options: dict[str, tuple[Decoded, ...]]
    broken: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Constraint:
    name: str
    fields: tuple[str, ...]
    holds: Callable[[Mapping[str, str]], bool]


def resolve(
    rules: tuple[FormRule, ...], fields: Mapping[str, Field], options: Options
) -> Resolved:
    """Let the rules and checks of a page choose among what its fields may be.

    Parameters
    ----------
    rules
        Of the form; those of other pages are left out.
    fields, options
        The fields of the page by name, and what each may be; none where it is unreadable.
    """
    chosen = dict(options)
    broken: dict[str, list[str]] = {name: [] for name in fields}
    for group in _groups(_constraints(rules, fields)):
        names = tuple(dict.fromkeys(name for one in group for name in one.fields))
        unread = [name for name in names if not options[name]]
        best = {name: options[name][0].text for name in names if options[name]}
        failed = [
            one
            for one in group
            if any(name in unread for name in one.fields) or not one.holds(best)
        ]
        if not failed:
            continue
        texts = None if unread else _search(group, names, options)
        if texts is None:
            for one in failed:
                for name in one.fields:
                    broken[name].append(one.name)
            continue
        for name, decoded in texts.items():
            chosen[name] = decoded
            broken[name] += [one.name for one in failed if name in one.fields]
    return Resolved(chosen, {name: tuple(dict.fromkeys(b)) for name, b in broken.items()})


def _constraints(rules: tuple[FormRule, ...], fields: Mapping[str, Field]) -> list[_Constraint]:
    found = []
    for rule in rules:
        if rule.equals in fields:
            found.append(_across(rule, fields))
    for name, field in fields.items():
        for check in checks.names_of(field):
            found.append(_within(check, name, field))
    return found


def _across(rule: FormRule, fields: Mapping[str, Field]) -> _Constraint:
    def holds(texts: Mapping[str, str]) -> bool:
        return checks.sum_holds(rule, fields, texts)

    return _Constraint(rule.name, (*rule.of, rule.equals), holds)


def _within(check: str, name: str, field: Field) -> _Constraint:
    def holds(texts: Mapping[str, str]) -> bool:
        return check not in checks.failed_checks(field, texts[name])

    return _Constraint(check, (name,), holds)


def _groups(constraints: Sequence[_Constraint]) -> Iterator[list[_Constraint]]:
    """Put constraints that share fields, directly or by others, together."""
    left = list(constraints)
    while left:
        group, names = [left.pop(0)], set()
        grown = True
        while grown:
            names |= {name for one in group for name in one.fields}
            joined = [one for one in left if names & set(one.fields)]
            left = [one for one in left if one not in joined]
            group += joined
            grown = bool(joined)
        yield group


def _search(
    group: Sequence[_Constraint], names: tuple[str, ...], options: Options
) -> dict[str, tuple[Decoded, ...]] | None:
    """Find the texts that obey, if they are near and clear; give the changed fields."""
    obeying: list[tuple[float, dict[str, int]]] = []
    first = None
    for cost, places in _by_probability(names, options):
        first = cost if first is None else first
        behind = cost - first > -math.log(LEAST_RATIO)
        if behind and (not obeying or cost - obeying[0][0] > math.log(CLEAR_LEAD)):
            break
        texts = {name: options[name][place].text for name, place in places.items()}
        if all(one.holds(texts) for one in group):
            obeying.append((cost, places))
            if len(obeying) == 2:
                break
    if first is None or not obeying:
        return None
    ratio = math.exp(first - obeying[0][0])
    next_ratio = math.exp(first - obeying[1][0]) if len(obeying) > 1 else 0.0
    if ratio < LEAST_RATIO or ratio < CLEAR_LEAD * next_ratio:
        return None
    sure = RULES_HOLD * ratio / (RULES_HOLD * (ratio + next_ratio) + 1.0 - RULES_HOLD)
    return {
        name: _brought_forward(options[name], place, sure)
        for name, place in obeying[0][1].items()
        if place > 0
    }


def _brought_forward(
    before: tuple[Decoded, ...], place: int, confidence: float
) -> tuple[Decoded, ...]:
    """Put the text at `place` first, with its confidence under the rule; keep the others."""
    taken = Decoded(before[place].text, confidence, before[place].path)
    rest = [
        Decoded(one.text, one.probability * (1.0 - confidence), one.path)
        for i, one in enumerate(before)
        if i != place
    ]
    return (taken, *rest)


def _by_probability(
    names: tuple[str, ...], options: Options
) -> Iterator[tuple[float, dict[str, int]]]:
    """Yield combinations, most probable first: minus log probability, and place by field."""

    def cost(places: tuple[int, ...]) -> float:
        return -sum(
            math.log(max(options[name][place].probability, LEAST_PROBABILITY))
            for name, place in zip(names, places, strict=True)
        )

    start = (0,) * len(names)
    heap = [(cost(start), start)]
    seen = {start}
    for _ in range(MOST_TRIED):
        if not heap:
            return
        here, places = heapq.heappop(heap)
        yield here, dict(zip(names, places, strict=True))
        for i, name in enumerate(names):
            if places[i] + 1 < len(options[name]):
                further = (*places[:i], places[i] + 1, *places[i + 1 :])
                if further not in seen:
                    seen.add(further)
                    heapq.heappush(heap, (cost(further), further))
