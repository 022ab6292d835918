"""A cell's, or a study's, numbers gathered from the evaluations and training records: what `metrics.json` holds.

Nothing is shown here; the page and the summary are made from what this returns.
"""

from dataclasses import dataclass

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.bootstrap import bootstrap, bootstrap_seeds
from vrft_core.params import Params
from vrft_core.provenance import provenance
from vrft_core.report import paper
from vrft_core.report.verdict import deciding, verdict
from vrft_core.tasks.detection.metrics.average_precision import Matches
from vrft_core.tasks.detection.metrics.ranking import ranked
from vrft_core.tasks.detection.metrics.scores import PROTOCOLS, SEED, match_rows, metric_name
from vrft_core.tasks.detection.prompts.presence import evaluated_categories

MODELS = ("base", "sft", "rft")
TRAINED = ("sft", "rft")


@dataclass(frozen=True)
class Inputs:
    """What a cell's report is made of, read once. Rows are keyed by (image, category)."""

    truth: Annotations  # the evaluation split
    source: dict  # `info` and `licenses` of the annotation file
    categories: list[int]
    rows: dict[str, dict[tuple[int, int], dict]]
    metrics: dict[str, dict]
    training: dict[str, dict]

    @classmethod
    def read(cls, layout: Layout, params: Params, cell: Cell) -> "Inputs":
        """Raises InputError when the models did not answer the same questions, or metrics have other names."""
        data = io.read_json(layout.raw(cell) / "annotations.json")
        truth = Annotations.from_dict(data).split("eval")
        places = {model: layout.evaluation(cell, model) for model in MODELS}
        rows = {
            model: {(row["image_id"], row["category_id"]): row for row in io.read_jsonl(place / "predictions.jsonl")}
            for model, place in places.items()
        }
        for model in TRAINED:
            if set(rows[model]) != set(rows["base"]):
                raise InputError(
                    places[model] / "predictions.jsonl",
                    "answers other questions than the untouched model",
                    f"run the stages base_eval and {model}_eval on the same data",
                )
        metrics = {model: io.read_json(place / "metrics.json") for model, place in places.items()}
        wanted = deciding(metrics["base"]["presence"])
        for model, place in places.items():
            if wanted not in metrics[model]["metrics"]:
                raise InputError(
                    place / "metrics.json",
                    f"has no {wanted!r}: recorded under another name, or asked by another presence protocol",
                    f"evaluate again: vrft run {cell.key}",
                )
        return cls(
            truth,
            {key: data.get(key) for key in ("info", "licenses")},
            evaluated_categories(truth, params.benchmarks[cell.benchmark]),
            rows,
            metrics,
            {method: io.read_json(layout.training(cell, method)) for method in TRAINED},
        )

    def licences(self) -> dict[int, str]:
        """id → name, as the annotation file lists them."""
        listed = self.source["licenses"] or []
        return {row["id"]: str(row["name"]) for row in listed if isinstance(row, dict) and {"id", "name"} <= set(row)}

    def matches(self) -> dict[str, dict[str, Matches]]:
        """protocol → model → matches"""
        each = {
            model: match_rows(self.truth, ranked(list(rows.values()), self.metrics[model]["ranking"]), self.categories)
            for model, rows in self.rows.items()
        }
        return {protocol: {model: each[model][protocol] for model in MODELS} for protocol in PROTOCOLS}


