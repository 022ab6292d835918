"""Accuracy by class: bars for each frequency group, and everything as a table."""

from collections.abc import Mapping
from typing import TypedDict

from vrft_core.report import charts, figures
from vrft_core.report.charts import Bars
from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs, Table
from vrft_core.report.rows import Figure, TableRow
from vrft_core.report.text import frequency_groups
from vrft_core.report.verdict import points
from vrft_core.tasks.classification.metrics.scores import Details

MOST_ROWS = 30  # classes in one chart; the table holds them all


class Class(TypedDict):
    frequency: str
    images: int
    few_shot: bool
    accuracy: dict[str, float]  # by model
    passed: float | None  # pass@k of the untouched model


def per_class(details: Mapping[str, Details], inputs: Inputs) -> dict[str, Class]:
    """By name. `details`: of each model."""
    each = {model: details[model]["per_class"] for model in MODELS}
    return {
        name: {
            "frequency": row["frequency"],
            "images": row["images"],
            "few_shot": row["category_id"] in inputs.taught,
            "accuracy": {model: each[model][name]["strict"] for model in MODELS},
            "passed": row["pass"],
        }
        for name, row in each["base"].items()
    }


def about(per_class: Mapping[str, Class]) -> str:
    few = sum(row["few_shot"] for row in per_class.values())
    rest = "; the others were not trained on and show what was kept or lost" if few < len(per_class) else ""
    counts = sorted({row["images"] for row in per_class.values()})
    images = " to ".join(str(count) for count in dict.fromkeys([counts[0], counts[-1]]))
    return (
        f"★ marks the {few} classes with few-shot examples{rest}. A single class's accuracy rests on "
        f"{images} images: differences in a single class are often chance."
    )


def bars(per_class: Mapping[str, Class], frequencies: bool) -> list[Figure]:
    """Bars for each frequency group, where there are `frequencies`."""
    every = [Bars(name, {}, "★" if row["few_shot"] else "") for name, row in per_class.items()]
    found = []
    for letter, title in frequency_groups(frequencies).items():
        rows = [(name, row) for name, row in per_class.items() if letter in (None, row["frequency"])]
        if not rows:
            continue
        caption = "1 class." if len(rows) == 1 else f"{len(rows)} classes."
        if len(rows) > MOST_ROWS:
            rows = sorted(rows, key=lambda item: -_gap(item[1]))[:MOST_ROWS]
            caption += f" Shown: the {MOST_ROWS} where RFT and SFT differ most; the table below has them all."
        drawn = [
            Bars(
                name,
                {model: figures.times100(row["accuracy"][model]) for model in MODEL_NAMES},
                "★" if row["few_shot"] else "",
            )
            for name, row in sorted(rows)
        ]
        chart = charts.bars(title, drawn, MODEL_NAMES, "accuracy, per cent", 100, charts.room(every))
        found.append(figures.figure(title, chart, caption))
    return found


def table(per_class: Mapping[str, Class], samples: int, frequencies: bool) -> Table:
    drawn = [f"Base, pass@{samples}"] if samples else []
    rows: list[TableRow] = [
        {
            "label": f"{name}{' ★' if row['few_shot'] else ''}",
            "cells": [
                *([row["frequency"]] if frequencies else []),
                str(row["images"]),
                *(points(row["accuracy"][model]) for model in MODELS),
                *([points(row["passed"])] if samples else []),
            ],
            "note": "",
        }
        for name, row in sorted(per_class.items())
    ]
    head = ["Class", *(["Group"] if frequencies else []), "Images", *MODEL_NAMES.values(), *drawn]
    return Table("Accuracy by class", head, rows, folded=True)


def _gap(row: Class) -> float:
    return abs(row["accuracy"]["rft"] - row["accuracy"]["sft"])
