"""One shard of a large folder, on whichever machine took it; `process_batch` makes its runs."""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.states import Completed
from pydantic import Field

from digitocr.errors import UsageError
from flows.reading import as_files, plan_batch, read_all
from flows.retrying import was_put_back


@flow(name="read-shard")
def read_shard(
    files: Annotated[list[str], Field(min_length=1)],
    batch: Annotated[str, Field(min_length=1)],
    reads_by: str,
    named: bool = False,
    resumed: bool = False,
    forms: str | None = None,
    database: str | None = None,
    model: str | None = None,
    workers: Annotated[int | None, Field(ge=1, le=256)] = None,
    chunk_size: Annotated[int, Field(ge=1, le=1000)] = 16,
    again: bool = False,
    retry_failed: bool = False,
    keep_pages: bool = False,
) -> Any:
    """Read the files of a shard into its batch, which stays open.

    Parameters
    ----------
    files
        Paths, as all machines that read see them.
    reads_by
        A hash of the forms and models that the batch was planned with: other ones would make
        other numbers, and are refused.
    resumed
        Whether an earlier run of the batch died.
    batch, named, forms, database, model, workers, chunk_size, again, retry_failed, keep_pages
        As the run has them that made this one.

    Raises
    ------
    UsageError
        If this machine has other forms or models.
    """
    put_back = was_put_back()
    how = {"forms": forms, "database": database, "model": model, "workers": workers}
    what = {
        "files": as_files(files),
        "batch": batch,
        "named": named,
        "resumed": resumed or put_back,
        "again": again,
        "retry_failed": retry_failed,
        "keep_pages": keep_pages,
    }
    plan = plan_batch([], how, what)
    if plan.reads_by != reads_by:
        raise UsageError(
            f"batch {batch} was planned with other forms or models than this machine has; "
            "bring digitocr, forms and models of all machines to one state, and run it again"
        )
    outcomes = read_all(plan, chunk_size)
    failed = [page for outcome in outcomes for page in outcome.failed]
    pages = sum(outcome.pages for outcome in outcomes)
    if failed:
        create_table_artifact(
            [{"source": one.source, "page": one.page, "cause": one.cause} for one in failed],
            description="Pages of this shard that could not be read",
        )
        return Completed(name="Partial", message=f"{pages} pages, {len(failed)} of them failed")
    return Completed(message=f"{pages} pages read")
