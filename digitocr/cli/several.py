"""Options that take several words: `--data a b c` as well as `--data a --data b --data c`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand


class Several(TyperCommand):
    """A command whose repeatable options take every word up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        names = {
            name for one in self.params if getattr(one, "multiple", False) for name in one.opts
        }
        parsed: list[str] = super().parse_args(ctx, list(_repeated(args, names)))
        return parsed


def _repeated(words: list[str], names: set[str]) -> Iterator[str]:
    """Say the option again before each of its words but the first."""
    option, first = "", False
    for word in words:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            option, first = (name, not value) if name in names else ("", False)
        elif option and not first:
            yield option
        else:
            first = False
        yield word
