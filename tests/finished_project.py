"""A small project in which every stage of one cell has run: it takes a minute, and several files of tests share it."""

import shutil
from pathlib import Path

from small_project import CELL, ROOT, edit_params, small_project

STUDY = "lvis-mini-1shot"


def little_training(params: dict) -> None:
    recipe = params["recipes"]["mini"]
    recipe["policy"]["pretraining"].update(images=64, vision_steps=4, steps=40, opening=10, batch_size=16)
    recipe["sft"].update(steps=4, save_steps=2, warmup_steps=1)
    recipe["rft"].update(steps=4, save_steps=2, warmup_steps=1, batch_size=8, num_generations=4)
    recipe["evaluation"].update(draws=50, validation_images=6)
    recipe["tasks"]["detection"].update(ranking="combined", fitting_images=4)
    params["grid"]["cells"] = {CELL: params["grid"]["cells"][CELL]}
    params["grid"]["studies"][STUDY]["seeds"] = [0]


def project(root: Path) -> Path:
    """One cell with all its stages, none of which has run."""
    small_project(root)
    edit_params(root, little_training)
    (root / "dagster_home").mkdir()
    shutil.copy(ROOT / "dagster_home/dagster.yaml", root / "dagster_home")
    return root
