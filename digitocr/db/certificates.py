"""The stopping rule on a batch: what was audited and reviewed → what may still be wrong in it.

`audits.draw` draws from accepted readings alone, so a certificate speaks of these alone: what
was rejected has no value before a person gives it one, and nothing here measures how well. It
speaks of no more than the sample can:

- What was read after the audit was first drawn could not be drawn, and is left out.
- An audited reading that differs is keyed again, later. Until then it counts as wrong: those
  that agree are decided at once, and would make the sample look better than it is. So does one
  that was drawn and then decided by somebody who saw what was read.
- What somebody decided on before the audit was done may not have been there to draw. It counts
  neither as reviewed, nor in the sample; its value counts as right, and this is said.

What was drawn and not keyed yet is taken to be like what was: it is keyed in random order.
Fields whose types have the same target are one population. Reviewers are measured all together,
by all digits that were shown wrong on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from digitocr.db import tables
from digitocr.db.decisions import is_deciding
from digitocr.db.store import batch_id, is_latest_pass
from digitocr.db.tables import ItemState, Queue
from digitocr.errors import UsageError
from digitocr.recognition.promise import upper_bound
from digitocr.recognition.stopping import CatchRate, Certificate, advised_audit, certify
from digitocr.settings import Settings
from digitocr.templates import field_types
from digitocr.types import FieldType, Verdict

Targets = Mapping[FieldType, float]


@dataclass(frozen=True, slots=True)
class Meter:
    """What the stopping rule says of the accepted readings of a batch that have one target.

    `below`: with what is needed, all less sure than this are reviewed; None where that is all
    of them, or nothing reaches the target. `waiting`: drawn for the audit and not keyed yet.
    Outside it: `rejected` readings, of which `undecided` wait for a person, and those read
    `later` than the audit began. `early`: decided on before the audit was done.
    """

    batch: str
    types: tuple[FieldType, ...]
    certificate: Certificate
    below: float | None
    waiting: int
    rejected: int
    undecided: int
    later: int
    early: int
    to_review: tuple[int, ...] = ()  # of what is needed: undecided, not drawn, not waiting

    @property
    def advised(self) -> int:
        """How many to audit in all, so that seldom more review is asked for than is saved."""
        return advised_audit(self.certificate.target, self.certificate.readings)

    @property
    def left(self) -> tuple[float, float]:
        """The share left wrong of all: at least and at most, each side 95 % sure by itself."""
        found = self.certificate
        right = found.rest_audited - found.rest_wrong
        least = 1.0 - upper_bound(right, found.rest_audited) if found.rest_audited else 0.0
        rest = 1.0 - found.reviewed / found.readings
        return min(least * rest, found.bound), found.bound

    @property
    def population(self) -> str:
        """Say of which readings it speaks, and of which not."""
        said = (
            f"It speaks of the {self.certificate.readings:,} accepted readings of type "
            f"{', '.join(self.types)} in batch '{self.batch}', each taken for itself"
        )
        if self.rejected:
            said += (
                f"; not of the {self.rejected:,} that the machine did not accept, of which "
                f"{self.undecided:,} wait for a person"
            )
        if self.later:
            said += f"; not of {self.later:,} that were read after the audit began"
        if self.early:
            said += (
                f"; {self.early:,} that people decided on before the audit was done count as "
                "right, and not as reviewed"
            )
        return said + "."

    def __str__(self) -> str:
        """Say what is proven, in a sentence."""
        if self.certificate.audited:
            return f"{self.certificate}."
        return (
            f"Nobody audited the accepted readings of type {', '.join(self.types)} in batch "
            f"'{self.batch}', so nothing is known of them: draw {self.advised:,} for the audit."
        )


def targets_of(settings: Settings, given: float | None = None) -> Targets:
    """Give each type of field its target: the one given, else that of the settings.

    Raises
    ------
    UsageError
        If the one given is no share.
    """
    if given is not None and not 0.0 < given < 1.0:
        raise UsageError(f"a target of {given:g} is no share: more than 0, less than 1")
    found = {type: given or settings.target_of(type) for type in FieldType}
    return {type: target for type, target in found.items() if target}


def meters(session: Session, batch: str, targets: Targets) -> tuple[Meter, ...]:
    """Apply the stopping rule to a batch, once for each target; types without one are left out.

    Raises
    ------
    UsageError
        If there is no batch of that name.
    """
    came = select(tables.Arrival.document_id).where(
        tables.Arrival.batch_id == batch_id(session, batch)
    )
    if not targets:
        return ()
    readings = _readings(session, came)
    sample = _sample(session, came)
    seeded = _seeded(session)
    found = []
    for target in sorted(set(targets.values())):
        types = tuple(type for type in FieldType if targets.get(type) == target)
        of_types = [one for one in readings if one.type in types]
        if any(one.accepted for one in of_types):
            used = tuple(type for type in types if any(one.type is type for one in of_types))
            found.append(_meter(batch, used, target, of_types, sample, seeded))
    return tuple(found)


def statements(
    session: Session, batches: Iterable[str], targets: Targets, now: datetime
) -> list[dict[str, Any]]:
    """Say for each batch what is proven, as an export writes it: all figures and a sentence.

    A batch that nobody audited has a sentence that says so, and no figures.
    """
    return [_statement(batch, meters(session, batch, targets), now) for batch in batches]


def _statement(batch: str, found: tuple[Meter, ...], now: datetime) -> dict[str, Any]:
    audited = [one for one in found if one.certificate.audited]
    said = " ".join(
        f"{one} {one.population}" if one.certificate.audited else str(one) for one in found
    )
    return {
        "batch": batch,
        "made_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "sentence": said or f"Batch '{batch}' has no accepted reading of a type with a target.",
        "certificates": [
            {
                "sentence": str(one),
                "population": one.population,
                "types": list(one.types),
                **asdict(one.certificate),
                "bound": one.certificate.bound,
                "met": one.certificate.met,
                "seeded_interval": one.certificate.seeded.interval,
                "left": one.left,
                "below": one.below,
                "waiting": one.waiting,
                "rejected": one.rejected,
                "undecided": one.undecided,
                "later": one.later,
                "early": one.early,
            }
            for one in audited
        ],
    }


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading of the batch; `decision`: the one that counts for its field, if any."""

    id: int
    confidence: float
    accepted: bool
    type: FieldType
    read_at: datetime
    decision: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an audit says of a reading: wrong or not; `decision` is None while that waits."""

    wrong: bool
    at: datetime | None
    decision: int | None


@dataclass(frozen=True, slots=True)
class _Sample:
    """The answers of an audit by reading, the readings drawn that wait, and when all were.

    `drawn_at` is None for who was drawn before that was stored: then the first answer counts.
    """

    answers: Mapping[int, _Answer]
    waiting: frozenset[int]
    seen: frozenset[int]  # drawn, or waiting for a person in another way
    drawn_at: Mapping[int, datetime | None]

    def began(self, readings: Iterable[int]) -> datetime | None:
        """Say from when on these could be drawn no more; None where none was."""
        known = [
            self.drawn_at.get(one) or (self.answers[one].at if one in self.answers else None)
            for one in readings
        ]
        return min((at for at in known if at is not None), default=None)


def _meter(
    batch: str,
    types: tuple[FieldType, ...],
    target: float,
    readings: Iterable[_Reading],
    sample: _Sample,
    seeded: CatchRate,
) -> Meter:
    accepted = [one for one in readings if one.accepted]
    rejected = [one for one in readings if not one.accepted]
    answers = {one.id: sample.answers[one.id] for one in accepted if one.id in sample.answers}
    began = sample.began(one.id for one in accepted)
    done = max((one.decision or 0 for one in answers.values()), default=0)
    drawn_from = [one for one in accepted if began is None or one.read_at <= began]
    drawn_from.sort(key=lambda one: (one.confidence, one.id))
    early = [
        one
        for one in drawn_from
        if one.decision is not None and one.decision < done and one.id not in answers
    ]
    known = {
        one.id
        for one in drawn_from
        if one.decision is not None and (one.decision > done or one.id in answers)
    }
    reviewed = next(
        (k for k, one in enumerate(drawn_from) if one.id not in known), len(drawn_from)
    )
    audited = [one for one in drawn_from if one.id in answers]
    confidences = [one.confidence for one in drawn_from]
    certificate = certify(
        confidences,
        [one.confidence for one in audited],
        [answers[one.id].wrong for one in audited],
        target,
        seeded=seeded,
        reviewed=reviewed if answers else 0,
    )
    needed = certificate.needed
    return Meter(
        batch=batch,
        types=types,
        certificate=certificate,
        below=confidences[needed] if needed is not None and needed < len(drawn_from) else None,
        waiting=sum(one.id in sample.waiting for one in drawn_from),
        rejected=len(rejected),
        undecided=sum(one.decision is None for one in rejected),
        later=len(accepted) - len(drawn_from),
        early=len(early),
        to_review=tuple(
            one.id
            for one in drawn_from[: needed or 0]
            if one.decision is None and one.id not in sample.seen
        ),
    )


def _readings(session: Session, came: Select[Any]) -> list[_Reading]:
    reading, page, form = tables.Reading, tables.PageReading, tables.Form
    rows = session.execute(
        select(
            reading.id, reading.confidence, reading.accepted, reading.field, form.id,
            page.read_at, tables.Decision.id,
        )
        .join(page, page.id == reading.page_reading_id)
        .join(tables.Page, tables.Page.id == page.page_id)
        .join(form, form.id == page.form_id)
        .outerjoin(tables.Decision, is_deciding())
        .where(is_latest_pass(), tables.Page.document_id.in_(came))
        .where(page.purge_id.is_(None))
    ).all()  # fmt: skip
    used = select(form.id, form.source).where(form.id.in_({row[4] for row in rows}))
    types = {id_: field_types(source) for id_, source in session.execute(used)}
    return [
        _Reading(id_, confidence, accepted, types[form_id][field], read_at, decision)
        for id_, confidence, accepted, field, form_id, read_at, decision in rows
    ]


def _sample(session: Session, came: Select[Any]) -> _Sample:
    """Collect what audits say: of a reading the first answer, as in `decisions.audited`."""
    reading, decision = tables.Reading, tables.Decision
    here = (
        select(reading.id)
        .join(tables.PageReading, tables.PageReading.id == reading.page_reading_id)
        .join(tables.Page, tables.Page.id == tables.PageReading.page_id)
        .where(tables.Page.document_id.in_(came))
    )
    said = session.execute(
        select(decision.reading_id, decision.text, reading.text, decision.made_at, decision.id)
        .join(reading, reading.id == decision.reading_id)
        .where(decision.audit, decision.verdict != Verdict.WITHDRAWN)
        .where(decision.reading_id.in_(here))
        .order_by(decision.id)
    )
    answers: dict[int, _Answer] = {}
    for id_, text, read, at, number in said:
        answers.setdefault(id_, _Answer(text != read, at, number))
    keyed: defaultdict[int, list[datetime]] = defaultdict(list)
    for id_, at in session.execute(
        select(tables.Keying.reading_id, tables.Keying.made_at).where(
            tables.Keying.queue == Queue.AUDIT, tables.Keying.reading_id.in_(here)
        )
    ):
        keyed[id_].append(at)
    waiting = set()
    drawn_at: dict[int, datetime | None] = {}
    for id_, state, drawn in session.execute(
        select(tables.Item.reading_id, tables.Item.state, tables.Item.drawn_at).where(
            tables.Item.queue == Queue.AUDIT, tables.Item.reading_id.in_(here)
        )
    ):
        drawn_at[id_] = drawn
        if id_ in answers:
            continue
        if id_ in keyed or state != ItemState.OPEN:
            answers[id_] = _Answer(True, min(keyed[id_], default=None), None)
        else:
            waiting.add(id_)
    others = session.scalars(
        select(tables.Item.reading_id).where(
            tables.Item.state == ItemState.OPEN,
            tables.Item.queue != Queue.AUDIT,
            tables.Item.reading_id.in_(here),
        )
    )
    return _Sample(answers, frozenset(waiting), frozenset({*drawn_at, *others}), drawn_at)


def _seeded(session: Session) -> CatchRate:
    seed = tables.Seed
    rows = session.execute(select(seed.caught, func.count()).group_by(seed.caught))
    found = {bool(caught): number for caught, number in rows}
    return CatchRate(sum(found.values()), found.get(True, 0))
