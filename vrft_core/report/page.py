"""The HTML pages: results, charts and images filled into the templates. Everything from outside is escaped there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from markupsafe import Markup

from vrft_core.report import figures, places, rewards
from vrft_core.report.glossary import terms
from vrft_core.report.panel import MODEL_NAMES, TRAINED, Inputs, Panel
from vrft_core.report.rows import CellResults, Details, Figure, Results, StudyResults, TableRow
from vrft_core.report.stopped import standing
from vrft_core.report.summary import pair_name
from vrft_core.report.text import brief
from vrft_core.report.verdict import PAIRS, blank, findings, outcome, points

if TYPE_CHECKING:
    from vrft_core.training.record import Description

ONE_SEED = (
    "This is one choice of few-shot images and one run of each training. The interval covers the choice of evaluation "
    "images only; the study over several seeds says more."
)
SEVERAL_SEEDS = "The interval covers both the choice of evaluation images and the choice of seeds."
FEW_SEEDS = " With so few seeds the part that covers seeds is a rough estimate."


def cell_page(results: CellResults, inputs: Inputs, images: Path) -> str:
    """HTML of a cell's report. `images`: the folder of the evaluation images."""
    panels = _drawn([*inputs.task.panels.cell(results, inputs, images), rewards.panel(results, inputs.training["rft"])])
    return _render(
        "cell.html.j2",
        results,
        inputs,
        remark=ONE_SEED,
        differences=_differences(results),
        cost=_cost(results["training"]),
        chosen=[_chosen(method, results["training"][method]) for method in TRAINED],
        learning=figures.drawn(figures.learning(inputs.training)),
        panels=panels,
        terms=terms(panels),
        findings=findings(results),
        facts=places.facts([results["training"]], results["provenance"]["git"]),
        links=[*inputs.links, *places.runs(results["training"])],
        method=_method(results, inputs, results["details"]["base"], results["training"]),
    )


def study_page(results: StudyResults, inputs: Inputs, links: list[places.Links]) -> str:
    """HTML of a study's report; `inputs` of any one seed, for the attribution."""
    per_seed, verdict = results["per_seed"], results["verdict"]
    metric = verdict["metric"]
    costs = [_cost(one["training"]) for one in per_seed]
    by_label = [{row["label"]: row["cells"] for row in one} for one in costs]
    cost: list[TableRow] = [
        {"label": label, "cells": [_alike([one[label][n] for one in by_label]) for n in (0, 1)], "note": ""}
        for label in by_label[0]
        if all(label in one for one in by_label)
    ]
    panels = _drawn(inputs.task.panels.study(results))
    return _render(
        "study.html.j2",
        results,
        inputs,
        remark=SEVERAL_SEEDS + (FEW_SEEDS if len(per_seed) < 5 else ""),
        differences=_differences(results),
        by_seed=[] if verdict["nothing"] else figures.drawn([figures.seeds(per_seed, results["differences"], metric)]),
        cost=cost,
        panels=panels,
        terms=terms(panels),
        findings=findings(results),
        facts=places.facts([one["training"] for one in per_seed], results["provenance"]["git"]),
        links=links,
        method=_method(results, inputs, results["details"][0]["base"], per_seed[0]["training"]),
    )


def _drawn(panels: list[Panel]) -> list[Panel]:
    """Without their empty charts."""
    return [replace(panel, charts=figures.drawn(panel.charts)) for panel in panels]


def _differences(results: Results) -> list[Figure]:
    """The chart of the differences; none where no model finds anything."""
    verdict = results["verdict"]
    chart = figures.differences(results["differences"], verdict["metric"], verdict["title"])
    return [] if verdict["nothing"] else figures.drawn([chart])


def _cost(training: "Mapping[str, Description]") -> list[TableRow]:
    """Cells: SFT, RFT."""
    wanted: tuple[tuple[str, Callable[[Description], str]], ...] = (
        ("CPU time", lambda r: _seconds(r["cost"].get("cpu_seconds"))),
        ("Wall-clock time", lambda r: _seconds(r["cost"].get("wall_seconds"))),
        ("CPU time of validation", lambda r: _seconds(r.get("validation_cost", {}).get("cpu_seconds"))),
        ("Training steps", lambda r: _count(r.get("steps"))),
        ("Answers learned from (SFT: given, RFT: sampled)", lambda r: _count(r["cost"].get("completions"))),
        ("Images shown, with repetition", lambda r: _count(r["cost"].get("images"))),
        ("Tokens processed", lambda r: _count(r["cost"].get("tokens"))),
        ("FLOPs (upper estimate)", lambda r: _brief(r.get("flops"))),
        ("Trained parameters, of all", lambda r: _parameters(r.get("parameters", {}))),
        ("Evaluated checkpoint", lambda r: f"step {_count(r.get('chosen_step'))}"),
    )
    rows: list[TableRow] = [
        {"label": label, "cells": [text(training[method]) for method in TRAINED], "note": ""} for label, text in wanted
    ]
    return [row for row in rows if any(cell != "–" for cell in row["cells"])]


