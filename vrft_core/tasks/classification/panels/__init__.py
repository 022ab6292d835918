"""What a report shows of classification alone: classes, confusions, images, answers."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vrft_core.report.gallery import CHOSEN, gallery
from vrft_core.report.judged import panel
from vrft_core.report.panel import MODEL_NAMES, Inputs, Panel
from vrft_core.report.plots import Plot, by_part, reliability
from vrft_core.report.rows import CellResults, StudyResults
from vrft_core.report.silence import Silence
from vrft_core.tasks.classification.answers import normalised
from vrft_core.tasks.classification.metrics.scores import Details
from vrft_core.tasks.classification.panels import answers, classes, confusions
from vrft_core.tasks.classification.panels.judging import FAILURES, RIGHT, judge, see

if TYPE_CHECKING:
    from vrft_core.tasks.classification.diagnostics import Diagnosis

SUBJECT = "few-shot classification"
WORDS = (
    "Accuracy is the share of images that are called by the right name. 100 is perfect; a wrong name, two names, or "
    "none count 0."
)
SMALL_PRINT = (
    "A name is right if it is the class's own or a synonym; capitals, hyphens and articles do not matter. “Mean over "
    "classes” counts each class alike, however many images it has. Taught classes have few-shot examples; the others "
    "show what was kept, and the harmonic mean of the two is high only if both are. pass@k, where it is shown, is the "
    "share of images with a right name among k sampled answers. “As published” is the rule of the Visual-RFT paper: a "
    "part of a name is right, and so is an empty answer; it knows no synonyms. To be compared with the paper's numbers "
    "alone."
)

LISTED = {  # what the question named → the small print of a summary, the same in a sentence
    False: (
        "Open questions: no list of classes.",
        "The question names no class: the model has to find the name itself.",
    ),
    True: ("The question listed all classes.", "The question listed the names of all classes."),
    "halves": (
        "The question listed one half: the taught classes or the others.",
        "Asked about an image of a taught class, the question listed the taught classes, else the others.",
    ),
}


def note(details: Details) -> str:
    """One line for the small print of a summary."""
    return f"{LISTED[details['class_list']][0]} Strict accuracy; the lenient one is the published rule."


def how(details: Details) -> list[str]:
    """How it was measured, in sentences."""
    told = LISTED[details["class_list"]][1]
    lines = [
        f"Each model was asked once about each image, what it shows. {told}",
        "An answer is right (strictly) if all of it is the class's name or one of its synonyms, whatever the capitals, "
        "hyphens and articles. The lenient rule is the published one and is shown beside it, never mixed with it.",
    ]
    if details["samples"]:
        lines.append(
            f"Each question was answered {details['samples']} more times, sampled at temperature 1. pass@1 is the "
            f"share of these answers that are right, pass@{details['samples']} the share of images with a right one "
            "among them: RFT can only reinforce what is sometimes said."
        )
    return lines


def silence(inputs: Inputs, model: str) -> Silence:
    """Answers without a name. Every image shows something."""
    rows = list(inputs.rows[model].values())
    silent = sum(not normalised(row["said"]) for row in rows)
    return Silence("gives no name", len(rows), silent, len(rows), silent)


def cell(results: CellResults, inputs: Inputs, images: Path) -> list[Panel]:
    """Panels of one cell; `images` is the folder of the evaluation images."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    per_class = classes.per_class(details, inputs)
    judged = judge(inputs)
    return [
        panel(judged, RIGHT, FAILURES),
        Panel(
            "pictures",
            "Images, before and after",
            [
                "In quotes what the image shows, below it what each model called it. Choose which questions to see, "
                "and an image to enlarge it, with the question and every answer word for word.",
                CHOSEN,
            ],
            gallery=gallery(inputs, judged, images, results["seed"], partial(see, inputs), boxes=False),
        ),
        Panel("confusions", "What was taken for what", [confusions.ABOUT], confusions.tables(inputs)),
        Panel(
            "classes",
            "By class",
            [classes.about(per_class)],
            [classes.table(per_class, details["base"]["samples"], inputs.frequencies)],
            classes.bars(per_class, inputs.frequencies),
        ),
        Panel("answers", "The answers and their confidence", [], answers.tables(each), answers.reliability(each)),
    ]


def plots(results: CellResults, inputs: Inputs) -> list[Plot]:
    """Accuracy by class, and whether the model's certainty is calibrated."""
    details = cast(Mapping[str, Details], results["details"])
    each = cast("Mapping[str, Diagnosis]", results["diagnostics"])
    named = {name: row["accuracy"] for name, row in classes.per_class(details, inputs).items()}
    bins = {model: each[model]["certainty"]["calibration"]["bins"] for model in MODEL_NAMES}
    return [
        by_part("classes", "accuracy, per cent, by class", named),
        reliability("probability of the answer", "answers that are right", bins),
    ]


def study(results: StudyResults) -> list[Panel]:
    """Nothing beside what every study shows."""
    return []
