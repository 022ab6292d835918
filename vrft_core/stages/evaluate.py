"""Stages `base_eval`, `sft_eval`, `rft_eval`: a model and the evaluation images → predictions and metrics.

All three ask the same questions of the same images in the same way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from vrft_core import io, tracking
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation import calibration, presence
from vrft_core.evaluation.asking import answered
from vrft_core.evaluation.diagnostics import diagnose
from vrft_core.evaluation.predict import build_queries
from vrft_core.evaluation.queries import evaluated_categories, mapped, oracle, verified
from vrft_core.evaluation.scoring import score
from vrft_core.params import Params, PresenceMap, Recipe


def base_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "base")


def sft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "sft")


def rft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "rft")


def _evaluate(layout: Layout, params: Params, cell: Cell, method: str) -> dict:
    settings = params.recipe(cell).evaluation
    with answers(layout, params, cell, method) as (truth, categories, rows):
        metrics = score(truth, rows, categories, settings.resamples, settings.protocol, settings.ranking)
        metrics |= {
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
def answers(
    layout: Layout, params: Params, cell: Cell, method: str, purpose: str = "eval"
) -> Iterator[tuple[Annotations, list[int], list[dict]]]:
    """Ask a model every question of the evaluation split → (truth, evaluated category ids, prediction rows).

    What was answered is forgotten when the block has ended well; see `asking.answered`. Who may run at the same time
    for the same cell and method needs another `purpose`.
    """
    recipe, raw = params.recipe(cell), layout.raw(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth = everything.split("eval")
    categories = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    queries = build_queries(
        _pairs(layout, recipe.evaluation.presence, truth, categories), truth, raw / "images", recipe
    )
    adapter = None if method == "base" else layout.model(cell, method)
    run = layout.runs(cell, f"{method}_{purpose}")
    images = io.sha256(raw / "annotations.json")
    ask = partial(answered, recipe=recipe, model=layout.policy(cell), adapter=adapter, images=images)
    with ask(run, queries, what=f"{cell.key} {method}: questions answered") as rows:
        if recipe.evaluation.calibration_images:
            train = everything.split("train")
            queries = build_queries(_calibration_pairs(recipe, train, categories), train, raw / "images", recipe)
            before = run.with_name(f"{run.name}_calibration")
            with ask(before, queries, what=f"{cell.key} {method}: questions about training images answered") as seen:
                combined = calibration.fit(seen, train)
            for row in rows:
                row["rankings"]["combined"] = combined(row)
        yield truth, categories, rows


def _calibration_pairs(recipe: Recipe, train: Annotations, categories: list[int]) -> list[tuple[int, int]]:
    chosen = set(list(train.images)[: recipe.evaluation.calibration_images])
    known = verified if recipe.evaluation.protocol == "self" else oracle
    return [(image, category) for image, category in known(train, categories) if image in chosen]


def _pairs(layout: Layout, protocol: str | PresenceMap, truth: Annotations, categories: list[int]):
    """(image, category) pairs to ask about. Raises InputError for a presence map that is not the one recorded."""
    if isinstance(protocol, str):
        return {"oracle": oracle, "self": verified}[protocol](truth, categories)
    path = layout.root / protocol.map
    found = presence.read(path, truth)
    if (digest := io.sha256(path)) != protocol.sha256:
        raise InputError(path, "is not the map that params.yaml names", f"if it is meant, its sha256 is {digest}")
    return mapped(truth, categories, found)
