"""The HTML pages: results, charts and pictures poured into the templates. Everything from outside is escaped there."""

from functools import cache
from importlib.resources import files

import jinja2
import yaml
from markupsafe import Markup

from vrft_core.report import diagnostics, figures
from vrft_core.report.charts import brief
from vrft_core.report.results import TRAINED, Inputs
from vrft_core.report.summary import METRICS, MODEL_NAMES, pair_name
from vrft_core.report.verdict import PAIRS, outcome, points
from vrft_core.tasks.detection.metrics.scores import metric_name, metric_title

LABELS = ("LVIS AP", "AP50", "AP75", "rare", "common", "frequent", "COCO AP")  # of the summary's METRICS
ONE_SEED = (
    "This is one choice of example pictures and one run of each training. The interval covers the choice of evaluation "
    "pictures only; the study over several seeds says more."
)
SEVERAL_SEEDS = "The interval covers both the choice of evaluation pictures and the choice of seeds."
RANKINGS = {
    "stated": "the confidence it states",
    "likelihood": "the probability of the numbers it wrote",
    "certainty": "how sure it was of the box's coordinates",
    "combined": "the overlap foretold from what it says and how sure it was",
    "consistency": "how well it agrees with its sampled answers",
    "oracle": "the truth (a ceiling)",
}
FEW_SEEDS = " With so few seeds the second part of it is rough."


def cell_page(results: dict, inputs: Inputs, gallery: list[dict]) -> str:
    """HTML of a cell's report. `gallery`: see `pictures.gallery`."""
    return _render(
        "cell.html.j2",
        results,
        remark=ONE_SEED,
        differences=figures.differences(results["differences"], results["verdict"]["metric"]),
        rankings=_rankings(results),
        cost=_cost(results["training"]),
        chosen=[_chosen(method, results["training"][method]) for method in TRAINED],
        learning=figures.learning(inputs.training),
        categories=figures.categories(results["per_category"]),
        gallery=gallery,
        diagnostics=diagnostics.tables(results, inputs.training["rft"]),
        health=diagnostics.charts(results, inputs.training["rft"].get("log", [])),
        method=_method(results["measured"], results["training"]),
        attribution=_attribution(inputs.source),
    )


def study_page(results: dict, inputs: Inputs) -> str:
    """HTML of a study's report; `inputs` of any one seed, for the attribution."""
    per_seed = results["per_seed"]
    labels = [row["label"] for row in _cost(per_seed[0]["training"])]
    rows = []
    for one in per_seed:
        for number, method in enumerate(TRAINED):
            cells = [row["cells"][number] for row in _cost(one["training"])]
            rows.append({"seed": one["seed"], "method": MODEL_NAMES[method], "cells": cells})
    return _render(
        "study.html.j2",
        results,
        remark=SEVERAL_SEEDS + (FEW_SEEDS if len(per_seed) < 5 else ""),
        differences=figures.differences(results["differences"], results["verdict"]["metric"]),
        rankings=_rankings(results),
        by_seed=figures.seeds(per_seed, results["differences"], results["verdict"]["metric"]),
        cost={"head": labels, "rows": rows},
        method=_method(results["measured"], per_seed[0]["training"]),
        attribution=_attribution(inputs.source),
    )


def _rankings(results: dict) -> list[dict]:
    """Rows {"label", "chosen", "cells": [AP of each model]}: by stated confidence, as chosen, and by the truth."""
    chosen, metric = results["measured"]["ranking"], results["verdict"]["metric"]
    return [
        {
            "label": RANKINGS[name],
            "chosen": name == chosen,
            "cells": [points(results["ranked_by"][model][name][metric]["value"]) for model in MODEL_NAMES],
        }
        for name in dict.fromkeys(["stated", chosen, "oracle"])
    ]


def _cost(training: dict[str, dict]) -> list[dict]:
    """Rows {"label", "cells": [SFT, RFT]}."""
    wanted = (
        ("Computing time (CPU)", lambda r: _seconds(r["cost"].get("cpu_seconds"))),
        ("Time on the clock", lambda r: _seconds(r["cost"].get("wall_seconds"))),
        ("Time spent choosing a checkpoint (CPU)", lambda r: _seconds(r.get("validation_cost", {}).get("cpu_seconds"))),
        ("Training steps", lambda r: _count(r.get("steps"))),
        ("Answers learned from", lambda r: _count(r["cost"].get("completions"))),
        ("Pictures shown, with repetition", lambda r: _count(r["cost"].get("images"))),
        ("Tokens processed", lambda r: _count(r["cost"].get("tokens"))),
        ("FLOPs (upper estimate)", lambda r: _brief(r.get("flops"))),
        ("Weights trained, of all", lambda r: _parameters(r.get("parameters", {}))),
        ("Checkpoint evaluated", lambda r: f"step {_count(r.get('chosen_step'))}"),
    )
    rows = [{"label": label, "cells": [text(training[method]) for method in TRAINED]} for label, text in wanted]
    return [row for row in rows if any(cell != "–" for cell in row["cells"])]


