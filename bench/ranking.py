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
from vrft_core.tasks.detection.metrics import combined as calibration
from vrft_core.evaluation.predict import build_queries, predict
from vrft_core.tasks.detection.prompts.presence import evaluated_categories, oracle
from vrft_core.tasks.detection.metrics.scores import match_rows, rankings
from vrft_core.params import Params

METHODS = ("base", "sft", "rft")


def measure(
    layout: Layout, params: Params, cell: Cell, method: str, split: str, samples: int, calibration_images: int
) -> dict[str, dict]:
    """ranking → protocol → AP"""
    recipe, raw = params.recipe(cell), layout.raw(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, train = everything.split(split), everything.split("train")
    categories = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    model, processor = policy.load(layout.policy(cell), None if method == "base" else layout.model(cell, method))
    ask = partial(
        predict, model, processor, batch_size=recipe.evaluation.batch_size,
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )  # fmt: skip

    queries = build_queries(oracle(truth, categories), truth, raw / "images", recipe)
    rows = ask(queries, samples=samples, what=f"{cell.key} {method}")
    chosen = set(list(train.images)[:calibration_images])
    known = [(image, category) for image, category in oracle(train, categories) if image in chosen]
    seen = ask(build_queries(known, train, raw / "images", recipe), what=f"{cell.key} {method}: training images")
    combined = calibration.fit(seen, train)
    for row in rows:
        row["rankings"]["combined"] = combined(row)
    found = {}
    for name, ordered in rankings(rows, truth).items():
        matches = match_rows(truth, ordered, categories)
        found[name] = {protocol: one.average_precision()["AP"] for protocol, one in matches.items()}
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("cells", nargs="+", metavar="KEY")
    options.add_argument("--root", type=Path, default=Path("."))
    options.add_argument("--split", choices=["val", "eval"], default="val")
    options.add_argument("--samples", type=int, default=8, help="sampled answers, for `consistency`")
    options.add_argument("--calibration-images", type=int, default=100, help="training images, for `combined`")
    args = options.parse_args()
    torch.set_num_threads(1)
    layout, params = Layout(args.root), Params.load(Path(__file__).parents[1] / "params.yaml")
    table = []
    for key in args.cells:
        for method in METHODS:
            found = measure(
                layout, params, params.parse_cell(key), method, args.split, args.samples, args.calibration_images
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
