"""Precision and recall: the curve under which AP50 is the area, and how many boxes are right, wrong, missing."""

from collections.abc import Mapping

import numpy as np

from vrft_core.report import charts, figures
from vrft_core.report.charts import Series
from vrft_core.report.panel import MODEL_NAMES, Inputs, Panel, Table
from vrft_core.report.rows import Figure, TableRow
from vrft_core.report.text import share
from vrft_core.tasks.detection.metrics.average_precision import FALSE, IGNORED, RECALLS, TRUE, Matches
from vrft_core.tasks.detection.panels.judging import Boxes, lies_on

MOST = 15  # confusions shown
TRAINING = (  # as `figures.HEALTH`
    "False alarms while RFT trained", "answers/false_alarm", "share of answers", (0, None),
    "Of the sampled answers to questions about something absent, the share that names a box.",
)  # fmt: skip
EVERY = 5  # of the 101 recalls: those that are drawn


def panel(inputs: Inputs, boxes: Mapping[str, Boxes]) -> Panel:
    figure = _chart({model: each.matches for model, each in boxes.items()})
    tables = [_counts(boxes), *_confusions(inputs, boxes), *_false_alarms(inputs, boxes)]
    return Panel(
        "precision",
        "Right and wrong boxes",
        ["A box is right if it overlaps an object of its category by half or more (IoU of 0.5); one box an object."],
        tables,
        [*([figure] if figure else []), *figures.logged(inputs.training["rft"].get("log", []), *TRAINING)],
        terms={
            "Precision and recall": "Of the boxes given, the share that is right; of the objects there, the share that "
            "has a box. More boxes raise recall and mostly lower precision.",
            "IoU": "Intersection over union: the shared area of two boxes divided by their joint area; 1 if equal.",
            "False alarm": "A box about something that is not in the image.",
        },
    )


def curve(matches: Matches) -> np.ndarray:
    """Precision at 101 recalls, the mean over categories that have objects, at an IoU of 0.5; their mean is AP50.

    As pycocotools has it: at each recall the highest precision at that recall or beyond.
    """
    outcome, found = matches.outcome[0, 0], []
    weight = np.ones(len(outcome)) if matches.weight is None else matches.weight
    for number in range(len(matches.categories)):
        objects = int((matches.truth_counted[0] & (matches.truth_category == number)).sum())
        if not objects:
            continue
        inside = slice(matches.starts[number], matches.starts[number + 1])
        true, false = outcome[inside] == TRUE, (outcome[inside] == FALSE) * weight[inside]
        right = np.cumsum(true)
        precision = right / np.maximum(right + np.cumsum(false), np.spacing(1))
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(right / objects, RECALLS, side="left")
        found.append(np.append(highest, 0.0)[np.minimum(place, len(highest))])
    return np.mean(found, axis=0) if found else np.empty(0)


def _chart(matches: Mapping[str, Matches]) -> Figure | None:
    series = []
    for model, each in matches.items():
        values = curve(each)
        points = (
            [(100 * r, 100 * p) for r, p in zip(RECALLS[::EVERY], values[::EVERY], strict=True)] if len(values) else []
        )
        series.append(Series(MODEL_NAMES[model], model, points))
    if not any(y for one in series for _, y in one.points):
        return None
    chart = charts.lines(
        "Precision by recall", series, "recall, % of the objects", "precision, % of the boxes",
        limits=(0, 100), x_limits=(0, 100), height=280,
    )  # fmt: skip
    caption = (
        "Read from left to right: taking boxes from the highest score down, how many are right while more objects are "
        "found. Mean over categories at an IoU of 0.5; the area under a curve is that model's AP50. A curve that "
        "ends early never finds the rest."
    )
    return figures.figure("Precision and recall", chart, caption)


