"""Tables of what the answers look like, and of how certain they are, with a chart. Nothing is computed here."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vrft_core.evaluation.statistics import Bin
from vrft_core.report import charts, figures
from vrft_core.report.charts import Series
from vrft_core.report.panel import MODEL_NAMES, Table
from vrft_core.report.rows import Figure, TableRow
from vrft_core.report.text import decimal, share

if TYPE_CHECKING:
    from vrft_core.tasks.classification.diagnostics import Diagnosis

FEWEST = 10  # names behind a point


def tables(each: "Mapping[str, Diagnosis]") -> list[Table]:
    """`each`: model → its diagnostics."""

    def row(label: str, text: "Callable[[Diagnosis], str]", note: str = "") -> TableRow:
        return {"label": label, "cells": [text(each[model]) for model in MODEL_NAMES], "note": note}

    rows = [
        row(
            "Answers in a wrong format",
            lambda d: share(d["answers_with_reasons"]),
            "Not written exactly as asked; what could be read was used. Each fault that occurred is listed below.",
        )
    ]
    for reason in sorted({reason for d in each.values() for reason in d["reasons"]}):
        rows.append(row(f"· {reason.replace('_', ' ')}", lambda d, r=reason: f"{d['reasons'].get(r, 0):,}"))
    rows += [
        row("Answers without a name", lambda d: share(d["names"]["empty"])),
        row(
            "Names of no class",
            lambda d: share(d["names"]["unknown"]),
            "Of the names given: neither a class's own name nor a synonym.",
        ),
        row("Different names given", lambda d: f"{d['names']['different']:,}"),
        row(
            "Share of the most frequent name",
            lambda d: share(d["names"]["one_name"]),
            "If it is far above the share of any class, the model says it whatever the image shows.",
        ),
        row("Length of a name, characters", lambda d: decimal(d["names"]["length"], 1)),
        row("Length of an answer, tokens", lambda d: decimal(d["tokens"], 1)),
        row("Answers cut off", lambda d: share(d["cut_off"]), "No end to the answer or to the thought."),
    ]
    if any(d["identical_samples"] is not None for d in each.values()):
        rows.append(
            row(
                "Questions whose sampled answers are all alike",
                lambda d: share(d["identical_samples"]),
                "All equal the greedy answer: RFT finds nothing to prefer there.",
            )
        )
    certain = [
        row("Mean", lambda d: decimal(d["certainty"]["mean"])),
        row(
            "Calibration error (ECE)",
            lambda d: decimal(d["certainty"]["calibration"]["ece"]),
            "Mean gap between the probability and how often the name is right; 0 is perfect.",
        ),
        row(
            "Tells right from wrong (AUROC)",
            lambda d: decimal(d["certainty"]["auroc"]),
            "Chance that a right name is more probable than a wrong one; 0.5 is a coin toss.",
        ),
    ]
    head = ["", *MODEL_NAMES.values()]
    return [
        Table("The answers on the evaluation images", head, rows),
        Table("The probability the models give to the names they write", head, certain),
    ]


def reliability(each: "Mapping[str, Diagnosis]") -> list[Figure]:
    """How often names of a certain probability are right; none where no model has two points."""
    curves = [
        Series(MODEL_NAMES[model], model, _points(each[model]["certainty"]["calibration"]["bins"]))
        for model in MODEL_NAMES
    ]
    if not any(len(curve.points) > 1 for curve in curves):
        return []
    title, ideal = "Is the probability calibrated?", Series("calibrated", "s6", [(0, 0), (100, 100)], marks=False)
    chart = charts.lines(
        title, [*curves, ideal], "probability of the name, %", "names that are right, %",
        limits=(0, 100), x_limits=(0, 100), height=280,
    )  # fmt: skip
    caption = (
        "Of the names written with a certain probability, how many are right. Below the diagonal the model is too "
        f"sure. Points rest on {FEWEST} names or more."
    )
    return [figures.figure(title, chart, caption)]


def _points(bins: Sequence[Bin]) -> list[tuple[float, float]]:
    return [
        (100 * one["confidence"], 100 * one["precision"])
        for one in bins
        if one["boxes"] >= FEWEST and one["confidence"] is not None and one["precision"] is not None
    ]
