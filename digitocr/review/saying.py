"""What a page sends of whole fields → what may be written down, or what is against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from digitocr import types
from digitocr.db.deciding import Said
from digitocr.db.following import broken_rules, digits_of, fits, typed
from digitocr.db.review import FieldView
from digitocr.recognition.checks import value_of
from digitocr.review.words import in_words
from digitocr.types import Reason


class Typed(BaseModel):
    """What was typed for one field."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=200)
    illegible: bool = False


class Sent(BaseModel):
    """What a page sends: by place of the claim, and by reading for fields beside it."""

    model_config = ConfigDict(extra="forbid")

    said: dict[int, Typed] = Field({}, max_length=200)
    beside: dict[int, Typed] = Field({}, max_length=200)
    as_written: bool = False
    ms: int = Field(0, ge=0, le=86_400_000)


class NotADigitError(ValueError):
    """Something was typed that no field can hold."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is to be written down by reading, and which rules it breaks, in words."""

    said: dict[int, Said]
    broken: tuple[str, ...]


def check(
    views: Mapping[int, FieldView],
    sent: Mapping[int, Typed],
    values: Mapping[int, Mapping[str, str | None]],
    *,
    as_written: bool,
    others: Mapping[str, FieldView] | None = None,
) -> Checked:
    """Check what was typed, by reading, against the fields' checks and the rules of their form.

    Parameters
    ----------
    values
        What the fields of each page are now, by pass and name.
    others
        Fields of the same page that a rule may name.

    Raises
    ------
    NotADigitError
        If something typed is no digits; its words are for the person.
    """
    texts: dict[int, str | None] = {}
    for reading, one in sent.items():
        field = views[reading].field
        try:
            texts[reading] = None if one.illegible else value_of(field, typed(field, one.text))
        except ValueError as error:
            raise NotADigitError(f"{field.title}: {error}") from error
    fields = {view.field.name: view.field for view in (others or {}).values()}
    fields |= {view.field.name: view.field for view in views.values()}
    found: list[str] = []
    said = {}
    for reading, text in texts.items():
        view = views[reading]
        now = dict(values.get(view.page, {}))
        now |= {views[r].field.name: t for r, t in texts.items() if views[r].page == view.page}
        against = _against(view, text, now, fields)
        found += against
        said[reading] = Said(text, as_written=as_written and bool(against))
    return Checked(said, tuple(dict.fromkeys(found)))


def _against(
    view: FieldView,
    text: str | None,
    now: Mapping[str, str | None],
    fields: Mapping[str, types.Field],
) -> list[str]:
    if text is None:
        return []
    field = view.field
    found = []
    for name in fits(field, digits_of(field, text)):
        reason = name if name == Reason.LENGTH else Reason.of_rule(name)
        found.append(f"{field.title}: {in_words(reason)}")
    for rule in broken_rules(field, view.rules, fields, now):
        titles = {name: one.title for name, one in fields.items()}
        found.append(in_words(Reason.of_rule(rule.name), view.rules, titles))
    return found
