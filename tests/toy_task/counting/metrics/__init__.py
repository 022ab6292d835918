"""Shares of images that were counted rightly (`count/exact`), or off by one at most (`count/near`)."""

import json
from collections import Counter
from collections.abc import Collection, Sequence

from vrft_core.annotations import Annotations
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.families.form import Form
from vrft_core.tasks.counting.answers import Row
from vrft_core.tasks.counting.settings import Settings
from vrft_core.tasks.task import Example

VALIDATION = "count/exact"
SPECS = (
    MetricSpec("count/exact", "exact counts", "share"),
    MetricSpec("count/near", "counts off by one at most", "share"),
)


def specs(settings: Settings) -> Sequence[MetricSpec]:
    """Exact counts decide."""
    return SPECS


def columns(settings: Settings) -> list[tuple[str, str]]:
    """(metric, label) of what tables show."""
    return [("count/exact", "exact"), ("count/near", "± 1")]


def off(truth: Annotations, row: Row) -> int | None:
    """How far a count is from the truth; None without one."""
    return None if row["count"] is None else abs(row["count"] - len(truth.by_image[row["image_id"]]))


def scores(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, taught: Collection[int] = ()
) -> RatioScores:
    """An image is one answer; there are no parts."""
    wrong = [off(truth, row) for row in rows]
    above = [[value == 0 for value in wrong], [value is not None and value <= 1 for value in wrong]]
    return RatioScores.of(SPECS, above, [[1.0] * len(rows)] * 2, [row["image_id"] for row in rows])


def details(truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, interval) -> dict:
    """→ {"by_count": {true count: {"images", "right" (share)}}}"""
    images = Counter(len(truth.by_image[row["image_id"]]) for row in rows)
    right = Counter(len(truth.by_image[row["image_id"]]) for row in rows if off(truth, row) == 0)
    return {"by_count": {str(n): {"images": images[n], "right": right[n] / images[n]} for n in sorted(images)}}


def validate(examples: Sequence[Example], rows: Sequence[Row], settings: Settings, form: Form) -> float:
    """Share of exact counts, in [0, 1]; 0 without examples."""
    found = [row["count"] == json.loads(one.truth)["count"] for one, row in zip(examples, rows, strict=True)]
    return sum(found) / len(found) if found else 0.0


def fit(rows: Sequence[Row], seen: Sequence[Row], train: Annotations, settings: Settings) -> None:
    """Nothing to fit."""
