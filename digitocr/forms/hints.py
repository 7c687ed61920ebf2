"""What was read with a learned form → what its fields are: numbers, dates, sums.

Only what hardly happens by chance is said: eight digits that are a date on every scan, totals
that are the sums of the fields before them on most. The rest is a comment for who edits the
template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from digitocr.forms.proposals import SURE, Proposal, Sureness
from digitocr.types import Field, FieldKind, FieldReading, FieldType, PageReading, Reason

LEAST_SURE = 0.9  # confidence of a reading that is taken for what is written
LEAST_CONFIDENCE = 0.5  # of a reading that is taken for some number
NO_NUMBER = {Reason.JUNK, Reason.UNREADABLE, Reason.CLIPPED}
NUMBERS = 0.4  # share of what is written in an open field that has to read as numbers
SURE_NUMBERS = 0.7
LEAST_SCANS = 5  # that say the same
LEAST_TOTALS = 4  # different ones: a sum of nothing is no sum
HELD = 0.8  # share of the scans on which a sum holds: the others may be misread, or wrong
MOST_PARTS = 12
FORMATS = ("DDMMYYYY", "MMDDYYYY", "YYYYMMDD", "DDMMYY", "MMDDYY", "YYMMDD")
YEARS = (1900, 2100)


@dataclass(frozen=True, slots=True)
class Sum:
    """Fields that add up to another, and on how many of the scans that could be compared."""

    of: tuple[str, ...]
    equals: str
    held: int
    compared: int


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What was read with a learned form, field by field."""

    fields: Mapping[str, tuple[FieldReading, ...]]

    @staticmethod
    def of(pages: Sequence[PageReading]) -> Readings:
        found: dict[str, list[FieldReading]] = {}
        for page in pages:
            for one in page.readings:
                found.setdefault(one.field.name, []).append(one)
        return Readings({name: tuple(ones) for name, ones in found.items()})

    def numbers(self, name: str) -> tuple[int, int, int]:
        """Count the readings of a field, those not blank, and those that are a number."""
        ones = self.fields.get(name, ())
        written = [one for one in ones if one.text != ""]
        return len(ones), len(written), sum(_is_number(one) for one in written)

    @property
    def share(self) -> float:
        """Share of all that is written that is surely read: small on pages upside down."""
        written = sum(self.numbers(name)[1] for name in self.fields)
        sure = sum(bool(text) for name in self.fields for text in self.sure(name).values())
        return sure / max(written, 1)

    def sure(self, name: str) -> dict[tuple[str, int], str]:
        """List the surely read texts of a field, by document and page; "" is blank."""
        return {
            (one.document, one.page): one.text
            for one in self.fields.get(name, ())
            if one.text is not None
            and one.confidence >= LEAST_SURE
            and not NO_NUMBER & set(one.reasons)
        }


def _is_number(one: FieldReading) -> bool:
    return (
        bool(one.text)
        and one.confidence >= LEAST_CONFIDENCE
        and not NO_NUMBER & set(one.reasons)
    )


def with_numbers(one: Proposal, readings: Readings) -> Proposal | None:
    """Keep an open field in which numbers are written; names and signatures are none."""
    if one.field.kind is not FieldKind.OPEN:
        return one
    read, written, numbers = readings.numbers(one.field.name)
    # What reading takes for blank and is written on all the same is no number either.
    written = max(written, round(one.written * read))
    share = numbers / written if written else 0.0
    if share < NUMBERS:
        return None
    sure = share >= SURE_NUMBERS and one.written >= SURE
    why = f"{one.why}; {numbers} of {written} read as numbers"
    return replace(one, sureness=Sureness.SURE if sure else Sureness.LIKELY, why=why)