def _chosen(method: str, record: dict) -> str:
    name, step, steps = MODEL_NAMES[method], record.get("chosen_step"), record.get("steps")
    if record.get("checkpoint") != "validation":
        return f"{name}: the last checkpoint was evaluated (step {step})."
    best = next((row["coco/AP"] for row in record["validation"] if row["step"] == step), None)
    reached = f" with COCO AP (oracle presence) {points(best)} there" if best is not None else ""
    return (
        f"{name}: of the checkpoints saved within {steps} steps, the one at step {step} was evaluated, because it was "
        f"the best on the validation split{reached}. The evaluation pictures had no part in the choice."
    )


def _method(measured: dict, training: dict[str, dict]) -> list[str]:
    presence = {
        "oracle": "Each model was asked, one category at a time, for every category truly present in a picture (the "
        "“oracle” presence protocol). It is never asked for what is not there, so inventing objects in empty "
        "pictures is not punished; real use is harder.",
        "self": "Each model was asked, one category at a time, for every category that is known to be in a picture or "
        "known not to be (the “self” presence protocol). It had to say itself that there is nothing; what it invents "
        "counts as wrong.",
        "map": "Each model was asked, one category at a time, for the categories that another model had claimed to "
        "see in a picture (the “map” presence protocol, the paper's). What the map misses no model can find, and "
        "where the map is wrong each of them is tempted to invent.",
    }[measured["presence"]]
    rule = {record.get("checkpoint") for record in training.values()}
    choice = (
        "The checkpoint of both trainings was chosen on the validation split, by COCO AP, with the same rule."
        if rule == {"validation"}
        else "The last checkpoint of each training was taken." if rule == {"last"}
        else "The two trainings chose their checkpoints by different rules; see the table of costs."
    )  # fmt: skip
    ranking = {
        "stated": "the confidence the model states",
        "likelihood": "their likelihood, the mean probability the model gave to the numbers it wrote down for them",
        "certainty": "the model's certainty about a box's coordinates (low entropy of the four numbers it wrote); "
        "the confidence the model states is kept beside it",
        "combined": "the overlap foretold from the confidence stated, the model's certainty and the box's size, fitted "
        "for each model on its answers about labelled training pictures, more of them than the few it was taught",
        "consistency": "how well they agree with the boxes of answers drawn at random from the same model",
    }[measured["ranking"]]
    return [
        f"{measured['images']:,} evaluation pictures, {measured['queries']:,} questions, "
        f"{measured['categories']} categories. Training, validation and evaluation share no picture.",
        presence,
        "Answers are generated greedily: the likeliest word each time, so nothing depends on luck. Boxes are ranked by "
        f"{ranking} (`{measured['ranking']}`).",
        choice,
        f"Intervals: 95 %, percentile bootstrap with {measured['resamples']:,} resamples of the evaluation "
        "pictures. All models are scored on the same resample, so differences are paired.",
    ]


def _attribution(source: dict) -> list[str]:
    """What the data set's makers ask to be said, in their words; licences by name where there are no words."""
    info = source.get("info") or {}
    if isinstance(info.get("attribution"), str):
        return [info["attribution"]]
    names = sorted(
        {str(row["name"]) for row in source.get("licenses") or [] if isinstance(row, dict) and row.get("name")}
    )
    return [f"Licences of the pictures as the data set states them: {', '.join(names)}."] if names else []


def _render(template: str, results: dict, **values: object) -> str:
    names = [metric_name(protocol, results["measured"]["presence"], metric) for protocol, metric in METRICS]
    return (
        _environment()
        .get_template(template)
        .render(
            results=results,
            metrics=list(zip(names, LABELS, strict=True)),
            model_names=MODEL_NAMES,
            pairs=PAIRS,
            style=_style(),
            **values,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vrft_core.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": points,
        "pair_name": pair_name,
        "metric_title": metric_title,
        "sure": lambda entry: outcome(entry) != "undecided",
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
    }
    return environment


@cache
def _style() -> Markup:
    return Markup(files("vrft_core.report").joinpath("templates/style.css").read_text(encoding="utf-8"))


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _brief(value: float | None) -> str:
    return "–" if value is None else brief(value)


def _parameters(parameters: dict) -> str:
    if not parameters:
        return "–"
    return f"{brief(parameters['trainable'])} of {brief(parameters['total'])}"
