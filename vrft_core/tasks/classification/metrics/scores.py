"""Prediction rows → accuracies as `Scores`, each by its full name.

| metric             | what it is                                                                                |
|--------------------|-------------------------------------------------------------------------------------------|
| accuracy/strict    | share of images that were called by a name of their class (`answers.same`)               |
| accuracy/macro     | the same, the mean over classes                                                           |
| accuracy/taught    | the same, of images whose class has few-shot examples                                     |
| accuracy/untaught  | of the other images: what was kept                                                        |
| accuracy/harmonic  | harmonic mean of these two, as base-to-new comparisons use it (CoCoOp, arXiv 2203.05557)  |
| accuracy/lenient   | share by Visual-RFT's rule, which takes parts of names (`accuracy.published_same`)        |
| pass/1, pass/k     | of k sampled answers: share that is right; share of images with a right one among them    |
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypedDict

import numpy as np

from vrft_core.annotations import Annotations, spoken
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.tasks.classification.answers import Row, same
from vrft_core.tasks.classification.metrics.accuracy import Confusion, Judged, confusions, published_same
from vrft_core.tasks.classification.settings import Settings
from vrft_core.tasks.task import Interval

TAUGHT, UNTAUGHT, HARMONIC = "accuracy/taught", "accuracy/untaught", "accuracy/harmonic"
CONFUSIONS = 30  # kept of a model


def specs(settings: Settings) -> list[MetricSpec]:
    """Strict accuracy decides."""
    return [
        MetricSpec("accuracy/strict", "accuracy", "share"),
        MetricSpec("accuracy/macro", "accuracy averaged over classes", "macro"),
        MetricSpec(TAUGHT, "accuracy on taught classes", "share"),
        MetricSpec(UNTAUGHT, "accuracy on untaught classes", "share"),
        MetricSpec(HARMONIC, "harmonic mean of taught and untaught", "mean"),
        *(
            MetricSpec(f"pass/{k}", f"a right answer among {k} sampled", "share" if k > 1 else "mean")
            for k in _draws(settings)
        ),
        MetricSpec("accuracy/lenient", "accuracy as Visual-RFT counts", "share"),
    ]


def columns(settings: Settings) -> list[tuple[str, str]]:
    """(metric, label) of what tables show. Lenient accuracy stands last: it does not compare with the others."""
    return [
        ("accuracy/strict", "accuracy"),
        ("accuracy/macro", "mean over classes"),
        (TAUGHT, "taught classes"),
        (UNTAUGHT, "untaught classes"),
        (HARMONIC, "harmonic mean"),
        *((f"pass/{k}", f"pass@{k}") for k in _draws(settings)),
        ("accuracy/lenient", "as published (lenient)"),
    ]


def _draws(settings: Settings) -> list[int]:
    return sorted({1, settings.samples}) if settings.samples else []


@dataclass(frozen=True)
class ClassScores(RatioScores):
    """Accuracies of one model; the parts are the classes. The harmonic mean is computed from two ratios."""

    def values(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[..., M], NaN where nothing counts."""
        found = super().values(weights)
        at = {metric.name: index for index, metric in enumerate(self.metrics)}
        found[..., at[HARMONIC]] = harmonic(found[..., at[TAUGHT]], found[..., at[UNTAUGHT]])
        return found


def harmonic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """NaN where one of the two is; 0 where one is 0."""
    total = one + other
    return np.divide(2 * one * other, total, out=np.zeros_like(total), where=total != 0)


def scores(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, taught: Collection[int] = ()
) -> ClassScores:
    """Taught and untaught classes are told apart where there are both. A row without samples counts for no pass/k."""
    place = {category: number for number, category in enumerate(categories)}
    rows = [row for row in rows if row["category_id"] in place]
    shown = [row["category_id"] for row in rows]
    judged = judge(truth, rows)
    strict, lenient = (np.array([row[i] for row in judged], dtype=float) for i in (2, 3))
    ones = np.ones(len(rows))
    known = np.array([category in set(taught) for category in shown], dtype=float)
    divided = 0 < known.sum() < len(rows)
    groups = {TAUGHT: known * divided, UNTAUGHT: (1 - known) * divided, HARMONIC: ones * divided}
    drawn = drawn_right(truth, rows)
    sampled = np.array([bool(one) for one in drawn], dtype=float)
    parts = {
        "accuracy/strict": (strict, ones),
        "accuracy/macro": (strict, ones),
        "accuracy/lenient": (lenient, ones),
        **{name: (strict * group, group) for name, group in groups.items()},
        "pass/1": (np.array([np.mean(one) if one else 0 for one in drawn]), sampled),
    }
    if settings.samples > 1:
        parts[f"pass/{settings.samples}"] = (np.array([any(one) for one in drawn], dtype=float), sampled)
    wanted = specs(settings)
    above, below = zip(*(parts[spec.name] for spec in wanted), strict=True)
    return ClassScores.of(
        wanted, above, below, [row["image_id"] for row in rows], [place[category] for category in shown]
    )


def judge(truth: Annotations, rows: Iterable[Row]) -> list[Judged]:
    """As `accuracy.judge`, of prediction rows: their text is not needed."""
    found = []
    for row in rows:
        names = spoken(truth.categories[row["category_id"]])
        said = row["said"]
        found.append((names[0], said, same(said, names), published_same(row["published"], names[0])))
    return found


def drawn_right(truth: Annotations, rows: Iterable[Row]) -> list[list[bool]]:
    """Of each row's sampled answers, which are right; empty where none were drawn."""
    return [
        [same(said, spoken(truth.categories[row["category_id"]])) for said in row.get("drawn") or ()] for row in rows
    ]


ClassDetails = TypedDict(
    "ClassDetails",
    {
        "category_id": int,
        "frequency": str,
        "images": int,
        "strict": float,
        "lenient": float,
        "pass": float | None,  # share of images with a right name among the samples; None without any
    },
)


class Details(TypedDict):
    per_class: dict[str, ClassDetails]  # by name
    confusions: list[Confusion]
    class_list: bool | str  # what the question named: nothing, all classes, or the image's half
    samples: int


def details(
    truth: Annotations, rows: Sequence[Row], categories: Sequence[int], settings: Settings, interval: Interval
) -> Details:
    order = sorted((row for row in rows if row["category_id"] in set(categories)), key=lambda row: row["category_id"])
    per_class: dict[str, ClassDetails] = {}
    for category_id, group in groupby(order, key=lambda row: row["category_id"]):
        per_class |= _of_class(truth, category_id, list(group))
    return {
        "per_class": per_class,
        "confusions": confusions(judge(truth, order), CONFUSIONS),
        "class_list": settings.class_list,
        "samples": settings.samples,
    }


def _of_class(truth: Annotations, category_id: int, rows: list[Row]) -> dict[str, ClassDetails]:
    category, judged = truth.categories[category_id], judge(truth, rows)
    drawn = [any(one) for one in drawn_right(truth, rows) if one]
    return {
        spoken(category)[0]: {
            "category_id": category_id,
            "frequency": category["frequency"],
            "images": len(rows),
            "strict": sum(row[2] for row in judged) / len(rows),
            "lenient": sum(row[3] for row in judged) / len(rows),
            "pass": sum(drawn) / len(drawn) if drawn else None,
        }
    }
