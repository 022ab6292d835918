"""The ranking `combined`: what a model says of its boxes, weighed by how its boxes on training images turned out.

A ridge regression (Hoerl and Kennard 1970) of a box's IoU with the truth on its stated confidence, likelihood,
certainty, smaller side and the number of boxes beside it. The free rankings belong to `ranking`.
"""

from collections.abc import Callable

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.boxes import xywh
from vrft_core.tasks.detection.answers import SCORE_DIGITS, Row
from vrft_core.tasks.detection.metrics.ranking import by_truth

PENALTY = 1.0  # for each box; on standardised features
SMALLEST = 1e-6

Scorer = Callable[[Row], list[float]]


def fit(rows: list[Row], truth: Annotations) -> Scorer:
    """A function from a row to its boxes' scores in [0, 1], fitted on `rows` about the images of `truth`.

    Without a single box to learn from, all boxes are worth the same.
    """
    x = np.concatenate([_features(row) for row in rows]) if rows else np.empty((0, 5))
    if not len(x):
        return lambda row: [0.0] * len(row["boxes"])
    y = np.concatenate([row["scores"] for row in by_truth(rows, truth)])
    mean, spread = x.mean(axis=0), x.std(axis=0) + SMALLEST
    z = (x - mean) / spread
    weights = np.linalg.solve(z.T @ z + PENALTY * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean()))

    def score(row: Row) -> list[float]:
        overlaps = y.mean() + (_features(row) - mean) / spread @ weights
        return overlaps.clip(0, 1).round(SCORE_DIGITS).tolist()

    return score


def _features(row: Row) -> np.ndarray:
    """[boxes, 5]"""
    boxes = xywh(row["boxes"])
    columns = [
        row["scores"],
        np.log(np.maximum(row["rankings"]["likelihood"], SMALLEST)),
        np.log(np.maximum(row["rankings"]["certainty"], SMALLEST)),
        np.log(np.maximum(boxes[:, 2:].min(axis=1, initial=np.inf), SMALLEST)),
        np.full(len(boxes), len(boxes)),
    ]
    return np.column_stack(columns)
