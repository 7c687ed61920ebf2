"""The README names every command, option, setting, error, exit code, reason and column."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import typer

from digitocr import cli, errors
from digitocr.db.export import COLUMNS
from digitocr.errors import EXIT_PARTIAL, EXIT_STOPPED, DigitocrError
from digitocr.settings import PREFIX, Settings
from digitocr.types import FieldStatus, Format, Reason, Rule

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMON = {"--help", "--database", "--model"}


def commands() -> dict[str, set[str]]:
    """List the long options of every command, by its words."""

    def below(command, words):
        children = getattr(command, "commands", {})
        for name, child in children.items():
            yield from below(child, [*words, name])
        if not children:
            yield (
                " ".join(words),
                {
                    option
                    for parameter in command.params
                    for option in parameter.opts
                    if option.startswith("--")
                },
            )

    return dict(below(typer.main.get_command(cli.app), []))


def error_classes() -> list[type[DigitocrError]]:
    return [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, DigitocrError)
    ]


def code() -> list[str]:
    """List what the README shows as code: between backticks, or in a block."""
    return re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)


def is_named(word: str) -> bool:
    whole = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    return any(whole.search(part) for part in code())


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_readme(command):
    assert is_named(f"digitocr {command}") or is_named(command)


@pytest.mark.parametrize("command", commands())
def test_every_option_is_in_the_readme(command):
    missing = [option for option in commands()[command] - COMMON if not is_named(option)]
    assert missing == []


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_every_setting_is_in_the_readme(setting):
    default = Settings.model_fields[setting].default
    shown = re.search(rf"^\| `{setting}` \| (.*?) ?\| \S", README, re.MULTILINE)
    assert shown is not None
    assert shown[1].strip("`") == str(default)


def test_the_names_of_settings_in_the_environment_are_in_the_readme():
    assert f"`{PREFIX}<NAME>`" in README


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_and_its_exit_code_are_in_the_readme(error):
    assert re.search(rf"\b{error.exit_code}\b.*\b{error.__name__}\b", README) or re.search(
        rf"\b{error.__name__}\b.*\b{error.exit_code}\b", README
    )


@pytest.mark.parametrize("code", [0, EXIT_PARTIAL, EXIT_STOPPED])
def test_the_other_exit_codes_are_in_the_readme(code):
    assert re.search(rf"^\| *`?{code}`? *\|", README, re.MULTILINE)


def test_no_two_errors_share_an_exit_code():
    codes = [error.exit_code for error in error_classes()]
    assert len({*codes, 0, EXIT_PARTIAL, EXIT_STOPPED}) == len(codes) + 3


def test_the_family_is_drawn_at_the_top_of_its_file():
    for error in error_classes():
        assert re.search(rf"{error.__name__} +{error.exit_code}\b", errors.__doc__)


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_reason_is_in_the_readme(reason):
    assert is_named(str(reason))


def test_the_reason_of_a_rule_is_in_the_readme():
    assert "rule:<name>" in README
    assert [rule for rule in Rule if not is_named(str(rule))] == []


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_the_export_is_in_the_readme(column):
    assert is_named(column)


def test_every_status_and_format_is_in_the_readme():
    assert [status for status in FieldStatus if not is_named(str(status))] == []
    assert [form for form in Format if not is_named(str(form))] == []


def test_what_the_readme_names_is_there():
    """A command in the README that is none would be a command someone types."""
    words = set(commands()) | {command.split()[0] for command in commands()}
    call = re.compile(r"(?:^|`)(?:\S*/)?digitocr ([a-z]+)\b", re.MULTILINE)
    named = [name for part in code() for name in call.findall(part)]
    assert len(named) > 10
    assert [name for name in named if name not in words] == []
