"""What is measured of grounding: whether the box hits its target, how well it fits, and whether it is left out rightly.

| metric                    | over                         | is                                                     |
|---------------------------|------------------------------|--------------------------------------------------------|
| `grounding/accuracy_0.5`  | expressions with a target    | share with an IoU of 0.5 or more                       |
| `grounding/mIoU`          | expressions with a target    | mean IoU, 0 for no box                                 |
| `grounding/cIoU`          | expressions with a target    | summed intersections / summed unions, in pixels        |
| `rejection/accuracy`      | expressions without a target | share answered with 'No Objects'                       |

Masks, gIoU and cIoU by LISA's rules are for logs of answers (`commands`, `overlap`).
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, TypedDict

import numpy as np

from vrft_core.annotations import Annotations, xyxy
from vrft_core.boxes import iou, xywh
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.families.form import Form
from vrft_core.tasks.grounding.answers import Row
from vrft_core.tasks.grounding.metrics.overlap import box_areas
from vrft_core.tasks.grounding.settings import Settings
from vrft_core.tasks.task import Example, Interval

HIT = 0.5  # IoU from which a box is right
VALIDATION = "grounding/right"  # a hit, or 'No Objects' where nothing is meant
SPECS = (
    MetricSpec("grounding/accuracy_0.5", "grounding accuracy at IoU 0.5", "share"),
    MetricSpec("grounding/mIoU", "grounding mean IoU", "mean"),
    MetricSpec("grounding/cIoU", "grounding cumulative IoU", "mean"),
    MetricSpec("rejection/accuracy", "rejection accuracy", "share"),
)


def specs(settings: Settings) -> Sequence[MetricSpec]:
    """Accuracy at IoU 0.5 decides."""
    return SPECS


def columns(settings: Settings) -> list[tuple[str, str]]:
    """(metric, label) of what tables show."""
    shown = [("grounding/accuracy_0.5", "IoU ≥ 0.5"), ("grounding/mIoU", "mIoU"), ("grounding/cIoU", "cIoU")]
    return [*shown, ("rejection/accuracy", "rejected")] if settings.rejection else shown


def scores(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, taught: Collection[int] = ()
) -> RatioScores:
    """By kind of expression."""
    targets = [target(truth, row) for row in rows]
    there = np.array([box is not None for box in targets], dtype=float)
    each, intersection, union = box_areas([row["box"] for row in rows], [box or [0, 0, 0, 0] for box in targets])
    rejected = [float(row["says_none"]) for row in rows]
    above = [(each >= HIT) * there, each * there, intersection * there, rejected * (1 - there)]
    below = [there, there, union * there, 1 - there]
    kinds = sorted(categories)
    return RatioScores.of(
        SPECS, above, below, [row["image_id"] for row in rows], [kinds.index(row["category_id"]) for row in rows]
    )


def target(truth: Annotations, row: Row) -> list[float] | None:
    """xyxy pixels of what a row's expression means; None where it means nothing."""
    found = annotation(truth, row)
    return None if found.get("absent") else xyxy(found["bbox"])


def annotation(truth: Annotations, row: Row) -> dict[str, Any]:
    """The expression that a row answers, as the annotations have it."""
    return next(one for one in truth.by_image[row["image_id"]] if one["id"] == row["annotation_id"])


class KindDetails(TypedDict):
    questions: int
    accuracy: float  # this and mIoU: rejection accuracy where nothing is meant
    mIoU: float
    chance: float | None


class Details(TypedDict):
    per_kind: dict[str, KindDetails]
    chance: float | None
    pass_at: dict[str, float]  # k → share right in k drawn answers
    rejection: bool


def details(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, interval: Interval
) -> Details:
    """Chance: how often an answer that looks for the category alone would be right, where the data say so."""
    per_kind: dict[str, KindDetails] = {}
    for category in sorted(categories):
        about = [row for row in rows if row["category_id"] == category]
        if not about:
            continue
        chances = [annotation(truth, row).get("chance") for row in about]
        known = [chance for chance in chances if chance is not None]
        per_kind[truth.categories[category]["name"]] = {
            "questions": len(about),
            "accuracy": float(np.mean([right(truth, row) for row in about])),
            "mIoU": float(np.mean([overlap(truth, row) for row in about])),
            "chance": float(np.mean(known)) if known else None,
        }
    asked = [row for row in rows if target(truth, row) is not None]
    chances = [chance for row in asked if (chance := annotation(truth, row).get("chance")) is not None]
    return {
        "per_kind": per_kind,
        "chance": float(np.mean(chances)) if chances else None,
        "pass_at": pass_at(truth, rows),
        "rejection": settings.rejection,
    }


def overlap(truth: Annotations, row: Row) -> float:
    """IoU with the target; 1 for 'No Objects' where nothing is meant, else 0."""
    true = target(truth, row)
    if true is None:
        return float(row["says_none"])
    return _iou(row["box"], true)


def right(truth: Annotations, row: Row) -> bool:
    """Whether the target is hit, or rightly rejected."""
    return overlap(truth, row) >= HIT


def pass_at(truth: Annotations, rows: Sequence[Row]) -> dict[str, float]:
    """k → share of questions with a right one among k drawn answers (all that were drawn); empty without any."""
    drawn = [row for row in rows if row.get("drawn")]
    if not drawn:
        return {}
    found = []
    for row in drawn:
        true = target(truth, row)
        none, boxes = row.get("drawn_none", []), row.get("drawn", [])
        found.append(any(none) if true is None else any(_iou(box, true) >= HIT for box in boxes))
    return {str(len(drawn[0].get("drawn", []))): float(np.mean(found))}


def _iou(box: Sequence[float] | None, true: Sequence[float]) -> float:
    return 0.0 if box is None else float(iou(xywh([box]), xywh([true]))[0])


def validate(examples: Sequence[Example], rows: Sequence[Row], settings: Settings, form: Form) -> float:
    """Share of right answers, in [0, 1]."""
    found = []
    for example, row in zip(examples, rows, strict=True):
        box = json.loads(example.truth)["box"]
        if box is None:
            found.append(row["says_none"])
        else:
            found.append(_iou(row["box"], form.frame(example.width, example.height).to_pixels(box)) >= HIT)
    return float(np.mean(found))


def fit(rows: Sequence[Row], seen: Sequence[Row], train: Annotations, settings: Settings) -> None:
    """Nothing to fit."""
