"""Corrections → a candidate model, as Prefect runs it: one task, and its report to look at.

What is learned and how it is judged is `digitocr.training`; here is only when. A candidate that
failed its trials is a result and no failure: the run ends Completed, named Rejected. Nothing
reads with a candidate before a person promotes it (`digitocr models promote`).
"""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from digitocr import settings
from flows.retrying import can_pass

RETRY_AFTER_S = [30.0, 120.0]
REPORT = "report.md"


def shown_report(folder: Path) -> str:
    """Give the report of a model without its pictures, which lie in the folder."""
    lines = (folder / REPORT).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("!["))


def final_state(folder: Path, failures: tuple[str, ...]) -> State[str]:
    """Say how a run ended; a candidate that failed its trials is done, and says so."""
    if failures:
        message = f"{folder} must not be promoted: {failures[0]}"
        return Completed(name="Rejected", message=message, data=str(folder))
    return Completed(message=f"{folder} may be promoted, by a person", data=str(folder))


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def learn(how: dict[str, Any], out: str, what: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Train and judge the candidate; give its folder, and why it must not be promoted."""
    from digitocr.training import correcting  # Keras takes seconds: not where flows are listed

    done = correcting.retrain_from_database(settings.load(**how), Path(out), **what)
    return str(done.folder), done.gate.failures


@flow(name="retrain")
def retrain(
    database: str | None = None,
    model: str | None = None,
    out: str | None = None,
    gold: float = 0.2,
    epochs: int = 6,
    seed: int = 1,
) -> Any:
    """Let the model in use learn from what people corrected.

    Parameters
    ----------
    database, model
        As in digitocr.toml, which holds where they are left out. Prefect shows parameters to
        all who see it: a database with a password belongs into the worker's DIGITOCR_DATABASE.
    out
        Model folder to write, as the machine of the worker sees it; left out, it is
        `models/retrained` and the day.
    gold
        Share of the documents that is held out for good, to compare on.
    epochs
        Rounds over the pictures.
    seed
        The same seed gives the same weights on one machine.

    Returns
    -------
    The model folder.
    """
    place = out or str(Path("models", f"retrained-{datetime.now(UTC):%Y-%m-%d}"))
    how = {"database": database, "model": model}
    folder, failures = learn(how, place, {"gold": gold, "epochs": epochs, "seed": seed})
    for line in failures:
        get_run_logger().warning("%s", line)
    create_markdown_artifact(shown_report(Path(folder)), key="candidate", description=folder)
    return final_state(Path(folder), failures)
