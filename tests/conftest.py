"""What the tests of the whole program share: a small form, scans of it, and the command."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
OURS = ("DIGITOCR_", "PREFECT_")  # settings of the machine, which a test must not see

# A shell ignores it for what it runs in the background, and so would all that the tests begin.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLIP = """\
name = "slip"
version = 1
title = "Counting slip"

[[pages]]
width = 480
height = 360
dpi = 100
anchors = [
    {kind = "square", center = [24, 24], size = 20},
    {kind = "square", center = [456, 24], size = 20},
    {kind = "square", center = [24, 336], size = 20},
    {kind = "square", center = [456, 336], size = 20},
    {kind = "square", center = [340, 24], size = 20},
]

[[fields]]
name = "first"
box = [80, 80, 215, 130]
kind = "boxed"
cells = 3
type = "integer"

[[fields]]
name = "second"
box = [80, 170, 215, 220]
kind = "boxed"
cells = 3
type = "code"
min_length = 3

[[fields]]
name = "total"
box = [240, 170, 420, 220]
kind = "boxed"
cells = 4
type = "integer"
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines of stderr."""
        return self.err.splitlines()


class PostgresServer:
    """A private PostgreSQL in a temporary folder, to be started and stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = str(folder / "data")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self.url = f"postgresql://digitocr@127.0.0.1:{self.port}/"
        self.as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        self._run(
            "initdb", "-D", self.data, "-U", "digitocr", "-A", "trust", "-E", "UTF8",
            "--no-sync", "--locale=C.UTF-8",
        )  # fmt: skip

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options,
            "start",
        )  # fmt: skip

    def stop(self) -> None:
        """Stop it as a crash of its machine does: nobody is waited for."""
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        said = self.folder / "said"  # no pipe: the server would hold it open, and we wait
        with said.open("wb") as out:
            done = subprocess.run(
                [*self.as_user, str(server_program(program)), *words],
                check=False, stdout=out, stderr=out, cwd="/", timeout=60,
            )  # fmt: skip
        assert done.returncode == 0, said.read_text(errors="replace")


def server_program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, SERVER_FOLDERS)])
    return shutil.which(name, path=places)


def running_server(name: str) -> Iterator[PostgresServer]:
    if server_program("initdb") is None or server_program("pg_ctl") is None:
        pytest.skip("PostgreSQL server not installed")
    folder = Path("/tmp") / f"digitocr-{name}-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    try:
        server = PostgresServer(folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL prefix of a running private cluster, without the name of a database."""
    for server in running_server("pg"):
        yield server.url


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that tests may stop, and start again."""
    yield from running_server("own")


@pytest.fixture(scope="session")
def members() -> Callable[[int], list[int]]:
    """List the processes of a group that still run."""

    def of(group: int) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, of_group = entry.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(of_group) == group and state not in "ZX":
                found.append(int(entry.parent.name))
        return found

    return of


@pytest.fixture
def in_time() -> Iterator[None]:
    """Fail a test that takes two minutes: it waits for what does not come."""

    def fail(*_: object) -> None:
        raise TimeoutError("what was waited for did not come in two minutes")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 120, 10)  # again, where it waits as it ends, too
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def slips(tmp_path_factory) -> Path:
    """Fill eight slips, once: `slip-001.png` to `slip-008.png` and `truth.csv`."""
    from digitocr import templates
    from digitocr.forms.fill import fill_pages

    folder = tmp_path_factory.mktemp("slips")
    (folder / "slip").mkdir()
    (folder / "slip" / "template.toml").write_text(SLIP, encoding="utf-8")
    fill_pages(templates.load(folder / "slip"), 8, folder / "scans", seed=3)
    return folder


@pytest.fixture
def workplace(slips, tmp_path, monkeypatch) -> Iterator[Path]:
    """Stand in a folder as an operator has it: forms/slip, scans with three slips."""
    from digitocr.batch import reading, running

    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DIGITOCR_WORKERS", "1")
    monkeypatch.setattr(running, "FEW", 1000)  # read in this process: imports cost seconds
    shutil.copytree(slips / "slip", tmp_path / "forms" / "slip")
    (tmp_path / "scans").mkdir()
    for number in (1, 2, 3):
        shutil.copy(slips / "scans" / f"slip-00{number}.png", tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    worker = vars(reading._kept).pop("worker", None)
    if worker is not None:
        worker.engine.dispose()


@pytest.fixture
def deadly_at_opening(workplace) -> Callable[..., dict[str, str]]:
    """Have whatever opens a file of a name die, where the environment that it gives is set.

    With `program` the program dies with it that started it to read.
    """

    def at(name: str, *, program: bool = False) -> dict[str, str]:
        all_of_them = "os.kill(os.getppid(), signal.SIGKILL)" if program else "pass"
        (workplace / "deadly").mkdir()
        (workplace / "deadly" / "sitecustomize.py").write_text(
            "import os, signal\n"
            "from digitocr import scans\n"
            "open_scan = scans.open_scan\n"
            "def open_or_die(path, **how):\n"
            f"    if path.name == {name!r}:\n"
            f"        {all_of_them}\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return open_scan(path, **how)\n"
            "scans.open_scan = open_or_die\n"
        )
        return {"PYTHONPATH": f"{workplace / 'deadly'}{os.pathsep}{ROOT}"}

    return at


@pytest.fixture
def digitocr(workplace, monkeypatch, capfd) -> Callable[..., Done]:
    """Run a command of digitocr in this process, in the workplace."""
    from digitocr import cli

    def run(*words: str | Path) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["digitocr", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return run