def with_type(one: Proposal, readings: Readings) -> Proposal:
    """Say of a field with positions that it holds dates, or may hold codes."""
    field = one.field
    texts = [text for text in readings.sure(field.name).values() if text]
    if field.kind not in (FieldKind.BOXED, FieldKind.COMB) or len(texts) < LEAST_SCANS:
        return one
    if field.type is not FieldType.INTEGER or {len(text) for text in texts} != {field.cells}:
        return one
    fitting = [f for f in FORMATS if all(_is_date(text, f) for text in texts)]
    if len(fitting) == 1:
        note = f"{len(texts)} scans were surely read, all as dates"
        dated = replace(
            field, type=FieldType.DATE, date_format=fitting[0], void_marks=(), max_length=None
        )
        return replace(one, field=dated, notes=(*one.notes, note))
    if fitting:
        note = f'may be a date: type = "date", date_format = "{fitting[0]}" (or {fitting[1]})'
        return replace(one, notes=(*one.notes, note))
    if any(text.startswith("0") for text in texts) and (field.cells or 0) > 1:
        note = 'every position is filled, zeros in front too: type = "code" keeps them'
        return replace(one, notes=(*one.notes, note))
    return one


def _is_date(text: str, order: str) -> bool:
    if len(text) != len(order) or not text.isdigit():
        return False
    day, month, year = (
        int("".join(c for c, letter in zip(text, order, strict=True) if letter == wanted))
        for wanted in "DMY"
    )
    if order.count("Y") == 2:
        year += 2000
    try:
        return YEARS[0] <= date(year, month, day).year <= YEARS[1]
    except ValueError:
        return False


def find_sums(fields: Sequence[Field], readings: Readings) -> tuple[Sum, ...]:
    """Find fields that are, on most scans, the sum of those above them or to their left."""
    numbers = [
        f
        for f in fields
        if f.type in (FieldType.INTEGER, FieldType.DECIMAL) and f.kind is not FieldKind.MARK
    ]
    found = []
    for total in numbers:
        ways = [_compared(parts, total, readings) for parts in _parts(total, numbers)]
        good = [one for one in ways if one is not None]
        if good:
            found.append(max(good, key=lambda one: (one.held, len(one.of))))
    return tuple(found)


def _parts(total: Field, fields: Sequence[Field]) -> Iterator[tuple[Field, ...]]:
    """List what may add up to a field: the two and more next above it, or next to its left."""
    box = total.box
    above = [
        f
        for f in fields
        if f.page == total.page
        and f.box.bottom <= (box.top + box.bottom) / 2
        and min(f.box.right, box.right) - max(f.box.left, box.left)
        > 0.5 * min(f.box.width, box.width)
    ]
    beside = [
        f
        for f in fields
        if f.page == total.page
        and f.box.right <= (box.left + box.right) / 2
        and min(f.box.bottom, box.bottom) - max(f.box.top, box.top) > 0.5 * box.height
    ]
    above.sort(key=lambda f: -f.box.bottom)
    beside.sort(key=lambda f: -f.box.right)
    for near in (above, beside):
        for count in range(2, min(len(near), MOST_PARTS) + 1):
            yield tuple(reversed(near[:count]))


def _compared(parts: Sequence[Field], total: Field, readings: Readings) -> Sum | None:
    """Add up the parts on every scan on which all were surely read."""
    totals = {page: text for page, text in readings.sure(total.name).items() if text}
    read = [readings.sure(part.name) for part in parts]
    pages = [page for page in totals if all(page in texts for texts in read)]
    held = [
        page
        for page in pages
        if sum(float(texts[page] or 0) for texts in read) == float(totals[page])
        and sum(bool(texts[page].strip("0.")) for texts in read) > 1
    ]
    different = {totals[page] for page in held}
    plain = [p for p in pages if p in held or sum(bool(t[p].strip("0.")) for t in read) > 1]
    if len(different) < LEAST_TOTALS or len(held) < HELD * len(plain):
        return None
    return Sum(tuple(p.name for p in parts), total.name, len(held), len(plain))
