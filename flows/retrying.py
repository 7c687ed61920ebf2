"""What is tried again, and how often: a database that is away, a run whose machine died."""

# No `from __future__ import annotations`: Prefect makes the parameters' schema of them.
from typing import Any

from prefect import Task, runtime
from prefect.client.schemas.objects import State, TaskRun

from digitocr.errors import DatabaseError, SchemaError, UsageError

MOST_RUNS = 10  # of one flow run; each of the last ones died, and was put back


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a task failed of something that may be gone in a minute."""
    cause = state.result(raise_on_failure=False)
    return isinstance(cause, DatabaseError) and not isinstance(cause, SchemaError)


def was_put_back() -> bool:
    """Tell whether this flow run ran before, and died (`automations.yaml`).

    Raises
    ------
    UsageError
        If it did so too often: whatever kills it is not one page, which would have failed.
    """
    count = runtime.flow_run.run_count or 0
    if count > MOST_RUNS:
        raise UsageError(
            f"this run died {count - 1} times, and was put back each time; see what kills it "
            "(memory?), and start it again: it goes on where it stopped"
        )
    return count > 1
