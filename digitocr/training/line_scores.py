"""How lines of digits are read: shares exactly right, edits, by what the crops are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from digitocr.recognition.ctc import Frames, best_texts
from digitocr.training.lines import Line
from digitocr.training.scores import wilson


def measure(frames: Sequence[Frames], lines: Sequence[Line]) -> dict[str, Any]:
    """Give the shares of texts exactly right and of wrong characters, by what the crops are."""
    texts = [best_text(rows) for rows in frames]
    groups: dict[str, list[int]] = {"all": list(range(len(lines)))}
    for place, line in enumerate(lines):
        names = [line.kind, "none" if not line.text else "number"]
        if len(line.text) > 1:
            names.append("touching" if line.touching else "not touching")
        for name in names:
            groups.setdefault(name, []).append(place)
    found: dict[str, Any] = {}
    for name, places in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        right = sum(texts[place] == lines[place].text for place in places)
        wrong = sum(edits(texts[place], lines[place].text) for place in places)
        digits = sum(len(lines[place].text) for place in places)
        found[name] = {
            "count": len(places),
            "exact": round(right / len(places), 5),
            "exact_interval": wilson(right, len(places)),
            "character_error_rate": round(wrong / digits, 5) if digits else None,
        }
    return found


def best_text(frames: Frames) -> str:
    """Give the most probable text."""
    return best_texts(frames, keep=1)[0].text


def edits(read: str, truth: str) -> int:
    """Count the insertions, deletions and replacements between two texts."""
    row = list(range(len(truth) + 1))
    for i, one in enumerate(read, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(truth, 1):
            corner, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, corner + (one != other)),
            )
    return row[-1]


def _how_trained(trained: dict[str, Any]) -> str:
    if "mean_of" in trained:
        parts = " and of one ".join(_how_trained(one) for one in trained["mean_of"])
        return f"the weights are the mean of those of a network {parts}"
    return (
        f"trained on {trained['crops']:,} composed crops in {trained['epochs']} epochs and "
        f"{trained['seconds'] / 60:.0f} minutes, seed {trained['seed']}; the weights are those "
        f"of its epoch {trained['best_epoch']}"
    )


def report(card: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Write what a model folder's report says."""
    trained = card["training"]
    lines = [
        f"# {card['name']}",
        "",
        f"{card['architecture']}, {card['parameters']:,} parameters, reads whole number crops; "
        f"{_how_trained(trained)}. Temperature {card['temperature']}.",
        "",
        "Composed numbers of the validation writers, read by LiteRT; the temperature was "
        "fitted on these and the best epoch chosen by them.",
        "",
        "| crops | count | exactly right (95 %) | wrong characters |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, one in metrics.items():
        low, high = one["exact_interval"]
        rate = one["character_error_rate"]
        lines.append(
            f"| {name} | {one['count']} | {one['exact']:.2%} ({low:.2%} to {high:.2%}) "
            f"| {'' if rate is None else f'{rate:.2%}'} |"
        )
    return "\n".join([*lines, "", "![loss and accuracy](history.png)", ""])
