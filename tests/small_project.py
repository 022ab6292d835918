"""A copy of this project in a new folder, with few and small scenes: for tests that really run stages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CELL = "lvis-mini-1shot-s0"


def edit_params(root: Path, change) -> None:
    """Apply `change(params: dict)` to a project's params.yaml."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def lvis_alone(params: dict) -> None:
    """Leave only the grid's rows of `lvis`."""
    for rows in ("data", "setups", "cells", "studies"):
        params["grid"][rows] = {key: row for key, row in params["grid"][rows].items() if row["benchmark"] == "lvis"}
    params["nightly"]["cells"] = [CELL]


def _less_of_everything(params: dict) -> None:
    """Detection alone, by a recipe that runs in a minute and learns nothing."""
    recipe = params["recipes"]["mini"]
    params["benchmarks"]["lvis"]["embedded"]["images"] = {"train": 240, "val": 12, "eval": 24}
    params["benchmarks"]["lvis"]["embedded"]["categories"] = {"f": ["cat"], "c": ["hog"], "r": ["tiger"]}
    lvis_alone(params)
    recipe["few_shot"]["negatives"] = 0
    recipe["tasks"]["detection"]["presence"] = "oracle"
    recipe["policy"]["pretraining"]["benchmarks"] = {"lvis": 1.0}
    recipe["policy"]["pretraining"] |= {"negatives": 0, "images": 64, "batch_size": 16}
    recipe["policy"]["pretraining"] |= {"vision_steps": 2, "steps": 2, "opening": 1}
    for task in recipe["tasks"].values():
        task.pop("sft", None)
        task.pop("rft", None)
    recipe["sft"] |= {"steps": 2, "warmup_steps": 1, "batch_size": 2, "save_steps": 1}
    recipe["rft"] |= {"steps": 2, "warmup_steps": 1, "batch_size": 8, "num_generations": 4, "save_steps": 1}
    recipe["rft"]["max_completion_length"] = 16
    recipe["evaluation"] |= {"max_new_tokens": 16, "draws": 20, "validation_images": 8}
    for name in params["comparisons"]:  # in params.yaml they have mini's values
        blocks = ("few_shot", "adapter", "sft", "rft", "evaluation")
        params["recipes"][name] |= {block: dict(recipe[block]) for block in blocks}


def small_project(root: Path) -> Path:
    """Make the copy at `root`, a git and DVC project of its own, and return it."""
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "pyproject.toml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "vrft_core", root / "vrft_core", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", root / ".dvc/config")
    shutil.copy(ROOT / ".dvc/.gitignore", root / ".dvc/.gitignore")
    shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots")
    edit_params(root, _less_of_everything)
    run("git", "init", "-q", ".", cwd=root)
    return root


def run(*command: str, cwd: Path, status: int = 0, **variables: str) -> str:
    """Run one of the installed programs in `cwd`; returns what it printed on both streams."""
    beside_python = Path(sys.executable).parent
    environment = {**os.environ, **variables, "PATH": f"{beside_python}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
    )
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
