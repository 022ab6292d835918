"""Small statistics that several tasks and the report share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

BINS = 10


def identical(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of answers that are given word for word to more than one question."""
    counts = Counter(row["completion"] for row in rows)
    return mean([counts[row["completion"]] > 1 for row in rows])


class Bin(TypedDict):
    low: float
    high: float
    boxes: int
    confidence: float | None  # mean
    precision: float | None


class Calibration(TypedDict):
    ece: float | None
    bins: list[Bin]


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Expected calibration error over equal-width bins (Guo et al. 2017, arXiv 1706.04599, eq. 5).

    Confidences 1 fall in the last bin.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows: list[Bin] = []
    gap = 0.0
    for index in range(bins):
        inside = place == index
        count, stated, precision = int(inside.sum()), mean(confidence[inside]), mean(right[inside])
        low, high = index / bins, (index + 1) / bins
        rows.append({"low": low, "high": high, "boxes": count, "confidence": stated, "precision": precision})
        if stated is not None and precision is not None:
            gap += count * abs(stated - precision)
    return {"ece": gap / len(confidence) if len(confidence) else None, "bins": rows}


def auroc(score: np.ndarray, label: np.ndarray) -> float | None:
    """Chance that a right one scores higher than a wrong one, ties half; None unless both kinds occur."""
    label = np.asarray(label, dtype=bool)
    right, wrong = int(label.sum()), int((~label).sum())
    if not right or not wrong:
        return None
    return float((_ranks(score)[label].sum() - right * (right + 1) / 2) / (right * wrong))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's, ties averaged; None where one of the two is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """1-based ranks, the mean rank for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def mean(values: Sequence | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
