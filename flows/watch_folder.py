"""A folder that scans come into → readings, every few minutes: what is new in it, and whole.

Each file is claimed in the database by one run. Runs of the deployment do not overlap: one that
would begin while another reads is canceled (`prefect.yaml`).
"""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from pydantic import Field

from digitocr import batch as job
from digitocr import settings
from digitocr.batch import FileOutcome, watching
from digitocr.batch.watching import Watch
from flows.reading import (
    RETRY_AFTER_S,
    final_state,
    finish_batch,
    plan_batch,
    read_all,
    show,
)
from flows.retrying import can_pass, was_put_back


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def look(paths: list[str], how: dict[str, Any], run: str, settle_s: float) -> Watch:
    """Claim what is new in the folder and is not being written any more."""
    return watching.watch(job.expand(paths), settings.load(**how), run, settle_s=settle_s)


@flow(name="watch-folder")
def watch_folder(
    folder: str | list[str],
    settle_s: Annotated[float, Field(ge=0.0, le=600.0)] = 10.0,
    forms: str | None = None,
    database: str | None = None,
    model: str | None = None,
    workers: Annotated[int | None, Field(ge=1, le=256)] = None,
    chunk_size: Annotated[int, Field(ge=1, le=1000)] = 16,
    keep_pages: bool = False,
) -> Any:
    """Read what is new in one or more folders into the database.

    Parameters
    ----------
    folder
        Folder of scans, a pattern such as `in/*`, or a list of them, as the machine of the
        worker sees it.
    settle_s
        Seconds that a file must not change for: it may still be copied.
    forms, database, model
        As in digitocr.toml, which holds where they are left out. Prefect shows parameters to
        all who see it: a database with a password belongs into the worker's DIGITOCR_DATABASE.
    workers
        How many chunks are read at once; left out, as digitocr.toml says, else one a core.
    chunk_size
        Files a task; a failed task is tried again as a whole, and reads only what is missing.
    keep_pages
        Store a picture of each page.

    Returns
    -------
    The `RunSummary`; None where nothing was new.
    """
    put_back = was_put_back()
    paths = [folder] if isinstance(folder, str) else folder
    how: dict[str, Any] = {"forms": forms, "database": database, "model": model}
    how["workers"] = workers
    looked = look(paths, how, str(runtime.flow_run.id), settle_s)
    get_run_logger().info(
        "%d new files; %d known, %d still being written, %d in the hands of other runs",
        len(looked.files), looked.known, looked.unsettled, looked.of_others,
    )  # fmt: skip
    if not looked.files:
        return Completed(name="NothingNew", message=f"{looked.known} files, none of them new")
    used = settings.load(**how)

    def done(outcomes: Sequence[FileOutcome]) -> None:
        watching.read(used, looked, outcomes)

    try:
        what = {"files": looked.files, "keep_pages": keep_pages}
        plan = plan_batch(paths, how, what | {"resumed": True if put_back else None})
        summary = finish_batch(plan, read_all(plan, chunk_size, done))
    finally:
        watching.release(used, looked)
    show(summary)
    return final_state(summary)
