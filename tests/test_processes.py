"""Work by processes that are killed at any moment: all of it comes back, and nothing waits.

What they do are functions of Python itself: a process that is started knows no others here.
"""

import multiprocessing
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import closing, suppress
from functools import partial

import pytest

from digitocr import processes
from digitocr.processes import ProcessDiedError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_time")]
LONG = 50_000_000  # bytes: more than a pipe takes at once
waited = partial(select.select, [], [], [])  # so many seconds; its answer is not None
DONE = ([], [], [])


def kill(process) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def test_each_part_comes_once_by_its_number():
    found = dict(processes.by_processes(float, [str(n) for n in range(30)], 3))
    assert found == {number: float(number) for number in range(30)}
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_as_it_starts_is_noticed_while_the_others_are_at_work(monkeypatch):
    start, started = processes.start, []

    def start_and_kill_the_second():
        started.append(start())
        if len(started) == 2:
            kill(started[1].process)
        return started[-1]

    monkeypatch.setattr(processes, "start", start_and_kill_the_second)
    parts = processes.by_processes(waited, (3.0, 0.0, 0.0), 2)
    assert next(parts) == (1, None)
    assert started[0].process.is_alive()
    assert list(parts) == [(2, DONE), (0, DONE)]
    assert len(started) == 3


def test_processes_that_are_killed_at_any_moment_of_their_lives_leave_nobody_waiting():
    """From their start to their end, at forty moments."""
    parts = [200_000] * 6  # more than a pipe takes at once
    began = time.monotonic()
    assert len(list(processes.by_processes(os.urandom, parts, 2))) == 6
    takes_s = time.monotonic() - began
    died = 0
    for moment in range(40):
        killer = threading.Thread(target=kill_after, args=(takes_s * moment / 40,))
        killer.start()
        found = list(processes.by_processes(os.urandom, parts, 2))
        killer.join()
        assert sorted(number for number, _ in found) == list(range(6))
        lost = [number for number, done in found if done is None]
        assert len(lost) <= 1
        assert {len(done) for _, done in found if done is not None} == {200_000}
        assert multiprocessing.active_children() == []
        died += len(lost)
    assert died > 10, "hardly any was killed in time"


def kill_after(seconds: float) -> None:
    """Kill the first process, if it is there still, so many seconds after it was started."""
    while not (started := multiprocessing.active_children()):
        time.sleep(0.0005)
    one = started[0]
    time.sleep(seconds)
    if one.exitcode is None:
        kill(one)


def test_a_process_killed_in_the_middle_of_its_answer_is_dead():
    with processes.start() as apart:
        apart.hand(os.urandom, LONG)
        assert apart.pipe.poll(30)  # it has begun to answer, and nobody listens yet
        kill(apart.process)
        with pytest.raises(ProcessDiedError):
            apart.answer()


def test_a_process_killed_with_nothing_to_do_is_dead_when_it_is_handed_work():
    with processes.start() as apart:
        assert apart.run(abs, -1) == 1
        kill(apart.process)
        with pytest.raises(ProcessDiedError):
            apart.run(len, b" " * LONG)  # more than its pipe would take


def test_the_answer_to_work_that_was_stopped_is_not_taken_for_that_to_other_work():
    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with processes.start() as apart:
            assert apart.run(abs, -3) == 3
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(KeyboardInterrupt):
                apart.run(waited, 2.0)
            with pytest.raises(ProcessDiedError):
                apart.run(abs, -4)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_process_killed_when_all_is_done_is_not_waited_for():
    parts = processes.by_processes(waited, (0.0, 1.0), 2)
    assert [next(parts), next(parts)] == [(0, DONE), (1, DONE)]
    for one in multiprocessing.active_children()[:1]:
        kill(one)
    assert list(parts) == []
    assert multiprocessing.active_children() == []


def test_what_work_raises_is_raised_when_the_others_that_are_done_are_given(tmp_path):
    shell = partial(subprocess.run, shell=True, check=True, cwd=tmp_path)
    until_told = "until [ -e told ]; do sleep 0.05; done; "
    works = ("true", f"{until_told} touch raised; exit 7", f"{until_told} touch given")
    parts = processes.by_processes(shell, works, 3)
    assert next(parts)[0] == 0
    (tmp_path / "told").touch()
    while not ((tmp_path / "raised").exists() and (tmp_path / "given").exists()):
        time.sleep(0.05)
    time.sleep(2.0)  # both have answered by then
    assert next(parts)[0] == 2
    with pytest.raises(subprocess.CalledProcessError, match="status 7") as raised:
        next(parts)
    assert "in another process" in raised.value.__notes__[0]
    assert multiprocessing.active_children() == []


def test_who_stops_waits_for_what_is_in_hand_alone():
    with closing(processes.by_processes(waited, [0.5] * 100, 2)) as parts:
        assert next(parts)[1] == DONE
        began = time.monotonic()
    assert time.monotonic() - began < 10  # of 25 seconds
    assert multiprocessing.active_children() == []


def test_a_process_that_is_forgotten_ends():
    apart = processes.start()
    process = apart.process
    assert apart.run(abs, -1) == 1
    del apart
    process.join(20)
    assert process.exitcode == 0
