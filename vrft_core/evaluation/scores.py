"""What a task hands over so that its numbers get intervals: one model's answers on one set of images, counted again
for any weighting of the images.

The contract only. How intervals are made belongs to `intervals`; what is counted belongs to each task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, Protocol, TypedDict

import numpy as np

# share: a share of answers, each right or wrong. mean: any other mean over answers, or a sum divided by a sum.
# macro: the mean over its parts, such as accuracy averaged over classes. ap: average precision, the mean over its
# parts; few images make it too high, which `intervals` can correct.
Kind = Literal["share", "mean", "macro", "ap"]


@dataclass(frozen=True)
class MetricSpec:
    """One metric. Its values lie in [0, 1]."""

    name: str  # such as lvis/oracle/AP
    title: str
    kind: Kind
    better: Literal["higher", "lower"] = "higher"
    pool: str | None = None  # ap only: the metric over whose parts its bias is estimated; itself where None
    banded: bool = False  # about the categories of one frequency alone


class Ends(TypedDict):
    """A value in [0, 1] and its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class Entry(Ends):
    """One metric of one model, or a difference of two (in [-1, 1]), as `intervals` makes it."""

    corrected: NotRequired[Ends]  # of ap: without the bias of few images
    std: NotRequired[float | None]  # over seeds
    per_seed: NotRequired[list[float | None]]
    se_images: NotRequired[float | None]  # standard error that comes from images alone


class Intervals(TypedDict):
    models: dict[str, dict[str, Entry]]  # model → metric
    differences: dict[str, dict[str, Entry]]  # such as rft-sft → metric


class Evaluation(TypedDict):
    """What an evaluation records of one model (`metrics.json`). A task's `metrics.details` stand beside these."""

    task: str
    version: int  # of the task's numbers
    metrics: dict[str, Entry]
    queries: int
    images: int
    diagnostics: Mapping[str, Any]  # what the task's `diagnostics.diagnose` made


class Scores(Protocol):
    """N images, M metrics, K parts (categories or classes). Images are what gets resampled.

    Several answers about an image belong to that image. A weight says how often an image counts; without weights,
    each counts once. Many weightings [B, N] are counted in one call, and give a first axis B.
    """

    @property
    def units(self) -> np.ndarray:
        """[N], ids of the images; the same order for every model that is compared."""
        ...

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """M of them."""
        ...

    @property
    def counted(self) -> np.ndarray:
        """[M], how many images count for each metric."""
        ...

    @property
    def support(self) -> np.ndarray:
        """[M, K], how many images count for each part of it."""
        ...

    def values(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The metrics [M] or [B, M], NaN where undefined."""
        ...

    def parts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Each metric by part, [M, K] or [B, M, K], NaN where a part is undefined or does not belong to the metric.

        The value of a macro or ap metric is the mean of its parts that are not NaN.
        """
        ...
