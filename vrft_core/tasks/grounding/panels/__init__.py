"""What a report shows of grounding alone: kinds of expression beside chance, images, answers."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vrft_core.report import charts, figures
from vrft_core.report.charts import Bars
from vrft_core.report.gallery import CHOSEN, gallery
from vrft_core.report.judged import panel
from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs, Panel, Table
from vrft_core.report.plots import Plot, by_part
from vrft_core.report.rows import CellResults, Figure, StudyResults, TableRow
from vrft_core.report.silence import Silence
from vrft_core.report.text import decimal, share
from vrft_core.report.verdict import points
from vrft_core.tasks.grounding.metrics import Details, target
from vrft_core.tasks.grounding.panels.judging import FAILURES, RIGHT, judge, see

if TYPE_CHECKING:
    from vrft_core.tasks.grounding.diagnostics import Diagnosis

SUBJECT = "few-shot grounding"
WORDS = (
    "Accuracy is the share of expressions whose box overlaps the object that is meant by half or more (IoU of 0.5). "
    "Higher is better."
)
SMALL_PRINT = (
    "mIoU is the mean overlap, cIoU the summed intersections over the summed unions, so that large objects weigh more. "
    "Rejected: the share of expressions that fit nothing in their image and were answered with “No Objects”."
)

TERMS = {
    "IoU": "Intersection over union: the shared area of two boxes divided by their joint area; 1 if equal.",
    "Chance": "How often an answer is right that looks for the category alone and ignores the rest of the expression.",
    "False alarm": "A box where the expression fits nothing in the image.",
}


def note(details: Details) -> str:
    """One line for the small print of a summary."""
    chance = details["chance"]
    return (
        ""
        if chance is None
        else f"Ignoring the expression and choosing any object of its category scores {points(chance)}."
    )


def how(details: Details) -> list[str]:
    """How it was measured, in sentences."""
    found = ["Each model was asked for one expression at a time; of several boxes in an answer the first one counts."]
    if details["chance"] is not None:
        found.append(
            f"Chance: ignoring the expression and choosing one of the objects of its category scores "
            f"{points(details['chance'])} on average."
        )
    if details["rejection"]:
        found.append("The question offers “No Objects”, and some expressions fit nothing in their image.")
    return found


def silence(inputs: Inputs, model: str) -> Silence:
    """Answers without a box."""
    rows = list(inputs.rows[model].values())
    silent = [row["box"] is None for row in rows]
    present = [target(inputs.truth, row) is not None for row in rows]
    both = sum(a and b for a, b in zip(silent, present, strict=True))
    return Silence("names no object", len(rows), sum(silent), sum(present), both)


def cell(results: CellResults, inputs: Inputs, images: Path) -> list[Panel]:
    """Panels of one cell; `images` is the folder of the evaluation images."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    judged = judge(inputs)
    return [
        panel(judged, RIGHT, FAILURES),
        Panel(
            "pictures",
            "Images, before and after",
            [
                "The dashed box is what is meant; an answer is right at an IoU of 0.5 or more. Choose which questions "
                "to see, and an image to enlarge it, with the question and every answer word for word.",
                CHOSEN,
            ],
            gallery=gallery(inputs, judged, images, results["seed"], partial(see, inputs)),
        ),
        Panel(
            "kinds",
            "By kind of expression",
            ["★ marks kinds with few-shot examples. A bar below chance: the expression is misread or ignored."],
            _kinds_tables(details, inputs),
            [_kinds_chart(details, inputs)],
        ),
        Panel("answers", "The answers", [], [_answers(each)], terms=TERMS),
    ]


def plots(results: CellResults, inputs: Inputs) -> list[Plot]:
    """Accuracy by kind of expression. Answers state no confidence."""
    details = cast(Mapping[str, Details], results["details"])
    named = {
        kind: {model: details[model]["per_kind"][kind]["accuracy"] for model in MODELS}
        for kind in details["base"]["per_kind"]
    }
    return [by_part("kinds", "right, per cent, by kind of expression", named)]


def study(results: StudyResults) -> list[Panel]:
    """No panel of its own: the tables of the page say it all."""
    return []


def _taught(inputs: Inputs) -> set[str]:
    return {inputs.truth.categories[i]["name"] for i in inputs.taught}


def _kinds_chart(details: Mapping[str, Details], inputs: Inputs) -> Figure:
    kinds, taught = details["base"]["per_kind"], _taught(inputs)
    rows = [
        Bars(
            f"{name} (chance {points(kind['chance'])})" if kind["chance"] else name,
            {model: figures.times100(details[model]["per_kind"][name]["accuracy"]) for model in MODELS},
            "★" if name in taught else "",
        )
        for name, kind in kinds.items()
    ]
    title = "Accuracy by kind of expression"
    caption = "Share of right answers; where nothing is meant, “No Objects” is right."
    return figures.figure(title, charts.bars(title, rows, MODEL_NAMES, "right, % of expressions"), caption)


def _kinds_tables(details: Mapping[str, Details], inputs: Inputs) -> list[Table]:
    taught, kinds = _taught(inputs), details["base"]["per_kind"]
    each = {model: details[model]["per_kind"] for model in MODELS}

    def rows(text: Callable[[str], list[str]]) -> list[TableRow]:
        return [{"label": f"{name}{' ★' if name in taught else ''}", "cells": text(name), "note": ""} for name in kinds]

    names = list(MODEL_NAMES.values())
    hits = rows(lambda name: [
        f"{kinds[name]['questions']:,}", points(kinds[name]["chance"]),
        *(points(each[model][name]["accuracy"]) for model in MODELS),
    ])  # fmt: skip
    overlaps = rows(lambda name: [points(each[model][name]["mIoU"]) for model in MODELS])
    return [
        Table("Accuracy by kind of expression, points of 100", ["Kind", "Asked", "Chance", *names], hits, folded=True),
        Table("Mean IoU by kind of expression, points of 100", ["Kind", *names], overlaps, folded=True),
    ]


def _answers(each: "Mapping[str, Diagnosis]") -> Table:
    wanted: list[tuple[str, Callable[[Diagnosis], str], str]] = [
        (
            "Answers in a wrong format",
            lambda d: share(d["answers_with_reasons"]),
            "Not written exactly as asked; what could be read was used.",
        ),
        ("Answers with several boxes", lambda d: share(d["several_boxes"]), "The first one counts."),
        ("No box where one is meant", lambda d: share(d["no_box"]), ""),
        ("False alarms: a box where nothing is meant", lambda d: share(d["false_alarms"]), ""),
        (
            "Wrong boxes on a rival",
            lambda d: share(d["candidate"]),
            "Another object of the right category: the expression was misread, not the category.",
        ),
        ("Length of an answer, tokens", lambda d: decimal(d["tokens"], 1), ""),
        ("Answers cut off", lambda d: share(d["cut_off"]), ""),
        ("Answers given more than once", lambda d: share(d["identical"]), "Word for word, to different questions."),
    ]
    rows: list[TableRow] = [
        {"label": label, "cells": [text(each[model]) for model in MODEL_NAMES], "note": remark}
        for label, text, remark in wanted
    ]
    return Table("The answers on the evaluation images", ["", *MODEL_NAMES.values()], rows)
