"""The nightly evaluation: the trained model as it lies there → predictions, compared with a recorded baseline.

No stage of dvc.yaml: it makes nothing that others depend on, and runs whether or not anything has changed.
"""

from typing import Any

from vrft_core import io, provenance
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals
from vrft_core.params import Params
from vrft_core.stages.evaluate import SEED, answers
from vrft_core.tasks import Task, get_task

METHOD = "rft"
PREDICTIONS, ABOUT, COMPARISON = "predictions.jsonl", "about.json", "comparison.json"


def nightly(layout: Layout, params: Params, cell: Cell) -> dict:
    """Evaluate and compare; what was predicted and found stays in the run folder. See `compare` for the result.

    Raises InputError when no baseline is recorded, or one for other evaluation data.
    """
    task, settings = get_task(params.task(cell)), params.task_settings(cell)
    baseline = _load_baseline(layout, cell, task.metrics.specs(settings)[0].name)
    with answers(layout, params, cell, METHOD, purpose="nightly") as (truth, categories, rows):
        if _asked(rows) != _asked(baseline):
            raise _other(layout, cell, "answers other questions than are asked now")
        draws = params.recipe(cell).evaluation.draws
        found = compare(task, settings, truth, categories, rows, baseline, draws)
        directory = layout.runs(cell, "nightly")
        io.write_jsonl(directory / PREDICTIONS, rows)
        io.write_json(directory / COMPARISON, found)
    return found


def compare(
    task: Task, settings: Any, truth: Annotations, categories: list[int], now: list, baseline: list, draws: int
) -> dict:
    """The deciding metric of both, and their difference with its paired 95 % interval over images.

    → {"metric": its name, such as lvis/oracle/AP, NAME: now, "baseline NAME", "difference", "low", "high", "passed"}.
    Not passed when the interval of now - baseline lies wholly below zero.
    """
    scores = {
        name: task.metrics.scores(truth, rows, categories, settings)
        for name, rows in (("now", now), ("baseline", baseline))
    }
    found = intervals(scores, draws, SEED, differences=[("now", "baseline")])
    name = task.metrics.specs(settings)[0].name
    difference = found["differences"]["now-baseline"][name]
    if difference["high"] is None:
        raise InputError("evaluation split", "no object to be found, so nothing to compare", "add evaluation images")
    return {
        "metric": name,
        name: found["models"]["now"][name]["value"],
        f"baseline {name}": found["models"]["baseline"][name]["value"],
        "difference": difference["value"],
        "low": difference["low"],
        "high": difference["high"],
        "passed": difference["high"] >= 0,
    }


def record_baseline(layout: Layout, params: Params, cell: Cell) -> str:
    """Copy the predictions of the cell's `rft_eval`, less their text, to the baseline folder; returns the folder.

    Raises InputError where the cell was not evaluated yet.
    """
    evaluation = layout.evaluation(cell, METHOD)
    if not (evaluation / PREDICTIONS).is_file():
        raise InputError(evaluation / PREDICTIONS, "no such file", f"evaluate first: vrft run {cell.key}")
    rows = io.read_jsonl(evaluation / PREDICTIONS)
    directory = layout.baseline(cell)
    with io.new_directory(directory) as new:
        dropped = {"completion", "reasons", "tokens"}
        io.write_jsonl(new / PREDICTIONS, ({k: v for k, v in row.items() if k not in dropped} for row in rows))
        io.write_json(
            new / ABOUT,
            {
                "metric": get_task(params.task(cell)).metrics.specs(params.task_settings(cell))[0].name,
                "annotations": io.sha256(layout.raw(cell) / "annotations.json"),
                "model": provenance.digest(layout.model(cell, METHOD)),
            },
        )
    return str(directory)


def _load_baseline(layout: Layout, cell: Cell, metric: str) -> list[dict]:
    directory = layout.baseline(cell)
    if not directory.is_dir():
        raise InputError(directory, "no baseline is recorded", f"record one with `vrft baseline {cell.key}`")
    about = io.read_json(directory / ABOUT)
    if about["annotations"] != io.sha256(layout.raw(cell) / "annotations.json"):
        raise _other(layout, cell, "is of other evaluation data")
    if (recorded := about.get("metric", metric)) != metric:  # older ones do not say: their questions are compared
        raise _other(layout, cell, f"is of {recorded}, not of {metric}")
    rows = io.read_jsonl(directory / PREDICTIONS)
    if any("id" not in row for row in rows):
        raise _other(layout, cell, "does not say which examples it answers")
    return rows


def _other(layout: Layout, cell: Cell, fault: str) -> InputError:
    return InputError(
        layout.baseline(cell), f"the baseline {fault}", f"record it again with `vrft baseline {cell.key}`"
    )


def _asked(rows: list[dict]) -> set[str]:
    return {row["id"] for row in rows}
