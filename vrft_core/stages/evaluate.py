"""Stages `base_eval`, `sft_eval`, `rft_eval`: a model and the evaluation images → predictions and metrics.

All three ask the same questions of the same images in the same way.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from vrft_core import io, sampling, tracking
from vrft_core.annotations import Annotations
from vrft_core.cell import HEADLINE, Cell, Layout
from vrft_core.evaluation.asking import answered
from vrft_core.evaluation.headline import headline
from vrft_core.evaluation.intervals import intervals
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.tasks import get_task

SEED = 0  # of the halves behind intervals: the same for every model, so that differences are paired


def base_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "base")


def sft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "sft")


def rft_eval(layout: Layout, params: Params, cell: Cell) -> dict:
    return _evaluate(layout, params, cell, "rft")


def _evaluate(layout: Layout, params: Params, cell: Cell, method: str) -> dict:
    task, settings = get_task(params.task(cell)), params.task_settings(cell)
    interval = partial(intervals, halves=params.recipe(cell).evaluation.draws, seed=SEED, differences=())
    with answers(layout, params, cell, method) as (truth, categories, rows):
        taught = sampling.taught(truth, params.recipe(cell).few_shot, params.benchmark(cell).sampled)
        scores = task.metrics.scores(truth, rows, categories, settings, taught)
        details = task.metrics.details(truth, rows, categories, settings, lambda models: interval(models)["models"])
        metrics = {
            **details,
            "task": task.name,
            "version": task.settings.VERSION,
            "metrics": interval({method: scores})["models"][method],
            "queries": len(rows),
            "images": len(truth.images),
            "diagnostics": task.diagnostics.diagnose(rows, truth),
        }
        directory = layout.evaluation(cell, method)
        io.write_jsonl(directory / "predictions.jsonl", rows)
        deciding = task.metrics.specs(settings)[0]
        io.write_json(directory / HEADLINE, headline(deciding.title, metrics["metrics"][deciding.name]))
        io.write_json(directory / "metrics.json", metrics)
    if method == "base" and not metrics["metrics"][deciding.name]["value"]:
        found = f"the untouched model finds nothing in the evaluation images ({deciding.title} is 0)"
        print(f"{cell.key}: {found}; a larger recipe may", file=sys.stderr, flush=True)
    tracking.log_evaluation(layout, params, cell, method, metrics["metrics"])
    return {name: entry["value"] for name, entry in metrics["metrics"].items()} | {"queries": len(rows)}


@contextmanager
def answers(
    layout: Layout, params: Params, cell: Cell, method: str, purpose: str = "eval"
) -> Iterator[tuple[Annotations, list[int], list[Any]]]:
    """Ask a model every question of the evaluation split → (truth, evaluated category ids, prediction rows).

    Kept answers are removed when the block has ended well; see `asking.answered`. Callers that may run at the same time
    for the same cell and method need different values of `purpose`.
    """
    recipe, raw = params.recipe(cell), layout.raw(cell)
    task, settings = get_task(params.task(cell)), params.task_settings(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, train = everything.split("eval"), everything.split("train")
    categories = everything.chosen(params.benchmark(cell).categories)
    adapter = None if method == "base" else layout.model(cell, method)
    run = layout.runs(cell, f"{method}_{purpose}")
    ask = partial(
        answered, task=task, recipe=recipe, model=layout.policy(cell), adapter=adapter,
        images=io.sha256(raw / "annotations.json"),
    )  # fmt: skip
    form = Form.of(recipe, settings, params.benchmark(cell))
    examples = partial(task.prompts.examples, images=raw / "images", form=form)
    questions = list(examples(task.prompts.questions(truth, categories, settings, layout.root), truth))
    with ask(run, questions, what=f"{cell.key} {method}: questions answered") as rows:
        if known := task.prompts.fitting(train, categories, settings):
            before = run.with_name(f"{run.name}_fitting")
            what = f"{cell.key} {method}: questions about training images answered"
            with ask(before, list(examples(known, train)), what=what) as seen:
                task.metrics.fit(rows, seen, train, settings)
        yield truth, categories, rows