def _counts(boxes: Mapping[str, Boxes]) -> Table:
    def row(label: str, values: list[str], note: str = "") -> TableRow:
        return {"label": label, "cells": values, "note": note}

    each = [boxes[model].matches for model in MODEL_NAMES]
    objects = [int(one.truth_counted[0].sum()) for one in each]
    right, wrong, ignored = (
        [int((one.outcome[0, 0] == kind).sum()) for one in each] for kind in (TRUE, FALSE, IGNORED)
    )
    missed = [of - found for of, found in zip(objects, right, strict=True)]
    given = [a + b for a, b in zip(right, wrong, strict=True)]
    rows = [
        row("Objects to be found", [f"{of:,}" for of in objects]),
        row("Right boxes (true positives)", [f"{n:,}" for n in right]),
        row("Wrong boxes (false positives)", [f"{n:,}" for n in wrong]),
        row("Objects missed (false negatives)", [f"{n:,}" for n in missed]),
        row("Precision of all boxes", [share(a / b) if b else "–" for a, b in zip(right, given, strict=True)]),
        row("Recall of all boxes", [share(a / b) if b else "–" for a, b in zip(right, objects, strict=True)]),
    ]
    if any(ignored):
        note = "Further boxes of a category that is not labelled exhaustively in their image."
        rows.insert(4, row("Boxes that count neither way", [f"{n:,}" for n in ignored], note))
    return Table("All boxes, whatever their score, at an IoU of 0.5", ["", *MODEL_NAMES.values()], rows)


def _confusions(inputs: Inputs, boxes: Mapping[str, Boxes]) -> list[Table]:
    """Wrong boxes that lie on an object of another category; none where there are none."""
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for model, each in boxes.items():
        for name, row in each.rows.items():
            for box, outcome in zip(row["boxes"], each.outcome[name], strict=True):
                if outcome == FALSE and (other := lies_on(inputs, row, box)) is not None:
                    found = counts.setdefault((row["category_id"], other), dict.fromkeys(MODEL_NAMES, 0))
                    found[model] += 1
    names = {i: category["name"].replace("_", " ") for i, category in inputs.truth.categories.items()}
    most = sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:MOST]
    rows: list[TableRow] = [
        {"label": f"{names[asked]} → {names[other]}", "cells": [f"{found[m]:,}" for m in MODEL_NAMES], "note": ""}
        for (asked, other), found in most
    ]
    head = ["Asked for → box lies on", *MODEL_NAMES.values()]
    caption = f"What was taken for what: boxes on an object of another category, the {len(rows)} most frequent"
    return [Table(caption, head, rows)] if rows else []


def _false_alarms(inputs: Inputs, boxes: Mapping[str, Boxes]) -> list[Table]:
    """Of the questions about an absent category, how many were answered with a box; none where none was asked."""
    asked: dict[int, int] = {}
    said: dict[int, dict[str, int]] = {}
    for model, each in boxes.items():
        for row in each.rows.values():
            category = row["category_id"]
            if category not in inputs.truth.category_ids(row["image_id"]):
                asked[category] = asked.get(category, 0) + (model == "base")
                found = said.setdefault(category, dict.fromkeys(MODEL_NAMES, 0))
                found[model] += bool(row["boxes"])
    if not asked:
        return []

    def cells(found: Mapping[str, int], of: int) -> list[str]:
        return [
            f"{of:,}",
            *(f"{found[m]:,} ({share(found[m] / of)})".replace(" %", "\N{NO-BREAK SPACE}%") for m in MODEL_NAMES),
        ]

    every = {m: sum(found[m] for found in said.values()) for m in MODEL_NAMES}
    rows: list[TableRow] = [{"label": "all categories", "cells": cells(every, sum(asked.values())), "note": ""}]
    for category, of in sorted(asked.items(), key=lambda item: (-sum(said[item[0]].values()), item[0])):
        if any(said[category].values()):
            label = inputs.truth.categories[category]["name"].replace("_", " ")
            rows.append({"label": label, "cells": cells(said[category], of), "note": ""})
    head = ["", "Asked", *MODEL_NAMES.values()]
    return [
        Table("False alarms: questions about something absent that were answered with a box", head, rows[: MOST + 1])
    ]
