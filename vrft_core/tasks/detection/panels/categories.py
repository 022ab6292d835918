"""AP by category: bars for each frequency group, and everything as a table."""

from collections.abc import Mapping
from typing import TypedDict

from vrft_core.report import charts, figures
from vrft_core.report.charts import Bars
from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs, Table
from vrft_core.report.rows import Figure, TableRow
from vrft_core.report.text import frequency_groups
from vrft_core.report.verdict import points
from vrft_core.tasks.detection.metrics.scores import Details

MOST_ROWS = 30  # categories in one chart; the table holds them all


class Category(TypedDict):
    frequency: str
    boxes: int
    few_shot: bool
    AP: dict[str, float | None]  # by model


def per_category(details: Mapping[str, Details], inputs: Inputs) -> dict[str, Category]:
    """By name. `details`: of each model."""
    named = {c["id"]: c["name"] for c in inputs.selection["categories"]}
    taught = {name for i, own in named.items() for name in (own, f"{own} ({i})")}
    each = {model: details[model]["per_category"] for model in MODELS}
    return {
        name: {
            "frequency": row["frequency"],
            "boxes": row["boxes"],
            "few_shot": name in taught,
            "AP": {model: each[model][name]["AP"] for model in MODELS},
        }
        for name, row in each["base"].items()
    }


def bars(per_category: Mapping[str, Category], frequencies: bool) -> list[Figure]:
    """Bars for each frequency group, where there are `frequencies`."""
    every = [
        Bars(
            name.replace("_", " "),
            {m: figures.times100(row["AP"][m]) for m in MODEL_NAMES},
            "★" if row["few_shot"] else "",
        )
        for name, row in per_category.items()
    ]
    high, room, found = charts.shared(every), charts.room(every), []
    for letter, title in frequency_groups(frequencies).items():
        rows = [
            (name, row) for name, row in per_category.items() if row["boxes"] and letter in (None, row["frequency"])
        ]
        if not rows:
            continue
        caption = "1 category." if len(rows) == 1 else f"{len(rows)} categories."
        if len(rows) > MOST_ROWS:
            rows = sorted(rows, key=lambda item: -_gap(item[1]))[:MOST_ROWS]
            caption += f" Shown: the {MOST_ROWS} where RFT and SFT differ most; the table below has them all."
        drawn = [
            Bars(
                name.replace("_", " "),
                {m: figures.times100(row["AP"][m]) for m in MODEL_NAMES},
                "★" if row["few_shot"] else "",
            )
            for name, row in sorted(rows, key=lambda item: item[0])
        ]
        found.append(figures.figure(title, charts.bars(title, drawn, MODEL_NAMES, "AP, points", high, room), caption))
    return found


def table(per_category: Mapping[str, Category], title: str, frequencies: bool) -> Table:
    rows: list[TableRow] = [
        {
            "label": f"{name}{' ★' if row['few_shot'] else ''}",
            "cells": [
                *([row["frequency"]] if frequencies else []),
                str(row["boxes"]),
                *(points(row["AP"][model]) for model in MODELS),
            ],
            "note": "",
        }
        for name, row in sorted(per_category.items())
    ]
    head = ["Category", *(["Group"] if frequencies else []), "Objects", *MODEL_NAMES.values()]
    return Table(f"{title} by category", head, rows, folded=True)


def _gap(row: Category) -> float:
    ap = row["AP"]
    return abs((ap["rft"] or 0) - (ap["sft"] or 0))
