"""The stopping rule on stored audits: which readings it speaks of, and what counts as what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select

from digitocr.db import audits, certificates, claims, deciding, schema, store, tables
from digitocr.db.deciding import Said
from digitocr.db.tables import Queue
from digitocr.errors import UsageError
from digitocr.recognition.stopping import CatchRate, certify
from digitocr.settings import Settings
from digitocr.types import Correction, Document, FieldType, Hypothesis, Reason, Verdict

FIELDS = 25
FORM = "".join(
    f'[[fields]]\nname = "n{i:02}"\ntype = "{"code" if i < 5 else "integer"}"\n'
    for i in range(FIELDS)
)
TARGETS = dict.fromkeys(FieldType, 0.1)


@dataclass
class Office:
    """A database with pages of 25 fields, 5 codes and 20 integers, and people who audit."""

    engine: Engine
    draw: Any

    def read(self, pages: int, *, first: int = 0, rejected: int = 0, minutes: int = 0,
             again: bool = False) -> None:  # fmt: skip
        """Store pages; of the fields of each the last `rejected` are not accepted."""
        with schema.writing(self.engine) as session:
            store.open_batch(session, "monday", self.draw.noon)
            store.register_form(session, self.draw.form(fields=FORM))
            store.register_model(session, self.draw.model)
            for number in range(first, first + pages):
                document = chr(0x100 + number)
                known = Document(document * 64, 1)
                store.add_arrival(
                    session, "monday", f"{number}.png", known, "png", self.draw.noon
                )
                readings = [
                    replace(
                        self.draw.reading(f"n{i:02}", "5", document=document),
                        hypotheses=(Hypothesis("5", 0.9 + (FIELDS * number + i) / 1e5),),
                        reasons=(Reason.LOW_CONFIDENCE,) if i >= FIELDS - rejected else (),
                    )
                    for i in range(FIELDS)
                ]
                store.save_page(
                    session, self.draw.page(*readings, document=document),
                    model=self.draw.model.fingerprint,
                    now=self.draw.noon + timedelta(minutes=minutes), again=again,
                )  # fmt: skip

    def audit(self, count: int, wrong: int = 0, *, twice: bool = True, minutes: int = 1) -> Any:
        """Draw an audit and key it; the first `wrong` are other than read, keyed twice or once.

        Give the confidences of what was keyed, and which of them were wrong.
        """
        now = self.draw.noon + timedelta(minutes=minutes)
        with schema.writing(self.engine) as session:
            audits.draw(session, count, np.random.default_rng(7), now=now)
        readings: list[int] = []
        for _ in range(2 if twice else 1):
            with schema.writing(self.engine) as session:
                claim = claims.take(session, Queue.AUDIT, reviewer="ana", now=now, limit=count)
                if claim is None:
                    break
                readings = readings or [cell.reading for cell in claim.cells]
                bad = set(readings[:wrong])
                keyed = {
                    place: "7" if cell.reading in bad else "5"
                    for place, cell in enumerate(claim.cells)
                }
                deciding.save_keyed(session, claim.id, keyed, reviewer="ana", now=now)
                now += timedelta(hours=1)
        sure = self.confidences()
        return [sure[id_] for id_ in readings], [i < wrong for i in range(len(readings))]

    def confidences(self) -> dict[int, float]:
        with schema.reading(self.engine) as session:
            found = select(tables.Reading.id, tables.Reading.confidence).where(
                tables.Reading.accepted
            )
            return {id_: confidence for id_, confidence in session.execute(found)}

    def decide(self, count: int) -> None:
        """Let a person look at the least sure accepted readings, and confirm them."""
        sure = self.confidences()
        least = sorted(sure, key=lambda one: sure[one])[:count]
        base = Correction(0, None, Verdict.CONFIRMED, "", "ben", self.draw.noon)
        with schema.writing(self.engine) as session:
            deciding.decide(session, {id_: Said("5") for id_ in least}, base)

    def seed(self, shown: int, caught: int) -> None:
        with schema.writing(self.engine) as session:
            glyph = session.scalars(select(tables.Glyph.id)).first()
            rows = [
                {"claim_id": "c", "glyph_id": glyph, "shown_as": "3", "reviewer": "ana",
                 "caught": i < caught, "made_at": self.draw.noon}
                for i in range(shown)
            ]  # fmt: skip
            session.execute(insert(tables.Seed), rows)

    def meters(self, targets: Any = TARGETS) -> tuple[certificates.Meter, ...]:
        with schema.reading(self.engine) as session:
            return certificates.meters(session, "monday", targets)

    def meter(self) -> certificates.Meter:
        (found,) = self.meters()
        return found


@pytest.fixture
def office(engine: Engine, draw: Any) -> Office:
    return Office(engine, draw)


def test_the_figures_are_those_of_the_stopping_rule(office: Office) -> None:
    office.read(8)
    office.seed(60, 58)
    keyed, wrong = office.audit(120, 9)
    office.decide(30)
    every = list(office.confidences().values())
    found = office.meter()
    expected = certify(every, keyed, wrong, 0.1, seeded=CatchRate(60, 58), reviewed=30)
    # What was audited next to those that were looked at is known too.
    assert found.certificate.reviewed >= 30
    assert found.certificate == certify(
        every, keyed, wrong, 0.1, seeded=CatchRate(60, 58),
        reviewed=found.certificate.reviewed,
    )  # fmt: skip
    assert (expected.readings, expected.audited, expected.wrong) == (200, 120, 9)
    assert found.certificate.needed == expected.needed
    assert 0.0 < found.left[0] < found.left[1] == found.certificate.bound
    if found.certificate.needed:
        assert found.below == sorted(every)[found.certificate.needed]


def test_one_that_differs_counts_as_wrong_before_it_is_keyed_again(office: Office) -> None:
    office.read(4)
    office.audit(40, 6, twice=False)
    found = office.meter().certificate
    assert (found.audited, found.wrong) == (40, 6)


def test_one_drawn_and_then_decided_by_who_saw_the_reading_counts_as_wrong(
    office: Office,
) -> None:
    office.read(2)
    with schema.writing(office.engine) as session:
        audits.draw(
            session, 50, np.random.default_rng(1), now=office.draw.noon + timedelta(minutes=1)
        )
    office.decide(1)
    found = office.meter()
    assert (found.certificate.audited, found.certificate.wrong, found.waiting) == (1, 1, 49)


def test_nothing_is_said_of_what_was_not_accepted_or_read_after_the_audit_began(
    office: Office,
) -> None:
    office.read(4, rejected=5)
    office.audit(30)
    office.read(1, first=4, rejected=5, minutes=5)
    found = office.meter()
    assert (found.certificate.readings, found.certificate.audited) == (80, 30)
    assert (found.rejected, found.undecided, found.later) == (25, 25, 20)
    assert "not of the 25 that the machine did not accept" in found.population
    assert "not of 20 that were read after the audit began" in found.population


def test_what_was_decided_before_the_audit_is_not_reviewed_by_its_rule(office: Office) -> None:
    office.read(4)
    office.decide(12)
    office.audit(40)
    found = office.meter()
    assert (found.early, found.certificate.reviewed) == (12, 0)
    assert "12 that people decided on before the audit was done" in found.population
    office.decide(12)
    found = office.meter()
    assert found.early == 0
    assert found.certificate.reviewed >= 12


def test_an_audit_of_an_earlier_pass_says_nothing_of_the_current_one(office: Office) -> None:
    office.read(2)
    office.audit(20)
    office.read(2, again=True, minutes=9)
    assert office.meter().certificate.audited == 0


def test_types_with_targets_of_their_own_are_told_apart(office: Office) -> None:
    office.read(4)
    office.audit(50)
    code, integer = office.meters({FieldType.INTEGER: 0.2, FieldType.CODE: 0.05})
    assert (code.types, integer.types) == ((FieldType.CODE,), (FieldType.INTEGER,))
    assert (code.certificate.readings, integer.certificate.readings) == (20, 80)
    assert code.certificate.audited + integer.certificate.audited == 50
    assert [one.types for one in office.meters({FieldType.CODE: 0.1})] == [(FieldType.CODE,)]


def test_where_nobody_audited_a_sentence_says_so_and_no_figure_is_given(office: Office) -> None:
    office.read(1)
    with schema.reading(office.engine) as session:
        (said,) = certificates.statements(session, ["monday"], TARGETS, office.draw.noon)
    assert said["certificates"] == []
    assert said["sentence"].startswith("Nobody audited the accepted readings")
    assert "draw 25 for the audit" in said["sentence"]


def test_a_target_out_of_reach_is_refused_in_words(office: Office) -> None:
    office.read(4)
    office.audit(40, 8)
    with schema.reading(office.engine) as session:
        (said,) = certificates.statements(
            session, ["monday"], dict.fromkeys(FieldType, 0.01), office.draw.noon
        )
    assert said["sentence"].startswith("One reviewer cannot reach 1 %")
    assert said["certificates"][0]["needed"] is None
    assert said["certificates"][0]["met"] is False


def test_the_target_given_goes_before_that_of_the_settings() -> None:
    settings = Settings(target_error={FieldType.CODE: 0.001})
    assert certificates.targets_of(settings) == {FieldType.CODE: 0.001}
    assert set(certificates.targets_of(settings, 0.02).values()) == {0.02}
    assert certificates.targets_of(Settings()) == {}
    with pytest.raises(UsageError, match="is no share"):
        certificates.targets_of(settings, 1.5)
