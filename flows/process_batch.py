"""A folder of scans → readings in the database, as Prefect runs it: in chunks, with retries.

What is read and how is `digitocr.batch`; here is when, how many at once, and what is tried
again: only what can pass, a database that is locked or away. A task is a chunk of files, given
by path; its pages and their pictures stay where they are read. Tasks are threads: 7 ms each,
where a process costs 100 and another 3 s for its import of Prefect. A page that fails is a fact
in the database, and the run ends Completed, named Partial. A chunk that fails leaves its batch
open, and the next run goes on there.
"""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from digitocr import batch as job
from digitocr import settings
from digitocr.batch import FileOutcome, Plan, RunSummary
from digitocr.errors import DatabaseError, SchemaError
from digitocr.scans import ScanFile

RETRY_AFTER_S = [5.0, 30.0, 120.0]


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a task failed of something that may be gone in a minute."""
    cause = state.result(raise_on_failure=False)
    return isinstance(cause, DatabaseError) and not isinstance(cause, SchemaError)


def in_chunks(files: Sequence[ScanFile], size: int) -> list[tuple[ScanFile, ...]]:
    """Cut a list of files into chunks of `size`, the last one shorter."""
    return [tuple(files[at : at + size]) for at in range(0, len(files), size)]


def batch_table(summary: RunSummary) -> str:
    """Write what became of a run, and of its batch, as a Markdown table."""
    rows = [("files", summary.files), ("files known before", summary.known_files)]
    rows.append(("pages read now", summary.pages))
    if summary.batch is not None:
        batch = summary.batch
        rows += [
            ("documents", batch.documents),
            ("pages", batch.pages),
            ("fields", batch.fields),
            ("accepted", batch.accepted),
            ("to review", batch.to_review),
            ("blank pages", batch.blank_pages),
            ("failed pages", len(batch.failed_pages)),
        ]
    title = summary.batch.name if summary.batch is not None else "nothing new"
    lines = [f"| {title} | |", "| :--- | ---: |"]
    return "\n".join(lines + [f"| {name} | {count} |" for name, count in rows])


def failed_table(summary: RunSummary) -> list[dict[str, str | int]]:
    """List the pages that failed now, with their causes, as rows of a table."""
    return [
        {"source": page.source, "page": page.page, "cause": page.cause}
        for page in summary.failed
    ]


def final_state(summary: RunSummary) -> State[RunSummary]:
    """Say how a run ended; one with failed pages is done, and says so."""
    if summary.partial:
        count = len(summary.failed)
        message = f"partial: {count} page{'s' if count > 1 else ''} failed, see failed-pages"
        return Completed(name="Partial", message=message, data=summary)
    return Completed(message=f"{summary.pages} pages read", data=summary)


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def plan_batch(paths: list[str], how: dict[str, Any], what: dict[str, Any]) -> Plan:
    """Find the scans; refuse wrong forms, model or database before anything is read."""
    return job.plan([Path(path) for path in paths], settings.load(**how), **what)


@task(
    task_run_name="read {files[0].source} …",
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def read_files(plan: Plan, files: tuple[ScanFile, ...]) -> tuple[FileOutcome, ...]:
    """Read and store one chunk; files that were read before are left alone."""
    return job.read_chunk(plan, files)


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def finish_batch(plan: Plan, outcomes: list[FileOutcome]) -> RunSummary:
    """Close the batch and count."""
    return job.finish(plan, outcomes)


@flow(name="process-batch")
def process_batch(
    folder: str | list[str],
    forms: str | None = None,
    database: str | None = None,
    model: str | None = None,
    batch: str | None = None,
    workers: int | None = None,
    chunk_size: int = 16,
    again: bool = False,
    retry_failed: bool = False,
    keep_pages: bool = False,
) -> Any:
    """Read every scan below one or more folders into the database.

    Parameters
    ----------
    folder
        Folder or file of scans, or a list of them, as the machine of the worker sees it.
    forms, database, model
        As in digitocr.toml, which holds where they are left out. Prefect shows parameters to
        all who see it: a database with a password belongs into the worker's DIGITOCR_DATABASE.
    batch
        Name of the batch; left out, it is that of the folder and the day.
    workers
        How many chunks are read at once; left out, as digitocr.toml says, else one a core.
    chunk_size
        Files a task; a failed task is tried again as a whole, and reads only what is missing.

    Returns
    -------
    The `RunSummary`.
    """
    paths = [folder] if isinstance(folder, str) else folder
    how = {"forms": forms, "database": database, "model": model, "workers": workers}
    what = {
        "batch": batch,
        "again": again,
        "retry_failed": retry_failed,
        "keep_pages": keep_pages,
    }
    plan = plan_batch(paths, how, what)
    chunks = in_chunks(plan.files, chunk_size)
    get_run_logger().info(
        "batch %s: %d files in %d tasks", plan.batch, len(plan.files), len(chunks)
    )
    for line in plan.standing:
        get_run_logger().info("%s", line)
    plan = replace(plan, files=())  # a task is given its own files, not all of them
    at_once = plan.settings.workers or os.cpu_count() or 1
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=at_once)
    with pool as runner:
        futures: list[PrefectFuture[Any]] = [
            runner.submit(read_files, {"plan": plan, "files": part}) for part in chunks
        ]
        wait(futures)
        outcomes = [outcome for future in futures for outcome in future.result()]
    summary = finish_batch(plan, outcomes)
    create_markdown_artifact(batch_table(summary), key="batch", description=plan.batch)
    if summary.failed:
        create_table_artifact(
            failed_table(summary),
            key="failed-pages",
            description="Pages that could not be read",
        )
    return final_state(summary)
