"""The words of the project: frozen values that the stages hand to each other.

Arrays have names that say shape, range and polarity. Types that hold arrays are compared by
identity, because arrays do not compare to one boolean. Every `Box` after registration is in
template pixels, so a page, a reading and the review pages share one set of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

MM_PER_INCH = 25.4
GLYPH_SIZE = 28
NORMALIZATION = "mnist-20-in-28-v1"  # of `imaging.normalization`; a card names the one it needs
STRIP_HEIGHT = 32
STRIP_WIDTHS = (96, 160, 224, 320, 512)  # of strips that there are interpreters for
STRIP_NORMALIZATION = "strip-32-v2"  # of `imaging.strips`; a card names the one it needs

Gray = NDArray[np.uint8]  # (H, W); 0 is black ink, 255 is white paper, as scanned
Ink = NDArray[np.bool_]  # (H, W); True where there is ink
Strip = NDArray[np.uint8]  # (32, W); 0 is paper, 255 full ink, as the sequence network expects
GlyphImage = NDArray[np.float32]  # (28, 28); 0.0 paper, 1.0 ink, as the classifier expects
Homography = NDArray[np.float64]  # (3, 3); page pixels → template pixels
Color = NDArray[np.uint8]  # (H, W, 3); blue, green, red
Points = NDArray[np.float64]  # (N, 2); x, y
Classify = Callable[[NDArray[np.float32]], NDArray[np.float32]]
# (N, 28, 28) → (N, C), rows sum to 1; columns 0–9 are the digits, and where the card names
# it the last is `other`: not a digit


class FieldKind(StrEnum):
    """How a field is printed."""

    BOXED = "boxed"
    COMB = "comb"
    OPEN = "open"
    MARK = "mark"
    BARCODE = "barcode"


class FieldType(StrEnum):
    """What the text of a field means."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    CODE = "code"
    DATE = "date"


class VoidMark(StrEnum):
    """Marks that people write into positions they leave empty."""

    X = "x"
    DASH = "dash"


class Mark(StrEnum):
    """What the shape of a glyph says it may be instead of a digit.

    A rest means nothing: a stroke above or below a digit that is of it, a piece of the rule
    below the digits.
    """

    X = "x"
    DASH = "dash"
    SEPARATOR = "separator"
    REST = "rest"


class Rule(StrEnum):
    """The checks one field may name, and `sum`, which goes across fields."""

    RANGE = "range"
    PATTERN = "pattern"
    LUHN = "luhn"
    DAMM = "damm"
    MOD11 = "mod11"
    DATE = "date"
    SUM = "sum"


class Reason(StrEnum):
    """Why a reading was not accepted. A failed check or rule is `rule:<name>` beside these."""

    LOW_CONFIDENCE = "low-confidence"
    JUNK = "junk"
    MISSING = "missing"
    LENGTH = "length"
    GAP = "gap"
    CLIPPED = "clipped"
    MISREGISTERED = "misregistered"
    UNREADABLE = "unreadable"
    DOUBLE_KEY = "double-key"
    PURGED = "purged"

    @staticmethod
    def of_rule(name: str) -> str:
        """Name the reason of a rule or check that does not hold."""
        return f"rule:{name}"


class Verdict(StrEnum):
    """What a person said of a reading; withdrawn: an earlier decision is taken back."""

    CONFIRMED = "confirmed"
    CORRECTED = "corrected"
    ILLEGIBLE = "illegible"
    WITHDRAWN = "withdrawn"


class Screen(StrEnum):
    """Where in the review pages a decision was made."""

    GROUP = "group"
    FIELD = "field"
    CONFLICT = "conflict"
    BLIND = "blind"
    AUDIT = "audit"
    DOCUMENT = "document"


class PageStatus(StrEnum):
    """What became of a page."""

    READ = "read"
    BLANK = "blank"
    IGNORED = "ignored"
    FAILED = "failed"


