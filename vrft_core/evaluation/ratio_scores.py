"""Scores that are sums over sums: accuracies, mean IoU, cumulative IoU, and accuracies averaged over classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from vrft_core.evaluation.scores import MetricSpec


@dataclass(frozen=True)
class RatioScores:
    """`Scores` of A answers about N images: Σ above / Σ below over the answers, for each of M metrics.

    A mean has ones below; an answer that does not count for a metric has zeros above and below. Make it by `of`.
    """

    units: np.ndarray  # [N]
    metrics: tuple[MetricSpec, ...]
    unit: np.ndarray  # [A], position in units
    above: np.ndarray  # [M, A]
    below: np.ndarray  # [M, A]
    part: np.ndarray  # [A], 0 … K - 1
    counted: np.ndarray = field(init=False)
    support: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        cells = len(self.units) * self._parts
        there = [np.bincount(self.unit * self._parts + self.part, row > 0, cells) > 0 for row in self.below]
        by_unit = np.reshape(there, (len(self.metrics), len(self.units), self._parts))
        object.__setattr__(self, "support", by_unit.sum(axis=1))
        object.__setattr__(self, "counted", by_unit.any(axis=2).sum(axis=1))

    @classmethod
    def of(
        cls,
        metrics: Sequence[MetricSpec],
        above: ArrayLike,
        below: ArrayLike,
        images: Sequence | None = None,
        parts: Sequence[int] | None = None,
    ) -> Self:
        """`above`, `below`: [M, A]. `images` [A]: the image of each answer; each has one of its own where None.
        `parts` [A]: the class of each answer, 0 … K - 1.
        """
        tops, bottoms = (np.array(rows, dtype=float).reshape(len(metrics), -1) for rows in (above, below))
        answers = tops.shape[1]
        units, unit = np.unique(np.arange(answers) if images is None else np.array(images), return_inverse=True)
        part = np.zeros(answers, dtype=np.int64) if parts is None else np.array(parts, dtype=np.int64)
        return cls(units, tuple(metrics), unit.ravel(), tops, bottoms, part)

    def values(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[..., M], NaN where nothing counts."""
        weight = self._weight(weights)
        found = _ratio(weight @ self.above.T, weight @ self.below.T)
        macro = [index for index, metric in enumerate(self.metrics) if metric.kind == "macro"]
        if macro:
            found[..., macro] = _mean_of_known(self.parts(weights)[..., macro, :])
        return found

    def parts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[..., M, K], NaN where a class has no answer that counts."""
        weight = self._weight(weights)
        found = np.full((*weight.shape[:-1], len(self.metrics), self._parts), np.nan)
        for part in range(self._parts):
            own = np.flatnonzero(self.part == part)
            found[..., part] = _ratio(weight[..., own] @ self.above[:, own].T, weight[..., own] @ self.below[:, own].T)
        return found

    def _weight(self, weights: np.ndarray | None) -> np.ndarray:
        """Of each answer, [..., A]"""
        return np.ones(len(self.unit)) if weights is None else np.asarray(weights, dtype=float)[..., self.unit]

    @property
    def _parts(self) -> int:
        return int(self.part.max()) + 1 if len(self.part) else 1


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1).astype(float))
