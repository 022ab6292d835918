"""Baselines: what a good model answered, kept by hand and tracked by git.

Recording and reading them; comparing with them is `nightly`.
"""

from vrft_core import io, provenance
from vrft_core.cell import Cell, Layout
from vrft_core.commands import golden
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.tasks import get_task

METHOD = "rft"
PREDICTIONS, ABOUT = "predictions.jsonl", "about.json"
DROPPED = {"completion", "reasons", "tokens"}  # of a prediction: no metric reads them


def record_baseline(layout: Layout, params: Params, cell: Cell) -> str:
    """Copy the predictions of the cell's `rft_eval`, less their text, to the baseline folder; returns the folder.

    For the cell `nightly.golden`, its short training is run and its curve recorded as well. Raises InputError where the
    cell was not evaluated yet.
    """
    evaluation = layout.evaluation(cell, METHOD)
    if not (evaluation / PREDICTIONS).is_file():
        raise InputError(evaluation / PREDICTIONS, "no such file", f"evaluate first: vrft run {cell.key}")
    rows = io.read_jsonl(evaluation / PREDICTIONS)
    curve = golden.train_again(layout, params, cell) if params.nightly.golden == cell.key else None
    directory = layout.baseline(cell)
    with io.new_directory(directory) as new:
        io.write_jsonl(new / PREDICTIONS, ({k: v for k, v in row.items() if k not in DROPPED} for row in rows))
        io.write_json(
            new / ABOUT,
            {
                "metric": deciding(params, cell).name,
                "annotations": io.sha256(layout.raw(cell) / "annotations.json"),
                "model": provenance.digest(layout.model(cell, METHOD)),
            },
        )
        if curve:
            io.write_json(new / golden.CURVE, curve)
    return str(directory)


def load_baseline(layout: Layout, params: Params, cell: Cell) -> list[dict]:
    """The recorded predictions. Raises InputError where there are none, or they are of other data or another metric."""
    directory, metric = layout.baseline(cell), deciding(params, cell).name
    if not directory.is_dir():
        raise golden.NotRecorded(directory, "no baseline is recorded", f"record one with `vrft baseline {cell.key}`")
    about = io.read_json(directory / ABOUT)
    if about["annotations"] != io.sha256(layout.raw(cell) / "annotations.json"):
        raise other(layout, cell, "is of other evaluation data")
    if (recorded := about.get("metric", metric)) != metric:  # older ones do not say: their questions are compared
        raise other(layout, cell, f"is of {recorded}, not of {metric}")
    rows = io.read_jsonl(directory / PREDICTIONS)
    if any("id" not in row for row in rows):
        raise other(layout, cell, "does not say which examples it answers")
    return rows


def deciding(params: Params, cell: Cell):
    """The metric that verdicts are about: the task's first."""
    return get_task(params.task(cell)).metrics.specs(params.task_settings(cell))[0]


def other(layout: Layout, cell: Cell, fault: str) -> InputError:
    return InputError(
        layout.baseline(cell), f"the baseline {fault}", f"record it again with `vrft baseline {cell.key}`"
    )
