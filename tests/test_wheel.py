"""The wheel: what travels in it, and that it reads from any folder without TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
BUNDLED = "digitocr/_bundled"
MODEL = f"{BUNDLED}/models/digitocr-130k"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build it from a copy: building leaves its traces in the folder."""
    source = tmp_path_factory.mktemp("source")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("digitocr", "alembic", "flows", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*build, "--wheel-dir", source / "dist", source], check=True, capture_output=True
    )
    (built,) = (source / "dist").glob("digitocr-*.whl")
    return built


def test_the_wheel_carries_all_that_reading_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"digitocr", f"digitocr-{version()}.dist-info"}
    assert {f"{MODEL}/model.tflite", f"{MODEL}/card.json"} <= names
    assert {f"{BUNDLED}/alembic/env.py", f"{BUNDLED}/alembic/script.py.mako"} <= names
    assert any(name.startswith(f"{BUNDLED}/alembic/versions/0001") for name in names)
    assert f"{BUNDLED}/flows/process_batch.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_carries_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "digitocr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(ours - names) == []


def version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def pinned(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    return dict(line.split(" ")[0].split("==") for line in lines if not line.startswith(" "))


def test_the_lock_files_agree_and_hold_no_address():
    every, reading = pinned("requirements.lock"), pinned("requirements-read.lock")
    assert reading.items() <= every.items()
    assert not {"tensorflow-cpu", "keras", "prefect", "pytest"} & set(reading)
    for lock in ("requirements.lock", "requirements-read.lock"):
        assert "://" not in (ROOT / lock).read_text()


@pytest.fixture(scope="session")
def elsewhere(wheel, tmp_path_factory) -> Path:
    """Install the wheel and the read lock into an empty environment."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--retries=1", "--timeout=20"]
    pip += ["install", "--no-compile"]
    lock = ["--require-hashes", "--requirement", ROOT / "requirements-read.lock"]
    tried = subprocess.run([*pip, *lock], capture_output=True, text=True, timeout=600)
    if tried.returncode and "No matching distribution" in tried.stderr:
        pytest.skip("the package index cannot be reached")
    assert tried.returncode == 0, tried.stderr
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    return folder


def run_there(elsewhere: Path, tmp_path: Path, *command: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program, *rest = command
    return subprocess.run(
        [elsewhere / "bin" / program, *rest],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_installed_wheel_reads_a_crop_from_another_folder(elsewhere, tmp_path):
    image = Image.new("L", (120, 60), 255)
    ImageDraw.Draw(image).line((60, 10, 58, 50), fill=0, width=5)  # a one
    image.save(tmp_path / "one.png")
    done = run_there(elsewhere, tmp_path, "digitocr", "read", "one.png", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "1"
    for absent in ("tensorflow", "keras", "prefect"):
        tried = run_there(elsewhere, tmp_path, "python", "-c", f"import {absent}")
        assert "ModuleNotFoundError" in tried.stderr


def test_the_installed_wheel_makes_and_checks_a_database(elsewhere, tmp_path):
    url = f"sqlite:///{tmp_path}/there.db"
    for verb in ("upgrade", "check"):
        done = run_there(elsewhere, tmp_path, "digitocr", "db", verb, "--database", url)
        assert done.returncode == 0, done.stderr
