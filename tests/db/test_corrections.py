from types import SimpleNamespace

import pytest

from digitocr.db import corrections, decisions, schema, store, tables
from digitocr.types import Correction, FieldType, Reason, Verdict

OTHER = corrections.OTHER


@pytest.fixture
def said(desk, draw, engine):
    """Say things of fields and glyphs, and list the labels that come of it."""
    desk.arrive()
    unsure = (Reason.LOW_CONFIDENCE,)
    desk.save(
        draw.page(
            draw.reading("votes", "0471", reasons=unsure),
            draw.reading("valid", "57", reasons=unsure),
        )
    )

    def field(name, text, verdict=Verdict.CORRECTED, **more):
        return _say(engine, draw, name, text, verdict, **more)

    def glyph(name, place, text, verdict=Verdict.CORRECTED, **more):
        return _say(engine, draw, name, text, verdict, place=place, **more)

    def labels():
        with schema.reading(engine) as session:
            found = corrections.verified_glyphs(session)
        assert all(one.crop.startswith(b"\x89PNG") for one in found)
        assert [one.id for one in found] == sorted(one.id for one in found)
        return {(one.field, one.position): (one.label, one.reviewers) for one in found}

    return SimpleNamespace(field=field, glyph=glyph, labels=labels, engine=engine)


def _say(engine, draw, name, text, verdict, *, place=None, by="ana", **more):
    with schema.writing(engine) as session:
        readings = store.load_readings(session, "d" * 64, 1)
        reading = next(one for one in readings if one.field == name)
        glyph = None if place is None else reading.glyphs[place].id
        return decisions.record_decision(
            session,
            Correction(reading.id, glyph, verdict, text, by, draw.noon, **more),
        )


def test_without_decisions_there_is_nothing_to_learn(said):
    assert said.labels() == {}


def test_a_decision_on_a_glyph_is_its_label_and_the_latest_counts(said):
    said.glyph("votes", 2, "1", by="ana")
    said.glyph("valid", 0, "5", Verdict.CONFIRMED, by="ben")
    assert said.labels() == {("votes", 2): (1, ("ana",)), ("valid", 0): (5, ("ben",))}
    said.glyph("votes", 2, "9", by="ben")
    assert said.labels()["votes", 2] == (9, ("ben",))
    said.glyph("votes", 2, "9", by="ana")
    assert said.labels()["votes", 2] == (9, ("ana", "ben"))


def test_blank_and_no_digit_are_learned_as_other(said):
    said.glyph("votes", 0, "")
    said.glyph("votes", 1, None, Verdict.ILLEGIBLE)
    assert {label for label, _ in said.labels().values()} == {OTHER}


def test_what_was_withdrawn_is_not_learned(said):
    first = said.glyph("votes", 0, "3")
    said.glyph("votes", 0, None, Verdict.WITHDRAWN, undoes=first)
    first = said.field("valid", "51")
    said.field("valid", None, Verdict.WITHDRAWN, undoes=first)
    assert said.labels() == {}


def test_a_corrected_field_labels_its_glyphs_and_supersedes_what_was_said_of_them(said):
    said.glyph("valid", 0, "3")
    said.field("valid", "51")
    assert said.labels() == {("valid", 0): (5, ("ana",)), ("valid", 1): (1, ("ana",))}


def test_a_field_that_followed_from_its_glyphs_says_nothing_of_the_others(said):
    said.glyph("votes", 2, "1")
    said.field("votes", "0411", followed=True)
    assert said.labels() == {("votes", 2): (1, ("ana",))}


def test_a_field_whose_text_does_not_lie_on_its_glyphs_gives_no_labels(said):
    said.field("votes", "471")
    said.field("valid", None, Verdict.ILLEGIBLE)
    assert said.labels() == {}


def test_glyphs_that_are_no_digits_are_left_out_before_the_text_is_laid_on(said):
    said.glyph("votes", 3, None, Verdict.ILLEGIBLE, by="ben")
    said.field("votes", "047")
    assert said.labels() == {
        ("votes", 0): (0, ("ana",)),
        ("votes", 1): (4, ("ana",)),
        ("votes", 2): (7, ("ana",)),
        ("votes", 3): (OTHER, ("ben",)),
    }


def test_who_keyed_the_same_blind_counts_as_a_second_person(said):
    id_ = said.field("valid", "51", by="ana")
    with schema.writing(said.engine) as session:
        reading = session.get_one(tables.Decision, id_).reading_id
        made_at = session.get_one(tables.Decision, id_).made_at
        for text, who in (("51", "ben"), ("57", "eve")):
            session.add(
                tables.Keying(
                    reading_id=reading, queue="audit", text=text, reviewer=who, made_at=made_at
                )
            )
    assert said.labels()["valid", 1] == (1, ("ana", "ben"))


def test_a_glyph_whose_picture_was_taken_out_is_left_out(said):
    said.glyph("votes", 2, "1")
    with schema.writing(said.engine) as session:
        for glyph in session.query(tables.Glyph):
            glyph.crop = None
    assert said.labels() == {}


@pytest.mark.parametrize(
    ("read", "text", "type", "confirmed", "wanted"),
    [
        ("0471", "0471", FieldType.INTEGER, True, "0471"),
        ("0471", "0411", FieldType.INTEGER, False, "0411"),
        ("0471", "471", FieldType.INTEGER, False, None),  # one glyph is no digit: which?
        ("0471", "4710", FieldType.CODE, False, None),  # a shift explains it better
        ("5", "3", FieldType.INTEGER, False, "3"),
        ("57", "31", FieldType.INTEGER, False, None),  # more wrong than right
        ("1250", "12.58", FieldType.DECIMAL, False, "1258"),
        ("05", "0.05", FieldType.DECIMAL, True, None),  # a zero that nobody wrote
        ("24122026", "2026-12-24", FieldType.DATE, True, "24122026"),
        ("24122026", "2026-12-25", FieldType.DATE, False, None),
        ("24122026", "24122026", FieldType.DATE, True, "24122026"),
    ],
)
def test_text_is_laid_on_glyphs_only_where_it_is_certain(read, text, type, confirmed, wanted):
    assert corrections.aligned(list(read), text, type, confirmed=confirmed) == wanted
