"""A cell's, or a study's, numbers gathered from the evaluations and training records: what `metrics.json` holds.

Nothing is shown here; the page and the summary are made from what this returns.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.headline import headline
from vrft_core.evaluation.intervals import intervals, intervals_over_seeds
from vrft_core.evaluation.scores import Entry, Evaluation
from vrft_core.params import Params
from vrft_core.provenance import provenance
from vrft_core.report import paper
from vrft_core.report.panel import MODELS, Inputs
from vrft_core.report.rows import CellResults, Details, Measured, Named, Results, StudyResults
from vrft_core.report.silence import Silence, sentences
from vrft_core.report.stopped import stops
from vrft_core.report.verdict import needs, verdict

if TYPE_CHECKING:
    from vrft_core.training.record import Description

SEED = 0  # of the halves behind intervals
_COMMON = {"metrics", "queries", "images", "diagnostics", "task", "version"}  # of an evaluation; the rest is the task's


def cell_results(layout: Layout, params: Params, cell: Cell, inputs: Inputs) -> CellResults:
    """Everything a cell's page says in numbers; metrics in [0, 1]."""
    assert cell.seed is not None, "a report belongs to a cell"
    draws = params.recipe(cell).evaluation.draws
    found = intervals(inputs.scores(), draws, SEED)
    spec = inputs.task.metrics.specs(inputs.settings)[0]
    policy = paper.policy_name(params.recipe(cell).policy)
    categories = [inputs.truth.categories[i]["name"] for i in inputs.categories]
    images = inputs.metrics["base"]["images"]
    remarks = [*sentences({cell.seed: _silence(inputs)}), *stops({cell.seed: inputs.training})]
    said = verdict(found, spec, images, remarks)
    return {
        "cell": cell.key,
        "shots": cell.shots,
        "seed": cell.seed,
        **_common(inputs, found["models"]),
        "verdict": said,
        "needs": needs(found["differences"]["rft-sft"][spec.name], images, said["nothing"]),
        **found,
        "paper": paper.compare(found, categories, cell.benchmark, policy, cell.shots),
        "training": {method: _training(record) for method, record in inputs.training.items()},
        "details": {model: _details(inputs.metrics[model]) for model in MODELS},
        "diagnostics": {model: inputs.metrics[model].get("diagnostics", {}) for model in MODELS},
        "measured": _measured(inputs, draws),
        "provenance": provenance(layout.root, params, cell),
    }


def study_results(
    layout: Layout, params: Params, study: Cell, inputs: list[Inputs], reports: list[CellResults]
) -> StudyResults:
    """The same over seeds: means, spreads, and intervals over images and seeds together.

    `reports`: what `cell_results` gave for each cell, in the order of `inputs`.
    """
    draws, first = params.recipe(study).evaluation.draws, inputs[0]
    spec = first.task.metrics.specs(first.settings)[0]
    for one in reports:
        if one["verdict"]["metric"] != spec.name:
            raise InputError(
                f"the report of {one['cell']}", f"is about {one['verdict']['metric']!r}, not {spec.name!r}",
                f"make it again: vrft run {one['cell']}",
            )  # fmt: skip
    scores = [one.scores() for one in inputs]
    for one in scores[1:]:
        one["base"] = scores[0]["base"]  # one and the same model: counted once
    found = intervals_over_seeds(scores, draws, SEED)
    images = first.metrics["base"]["images"]
    seeds = [one["seed"] for one in reports]
    quiet = sentences({seed: _silence(one) for seed, one in zip(seeds, inputs, strict=True)})
    said = verdict(found, spec, images, [*quiet, *stops({one["seed"]: one["training"] for one in reports})])
    return {
        "cell": study.key,
        "shots": study.shots,
        "seeds": seeds,
        **_common(first, found["models"]),
        "verdict": said,
        "needs": needs(found["differences"]["rft-sft"][spec.name], images, said["nothing"]),
        **found,
        "details": [one["details"] for one in reports],
        "per_seed": [
            {
                "cell": one["cell"],
                "seed": one["seed"],
                "models": {model: values[spec.name] for model, values in one["models"].items()},
                "differences": {pair: values[spec.name] for pair, values in one["differences"].items()},
                "training": one["training"],
            }
            for one in reports
        ],
        "measured": reports[0]["measured"],
        "provenance": provenance(layout.root, params, study),
    }


def headlines(layout: Layout, cell: Cell, results: Results) -> dict[str, Any]:
    """The few numbers worth showing of a report or a study."""
    metric = results["verdict"]["metric"]
    return {f"{metric}/{pair}": values[metric]["value"] for pair, values in results["differences"].items()} | {
        "verdict": results["verdict"]["headline"],
        "page": (layout.report(cell) / "report.html").relative_to(layout.root).as_posix(),
    }


def difference(results: Results) -> dict[str, str | float | None]:
    """RFT against SFT by the deciding metric, see `headline`."""
    said = results["verdict"]
    return headline(f"{said['title']}, RFT − SFT", results["differences"]["rft-sft"][said["metric"]])


def _common(inputs: Inputs, models: Mapping[str, Mapping[str, Entry]]) -> Named:
    """What pages and summaries need to name things.

    A metric that no model has a value of gets no column, nor one of a frequency where the data knows none.
    """
    specs = inputs.task.metrics.specs(inputs.settings)
    hidden = {spec.name for spec in specs if spec.banded and not inputs.frequencies}
    columns = [pair for pair in inputs.task.metrics.columns(inputs.settings) if pair[0] not in hidden]
    return {
        "task": inputs.task.name,
        "version": inputs.task.settings.VERSION,
        "subject": inputs.task.panels.SUBJECT,
        "columns": [
            list(pair) for pair in columns if any(values[pair[0]]["value"] is not None for values in models.values())
        ],
        "titles": {spec.name: spec.title for spec in specs},
    }


def _silence(inputs: Inputs) -> dict[str, Silence]:
    return {model: inputs.task.panels.silence(inputs, model) for model in MODELS}


def _details(metrics: Evaluation) -> Details:
    return {name: value for name, value in metrics.items() if name not in _COMMON}


def _training(record: "Description") -> "Description":
    """The record without its log and settings."""
    kept = {key: value for key, value in record.items() if key not in ("log", "settings")}
    return cast("Description", {"validation": [], **kept})


def _measured(inputs: Inputs, draws: int) -> Measured:
    base, chosen = inputs.metrics["base"], inputs.selection["categories"]
    return {
        "images": base["images"],
        "queries": base["queries"],
        "draws": draws,
        "categories": len(inputs.categories),
        "few_shot_categories": len(chosen),
        "few_shot_images": len({image["image_id"] for category in chosen for image in category["images"]}),
    }
