"""Stages `base_eval`, `sft_eval`, `rft_eval`: a model and the evaluation images → predictions and metrics.

All three ask the same questions of the same images in the same way.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vrft_core import io, policy, provenance, tracking
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.diagnostics import diagnose
from vrft_core.evaluation.predict import build_queries, predict
from vrft_core.evaluation.queries import evaluated_categories, oracle
from vrft_core.evaluation.scoring import score
from vrft_core.params import Params
from vrft_core.runs import open_run


def base_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "base")


def sft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "sft")


def rft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "rft")


def _evaluate(layout: Layout, params: Params, cell: Cell, method: str) -> dict:
    settings = params.recipe(cell).evaluation
    with answered(layout, params, cell, method) as (truth, categories, rows):
        metrics = score(truth, rows, categories, settings.resamples, settings.ranking)
        metrics |= {
            "presence": settings.presence,
            "queries": len(rows),
            "images": len(truth.images),
            "diagnostics": diagnose(rows, truth),
        }
        directory = layout.evaluation(cell, method)
        io.write_jsonl(directory / "predictions.jsonl", rows)
        io.write_json(directory / "metrics.json", metrics)
    tracking.log_evaluation(layout, params, cell, method, metrics["metrics"])
    return {name: entry["value"] for name, entry in metrics["metrics"].items()} | {"queries": len(rows)}


@contextmanager
def answered(
    layout: Layout, params: Params, cell: Cell, method: str
) -> Iterator[tuple[Annotations, list[int], list[dict]]]:
    """Ask a model every question of the evaluation split → (truth, evaluated category ids, prediction rows).

    Answers are kept in the run folder until the block has ended well: who is interrupted goes on from there.
    """
    recipe, raw = params.recipe(cell), layout.raw(cell)
    truth = Annotations.load(raw / "annotations.json").split("eval")
    categories = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    queries = build_queries(oracle(truth, categories), truth, raw / "images", recipe)

    torch.set_num_threads(recipe.threads)
    model, processor = policy.load(layout.policy(cell), None if method == "base" else layout.model(cell, method))
    made_from = {
        "queries": provenance.fingerprint([[q.image_id, q.category_id, q.question] for q in queries]),
        "annotations": io.sha256(raw / "annotations.json"),
        "policy": provenance.directory_digest(layout.policy(cell)),
        "model": provenance.directory_digest(layout.model(cell, method)),
        "settings": recipe.model_dump(mode="json", include={"evaluation", "policy"}),
        "versions": provenance.versions(),
    }
    run = open_run(layout.runs(cell, f"{method}_eval"), made_from)
    yield (
        truth,
        categories,
        predict(
            model,
            processor,
            queries,
            batch_size=recipe.evaluation.batch_size,
            max_new_tokens=recipe.evaluation.max_new_tokens,
            what=f"{cell.key} {method}: questions answered",
            samples=recipe.evaluation.samples,
            kept=run / "answers.jsonl",
        ),
    )
    shutil.rmtree(run)
