"""Rules take part in reading: the most probable set of texts that obeys them is preferred.

The fields that rules and checks bind together are looked at together. Combinations of what each
may be are tried in the order of their probability until one obeys. It is taken only when it is
not much less probable than the texts as they stand and clearly ahead of the next that obeys;
and a text that a rule changed goes to a person with both. A rule never turns a clear reading
into another: when nothing near obeys, writers may have added wrongly, and the fields that the
rule names all go to a person as they were read.

Where the texts obey as they stand, that is evidence for them: what each else might be mostly
does not obey. A field's confidence is then its share of the probability of all that obeys.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from digitocr.recognition import checks
from digitocr.recognition.decoding import Decoded
from digitocr.types import Field, FormRule

MOST_TRIED = 400  # combinations
LEAST_SHARE = 1e-3  # of a field's best text; alternatives below it are not tried
LEAST_RATIO = 0.01  # of the probability that obeys to the one as it stands
CLEAR_LEAD = 10.0  # of the best that obeys over the next
RULES_HOLD = 0.97  # share of pages whose writers obeyed the rules
LEAST_PROBABILITY = 1e-9
CHECK_DIGITS = frozenset({"luhn", "damm", "mod11"})

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
    is_evidence: bool  # few wrong texts obey it by chance


@dataclass(frozen=True, slots=True)
class _Found:
    """Combinations that obey, most probable first, relative to the texts as they stand.

    `beyond`: what was not tried is at most so probable.
    """

    beyond: float
    obeying: tuple[tuple[float, dict[str, int]], ...]


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
        found = _Found(1.0, ()) if unread else _search(group, names, options)
        if not failed:
            if any(one.is_evidence for one in group):
                chosen |= {name: _confirmed(options[name], name, found) for name in names}
            continue
        changed = _clear_choice(found)
        for one in failed:
            for name in one.fields:
                if changed is None or changed[name] > 0:
                    broken[name].append(one.name)
        if changed is not None:
            sure = _confidence(found)
            chosen |= {
                name: _brought_forward(options[name], place, sure)
                for name, place in changed.items()
                if place > 0
            }
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

    return _Constraint(rule.name, (*rule.of, rule.equals), holds, True)


def _within(check: str, name: str, field: Field) -> _Constraint:
    def holds(texts: Mapping[str, str]) -> bool:
        return check not in checks.failed_checks(field, texts[name])

    return _Constraint(check, (name,), holds, check in CHECK_DIGITS)


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


def _search(group: Sequence[_Constraint], names: tuple[str, ...], options: Options) -> _Found:
    """Try combinations, most probable first, and keep those that obey."""
    obeying = []
    ratio = 1.0
    for ratio, places in _by_probability(names, options):
        if ratio < LEAST_RATIO:
            break
        texts = {name: options[name][place].text for name, place in places.items()}
        if all(one.holds(texts) for one in group):
            obeying.append((ratio, places))
    return _Found(ratio, tuple(obeying))


def _clear_choice(found: _Found) -> dict[str, int] | None:
    """Give the most probable combination that obeys, if it is near and clearly ahead."""
    if not found.obeying:
        return None
    ratio, places = found.obeying[0]
    next_ratio = found.obeying[1][0] if len(found.obeying) > 1 else found.beyond
    return None if ratio < CLEAR_LEAD * next_ratio else places


def _confidence(found: _Found) -> float:
    """Say how likely the best that obeys is, beside the others and the texts as they stand."""
    total = found.beyond + sum(ratio for ratio, _ in found.obeying)
    return RULES_HOLD * found.obeying[0][0] / (RULES_HOLD * total + 1.0 - RULES_HOLD)


def _confirmed(before: tuple[Decoded, ...], name: str, found: _Found) -> tuple[Decoded, ...]:
    """Raise the confidence of a text that obeys to its share of all that obeys."""
    if not found.obeying:
        return before
    total = found.beyond + sum(ratio for ratio, _ in found.obeying)
    best = sum(ratio for ratio, places in found.obeying if places[name] == 0)
    under_rule = RULES_HOLD * best / total + (1.0 - RULES_HOLD) * before[0].probability
    if under_rule <= before[0].probability:
        return before
    scale = (1.0 - under_rule) / max(1.0 - before[0].probability, 1e-9)
    first = Decoded(before[0].text, under_rule, before[0].path)
    rest = [Decoded(one.text, one.probability * scale, one.path) for one in before[1:]]
    return (first, *rest)


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
    """Yield combinations, most probable first: ratio to the first, and place by field."""
    costs = []
    for name in names:
        likely = [max(one.probability, LEAST_PROBABILITY) for one in options[name]]
        kept = [one for one in likely if one >= LEAST_SHARE * likely[0]]
        costs.append([math.log(likely[0] / one) for one in kept])
    start = (0,) * len(names)
    heap = [(0.0, start)]
    seen = {start}
    for _ in range(MOST_TRIED):
        if not heap:
            yield 0.0, dict.fromkeys(names, 0)
            return
        here, places = heapq.heappop(heap)
        yield math.exp(-here), dict(zip(names, places, strict=True))
        for i, own in enumerate(costs):
            if places[i] + 1 < len(own):
                further = (*places[:i], places[i] + 1, *places[i + 1 :])
                if further not in seen:
                    seen.add(further)
                    step = own[places[i] + 1] - own[places[i]]
                    heapq.heappush(heap, (here + step, further))
