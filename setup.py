"""Puts the files that `vrft new` writes into the package. Everything else about the build is in pyproject.toml.

params.yaml is not among them: a checkout's own holds its user's experiments. `vrft_core/commands/params.yaml` is packed
as package data.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# The same files as TEMPLATE in vrft_core/commands/new.py; a test compares them.
TEMPLATE = (
    "dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore",
    ".dvc/plots/vrft_lines.json", ".dvc/plots/vrft_bars.json", "data/README.md", "dagster_home/dagster.yaml",
)  # fmt: skip


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout itself is read then
            return
        for name in TEMPLATE:
            target = Path(self.build_lib, "vrft_core/template", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


setup(cmdclass={"build_py": BuildPy})