class FieldStatus(StrEnum):
    """How sure a field's value is, and by whom: the statuses a row of the export may have."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    CORRECTED = "corrected"
    CONFIRMED = "confirmed"
    ILLEGIBLE = "illegible"
    FAILED = "failed"
    PURGED = "purged"


class Format(StrEnum):
    """The files that rows can be written to."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in whole pixels; right and bottom are excluded; never empty."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError(
                f"box is empty: left {self.left}, top {self.top}, "
                f"right {self.right}, bottom {self.bottom}"
            )

    def moved(self, right: int, down: int) -> Box:
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return self.width * self.height

    def common(self, other: Box) -> int:
        """Count the pixels that lie in both."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0, wide) * max(0, high)


@dataclass(frozen=True, slots=True)
class Document:
    """A scanned file; identity is the SHA-256 of its bytes."""

    sha256: str
    page_count: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """One coming of a document: the same bytes may arrive under several names."""

    batch: str
    source: str
    document: Document
    received_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One side of a sheet as it was scanned; `number` counts from 1.

    `dpi` is what the file says, or None where it says nothing that can be believed. `color` is
    the same picture in colors, where they were asked for and there are any.
    """

    document: Document
    number: int
    image: Gray
    dpi: float | None
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A printed mark whose place on the template is known.

    `center` in template pixels; `size` is the outer side; `id` and `dictionary` are ArUco's.
    """

    kind: str
    center: tuple[float, float]
    size: float
    id: int | None = None
    dictionary: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PageTemplate:
    """One printed side of a form: its size in template pixels, anchors and empty picture.

    `identifier` is where its page code is printed, white in `reference`: copies differ there.
    `color` is the empty picture in colors, where it has print in any.
    """

    number: int
    width: int
    height: int
    dpi: float
    reference: Gray | None = None
    anchors: tuple[Anchor, ...] = ()
    ignore: bool = False
    identifier: Box | None = None
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that one field's text must obey."""

    rule: Rule
    min: float | None = None
    max: float | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class FormRule:
    """A rule across fields: the numbers of `of` add up to the number in `equals`."""

    rule: Rule
    of: tuple[str, ...]
    equals: str
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """A place for one number, for boxes to tick, or for a code. Lengths count characters."""

    name: str
    page: int
    box: Box
    kind: FieldKind
    type: FieldType
    title: str = ""
    cells: int | None = None
    min_length: int = 0
    max_length: int | None = None
    void_marks: tuple[VoidMark, ...] = ()
    required: bool = False
    checks: tuple[Check, ...] = ()
    decimals: int = 0
    date_format: str = "DDMMYYYY"
    weight: float = 1.0
    double_key: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredPage:
    """A page laid onto its template.

    The image stays as scanned; `homography` takes its pixels to template pixels, and a field
    is cut out through it at the resolution that reading wants. `residual` is the RMS distance
    in template pixels between where the printed marks were found and where they should be.
    `marks` are rows of x, y (template pixels); 1 where that mark was found in its place, 0
    where it was not: a field among lost marks may be somewhere else on this print; and how far
    off in x and y it was found, NaN where that is not known.
    """

    document: Document
    number: int
    template: PageTemplate
    image: Gray
    homography: Homography
    residual: float
    marks: NDArray[np.float64]
    color: Color | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Glyph:
    """A candidate character: the ink between cut `start` and cut `end` of its field.

    `box` is in pixels of the field's image. `image` is what the classifier sees. `mark` is
    what its shape says it may be instead of a digit. `weight` is the probability, before
    anything is classified, that this and not another glyph of the same cuts is the one.
    `ink` is the ink in its box; `whole` says that nothing was cut off, so that it may turn out
    to be a cross. An empty position is a glyph with an image of zeros, and without ink.
    """

    start: int
    end: int
    box: Box
    image: GlyphImage
    mark: Mark | None = None
    weight: float = 1.0
    ink: Ink | None = None
    whole: bool = False

    @property
    def empty(self) -> bool:
        return not self.image.any()


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Every way a field might be cut: columns where it may part, and glyphs between them."""

    cuts: tuple[int, ...]
    glyphs: tuple[Glyph, ...]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that may be right, with its confidence; best first wherever there are several."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class GlyphReading:
    """One digit of a reading, so that the doubtful one can be shown.

    `image` is the glyph as scanned (gray), cut from the field.
    """

    box: Box
    hypotheses: tuple[Hypothesis, ...]
    image: Gray

    @property
    def text(self) -> str:
        return self.hypotheses[0].text

    @property
    def confidence(self) -> float:
        return self.hypotheses[0].confidence


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the machine read in one image of a number; accepted when there are no reasons.

    `text` is None where nothing could be read and "" where the field is blank.
    """

    hypotheses: tuple[Hypothesis, ...]
    glyphs: tuple[GlyphReading, ...]
    reasons: tuple[str, ...]
    model: str

    @property
    def text(self) -> str | None:
        return self.hypotheses[0].text if self.hypotheses else None

    @property
    def confidence(self) -> float:
        return self.hypotheses[0].confidence if self.hypotheses else 0.0

    @property
    def alternatives(self) -> tuple[Hypothesis, ...]:
        return self.hypotheses[1:]

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, eq=False)
class FieldReading(Reading):
    """A reading with where it came from: document hash, page, field, form and version.

    `image` is the field as scanned, cut out of the page with a margin; the boxes of the
    glyphs are in template pixels.
    """

    document: str
    page: int
    field: Field
    template: str
    version: int
    image: Gray


@dataclass(frozen=True, slots=True, eq=False)
class PageReading:
    """What became of one page: its readings, or the cause why there are none.

    `template` and `version` are None where no form was found; `template_page` counts the
    pages of the form, `page` those of the document. `residual` is in millimetres of paper.
    """

    document: str
    page: int
    status: PageStatus
    cause: str = ""
    template: str | None = None
    version: int | None = None
    template_page: int | None = None
    homography: Homography | None = None
    residual_mm: float | None = None
    readings: tuple[FieldReading, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said of a reading, or of one glyph of it; `text` is None if illegible.

    `audit`: said without seeing the machine's text, of a reading that was drawn at random from
    the accepted ones. `claim`, `screen`, `shown` (was the machine's text on the screen?) and
    `ms` (how long the page was looked at) say how it came about. `undoes` is the decision this
    one takes back; `followed`: of a field, from the decisions on its glyphs; `as_written`: a
    rule does not hold, and yet this is what stands on the paper.
    """

    reading: int
    glyph: int | None
    verdict: Verdict
    text: str | None
    reviewer: str
    made_at: datetime
    audit: bool = False
    claim: str | None = None
    screen: Screen | None = None
    shown: bool | None = None
    ms: int | None = None
    undoes: int | None = None
    followed: bool = False
    as_written: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a reader must know to use a model.

    `classes` are "0"–"9" and, where the model has it, "other" as the last. `temperature`
    divides the logits before the softmax. `fingerprint` is the SHA-256 of the weights read.
    """

    name: str
    classes: tuple[str, ...]
    size: int
    temperature: float
    normalization: str
    trained_on: tuple[str, ...]
    metrics: Mapping[str, Any]
    fingerprint: str
