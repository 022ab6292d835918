"""What boxes are best ranked by: AP of the same boxes under each ranking, and how much of the way to the oracle's.

    python bench/ranking.py lvis-mini-1shot-s0 lvis-mini-1shot-s1 lvis-mini-1shot-s2 --root . --split val

Needs the data and the models of the cells under the root. Beside the rankings that evaluation offers, `combined` is
measured: a ridge regression of the overlap with the truth on all free scores, the box's size and the number of boxes,
fitted on greedy and sampled answers about the cell's own few-shot images.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from vrft_core import io, policy
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.decoding import complete
from vrft_core.evaluation.matching import xywh
from vrft_core.evaluation.predict import _row, build_queries, predict
from vrft_core.evaluation.queries import evaluated_categories, oracle
from vrft_core.evaluation.ranking import by_truth
from vrft_core.evaluation.scoring import match_rows, rankings
from vrft_core.params import Params

METHODS = ("base", "sft", "rft")
DRAWN, PENALTY = 16, 1.0


def features(row: dict) -> np.ndarray:
    """[boxes, 5]"""
    boxes = xywh(row["boxes"])
    columns = [
        row["scores"],
        np.log(np.maximum(row["rankings"]["likelihood"], 1e-6)),
        np.log(np.maximum(row["rankings"]["certainty"], 1e-6)),
        np.log(boxes[:, 2:].min(axis=1, initial=np.inf)),
        [len(boxes)] * len(boxes),
    ]
    return np.column_stack(columns)


def calibrate(rows: list[dict], truth: Annotations):
    """A function from features to a score, by ridge regression on standardised features."""
    x = np.concatenate([features(row) for row in rows])
    y = np.concatenate([row["scores"] for row in by_truth(rows, truth)])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    z = (x - mean) / spread
    weights = np.linalg.solve(z.T @ z + PENALTY * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    return lambda x: y.mean() + (x - mean) / spread @ weights


def measure(layout: Layout, params: Params, cell: Cell, method: str, split: str, samples: int) -> dict[str, dict]:
    """ranking → protocol → AP"""
    recipe, raw = params.recipe(cell), layout.raw(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, selection = everything.split(split), io.read_json(layout.few_shot(cell) / "selection.json")
    categories = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    taught = [(image["image_id"], row["id"]) for row in selection["categories"] for image in row["images"]]
    model, processor = policy.load(layout.policy(cell), None if method == "base" else layout.model(cell, method))
    limits = {"batch_size": recipe.evaluation.batch_size, "max_new_tokens": recipe.evaluation.max_new_tokens}

    queries = build_queries(oracle(truth, categories), truth, raw / "images", recipe)
    rows = predict(model, processor, queries, samples=samples, what=f"{cell.key} {method}", **limits)

    shots = build_queries(taught, everything, raw / "images", recipe)
    seen = predict(model, processor, shots, what=f"{cell.key} {method}: few-shot images", **limits)
    generator = torch.Generator().manual_seed(0)
    questions = [[query.question] * DRAWN for query in shots]
    pictures = [query.picture() for query in shots]
    for query, drawn in zip(
        shots, complete(model, processor, pictures, questions, generator=generator, **limits), strict=True
    ):
        seen += [_row(query, one, processor.tokenizer) for one in drawn]
    score = calibrate(seen, everything)
    combined = [row | {"scores": score(features(row)).tolist() if row["boxes"] else []} for row in rows]
    found = {}
    for name, ordered in (rankings(rows, truth) | {"combined": combined}).items():
        matches = match_rows(truth, ordered, categories)
        found[name] = {protocol: one.average_precision()["AP"] for protocol, one in matches.items()}
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("cells", nargs="+", metavar="KEY")
    options.add_argument("--root", type=Path, default=Path("."))
    options.add_argument("--split", choices=["val", "eval"], default="val")
    options.add_argument("--samples", type=int, default=8, help="sampled answers, for `consistency`")
    args = options.parse_args()
    torch.set_num_threads(1)
    layout, params = Layout(args.root), Params.load(Path(__file__).parents[1] / "params.yaml")
    table = []
    for key in args.cells:
        for method in METHODS:
            found = measure(layout, params, params.parse_cell(key), method, args.split, args.samples)
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
