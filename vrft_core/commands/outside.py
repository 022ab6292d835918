"""`vrft evaluate --cell`: another model's answers to a cell's questions, measured beside the cell's own models.

For what the project does not train itself: a tuned detector, a prompt that was optimised, a model behind an API. The
result is paired with base, SFT and RFT on the same images, and kept under a name for `vrft overview`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.commands.texts import interval
from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals_over_seeds
from vrft_core.params import Params
from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs
from vrft_core.report.results import SEED
from vrft_core.report.verdict import points
from vrft_core.tasks import get_task

if TYPE_CHECKING:
    from vrft_core.evaluation.scores import Entry
    from vrft_core.report.rows import OutsideResults, Results

LONGEST = 60
_NEW = "outside"


def measure(layout: Layout, params: Params, cell: Cell, path: Path, name: str | None = None) -> "OutsideResults":
    """Measure a file of answers as the models of a cell or a study were measured; kept where it gets a name.

    Raises InputError for answers to other questions, for a cell that was not evaluated, and for a name that is none.
    """
    if name is not None:
        _refuse_name(name)
    task, inputs = get_task(params.task(cell)), evaluated(layout, params, cell)
    first = inputs[0]
    answers = task.commands.outside(path, list(first.rows["base"].values()), first.truth, first.settings)
    scores = [dict(one.scores()) for one in inputs]
    new = task.metrics.scores(first.truth, answers.rows, first.categories, first.settings, first.taught)
    for one in scores:  # one and the same model for every seed: counted once
        one |= {"base": scores[0]["base"], _NEW: new}
    draws, spec = params.recipe(cell).evaluation.draws, task.metrics.specs(first.settings)[0]
    found = intervals_over_seeds(scores, draws, SEED, [(_NEW, model) for model in MODELS])
    result: OutsideResults = {
        "cell": cell.key,
        "name": name or path.name,
        "file": path.name,
        "sha256": io.sha256(path),
        "version": task.settings.VERSION,
        "metric": spec.name,
        "title": spec.title,
        "metrics": found["models"][_NEW],
        "differences": {model: found["differences"][f"{_NEW}-{model}"] for model in MODELS},
        "own": {model: found["models"][model][spec.name]["value"] for model in MODELS},
        "images": len(new.units),
        "questions": len(answers.rows),
        "unanswered": answers.unanswered,
        "left_out": answers.left_out,
    }
    if name is not None:
        io.write_json(kept_as(layout, cell, name), result)
    return result


def evaluated(layout: Layout, params: Params, cell: Cell) -> list[Inputs]:
    """What the models of a cell, or of each cell of a study, answered. Raises InputError where they did not."""
    cells = [one for one in params.cells() if one.at(cell.scope) == cell]
    for one in cells:
        for model in MODELS:
            if not (made := layout.evaluation(one, model) / "predictions.jsonl").is_file():
                raise InputError(made, "no such file", f"evaluate the cell's own models first: vrft run {one.key}")
    task = get_task(params.task(cell))
    return [Inputs.read(layout, params, one, task) for one in cells]


def kept_as(layout: Layout, cell: Cell, name: str) -> Path:
    """The file of a name's result."""
    return _folder(layout, cell) / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def kept(layout: Layout, cell: Cell, results: "Results") -> "tuple[list[OutsideResults], list[str]]":
    """What was kept beside the report of a cell or a study; and names of what was measured beside other results."""
    metric = results["verdict"]["metric"]
    own = {model: results["models"][model][metric]["value"] for model in MODELS}
    found: list[OutsideResults] = [io.read_json(path) for path in sorted(_folder(layout, cell).glob("*.json"))]
    holds = [one["metric"] == metric and one["own"] == own and one["version"] == results["version"] for one in found]
    current = [one for one, good in zip(found, holds, strict=True) if good]
    return current, [one["name"] for one, good in zip(found, holds, strict=True) if not good]


def lines(result: "OutsideResults") -> list[str]:
    """To read in a terminal; points of 100."""
    metric, title = result["metric"], result["title"]
    rows = [(result["name"], result["metrics"][metric], False)]
    rows += [(f"− {MODEL_NAMES[model]}", result["differences"][model][metric], True) for model in MODELS]
    said = [f"{title}, points of 100, on the {result['images']} evaluation images of {result['cell']}", *scores(rows)]
    said.append("95 % intervals; the differences are paired: computed on the same images.")
    if result["unanswered"]:
        said.append(f"{result['unanswered']} of {result['questions']} questions have no answer: counted as empty ones.")
    if result["left_out"]:
        said.append(f"{result['left_out']} answers are about what was not asked: left out.")
    return said


def _folder(layout: Layout, cell: Cell) -> Path:
    return layout.root / "reports/outside" / cell.key


def _refuse_name(name: str) -> None:
    if len(name) > LONGEST or not name.isprintable() or not re.search("[A-Za-z0-9]", name):
        raise InputError(
            "--name", f"{name[:LONGEST]!r} cannot be shown", f"use {LONGEST} characters at most, with a letter or digit"
        )


def scores(rows: Sequence[tuple[str, "Entry", bool]]) -> list[str]:
    """A line for each (name, score or difference with its interval, whether it has a sign), in points of 100."""
    wide = max(len(name) for name, *_ in rows)
    said = []
    for name, entry, sign in rows:
        value = entry["value"]
        shown = "not defined here" if value is None else f"{points(value, sign):>6} ({interval(entry, sign)})"
        said.append(f"{name:<{wide}}  {shown}")
    return said