def cell_results(layout: Layout, params: Params, cell: Cell, inputs: Inputs, selection: dict) -> dict:
    """Everything a cell's page says in numbers; `selection` is the few-shot stage's. AP in [0, 1]."""
    resamples = params.recipe(cell).evaluation.resamples
    presence = inputs.metrics["base"]["presence"]
    found = _named({p: bootstrap(matches, resamples, SEED) for p, matches in inputs.matches().items()}, presence)
    taught = {name for c in selection["categories"] for name in (c["name"], f"{c['name']} ({c['id']})")}
    per_category = {
        name: {
            "frequency": row["frequency"],
            "boxes": row["boxes"],
            "few_shot": name in taught,
            "AP": {model: inputs.metrics[model]["per_category"][name]["AP"] for model in MODELS},
        }
        for name, row in inputs.metrics["base"]["per_category"].items()
    }
    policy = paper.policy_name(params.recipe(cell).policy)
    beside = paper.compare(found | {"per_category": per_category}, cell.benchmark, policy, cell.shots, presence)
    return {
        "cell": cell.key,
        "shots": cell.shots,
        "seed": cell.seed,
        "verdict": verdict(found["differences"], presence),
        **found,
        "per_category": per_category,
        "paper": beside,
        "training": {method: _training(record) for method, record in inputs.training.items()},
        "ranked_by": {model: inputs.metrics[model]["ranked_by"] for model in MODELS},
        "diagnostics": {model: inputs.metrics[model].get("diagnostics", {}) for model in MODELS},
        "measured": _measured(inputs, selection, resamples),
        "provenance": provenance(layout.root, params, cell),
    }


def study_results(layout: Layout, params: Params, study: Cell, inputs: list[Inputs], reports: list[dict]) -> dict:
    """The same over seeds: means, spreads, and intervals over images and seeds together.

    `reports`: what `cell_results` gave for each cell, in the order of `inputs`.
    """
    resamples, presence = params.recipe(study).evaluation.resamples, inputs[0].metrics["base"]["presence"]
    metric = deciding(presence)
    for one in reports:
        if one["verdict"]["metric"] != metric:
            raise InputError(
                f"the report of {one['cell']}", f"is about {one['verdict']['metric']!r}, not {metric!r}",
                f"make it again: vrft run {one['cell']}",
            )  # fmt: skip
    matches = [one.matches() for one in inputs]
    for one in matches[1:]:
        for protocol in PROTOCOLS:
            one[protocol]["base"] = matches[0][protocol]["base"]  # one and the same model: counted once
    found = _named({p: bootstrap_seeds([one[p] for one in matches], resamples, SEED) for p in PROTOCOLS}, presence)
    return {
        "cell": study.key,
        "shots": study.shots,
        "seeds": [one["seed"] for one in reports],
        "verdict": verdict(found["differences"], presence),
        **found,
        "ranked_by": _mean_ranked_by([one["ranked_by"] for one in reports]),
        "per_seed": [
            {
                "cell": one["cell"],
                "seed": one["seed"],
                "models": {model: values[metric] for model, values in one["models"].items()},
                "differences": {pair: values[metric] for pair, values in one["differences"].items()},
                "training": one["training"],
            }
            for one in reports
        ],
        "measured": reports[0]["measured"],
        "provenance": provenance(layout.root, params, study),
    }


def _named(protocols: dict[str, dict], presence: str) -> dict:
    """Results by protocol → {"models", "differences"}, each name → the metric's name → values."""
    merged: dict = {"models": {}, "differences": {}}
    for protocol, result in protocols.items():
        for kind, entries in merged.items():
            for name, metrics in result[kind].items():
                named = {metric_name(protocol, presence, metric): value for metric, value in metrics.items()}
                entries.setdefault(name, {}).update(named)
    return merged


def _mean_ranked_by(each: list[dict]) -> dict:
    """model → ranking → metric → {"value"}: the mean over seeds, None where a seed has none."""
    found: dict = {}
    for model, rankings in each[0].items():
        for ranking, metrics in rankings.items():
            for metric in metrics:
                values = [one[model][ranking][metric]["value"] for one in each]
                mean = None if None in values else sum(values) / len(values)
                found.setdefault(model, {}).setdefault(ranking, {})[metric] = {"value": mean}
    return found


def _training(record: dict) -> dict:
    """The record without its curves."""
    return {key: value for key, value in record.items() if key not in ("log", "validation", "settings")} | {
        "validation": record.get("validation", [])
    }


def _measured(inputs: Inputs, selection: dict, resamples: int) -> dict:
    base = inputs.metrics["base"]
    return {
        "presence": base["presence"],
        "ranking": base["ranking"],
        "images": base["images"],
        "queries": base["queries"],
        "resamples": resamples,
        "categories": len(inputs.categories),
        "few_shot_categories": len(selection["categories"]),
        "few_shot_images": sum(len(category["images"]) for category in selection["categories"]),
    }
