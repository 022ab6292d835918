"""Every metric of a cell's models on the validation images: what settings may be chosen by.

    python bench/validation.py ROOT phrases-mini-4shot-s0 base sft rft

ROOT is a project with the cell's data and models, such as a variant of `bench/mini_study.py`.
"""

import argparse
import json
from pathlib import Path
from typing import cast

import torch

from vrft_core import policy, sampling
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.intervals import intervals
from vrft_core.evaluation.predict import predict
from vrft_core.evaluation.scores import Entry
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.tasks import get_task, load_params


def measure(layout: Layout, params: Params, cell: Cell, method: str) -> dict[str, Entry]:
    """metric → value and 95 % interval over the choice of images"""
    recipe, raw, task = params.recipe(cell), layout.raw(cell), get_task(params.task(cell))
    settings, benchmark = params.task_settings(cell), params.benchmark(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, categories = everything.split("val"), everything.chosen(benchmark.categories)
    form = Form.of(recipe, settings, benchmark)
    asked = task.prompts.validation(truth, categories, settings)
    examples = list(task.prompts.examples(asked, truth, raw / "images", form))
    model, processor = policy.load(layout.policy(cell), None if method == "base" else layout.model(cell, method))
    limits = {name: getattr(recipe.evaluation, name) for name in ("batch_size", "max_new_tokens")}
    rows = predict(model, processor, examples, task, form, what=f"{cell.key} {method}", **limits)
    taught = sampling.taught(truth, recipe.few_shot, benchmark.sampled)
    scores = task.metrics.scores(truth, rows, categories, settings, taught)
    return intervals({method: scores}, halves=recipe.evaluation.draws, seed=0, differences=())["models"][method]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("root", type=Path)
    options.add_argument("cell", metavar="KEY")
    options.add_argument("methods", nargs="+", choices=["base", "sft", "rft"])
    args = options.parse_args()
    torch.set_num_threads(1)
    layout, params = Layout(args.root), load_params(args.root / "params.yaml")
    for method in args.methods:
        found = measure(layout, params, params.parse_cell(args.cell), method)
        rounded = {
            name: {key: value if value is None else round(cast(float, value), 4) for key, value in row.items()}
            for name, row in found.items()
        }
        print(json.dumps({"cell": args.cell, "method": method, **rounded}), flush=True)


if __name__ == "__main__":
    main()
