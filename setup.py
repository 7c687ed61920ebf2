"""What pyproject.toml cannot say: the wheel carries three top-level folders inside the package.

Settings are in pyproject.toml. `alembic` and `flows` cannot lie beside `digitocr` in
site-packages, where they would hide the libraries of that name; see `digitocr/resources.py`.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLED = ("alembic", "flows", "models")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "README.md", "report.md", "*.png")


class BuildWithFolders(build_py):
    """Copy the folders into `digitocr/_bundled`, but not for an editable install."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in BUNDLED:
            target = Path(self.build_lib, "digitocr", "_bundled", name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=LEFT_OUT)


setup(cmdclass={"build_py": BuildWithFolders})
