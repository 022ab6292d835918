"""One whole cell of the recipe `mini`, stage by stage, beside what a CPU made of it where that came along."""

import json
import shutil
import time
from pathlib import Path

import yaml

from gpu_kit.clock import begin_peak, peak_gib
from gpu_kit.settings import Rows, Settings
from vrft_core.cell import Layout
from vrft_core.stages import run_stage
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[2]
CELL = "lvis-mini-1shot-s0"
STAGES = ("raw", "few_shot", "prompts", "policy", "base_eval", "rft", "rft_eval", "sft", "sft_eval")


def run(folder: Path, settings: Settings, rows: Rows) -> None:
    """One row a stage: wall seconds, peak memory, its numbers. `folder` becomes a project of its own.

    The small policy is the one that came along (`models/mini/policy`), else it is pre-trained here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
    if settings.toy:
        _less_of_everything(folder / "params.yaml")
    elif (ROOT / "models/mini/policy").is_dir():
        shutil.copytree(ROOT / "models/mini/policy", folder / "models/mini/policy")
    params, layout = load_params(folder / "params.yaml"), Layout(folder)
    cell = params.parse_cell(CELL)
    for stage in STAGES:
        if stage == "policy" and layout.policy(cell).is_dir():
            continue
        begin_peak()
        began = time.perf_counter()
        numbers = run_stage(stage, layout, params, cell)
        rows.add(
            part="mini", stage=stage, wall_s=time.perf_counter() - began, peak_gib=peak_gib(),
            numbers=numbers, cpu=_of_cpu(stage),
        )  # fmt: skip


def _of_cpu(stage: str) -> dict | None:
    """The same evaluation's metrics with their intervals, as the checkout that was packed holds them."""
    method = stage.removesuffix("_eval")
    place = ROOT / "reports/lvis-mini" / "base" if method == "base" else ROOT / "reports/lvis-mini-1shot/s0" / method
    path = place / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))["metrics"] if stage != method and path.is_file() else None


def _less_of_everything(path: Path) -> None:
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe, embedded = params["recipes"]["mini"], params["benchmarks"]["lvis"]["embedded"]
    embedded["images"] = {"train": 240, "val": 8, "eval": 8}
    embedded["categories"] = {"f": ["cat"], "c": ["hog"], "r": ["tiger"]}
    recipe["policy"]["pretraining"] |= {"benchmarks": {"lvis": 1.0}, "images": 32, "vision_steps": 1, "steps": 1}
    recipe["policy"]["pretraining"] |= {"negatives": 0, "batch_size": 8, "opening": 0}
    recipe["sft"] |= {"steps": 1, "warmup_steps": 0, "batch_size": 2, "save_steps": 1}
    recipe["rft"] |= {"steps": 1, "warmup_steps": 0, "batch_size": 4, "num_generations": 2, "save_steps": 1}
    recipe["rft"]["max_completion_length"] = 8
    recipe["evaluation"] |= {"max_new_tokens": 8, "draws": 20, "validation_images": 4}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
