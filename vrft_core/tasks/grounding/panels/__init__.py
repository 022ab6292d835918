"""What a report shows of grounding alone: kinds of expression beside chance, images, answers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vrft_core.report import charts, drawing, figures
from vrft_core.report.charts import Bars
from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs, Panel, Table
from vrft_core.report.plots import Plot, by_part
from vrft_core.report.rows import CellResults, Drawn, Figure, Shown, StudyResults, TableRow
from vrft_core.report.text import decimal, share
from vrft_core.report.verdict import points
from vrft_core.tasks.grounding.answers import Row
from vrft_core.tasks.grounding.metrics import Details, overlap, right, target

if TYPE_CHECKING:
    from vrft_core.tasks.grounding.diagnostics import Diagnosis

SUBJECT = "few-shot grounding"
WORDS = (
    "Accuracy is the share of expressions whose box overlaps the object that is meant by half or more (IoU of 0.5). "
    "Higher is better."
)
SMALL_PRINT = (
    "mIoU is the mean overlap, cIoU the summed intersections over the summed unions, so that large objects weigh more. "
    "Rejected: the share of expressions that mean nothing in their image and were answered with “No Objects”."
)


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
        found.append("The question offers “No Objects”, and some expressions mean nothing in their image.")
    return found


def cell(results: CellResults, inputs: Inputs, images: Path) -> list[Panel]:
    """Panels of one cell; `images` is the folder of the evaluation images."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    return [
        Panel(
            "kinds",
            "By kind of expression",
            ["★ marks kinds with few-shot examples. A bar below chance: the expression is misread or ignored."],
            [_kinds_table(details, inputs)],
            [_kinds_chart(details, inputs)],
        ),
        Panel(
            "pictures",
            "Images, before and after",
            ["Chosen at random. The dashed box is what is meant; an answer is right at an IoU of 0.5 or more."],
            gallery=_gallery(inputs, images, results["seed"]),
        ),
        Panel("answers", "The answers", [], [_answers(each)]),
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


def _kinds_table(details: Mapping[str, Details], inputs: Inputs) -> Table:
    taught = _taught(inputs)
    rows: list[TableRow] = [
        {
            "label": f"{name}{' ★' if name in taught else ''}",
            "cells": [
                f"{kind['questions']:,}",
                points(kind["chance"]),
                *(points(details[model]["per_kind"][name]["accuracy"]) for model in MODELS),
                *(points(details[model]["per_kind"][name]["mIoU"]) for model in MODELS),
            ],
            "note": "",
        }
        for name, kind in details["base"]["per_kind"].items()
    ]
    names = list(MODEL_NAMES.values())
    head = ["Kind", "Expressions", "Chance", *names, *(f"{name}, mIoU" for name in names)]
    return Table("Accuracy and mean IoU by kind of expression, points of 100", head, rows, folded=True)


def _gallery(inputs: Inputs, images: Path, seed: int) -> list[Shown]:
    pairs = {name: (row["image_id"], row["category_id"]) for name, row in inputs.rows["base"].items()}
    entries: list[Shown] = []
    licences = inputs.licences()
    for number, name in enumerate(drawing.choose(pairs, inputs.taught, seed)):
        row: Row = inputs.rows["base"][name]
        image = inputs.truth.images[row["image_id"]]
        one = drawing.picture(number, images / image["file_name"], (image["width"], image["height"]))
        entries.append(
            {
                "label": row["expression"],
                "few_shot": row["category_id"] in inputs.taught,
                "picture": one.store,
                "panels": [_panel(one, inputs, inputs.rows[model][name], model) for model in MODEL_NAMES],
                "credit": drawing.credit(image, licences),
            }
        )
    return entries


def _panel(one: drawing.Picture, inputs: Inputs, row: Row, model: str) -> Drawn:
    true, box = target(inputs.truth, row), row["box"]
    mark = "right" if right(inputs.truth, row) else "wrong"
    if true is not None and box is not None:
        mark += f", IoU {overlap(inputs.truth, row):.2f}"
    elif box is None:
        mark += ", “No Objects”" if row["says_none"] else ", no box"
    spoken = f"{MODEL_NAMES[model]}, asked for {row['expression']}: {mark}."
    said = [] if box is None else [(box, None)]
    return {
        "name": MODEL_NAMES[model],
        "css": model,
        "svg": drawing.boxes_over(one, [] if true is None else [true], said, model, spoken),
        "caption": mark,
        "completion": drawing.printable(row["completion"]),
    }


def _answers(each: "Mapping[str, Diagnosis]") -> Table:
    wanted: list[tuple[str, Callable[[Diagnosis], str], str]] = [
        (
            "Answers with a fault of form",
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
