"""What boxes are best ranked by: AP of the same boxes under each ranking, and how much of the way to the oracle's.

    python bench/ranking.py lvis-mini-1shot-s0 lvis-mini-1shot-s1 lvis-mini-1shot-s2 --root . --split val

Needs the data and the models of the cells under the root. `combined` is fitted on answers about the first training
images, as evaluation does it.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vrft_core import policy
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.metrics import combined
from vrft_core.tasks.detection.metrics.scores import match_rows, rankings
from vrft_core.tasks.detection.prompts import examples
from vrft_core.tasks.detection.prompts.presence import oracle

METHODS = ("base", "sft", "rft")


def measure(
    layout: Layout, params: Params, cell: Cell, method: str, split: str, samples: int, fitting_images: int
) -> dict[str, dict]:
    """ranking → rules → AP"""
    recipe, raw = params.recipe(cell), layout.raw(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, train = everything.split(split), everything.split("train")
    categories = truth.chosen(params.benchmark(cell).categories)
    model, processor = policy.load(layout.policy(cell), None if method == "base" else layout.model(cell, method))
    ask = partial(
        predict, model, processor, task=get_task("detection"), form=Form.of(recipe),
        batch_size=recipe.evaluation.batch_size, max_new_tokens=recipe.evaluation.max_new_tokens,
    )  # fmt: skip
    form = Form.of(recipe, params.task_settings(cell))
    about = partial(examples, images=raw / "images", form=form)

    rows = ask(list(about(oracle(truth, categories), truth)), samples=samples, what=f"{cell.key} {method}")
    chosen = set(list(train.images)[:fitting_images])
    known = [(image, category) for image, category in oracle(train, categories) if image in chosen]
    seen = ask(list(about(known, train)), what=f"{cell.key} {method}: training images")
    score = combined.fit(seen, train)
    for row in rows:
        row["rankings"]["combined"] = score(row)
    found = {}
    for name, ordered in rankings(rows, truth).items():
        matches = match_rows(truth, ordered, categories)
        found[name] = {rules: one.average_precision()["AP"] for rules, one in matches.items()}
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("cells", nargs="+", metavar="KEY")
    options.add_argument("--root", type=Path, default=Path("."))
    options.add_argument("--split", choices=["val", "eval"], default="val")
    options.add_argument("--samples", type=int, default=8, help="sampled answers, for `consistency`")
    options.add_argument("--fitting-images", type=int, default=100, help="training images, for `combined`")
    args = options.parse_args()
    torch.set_num_threads(1)
    layout, params = Layout(args.root), load_params(Path(__file__).parents[1] / "params.yaml")
    table = []
    for key in args.cells:
        for method in METHODS:
            found = measure(
                layout, params, params.parse_cell(key), method, args.split, args.samples, args.fitting_images
            )
            for name, each in found.items():
                stated, best = found["stated"]["lvis"], found["oracle"]["lvis"]
                closed = (each["lvis"] - stated) / (best - stated)
                table.append({"cell": key, "model": method, "ranking": name, **each, "closed": closed})
                print(json.dumps(table[-1]), flush=True)
    print(
        f"\n{args.split} split, mean over cells: LVIS AP, and share of the way from `stated` to `oracle`",
        file=sys.stderr,
    )
    for method in METHODS:
        for name in dict.fromkeys(row["ranking"] for row in table):
            rows = [row for row in table if (row["model"], row["ranking"]) == (method, name)]
            ap, closed = (np.mean([row[key] for row in rows]) for key in ("lvis", "closed"))
            each = " ".join(f"{row['closed']:+.2f}" for row in rows)
            print(f"{method:5} {name:12} {100 * ap:5.1f}  {100 * closed:4.0f} %   {each}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
