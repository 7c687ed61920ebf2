"""Processes that work for this one, each of which may die at any moment.

Each is reached by a pipe of its own and shares nothing with the others. Whatever it dies of,
and whenever, the system closes its end of the pipe, and that is heard.

Python's executor (3.11) hears of most deaths, not of all. Its processes share a queue: one
that is killed while it holds the lock of that leaves the others, and whoever waits for them,
waiting for ever. Nor is it enough to give each process an executor of its own: one killed in
the middle of a long answer, or just as it is handed work, is waited for all the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, TypeVarTuple

from digitocr import logs
from digitocr.logs import LogStyle

_Given = TypeVarTuple("_Given")
_Part = TypeVar("_Part")
_Done = TypeVar("_Done")


class ProcessDiedError(Exception):
    """A process is no more that was to do some work; how far it came is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """A process apart, which does one thing after another as they are handed to it.

    Closed, or forgotten, it ends, once it has done what it has in hand.
    """

    process: BaseProcess
    pipe: Connection

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        _end([self])

    def run(self, work: Callable[[*_Given], _Done], *given: *_Given) -> _Done:
        """Have work done, and wait for it. What it raises is raised here.

        Raises
        ------
        ProcessDiedError
            If the process dies before it is done, or is dead already.
        """
        self.hand(work, *given)
        try:
            done, error = self.answer()
        except ProcessDiedError:
            raise
        except BaseException:  # what comes now would be taken for the answer to other work
            self.pipe.close()
            raise
        if error is not None:
            raise error
        return done  # type: ignore[no-any-return]

    def hand(self, work: Callable[[*_Given], Any], *given: *_Given) -> None:
        """Hand out work, where what was handed out before is answered."""
        with suppress(OSError):  # it died, or nobody listens any more: so `answer` says
            self.pipe.send((work, given))

    def answer(self) -> tuple[Any, Exception | None]:
        """Wait for what came of the work: its result, or else what it raised."""
        try:
            return self.pipe.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError) as error:  # nothing came, or not all of it
            raise ProcessDiedError from error


def start(begin: Callable[[], object] | None = None) -> Apart:
    """Start a process that ends with this one, by whatever way this one ends.

    Parameters
    ----------
    begin
        What it does before any work.
    """
    ours, theirs = multiprocessing.Pipe()
    # A fork would carry locks of threads that OpenCV and SQLite hold at that moment.
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_serve, args=(theirs, logs.style(), begin), daemon=True)
    # It inherits that Ctrl-C is none of its business. Python's tracker of resources would
    # have that forgotten if it were started meanwhile.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with theirs:  # as long as it is open here, its end is not heard
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Apart(process, ours)


def by_processes(
    work: Callable[[_Part], _Done], parts: Sequence[_Part], workers: int
) -> Iterator[tuple[int, _Done | None]]:
    """Do work on each part in one of several processes; give each as it comes, by its number.

    What comes is None where the process died over it; another takes its place. No more is
    handed out than is worked on: whoever stops waits for that alone. What `work` raises is
    raised once the others that are done by then are given.
    """
    left = deque(range(len(parts)))
    started: list[Apart] = []
    free: list[Apart] = []
    busy: dict[object, tuple[Apart, int]] = {}
    try:
        while left or busy:
            while left and len(busy) < workers:
                if not free:
                    started.append(start())
                    free.append(started[-1])
                one, number = free.pop(), left.popleft()
                busy[one.pipe] = one, number
                one.hand(work, parts[number])
            failed = None
            for pipe in wait([one.pipe for one, _ in busy.values()]):
                one, number = busy.pop(pipe)
                try:
                    done, error = one.answer()
                except ProcessDiedError:
                    _end([one])
                    started.remove(one)
                    yield number, None
                    continue
                free.append(one)
                if error is None:
                    yield number, done
                failed = failed or error
            if failed is not None:
                raise failed
    finally:
        _end(started)


def _end(processes: Sequence[Apart]) -> None:
    """Let processes end when they have done what they have in hand, and wait for that."""
    for one in processes:
        one.pipe.close()
    for one in processes:
        one.process.join()


def _serve(pipe: Connection, style: LogStyle, begin: Callable[[], object] | None) -> None:
    """Do what is handed out, in a process that was started for it, until nobody is there."""
    logs.to_stderr(style)
    go_with_parent()
    if begin:
        begin()
    while True:
        try:
            work, given = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        answer = _do(work, given)
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _do(work: Callable[..., Any], given: Sequence[Any]) -> tuple[Any, Exception | None]:
    try:
        return work(*given), None
    except Exception as error:
        error.add_note("in another process:\n" + "\n".join(logs.origin(error)))
        return None, error


def go_with_parent() -> None:
    """End this process when the one that started it is gone, by whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()