def _alike(texts: list[str]) -> str:
    """One text where all are the same, else each in turn."""
    return texts[0] if len(set(texts)) == 1 else " · ".join(texts)


def _chosen(method: str, record: "Description") -> str:
    name, step, steps = MODEL_NAMES[method], record.get("chosen_step"), record.get("steps")
    if stopped := record.get("stopped"):
        why = {
            "best": "the best on the validation split of those saved until then",
            "earliest": "the earliest of those saved until then, which all have the same score on the validation split",
            "only": "the only one saved until then",
        }[standing(record)]
        return (
            f"{name}: a guard of the recipe ended the training at step {stopped['step']}: {stopped['limit']}. "
            f"The checkpoint of step {step} was evaluated, {why}."
        )
    if record.get("checkpoint") != "validation":
        return f"{name}: the last checkpoint was evaluated (step {step})."
    best = next((row["score"] for row in record["validation"] if row["step"] == step), None)
    name_of = record.get("validation_metric", "the score")
    trained = {row["score"] for row in record["validation"] if row["step"] > 0}
    if len(trained) == 1 and None not in trained and step != steps:
        return (
            f"{name}: all checkpoints saved within {steps} steps have {name_of} {points(best)} on the validation "
            f"split. The earliest, of step {step}, was evaluated."
        )
    reached = f" with {record.get('validation_metric', 'a score')} of {points(best)} there" if best is not None else ""
    return (
        f"{name}: of the checkpoints saved within {steps} steps, the one at step {step} was evaluated, because it was "
        f"the best on the validation split{reached}. The evaluation images were not used for this choice."
    )


def _method(results: Results, inputs: Inputs, details: Details, training: "Mapping[str, Description]") -> list[str]:
    measured = results["measured"]
    rule = {record.get("checkpoint") for record in training.values()}
    metric = training["rft"].get("validation_metric", "the task's validation score")
    choice = (
        f"The checkpoint of both trainings was chosen on the validation split, by {metric}, with the same rule."
        if rule == {"validation"}
        else "The last checkpoint of each training was evaluated." if rule == {"last"}
        else "The two trainings chose their checkpoints by different rules; see the cost table."
    )  # fmt: skip
    return [
        f"{measured['images']:,} evaluation images, {measured['queries']:,} questions, "
        f"{measured['categories']} categories. Training, validation and evaluation share no image.",
        "Answers are decoded greedily: always the most probable token, so nothing is random.",
        *inputs.task.panels.how(details),
        choice,
        f"Intervals: 95 %, from {measured['draws']:,} random halves of the evaluation images, with Student's t "
        "(docs/intervals.md). All models are scored on the same halves, so differences are paired. An interval covers "
        "the value on another sample of as many images of the same kind.",
    ]


def _attribution(source: Mapping[str, Any]) -> list[str]:
    """What the data set's makers ask to be said, in their words; licences by name where there are no words."""
    info = source.get("info") or {}
    if isinstance(info.get("attribution"), str):
        return [info["attribution"]]
    names = sorted(
        {str(row["name"]) for row in source.get("licenses") or [] if isinstance(row, dict) and row.get("name")}
    )
    return [f"Licences of the images as the data set states them: {', '.join(names)}."] if names else []


def _render(template: str, results: Results, inputs: Inputs, **values: object) -> str:
    part = inputs.task.panels
    return (
        environment()
        .get_template(template)
        .render(
            results=results,
            metrics=results["columns"],
            model_names=MODEL_NAMES,
            pairs=PAIRS,
            pair_names={pair: pair_name(pair) for pair in PAIRS},
            words=part.WORDS,
            small_print=part.SMALL_PRINT,
            attribution=_attribution(inputs.source),
            style=style(),
            **values,
        )
    )


@cache
def environment() -> jinja2.Environment:
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
        "blank": blank,
        "sure": lambda entry: outcome(entry) != "undecided",
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
    }
    return environment


@cache
def style() -> Markup:
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


def _parameters(parameters: Mapping[str, int]) -> str:
    if not parameters:
        return "–"
    return f"{brief(parameters['trainable'])} of {brief(parameters['total'])}"
