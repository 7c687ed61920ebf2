"""The corrections of a database → a candidate model: what `retrain` does, here or as a flow."""

from __future__ import annotations

from pathlib import Path

from digitocr.db import corrections, promotions, schema
from digitocr.settings import Settings
from digitocr.training import retraining
from digitocr.training.pictures import Watch, unwatched
from digitocr.training.retraining import Retrained


def retrain_from_database(
    settings: Settings,
    out: Path,
    *,
    gold: float = retraining.GOLD_SHARE,
    epochs: int = retraining.EPOCHS,
    seed: int = 1,
    watch: Watch = unwatched,
) -> Retrained:
    """Let the model that reads learn from the corrections in the database of the settings.

    Raises
    ------
    DatabaseError
        If the database cannot be opened.
    DataError
        If it holds too few corrections, or MNIST cannot be had.
    ModelError, UsageError
        As `retraining.retrain`.
    """
    engine = schema.connect(settings.database, create=False)
    try:
        with schema.reading(engine) as session:
            in_use = promotions.folder_that_reads(session, settings.model)
            verified = corrections.verified_glyphs(session)
    finally:
        engine.dispose()
    return retraining.retrain(
        verified,
        in_use,
        out,
        settings,
        origin=schema.shown(settings.database),
        gold=gold,
        epochs=epochs,
        seed=seed,
        watch=watch,
    )
