"""Made-up predictions and training records of a cell, so that a report can be built without training anything.

Images, few-shot samples, scores and diagnostics are real; only the models are invented.
"""

import math
import random
from functools import partial
from pathlib import Path

import yaml
from small_project import ROOT, lvis_alone

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import HEADLINE, Cell, Layout
from vrft_core.evaluation.headline import headline
from vrft_core.evaluation.intervals import intervals
from vrft_core.params import Params
from vrft_core.stages.evaluate import SEED
from vrft_core.stages.few_shot import few_shot
from vrft_core.stages.raw import raw
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.prompts.presence import oracle

SKILL = {"base": 0.55, "sft": 0.62, "rft": 0.78}  # chance that an object is found
FEW_SCENES = {
    "images": {"train": 260, "val": 4, "eval": 60},
    "categories": {"f": ["cat", "dog"], "c": ["hog"], "r": ["tiger"]},
}


def plausible_project(root: Path, skill: dict[str, float] = SKILL, scenes: dict = FEW_SCENES) -> tuple[Layout, Params]:
    """A project with everything the report of each of its cells reads."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["benchmarks"]["lvis"]["embedded"] |= scenes
    for name in ("mini", *content["comparisons"]):
        content["recipes"][name]["evaluation"]["draws"] = 100
    content["recipes"]["mini"]["tasks"]["detection"]["presence"] = "oracle"
    lvis_alone(content)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    layout, params = Layout(root), load_params(root / "params.yaml")
    cells = params.cells()
    raw(layout, params, cells[0].at("data"))
    write_evaluation(layout, params, cells[0].at("setup"), "base", skill["base"])
    for cell in cells:
        few_shot(layout, params, cell)
        for method in ("sft", "rft"):
            write_evaluation(layout, params, cell, method, skill[method])
            write_training(layout, params, cell, method)
    return layout, params


def write_evaluation(layout: Layout, params: Params, cell: Cell, method: str, skill: float) -> None:
    truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
    categories = truth.chosen(params.benchmark(cell).categories)
    lot = random.Random(f"{cell.key}/{method}")
    rows = [_answer(truth, *pair, method, skill, lot) for pair in oracle(truth, categories)]
    write_rows(layout, params, cell, method, rows)


def write_rows(layout: Layout, params: Params, cell: Cell, method: str, rows: list[dict]) -> None:
    """Predictions and the metrics that really follow from them."""
    truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
    categories = truth.chosen(params.benchmark(cell).categories)
    task, settings = get_task("detection"), params.task_settings(cell)
    interval = partial(intervals, halves=params.recipe(cell).evaluation.draws, seed=SEED, differences=())
    metrics = {
        **task.metrics.details(truth, rows, categories, settings, lambda models: interval(models)["models"]),
        "task": task.name,
        "version": task.settings.VERSION,
        "metrics": interval({method: task.metrics.scores(truth, rows, categories, settings)})["models"][method],
        "queries": len(rows),
        "images": len(truth.images),
        "diagnostics": task.diagnostics.diagnose(rows, truth),
    }
    directory = layout.evaluation(cell, method)
    io.write_jsonl(directory / "predictions.jsonl", rows)
    deciding = task.metrics.specs(settings)[0]
    io.write_json(directory / HEADLINE, headline(deciding.title, metrics["metrics"][deciding.name]))
    io.write_json(directory / "metrics.json", metrics)


def _answer(truth: Annotations, image: int, category: int, method: str, skill: float, lot: random.Random) -> dict:
    boxes, scores = [], []
    for box in truth.boxes(image, category):
        if lot.random() < skill:
            x1, y1, x2, y2 = (v + lot.gauss(0, 1.2 + 4 * (1 - skill)) for v in box)
            boxes.append([round(v, 1) for v in (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))])
            scores.append(1.0 if method != "base" and lot.random() < 0.8 else round(lot.random(), 1))
        elif lot.random() < 0.4:
            x, y = lot.uniform(0, 60), lot.uniform(0, 60)
            boxes.append([round(v, 1) for v in (x, y, x + 40, y + 35)])
            scores.append(round(lot.random(), 1))
    name = truth.categories[category]["name"]
    text = f"<think>{len(boxes)} {name}</think><answer>{[{'Position': b} for b in boxes]}</answer>"
    faults = ["answer_not_closed"] if lot.random() < 0.06 else ["no_answer_tag"] if lot.random() < 0.1 else []
    return {
        "id": f"{image}-{category}", "image_id": image, "category_id": category, "completion": text,
        "boxes": boxes, "scores": scores,
        "rankings": {"likelihood": [round(lot.random(), 6) for _ in boxes], "certainty": scores},
        "reasons": faults, "tokens": 20 + 11 * len(boxes),
    }  # fmt: skip


def write_training(layout: Layout, params: Params, cell: Cell, method: str) -> None:
    settings = getattr(params.recipe(cell), method)
    lot = random.Random(f"{cell.key}/{method}/log")
    log, validation = [], [{"step": 0, "score": 0.34}]
    for step in range(1, settings.steps + 1):
        progress = 1 - math.exp(-step / 20)
        row = {"step": step, "loss": lot.gauss(0.02, 0.05) if method == "rft" else 2 * (1 - progress)}
        if method == "rft":
            parts = {"iou": 0.3 + 0.3 * progress, "confidence": 0.4 + 0.3 * progress, "format": 0.7 + 0.28 * progress}
            noisy = {name: min(1.0, value + lot.gauss(0, 0.04)) for name, value in parts.items()}
            row |= {f"rewards/{name}/mean": value for name, value in noisy.items()}
            row |= {f"rewards/{name}/frac_zero_std": abs(lot.gauss(0.2, 0.1)) for name in parts}
            row |= {
                "reward": sum(noisy.values()), "frac_reward_zero_std": 0.4 * progress, "entropy": 0.9 - 0.6 * progress,
                "completions/mean_length": 34 + lot.gauss(0, 2), "completions/clipped_ratio": 0.05 * (1 - progress),
            }  # fmt: skip
        log.append(row)
        if step % settings.save_steps == 0:
            gain = 0.1 * progress if method == "rft" else 0.07 - 0.00006 * (step - 25) ** 2
            validation.append({"step": step, "score": 0.34 + gain + lot.gauss(0, 0.005)})
    best = max(validation[1:], key=lambda entry: entry["score"])["step"]
    io.write_json(
        layout.training(cell, method),
        {
            "method": method, "seed": cell.seed, "steps": settings.steps, "chosen_step": best,
            "checkpoint": settings.checkpoint, "log": log, "validation": validation, "validation_metric": "coco/AP",
            "cost": {
                "wall_seconds": 61.5, "cpu_seconds": 88.2, "completions": 48 * settings.steps, "tokens": 91_000,
                "images": 6 * settings.steps,
            },
            "validation_cost": {"wall_seconds": 12.0, "cpu_seconds": 20.0},
            "parameters": {"trainable": 98_304, "total": 1_523_456},
            "settings": settings.model_dump(),
        },
    )  # fmt: skip
