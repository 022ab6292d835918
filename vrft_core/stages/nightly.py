"""The nightly evaluation: the trained model as it lies there → predictions, compared with a recorded baseline.

No stage of dvc.yaml: it makes nothing that others depend on, and runs whether or not anything has changed.
"""

from vrft_core import io, provenance
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.bootstrap import bootstrap
from vrft_core.evaluation.ranking import ranked
from vrft_core.evaluation.scoring import SEED, match_rows
from vrft_core.params import Params
from vrft_core.stages.evaluate import answers

METHOD, PROTOCOL, METRIC = "rft", "lvis", "AP"
PREDICTIONS, ABOUT, COMPARISON = "predictions.jsonl", "about.json", "comparison.json"


def nightly(layout: Layout, params: Params, cell: Cell) -> dict:
    """Evaluate and compare; what was predicted and found stays in the run folder. See `compare` for the result.

    Raises InputError when no baseline is recorded, or one for other evaluation data.
    """
    baseline = _load_baseline(layout, cell)
    with answers(layout, params, cell, METHOD, purpose="nightly") as (truth, categories, rows):
        settings = params.recipe(cell).evaluation
        now, before = ranked(rows, settings.ranking), ranked(baseline, settings.ranking)
        found = compare(truth, categories, now, before, settings.resamples)
        directory = layout.runs(cell, "nightly")
        io.write_jsonl(directory / PREDICTIONS, rows)
        io.write_json(directory / COMPARISON, found)
    return found


def compare(truth: Annotations, categories: list[int], now: list[dict], baseline: list[dict], resamples: int) -> dict:
    """→ {"AP", "baseline AP", "difference", "low", "high", "passed"}: LVIS AP, paired 95 % interval over images.

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
    return {
        METRIC: intervals["models"]["now"][METRIC]["value"],
        f"baseline {METRIC}": intervals["models"]["baseline"][METRIC]["value"],
        "difference": difference["value"],
        "low": difference["low"],
        "high": difference["high"],
        "passed": difference["high"] >= 0,
    }


def record_baseline(layout: Layout, cell: Cell) -> str:
    """Copy the boxes and scores of the cell's `rft_eval` to the baseline folder; returns the folder."""
    rows = io.read_jsonl(layout.evaluation(cell, METHOD) / PREDICTIONS)
    directory = layout.baseline(cell)
    with io.new_directory(directory) as new:
        kept = ("image_id", "category_id", "boxes", "scores", "rankings")
        io.write_jsonl(new / PREDICTIONS, ({name: row[name] for name in kept} for row in rows))
        io.write_json(
            new / ABOUT,
            {
                "annotations": io.sha256(layout.raw(cell) / "annotations.json"),
                "model": provenance.digest(layout.model(cell, METHOD)),
            },
        )
    return str(directory)


def _load_baseline(layout: Layout, cell: Cell) -> list[dict]:
    directory = layout.baseline(cell)
    if not directory.is_dir():
        raise InputError(directory, "no baseline is recorded", f"record one with `vrft baseline {cell.key}`")
    if io.read_json(directory / ABOUT)["annotations"] != io.sha256(layout.raw(cell) / "annotations.json"):
        raise InputError(
            directory, "the baseline is of other evaluation data", f"record it again with `vrft baseline {cell.key}`"
        )
    return io.read_jsonl(directory / PREDICTIONS)
