"""The tasks that every flow that reads is made of, and how it shows what came of them.

What is read and how is `digitocr.batch`; here is when, how many at once, and what is tried
again: only what can pass, a database that is locked or away. A task is a chunk of files, given
by path; its pages and their pictures stay where they are read. Tasks are threads, 7 ms each,
where one of Prefect's processes costs 100; but each thread has a process of ours that reads, so
that a page that kills or hangs it takes nothing else along.
"""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from digitocr import batch as job
from digitocr import settings
from digitocr.batch import FileOutcome, Plan, RunSummary
from digitocr.scans import ScanFile
from flows.retrying import can_pass

RETRY_AFTER_S = [5.0, 30.0, 120.0]

Done = Callable[[Sequence[FileOutcome]], None]


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def plan_batch(paths: list[str], how: dict[str, Any], what: dict[str, Any]) -> Plan:
    """Find the scans; refuse wrong forms, model or database before anything is read."""
    return job.plan(job.expand(paths) if paths else [], settings.load(**how), **what)


@task(
    task_run_name="read {files[0].source} …",
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def read_files(plan: Plan, files: tuple[ScanFile, ...]) -> tuple[FileOutcome, ...]:
    """Read and store one chunk; files that were read before are left alone."""
    return job.read_apart(plan, files)


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def finish_batch(plan: Plan, outcomes: list[FileOutcome]) -> RunSummary:
    """Close the batch and count."""
    return job.finish(plan, outcomes)


def in_chunks(files: Sequence[ScanFile], size: int) -> list[tuple[ScanFile, ...]]:
    """Cut a list of files into chunks of `size`, the last one shorter."""
    return [tuple(files[at : at + size]) for at in range(0, len(files), size)]


def read_all(plan: Plan, chunk_size: int, done: Done | None = None) -> list[FileOutcome]:
    """Read the files of a plan as tasks, and show how far that is as an artifact.

    Parameters
    ----------
    done
        Called with what came of each chunk.
    """
    chunks = in_chunks(plan.files, chunk_size)
    get_run_logger().info(
        "batch %s: %d files in %d tasks", plan.batch, len(plan.files), len(chunks)
    )
    for line in plan.standing:
        get_run_logger().info("%s", line)
    plan = replace(plan, files=())  # a task is given its own files, not all of them
    progress = begin_progress(f"batch {plan.batch}: files read")
    outcomes: list[FileOutcome] = []
    at_once = plan.settings.workers or os.cpu_count() or 1
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=at_once)
    with pool as runner:
        futures: list[PrefectFuture[Any]] = [
            runner.submit(read_files, {"plan": plan, "files": part}) for part in chunks
        ]
        for count, future in enumerate(as_completed(futures), start=1):
            chunk = future.result(raise_on_failure=False)
            if isinstance(chunk, tuple):  # else it failed, which is raised below
                outcomes.extend(chunk)
                if done:
                    done(chunk)
            update_progress_artifact(progress, 100.0 * count / len(chunks))
        for future in futures:
            future.result()
    return outcomes


def begin_progress(description: str, key: str | None = None) -> UUID:
    """Make an artifact that shows how far a run is, in percent."""
    made = create_progress_artifact(0.0, key=key, description=description)
    assert isinstance(made, UUID)
    return made


def show(summary: RunSummary) -> None:
    """Show what became of a run, its batch and its failed pages as artifacts."""
    name = summary.batch.name if summary.batch is not None else None
    create_markdown_artifact(batch_table(summary), key="batch", description=name)
    for one in summary.compared:
        if one.moved:
            get_run_logger().warning("batch %s: %s", name, one)
    if summary.failed:
        create_table_artifact(
            failed_table(summary),
            key="failed-pages",
            description="Pages that could not be read",
        )


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
    lines += [f"| {name} | {count} |" for name, count in rows]
    return "\n".join([*lines, "", *(f"- {one}" for one in summary.compared)]).rstrip()


def failed_table(summary: RunSummary) -> list[dict[str, str | int]]:
    """List the pages that failed, with their causes, as rows of a table."""
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


def as_files(paths: Sequence[str]) -> tuple[ScanFile, ...]:
    """Name files by their paths, as a run of another machine found them."""
    return tuple(ScanFile(Path(path), path) for path in paths)
