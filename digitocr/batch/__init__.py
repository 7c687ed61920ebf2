"""A folder of scans → readings in the database: what to read, by whom, what came of it.

A file is the unit of work: whoever takes it reads its pages and stores each in a transaction of
its own, so that a killed run loses at most the page it was at, and goes on there. Workers are
processes that build their reader once; files are handed out in chunks, by path. Nothing here
knows of Prefect: a flow calls `plan`, `read_chunk` and `finish` as the command does.
"""

from digitocr.batch.planning import Plan, find_forms, plan
from digitocr.batch.reading import FileOutcome, read_chunk
from digitocr.batch.running import RunSummary, finish, run

__all__ = [
    "FileOutcome",
    "Plan",
    "RunSummary",
    "find_forms",
    "finish",
    "plan",
    "read_chunk",
    "run",
]
