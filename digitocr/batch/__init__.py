"""A folder of scans → readings in the database: what to read, by whom, what came of it.

A file is the unit of work: whoever takes it reads its pages and stores each in a transaction of
its own, so that a killed run loses at most the page it was at, and goes on there. Workers are
processes that build their reader once; files are handed out in chunks, by path. Nothing here
knows of Prefect: a flow calls `plan`, `read_apart` and `finish`, as the command does by `run`.
"""

from digitocr.batch.planning import Plan, expand, find_forms, plan
from digitocr.batch.reading import FileOutcome
from digitocr.batch.running import (
    RunSummary,
    count_arrived,
    finish,
    finish_elsewhere,
    read_apart,
    run,
)
from digitocr.batch.surviving import read_chunk

__all__ = [
    "FileOutcome",
    "Plan",
    "RunSummary",
    "count_arrived",
    "expand",
    "find_forms",
    "finish",
    "finish_elsewhere",
    "plan",
    "read_apart",
    "read_chunk",
    "run",
]
