"""What a report shows of detection alone: rankings, categories, images, answers."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vrft_core.evaluation.statistics import mean
from vrft_core.report.gallery import CHOSEN, gallery
from vrft_core.report.judged import panel
from vrft_core.report.panel import MODEL_NAMES, Inputs, Panel, Table
from vrft_core.report.plots import Plot, by_part
from vrft_core.report.plots import reliability as reliability_plot
from vrft_core.report.rows import CellResults, Measured, Results, StudyResults, TableRow
from vrft_core.report.silence import Silence
from vrft_core.report.verdict import points
from vrft_core.tasks.detection.metrics.scores import Details
from vrft_core.tasks.detection.panels import answers, categories, precision_recall, reliability
from vrft_core.tasks.detection.panels.judging import FAILURES, RIGHT, Boxes, judge
from vrft_core.tasks.detection.panels.seeing import see

if TYPE_CHECKING:
    from vrft_core.tasks.detection.diagnostics import Diagnosis

SUBJECT = "few-shot object detection"
WORDS = (
    "AP (average precision) sums up in one number, from 0 to 100, how many objects are found, how exactly they are "
    "framed, and whether confident answers are right more often than others. Higher is better."
)
SMALL_PRINT = (
    "LVIS AP averages over IoU thresholds from 0.50 to 0.95; AP50 and AP75 use one. COCO AP follows the other "
    "established definition; it counts every box, LVIS only those in images checked for that category. "
    "Taught categories have few-shot examples; the others show what was kept, lost or gained."
)
BANDS = {"Rare, common, frequent": "LVIS's groups of categories: in 1 to 10 training images, in 11 to 100, in more."}
RANKINGS = {
    "stated": "the confidence it states",
    "likelihood": "the probability of the numbers it wrote",
    "certainty": "how sure it was of the box's coordinates",
    "combined": "the IoU predicted from what it says and how sure it was",
    "consistency": "how well it agrees with its sampled answers",
    "oracle": "the truth: the ceiling",
}
PRESENCE = {
    "oracle": "Each model was asked, one category at a time, for every category truly present in an image (the "
    "“oracle” presence protocol). It is never asked for what is not there, so false alarms about absent "
    "categories cost nothing; real use is harder.",
    "self": "Each model was asked, one category at a time, for every category that is known to be in an image or "
    "known not to be (the “self” presence protocol). It had to say itself that nothing is there; a box about "
    "something absent counts as wrong.",
    "map": "Each model was asked, one category at a time, for the categories that another model had claimed to "
    "see in an image (the “map” presence protocol, the paper's). What the map misses no model can find, and "
    "where the map is wrong every model is asked about something absent.",
}
RANKED = {
    "stated": "the confidence the model states",
    "likelihood": "their likelihood, the mean probability the model gave to the numbers it wrote down for them",
    "certainty": "the model's certainty about a box's coordinates (low entropy of the four numbers it wrote); "
    "the confidence the model states is kept beside it",
    "combined": "the IoU predicted from the confidence stated, the model's certainty and the box's size, fitted "
    "for each model on its answers about labelled training images, more of them than the few it was taught",
    "consistency": "how well they agree with the boxes of answers drawn at random from the same model",
}


def note(details: Details) -> str:
    """One line for the small print of a summary."""
    return f"Presence protocol `{details['presence']}`, boxes ranked by `{details['ranking']}`."


def how(details: Details) -> list[str]:
    """How it was measured, in sentences."""
    return [
        PRESENCE[details["presence"]],
        f"Boxes are ranked by {RANKED[details['ranking']]} (ranking “{details['ranking']}”).",
    ]


def silence(inputs: Inputs, model: str) -> Silence:
    """Answers without a box."""
    rows = list(inputs.rows[model].values())
    silent = [not row["boxes"] for row in rows]
    present = [bool(inputs.truth.boxes(row["image_id"], row["category_id"])) for row in rows]
    both = sum(a and b for a, b in zip(silent, present, strict=True))
    return Silence("names no object", len(rows), sum(silent), sum(present), both)


def cell(results: CellResults, inputs: Inputs, images: Path) -> list[Panel]:
    """Panels of one cell; `images` is the folder of the evaluation images."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    per_category = categories.per_category(details, inputs)
    boxes = {model: Boxes.of(inputs, model) for model in MODEL_NAMES}
    judged = judge(inputs, boxes)
    stated = {model: each[model]["confidence"]["calibration"]["bins"] for model in MODEL_NAMES}
    ranking = details["base"]["ranking"]
    return [
        panel(judged, RIGHT, FAILURES),
        Panel(
            "pictures",
            "Images, before and after",
            [
                "Each model was asked for one category at a time. Choose below which questions to see, and an image to "
                "enlarge it, with the question, every answer word for word, and the scores of each box. "
                f"Boxes are numbered by the score that ranks them ({ranking}); all stand beside the large image.",
                CHOSEN,
            ],
            gallery=gallery(inputs, judged, images, results["seed"], partial(see, inputs, boxes)),
        ),
        precision_recall.panel(inputs, boxes),
        Panel(
            "categories",
            "By category",
            [_about_categories(results["measured"])],
            [categories.table(per_category, results["verdict"]["title"], inputs.frequencies)],
            categories.bars(per_category, inputs.frequencies),
            terms=BANDS if inputs.frequencies else {},
        ),
        _rankings([details], results),
        Panel(
            "answers",
            "The answers and their confidence",
            reliability.about(stated),
            answers.tables(each),
            reliability.reliability(stated, boxes, ranking),
        ),
    ]


