import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "prefect", "pandas", "matplotlib", "flows")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "names"),
    [("digitocr.cli", HEAVY), ("digitocr.pipeline", (*HEAVY, "sqlalchemy", "alembic"))],
)
def test_what_reading_does_not_need_is_not_imported(module, names):
    program = f"import sys, {module}; print([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_every_bench_finds_what_it_imports():
    """They are run by hand, and nothing else notices when what they call was moved."""
    files = sorted(str(file) for file in (ROOT / "tests/bench").glob("*.py"))
    found = (
        "import runpy, sys; sys.path.insert(0, 'tests/bench')"  # as Python does for a script
    )
    program = f"{found}; [runpy.run_path(file) for file in {files!r}]"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
