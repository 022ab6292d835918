"""The nightly evaluation: the trained model as it lies there → predictions, compared with a recorded baseline.

No stage of dvc.yaml: it makes nothing that others depend on, and runs whether or not anything has changed.
"""

from vrft_core import io, provenance
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.bootstrap import bootstrap
from vrft_core.params import Params
from vrft_core.stages.evaluate import answers
from vrft_core.tasks.detection.metrics.ranking import ranked
from vrft_core.tasks.detection.metrics.scores import SEED, match_rows, metric_name

METHOD, PROTOCOL, METRIC = "rft", "lvis", "AP"
PREDICTIONS, ABOUT, COMPARISON = "predictions.jsonl", "about.json", "comparison.json"


def nightly(layout: Layout, params: Params, cell: Cell) -> dict:
    """Evaluate and compare; what was predicted and found stays in the run folder. See `compare` for the result.

    Raises InputError when no baseline is recorded, or one for other evaluation data.
    """
    settings = params.recipe(cell).evaluation
    baseline = _load_baseline(layout, cell, metric_name(PROTOCOL, settings.protocol, METRIC))
    with answers(layout, params, cell, METHOD, purpose="nightly") as (truth, categories, rows):
        if _asked(rows) != _asked(baseline):
            raise _other(layout, cell, "answers other questions than are asked now")
        now, before = ranked(rows, settings.ranking), ranked(baseline, settings.ranking)
        found = compare(truth, categories, now, before, settings.resamples, settings.protocol)
        directory = layout.runs(cell, "nightly")
        io.write_jsonl(directory / PREDICTIONS, rows)
        io.write_json(directory / COMPARISON, found)
    return found


def compare(
    truth: Annotations, categories: list[int], now: list[dict], baseline: list[dict], resamples: int, presence: str
) -> dict:
    """LVIS AP of both, and their difference with its paired 95 % interval over images.

    → {"metric": its name, such as lvis/oracle/AP, NAME: now, "baseline NAME", "difference", "low", "high", "passed"}.
    Not passed when the interval of now - baseline lies wholly below zero.
    """
    matches = {
        name: match_rows(truth, rows, categories, [PROTOCOL])[PROTOCOL]
        for name, rows in (("now", now), ("baseline", baseline))
    }
    intervals = bootstrap(matches, resamples, SEED, differences=[("now", "baseline")])
    difference = intervals["differences"]["now-baseline"][METRIC]
    if difference["high"] is None:
        raise InputError("evaluation split", "no object to be found, so nothing to compare", "add evaluation images")
    name = metric_name(PROTOCOL, presence, METRIC)
    return {
        "metric": name,
        name: intervals["models"]["now"][METRIC]["value"],
        f"baseline {name}": intervals["models"]["baseline"][METRIC]["value"],
        "difference": difference["value"],
        "low": difference["low"],
        "high": difference["high"],
        "passed": difference["high"] >= 0,
    }


def record_baseline(layout: Layout, cell: Cell) -> str:
    """Copy the boxes and scores of the cell's `rft_eval` to the baseline folder; returns the folder.

    Raises InputError where the cell was not evaluated yet.
    """
    evaluation = layout.evaluation(cell, METHOD)
    if not (evaluation / PREDICTIONS).is_file():
        raise InputError(evaluation / PREDICTIONS, "no such file", f"evaluate first: vrft run {cell.key}")
    rows = io.read_jsonl(evaluation / PREDICTIONS)
    directory = layout.baseline(cell)
    with io.new_directory(directory) as new:
        kept = ("image_id", "category_id", "boxes", "scores", "rankings")
        io.write_jsonl(new / PREDICTIONS, ({name: row[name] for name in kept} for row in rows))
        io.write_json(
            new / ABOUT,
            {
                "metric": metric_name(PROTOCOL, io.read_json(evaluation / "metrics.json")["presence"], METRIC),
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
    return io.read_jsonl(directory / PREDICTIONS)


def _other(layout: Layout, cell: Cell, fault: str) -> InputError:
    return InputError(
        layout.baseline(cell), f"the baseline {fault}", f"record it again with `vrft baseline {cell.key}`"
    )


def _asked(rows: list[dict]) -> set[tuple[int, int]]:
    return {(row["image_id"], row["category_id"]) for row in rows}
