"""Options that take several words at once."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from digitocr.cli.several import Several

app = typer.Typer()
Words = Annotated[list[str] | None, typer.Option()]


@app.command(cls=Several)
def show(
    models: Words = None,
    data: Words = None,
    out: str = "",
    flag: Annotated[bool, typer.Option("--flag")] = False,
) -> None:
    typer.echo(f"{models or []} {data or []} {out!r} {flag}")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", "[] [] '' False"),
        ("--models a b --data c d", "['a', 'b'] ['c', 'd'] '' False"),
        ("--models a --models b", "['a', 'b'] [] '' False"),
        ("--models a b --models c", "['a', 'b', 'c'] [] '' False"),
        ("--models=a b --out x --data=c", "['a', 'b'] ['c'] 'x' False"),
        ("--data a b --flag", "[] ['a', 'b'] '' True"),
    ],
)
def test_a_repeatable_option_takes_every_word_up_to_the_next_option(words, shown):
    done = CliRunner().invoke(app, words.split())
    assert (done.exit_code, done.stdout.strip()) == (0, shown)


@pytest.mark.parametrize("words", ["a", "--out x y", "--flag a", "--models a -- b", "--data"])
def test_a_word_that_belongs_to_no_option_is_refused(words):
    assert CliRunner().invoke(app, words.split()).exit_code == 2
