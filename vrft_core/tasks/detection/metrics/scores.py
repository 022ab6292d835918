"""Prediction rows → average precision under the LVIS and the COCO rules, each metric by its full name.

The definitions belong to `matching` and `average_precision`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, cast

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.evaluation.scores import Entry, MetricSpec, Scores
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics.average_precision import Matches
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores, ap_metric
from vrft_core.tasks.detection.metrics.matching import match
from vrft_core.tasks.detection.metrics.ranking import by_truth, ranked
from vrft_core.tasks.detection.settings import Settings
from vrft_core.tasks.task import Interval

RULES = ("lvis", "coco")
MEASURES = {
    "lvis": ("AP", "AP50", "AP75", "APr", "APc", "APf", "APtaught", "APuntaught"),
    "coco": ("AP", "AP50", "AP75", "APtaught", "APuntaught"),
}
LABELS = {
    "lvis/AP": "LVIS AP", "lvis/AP50": "AP50", "lvis/AP75": "AP75", "lvis/APr": "rare", "lvis/APc": "common",
    "lvis/APf": "frequent", "lvis/APtaught": "taught", "lvis/APuntaught": "untaught", "coco/AP": "COCO AP",
}  # fmt: skip


def metric_name(rules: str, presence: str, measure: str) -> str:
    """`lvis/oracle/AP`: how boxes are counted, how it was decided what to ask (`prompts.presence`), what it is."""
    return f"{rules}/{presence}/{measure}"


def specs(settings: Settings) -> list[MetricSpec]:
    """LVIS AP by the settings' presence rules decides."""
    return [ap_metric(metric_name(rules, settings.asked_by, one)) for rules in RULES for one in MEASURES[rules]]


def columns(settings: Settings) -> list[tuple[str, str]]:
    """(metric, label) of what tables show."""
    named = [(*key.split("/"), label) for key, label in LABELS.items()]
    return [(metric_name(rules, settings.asked_by, measure), label) for rules, measure, label in named]


def match_rows(
    truth: Annotations,
    rows: Sequence[Row],
    categories: Sequence[int],
    rules: Sequence[str] = RULES,
    absent: float = 1.0,
) -> dict[str, Matches]:
    """Match prediction rows once under each of the rules. `absent`: how often a box about something absent counts."""
    found = [detection for row in rows for detection in detections(row)]
    matches = {one: match(truth, found, one, list(categories)) for one in rules}
    if absent == 1.0:
        return matches
    there = [row["category_id"] in truth.category_ids(row["image_id"]) for row in rows for _ in row["boxes"]]
    weight = np.where(there, 1.0, absent)
    return {name: replace(one, weight=weight[one.row]) for name, one in matches.items()}


class CategoryDetails(TypedDict):
    AP: float | None
    frequency: str
    boxes: int


class Details(TypedDict):
    per_category: dict[str, CategoryDetails]  # by name
    presence: str
    ranking: str
    ranked_by: Mapping[str, Mapping[str, Entry]]  # ranking (stated, …, oracle) → metric, such as lvis/oracle/AP


def detections(row: Row) -> list[dict[str, Any]]:
    """The boxes of a prediction row as COCO results."""
    return [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": value,
        }
        for (x1, y1, x2, y2), value in zip(row["boxes"], row["scores"], strict=True)
    ]


def scores(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, taught: Collection[int] = ()
) -> Scores:
    """Boxes ranked as the settings say, under all rules.

    Where only a share of the absent categories is asked about, a box in such an answer counts 1 / share times: the
    expected AP is that of all questions (but for the ratio's own small bias).
    """
    matches = match_rows(truth, ranked(rows, settings.ranking), categories, absent=_weight(settings))
    return _named(matches, [spec.name for spec in specs(settings)], taught)


def _weight(settings: Settings) -> float:
    return 1 / settings.absent_share if settings.asked_by == "self" else 1.0


def _named(matches: dict[str, Matches], names: Sequence[str], taught: Collection[int] = ()) -> Scores:
    return cast(Scores, DetectionScores(matches, names, taught))  # cached properties are properties


def details(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, interval: Interval
) -> Details:
    """LVIS AP of each category, and AP by every ranking that the rows hold."""
    weight = _weight(settings)
    matches = {
        name: match_rows(truth, ordered, categories, absent=weight) for name, ordered in rankings(rows, truth).items()
    }
    if settings.ranking not in matches:
        ranked(rows, settings.ranking)  # says why it cannot be done
    lvis = matches[settings.ranking]["lvis"]
    headlines = [metric_name(rules, settings.asked_by, "AP") for rules in RULES]
    boxes = np.bincount(lvis.truth_category, minlength=len(lvis.categories)).tolist()
    rows_of = zip(lvis.average_precision()["per_category"].items(), lvis.categories, boxes, strict=True)
    return {
        "per_category": {
            name: {"AP": value, "frequency": category["frequency"], "boxes": count}
            for (name, value), category, count in rows_of
        },
        "presence": settings.asked_by,
        "ranking": settings.ranking,
        "ranked_by": interval({name: _named(each, headlines) for name, each in matches.items()}),
    }


def rankings(rows: Sequence[Row], truth: Annotations) -> dict[str, list[Row]]:
    """Name → rows with that ranking's scores: the stated confidence, what the rows hold beside it, and the truth's."""
    held = list(rows[0].get("rankings", {})) if rows else []
    return {name: ranked(rows, name) for name in ("stated", *held)} | {"oracle": by_truth(rows, truth)}
