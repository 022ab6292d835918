"""Several settings of one recipe side by side: each variant in a folder of its own, with what ROOT has as its start.

    python bench/mini_study.py ROOT OUT --cells lvis-mini-1shot-s0 --stages rft \\
        --variant slow recipes.mini.tasks.detection.rft.learning_rate=3e-4 \\
        --variant long recipes.mini.tasks.detection.rft.steps=240

ROOT is a project with raw data and the pre-trained policy. `OUT/slow` becomes a project, too: ROOT's `params.yaml` with
the values named, and links to what ROOT has of raw data, policy, trainings and evaluations; what stands in `--stages`
(few_shot and prompts always) is made there, in place of the link. `study` compares the cells of a variant. A cell that
the grid lacks is added (`phrases-mini-16shot-s0`). Each training prints its validation scores; everything is appended
to `OUT/results.jsonl`. A variant can be the ROOT of further ones. `--lock FILE`: one training at a time. At the end
comes a table of the studies that were made, a row each: several bases are variants with `policy` and `base_eval` among
the stages, such as `--variant seed1 recipes.mini.policy.pretraining.seed=1`.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.report.comparison_summary import entry
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.rows import StudyResults
from vrft_core.report.summary import pair_name
from vrft_core.report.verdict import PAIRS
from vrft_core.stages import run_stage
from vrft_core.tasks import load_params

SHARED = ("raw", "policy")  # stages that several cells share, in their order
TRAININGS = ("policy", "sft", "rft")


def changed(params: dict[str, Any], settings: list[str], keys: list[str]) -> dict[str, Any]:
    """`params` with each `dotted.path=value` (the value is YAML) set, and with the grid's rows for the cells `keys`."""
    for setting in settings:
        path, _, value = setting.partition("=")
        *parents, last = path.split(".")
        block = params
        for name in parents:
            block = block.setdefault(name, {})
        block[last] = yaml.safe_load(value)
    grid = params["grid"]
    for key in keys:
        cell = Cell.parse(key, list(params["recipes"]))
        if key in grid["cells"]:
            continue
        row = dict(grid["setups"][cell.at("setup").key])
        grid["cells"][key] = row | {"shots": cell.shots, "seed": cell.seed}
        study = grid["studies"].setdefault(cell.at("study").key, row | {"shots": cell.shots, "seeds": []})
        study["seeds"].append(cell.seed)
    return params


def prepared(root: Path, folder: Path, settings: list[str], keys: list[str], stages: list[str]) -> Params:
    """Make the project `folder` from `root`; what is already there stays."""
    params = changed(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")), settings, keys)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    loaded = load_params(folder / "params.yaml")
    ours, theirs = Layout(folder), Layout(root)
    for key in keys:
        cell = loaded.parse_cell(key)
        made = {
            "raw": [Layout.raw],
            "policy": [Layout.policy],
            "base_eval": [partial(Layout.evaluation, method="base")],
        }
        for method in ("sft", "rft"):
            made[method] = [partial(path, method=method) for path in (Layout.model, Layout.training, Layout.runs)]
            made[f"{method}_eval"] = [partial(Layout.evaluation, method=method)]
        for stage, paths in made.items():
            for path in paths:
                link(path(theirs, cell), path(ours, cell), made_here=stage in stages)
    return loaded


def link(there: Path, here: Path, made_here: bool) -> None:
    if here.is_symlink():
        here.unlink()
    if not made_here and there.exists() and not here.exists():
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there.resolve(), target_is_directory=True)


@contextlib.contextmanager
def alone(path: Path | None):
    """While the block runs, no other process holds the lock."""
    if path is None:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(studies: list[tuple[str, StudyResults]]) -> str:
    """Markdown: what each variant's study found by its deciding metric, in points of 100 with 95 % intervals."""
    heads = ["variant", "study, metric", "seeds", *MODEL_NAMES.values(), *map(pair_name, PAIRS)]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|" + "---:|" * (len(heads) - 3)]
    for name, found in studies:
        metric = found["verdict"]["metric"]
        cells = [name, f"{found['cell']}, {found['verdict']['title']}", ", ".join(map(str, found["seeds"]))]
        cells += [entry(found["models"][model][metric], False) for model in MODEL_NAMES]
        cells += [entry(found["differences"][pair][metric], True) for pair in PAIRS]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("root", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--cells", nargs="+", required=True, metavar="KEY")
    options.add_argument("--stages", nargs="+", required=True)
    options.add_argument("--variant", nargs="+", action="append", required=True, metavar="NAME SETTING...")
    options.add_argument("--lock", type=Path)
    args = options.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{(args.out / 'mlflow.db').resolve()}")
    studies: list[tuple[str, StudyResults]] = []
    for name, *settings in args.variant:
        folder = args.out / name
        params = prepared(args.root, folder, settings, args.cells, args.stages)
        layout, done = Layout(folder), set()
        for key in args.cells:
            cell = params.parse_cell(key)
            first = [stage for stage in SHARED if stage in args.stages]
            each = [stage for stage in args.stages if stage not in (*SHARED, "few_shot", "prompts", "study")]
            for stage in [*first, "few_shot", "prompts", *each]:
                scope = cell.at({"raw": "data", "policy": "recipe", "base_eval": "setup"}.get(stage, "cell"))
                if (stage, scope.key) not in done:
                    done.add((stage, scope.key))
                    measure(args, name, layout, params, scope, stage)
        if "study" in args.stages:
            for study in {params.parse_cell(key).at("study").key for key in args.cells}:
                cell = params.parse_cell(study)
                measure(args, name, layout, params, cell, "study")
                studies.append((name, io.read_json(layout.report(cell) / "metrics.json")))
    if studies:
        print(table(studies), flush=True)


def measure(args: argparse.Namespace, name: str, layout: Layout, params: Params, cell: Cell, stage: str) -> None:
    """Run a stage in the variant's project, print what came out, and append it to the results."""
    if stage in ("sft", "rft"):
        for folder in (layout.runs(cell, stage), layout.model(cell, stage)):
            shutil.rmtree(folder, ignore_errors=True)
    with alone(args.lock if stage in TRAININGS else None):
        begun = time.process_time()
        found: dict[str, Any] = run_stage(stage, layout, params, cell) or {}
        row = {"variant": name, "cell": cell.key, "stage": stage, "cpu": round(time.process_time() - begun, 1)}
    if stage in ("sft", "rft"):
        record = io.read_json(layout.training(cell, stage))
        scores = {one["step"]: one["score"] for one in record["validation"]}
        found = {"chosen": record["chosen_step"], "stopped": record["stopped"], "validation": scores}
    row |= {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    with (args.out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    if stage not in ("few_shot", "prompts"):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
