"""A folder of scans → readings in the database, as Prefect runs it: here, or on many machines.

A large folder becomes shards: runs of the deployment `read-shard/shard`, each with its part of
the files, that any number of workers take from the queue `shards` of the pool. This run waits
for them, shows how far they are, and closes the batch. What was read is asked of the database;
a shard hands nothing back. A page that fails is a fact there, and the run ends Completed, named
Partial. A chunk or shard that fails leaves its batch open, and the next run goes on there.
"""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Failed
from pydantic import Field

from digitocr import batch as job
from digitocr.batch import Plan, RunSummary
from digitocr.errors import UsageError
from digitocr.scans import ScanFile
from flows.reading import (
    RETRY_AFTER_S,
    begin_progress,
    final_state,
    finish_batch,
    in_chunks,
    plan_batch,
    read_all,
    show,
)
from flows.retrying import can_pass, was_put_back

SHARD = "read-shard/shard"
LOOK_EVERY_S = 5.0
PUT_BACK_S = 300.0  # a shard that died is given so long to be put back
RUNS_AT_ONCE = 200  # the most that Prefect's API lists in one answer


@task(
    retries=len(RETRY_AFTER_S),
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass,
    cache_policy=NO_CACHE,
)
def finish_shards(plan: Plan, since: datetime) -> RunSummary:
    """Close the batch that shards read, and count, by what is in the database."""
    return job.finish_elsewhere(plan, since)


def begin_shards(
    parts: list[tuple[ScanFile, ...]], plan: Plan, given: dict[str, Any]
) -> dict[UUID, tuple[ScanFile, ...]]:
    """Make a run of each part; the same parts of the same run have the same ones.

    Raises
    ------
    UsageError
        If the server does not know the deployment.
    """
    runs = {}
    for number, part in enumerate(parts, start=1):
        files = [file.source for file in part]
        content = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
        shard = {
            "files": files,
            "batch": plan.batch,
            "named": plan.named,
            "resumed": plan.resumed,
            "reads_by": plan.reads_by,
        }
        try:
            run = run_deployment(
                SHARD,
                parameters=given | shard,
                flow_run_name=f"{plan.batch} {number} of {len(parts)}",
                idempotency_key=f"{runtime.flow_run.id}-{content}",
                timeout=0,
            )
        except ObjectNotFound:
            raise UsageError(
                f"the server knows no deployment {SHARD}; run `prefect --no-prompt deploy "
                "--all` in the folder with prefect.yaml, or leave shard_files at 0"
            ) from None
        assert isinstance(run, FlowRun)
        runs[run.id] = part
    return runs


def states_of(runs: list[UUID]) -> dict[UUID, State[Any]]:
    """Ask the server for the states of flow runs."""
    states = {}
    with get_client(sync_client=True) as client:
        for at in range(0, len(runs), RUNS_AT_ONCE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=runs[at : at + RUNS_AT_ONCE]))
            for run in client.read_flow_runs(flow_run_filter=wanted, limit=RUNS_AT_ONCE):
                if run.state is not None:
                    states[run.id] = run.state
    return states


def is_over(state: State[Any], now: datetime) -> bool:
    """Tell whether a run will not go on; one that crashed may be put back for a while."""
    if state.is_crashed():
        return (now - state.timestamp).total_seconds() > PUT_BACK_S
    return state.is_final()


def wait_for_shards(
    runs: dict[UUID, tuple[ScanFile, ...]], plan: Plan
) -> dict[UUID, State[Any]]:
    """Wait until no shard goes on; show meanwhile how far they are."""
    progress = begin_progress(f"batch {plan.batch}: files read, by all shards", "progress")
    over: dict[UUID, State[Any]] = {}
    while len(over) < len(runs):
        time.sleep(LOOK_EVERY_S)
        states = states_of([run for run in runs if run not in over])
        over |= {run: one for run, one in states.items() if is_over(one, datetime.now(UTC))}
        through = sum(len(runs[run]) for run, one in over.items() if one.is_completed())
        count = max(through, job.count_arrived(plan))
        share = 100.0 * min(count, len(plan.files)) / len(plan.files)
        update_progress_artifact(progress, share)
        get_run_logger().info(
            "batch %s: %d of %d shards are through, %.0f %% of the files",
            plan.batch, len(over), len(runs), share,
        )  # fmt: skip
    return over


def read_shards(plan: Plan, shard_files: int, given: dict[str, Any]) -> Any:
    """Have the files of a plan read by shards; close the batch when all are through."""
    since = datetime.now(UTC)
    # A name that is no UTF-8 is no parameter: such files are read here.
    plain = [file for file in plan.files if file.source == str(file.path)]
    odd = tuple(file for file in plan.files if file.source != str(file.path))
    runs = begin_shards(in_chunks(plain, shard_files), plan, given)
    if odd:
        read_all(replace(plan, files=odd), given["chunk_size"])
    over = wait_for_shards(runs, plan)
    create_table_artifact(
        [
            {"shard": number, "files": len(runs[run]), "state": over[run].name}
            for number, run in enumerate(runs, start=1)
        ],
        key="shards",
        description=f"The shards of batch {plan.batch}",
    )
    lost = sum(not state.is_completed() for state in over.values())
    if lost:
        return Failed(
            message=f"{lost} of {len(runs)} shards did not end well; see `shards`, mend what "
            "stopped them and run this again: it goes on where they stopped"
        )
    summary = finish_shards(plan, since)
    show(summary)
    return final_state(summary)


@flow(name="process-batch")
def process_batch(
    folder: str | list[str],
    forms: str | None = None,
    database: str | None = None,
    model: str | None = None,
    batch: str | None = None,
    workers: Annotated[int | None, Field(ge=1, le=256)] = None,
    chunk_size: Annotated[int, Field(ge=1, le=1000)] = 16,
    shard_files: Annotated[int, Field(ge=0, le=2000)] = 0,
    again: bool = False,
    retry_failed: bool = False,
    keep_pages: bool = False,
) -> Any:
    """Read every scan below one or more folders into the database.

    Parameters
    ----------
    folder
        Folder or file of scans, a pattern such as `scans/2026-*`, or a list of them, as the
        machine of the worker sees it.
    forms, database, model
        As in digitocr.toml, which holds where they are left out. Prefect shows parameters to
        all who see it: a database with a password belongs into the worker's DIGITOCR_DATABASE.
    batch
        Name of the batch; left out, it is that of the folder and the day.
    workers
        How many chunks are read at once on a machine; left out, as digitocr.toml says, else
        one a core.
    chunk_size
        Files a task; a failed task is tried again as a whole, and reads only what is missing.
    shard_files
        Where there are more files, they are read by runs of `read-shard/shard`, so many each;
        0: all in this run.
    again, retry_failed
        Read anew what was read, or what failed.
    keep_pages
        Store a picture of each page.

    Returns
    -------
    The `RunSummary`.
    """
    put_back = was_put_back()
    paths = [folder] if isinstance(folder, str) else folder
    how = {"forms": forms, "database": database, "model": model, "workers": workers}
    flags = {"again": again, "retry_failed": retry_failed, "keep_pages": keep_pages}
    resumed = True if put_back else None
    plan = plan_batch(paths, how, {"batch": batch, "resumed": resumed} | flags)
    if shard_files and len(plan.files) > shard_files:
        return read_shards(plan, shard_files, how | flags | {"chunk_size": chunk_size})
    summary = finish_batch(plan, read_all(plan, chunk_size))
    show(summary)
    return final_state(summary)