def study(results: StudyResults) -> list[Panel]:
    """Panels of a study."""
    return [_rankings(cast(list[Mapping[str, Details]], results["details"]), results)]


def plots(results: CellResults, inputs: Inputs) -> list[Plot]:
    """AP by category, and whether the stated confidence is calibrated."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    per_category = categories.per_category(details, inputs)
    named = {name.replace("_", " "): row["AP"] for name, row in per_category.items() if row["boxes"]}
    bins = {model: each[model]["confidence"]["calibration"]["bins"] for model in MODEL_NAMES}
    return [
        by_part("categories", f"{results['verdict']['title']}, points, by category", named),
        reliability_plot("stated confidence", "boxes that are right", bins),
    ]


def _about_categories(measured: Measured) -> str:
    few, every = measured["few_shot_categories"], measured["categories"]
    rest = "; the others were not trained on and show what was kept, lost or gained" if every > few else ""
    return (
        f"★ marks the {few} categories with few-shot examples{rest}. A single category's AP rests on few objects: "
        "differences in a single category are often chance."
    )


def _rankings(each: list[Mapping[str, Details]], results: Results) -> Panel:
    """AP of each model, the mean over seeds: by stated confidence, as chosen, and by the truth."""
    chosen, metric = each[0]["base"]["ranking"], results["verdict"]["metric"]
    rows: list[TableRow] = []
    for name in dict.fromkeys(["stated", chosen, "oracle"]):
        cells = []
        for model in MODEL_NAMES:
            values = [one[model]["ranked_by"][name][metric]["value"] for one in each]
            cells.append(points(mean(values) if None not in values else None))
        used = "used in all other tables" if name == chosen else ""
        rows.append({"label": RANKINGS[name], "cells": cells, "note": used})
    caption = f"{results['verdict']['title']}, points of 100"
    return Panel(
        "rankings",
        "The same boxes, ranked in different ways",
        [],
        [Table(caption, ["Boxes ranked by", *MODEL_NAMES.values()], rows)],
        terms={
            "Ceiling": "Ranked by the truth: what the same boxes would score if the model knew how well each of them "
            "fits. No ranking can do better.",
            "Certainty": "How sure the model was of a box's coordinates, from the probabilities of the numbers that it "
            "wrote; in [0, 1].",
        },
    )
