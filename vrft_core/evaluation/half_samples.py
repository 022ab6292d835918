"""How much a metric varies with the choice of images: variances and degrees of freedom, from counting again.

Metrics that are means over parts are counted on random halves of the images; shares and means with each image left out
in turn. Everything is linear in the models, so that a difference, or a mean over training seeds, is a combination of
what was counted once. What interval follows belongs to `intervals`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from vrft_core.evaluation.scores import MetricSpec, Scores

BIAS_POWER = 2 / 3  # the bias of a category's AP falls like images^(-2/3): fitted by simulation, docs/intervals.md
_ROUNDING = 1e-12
_NUMBERS_AT_ONCE = 1_000_000


def half_samples(images: int, draws: int, seed: int) -> np.ndarray:
    """bool [R, N]: random halves of ⌊N/2⌋ images, then the complement of each; R is `draws`, made even."""
    generator = np.random.default_rng([seed, 0])
    halves = np.zeros(((draws + 1) // 2, images), dtype=bool)
    for half in halves:
        half[generator.permutation(images)[: images // 2]] = True
    return np.concatenate([halves, ~halves])


@dataclass(frozen=True)
class Counted:
    """One model, or a combination of models, counted on all images and again on parts of them."""

    metrics: tuple[MetricSpec, ...]  # M
    images: int  # N
    value: np.ndarray  # [M]
    parts: np.ndarray  # [M, K]
    counted: np.ndarray  # [M]
    support: np.ndarray  # [M, K]
    halves: np.ndarray  # [H, R, K]: parts on each half, of the metrics that are means over parts
    influence: np.ndarray  # [L, N]: (n - 1)(value - value without the image), n of `counted`, of the other metrics

    @classmethod
    def of(cls, scores: Scores, halves: np.ndarray) -> "Counted":
        """`halves`: as `half_samples` gives them."""
        value, parts = scores.values(), scores.parts()
        over_parts = [index for index, metric in enumerate(scores.metrics) if is_over_parts(metric)]
        others = [index for index, metric in enumerate(scores.metrics) if not is_over_parts(metric)]
        again = np.empty((len(over_parts), len(halves) if over_parts else 0, parts.shape[1]))
        for rows in _batches(again.shape[1], scores):
            again[:, rows] = scores.parts(halves[rows].astype(float))[:, over_parts].swapaxes(0, 1)
        images = len(scores.units)
        without = np.full((len(others), images), np.nan)
        for rows in _batches(images if others else 0, scores):
            weights = np.ones((rows.stop - rows.start, images))
            weights[np.arange(len(weights)), np.arange(rows.start, rows.stop)] = 0
            without[:, rows] = scores.values(weights)[:, others].T
        change = value[others, None] - without
        influence = np.where(np.isnan(change), 0, change) * (scores.counted[others, None] - 1)
        return cls(
            scores.metrics, images, value, parts, np.asarray(scores.counted), np.asarray(scores.support),
            again, influence,
        )  # fmt: skip

    @classmethod
    def combine(cls, terms: Iterable[tuple[float, "Counted"]]) -> "Counted | None":
        """Σ factor · model; None where everything cancels, as in a model's difference from itself."""
        factors: dict[int, float] = {}
        models = {}
        for factor, model in terms:
            models[id(model)] = model
            factors[id(model)] = factors.get(id(model), 0.0) + factor
        kept = [(factor, models[key]) for key, factor in factors.items() if abs(factor) > _ROUNDING]
        if not kept:
            return None
        first = kept[0][1]

        def total(name: str) -> np.ndarray:
            return sum((factor * getattr(model, name) for factor, model in kept), np.zeros(()))

        fewest = {name: np.min([getattr(m, name) for _, m in kept], axis=0) for name in ("counted", "support")}
        return cls(
            first.metrics, first.images, total("value"), total("parts"), **fewest, halves=total("halves"),
            influence=total("influence"),
        )  # fmt: skip

    def place(self, metric: int) -> int:
        """Where a metric stands in `halves` or in `influence`."""
        kind = is_over_parts(self.metrics[metric])
        return sum(is_over_parts(one) == kind for one in self.metrics[:metric])


def _batches(count: int, scores: Scores) -> Iterator[slice]:
    """So many weightings at once that they and what they give stay small."""
    step = max(_NUMBERS_AT_ONCE // max(len(scores.units), scores.support.size, 1), 1)
    yield from (slice(at, min(at + step, count)) for at in range(0, count, step))


def is_over_parts(metric: MetricSpec) -> bool:
    return metric.kind in ("macro", "ap")


def variance_of_mean(one: Counted, metric: int) -> tuple[float, float]:
    """Squared standard error of a mean or a sum over a sum, and its degrees of freedom. NaN where n < 2.

    s² / n for a mean of one answer an image; in general, by leaving each image out, Σ u² / (n (n - 1)), u the influence
    (the jackknife of Quenouille and Tukey; Miller, The jackknife: a review, Biometrika 61, 1974).

    Degrees of freedom after Satterthwaite (Biometrics Bulletin 2, 1946), 2 / relative variance of s², which is
    (κ - (n - 3) / (n - 1)) / n for influences of kurtosis κ: n - 1 for normal ones and never more, fewer where a few
    images decide.
    """
    n = one.counted[metric]
    if n < 2:
        return np.nan, np.nan
    squares = one.influence[one.place(metric)] ** 2
    total = squares.sum()
    relative = n * (squares**2).sum() / total**2 - (n - 3) / (n - 1) if total > 0 else 0.0
    return total / (n * (n - 1)), float(min(n - 1.0, 2 * n / relative if relative > 0 else np.inf))


def variance_over_halves(one: Counted, metric: int) -> tuple[float, float]:
    """Squared standard error of a mean over parts, and its degrees of freedom. NaN where fewer than 2 images count.

    Over halves of h of N images, Σ h / (N - h) · (value - mean)² / (R - 1): what a sample of N varies by
    (half-sampling: McCarthy, Pseudo-replication, Review of the International Statistical Institute 37, 1969; for
    statistics that are not smooth: Politis, Romano and Wolf, Subsampling, 1999). Halves in which no part is defined are
    left out.

    Degrees of freedom after Satterthwaite: (Σ v)² / Σ v² / (m - 1) over parts with more than one image, v a part's
    variance over the halves that hold it, m the images that count for it. Where no part has two images: one less than
    there are parts, at least 1.
    """
    support, draws = one.support[metric], one.halves[one.place(metric)]
    if one.counted[metric] < 2:
        return np.nan, np.nan
    known = ~np.isnan(draws)
    there = known.sum(axis=1)
    used = there > 0
    if used.sum() < 2:
        return np.nan, np.nan
    filled = np.where(known, draws, 0)
    value = filled.sum(axis=1)[used] / there[used]
    smaller = one.images // 2
    factor = np.repeat([smaller / (one.images - smaller), (one.images - smaller) / smaller], len(draws) // 2)[used]
    variance = (factor * (value - value.mean()) ** 2).sum() / (len(value) - 1)

    count = known.sum(axis=0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    each = np.where(known, (draws - mean) ** 2, 0).sum(axis=0) / np.maximum(count, 1)
    several = (support > 1) & (each > _ROUNDING**2)
    if several.any():
        df = each[several].sum() ** 2 / (each[several] ** 2 / (support[several] - 1)).sum()
    else:
        df = max((support > 0).sum() - 1.0, 1.0)
    return variance, df


def bias_of_few_images(one: Counted, metric: int) -> tuple[float, float] | None:
    """By how much an AP exceeds the AP of infinitely many images, and the standard error of that; None where unknown.

    A category's bias is taken to be c · m^-γ, m the images with its objects, γ = 2/3, c the same for all. c by weighted
    least squares of what halving does to AP on what it does to m^-γ, over categories with two images or more:
    c = Σ m x y / Σ m x², x = mean(m_half^-γ) - m^-γ and y = mean(AP_half) - AP over the halves that hold the category.
    Standard error from the residuals: √(K / (K - 1) · Σ (m x (y - c x))²) / Σ m x².
    """
    names = [spec.name for spec in one.metrics]
    spec = one.metrics[metric]
    pool = names.index(spec.pool) if spec.pool in names else metric
    support, draws = one.support[pool], one.halves[one.place(pool)]
    known = ~np.isnan(draws)
    count = known.sum(axis=0)
    use = (support > 1) & (count > 0)
    own = one.support[metric]
    if not use.any() or not (own > 0).any():
        return None
    m = support[use].astype(float)
    y = np.where(known, draws, 0).sum(axis=0)[use] / count[use] - one.parts[pool][use]
    x = np.array([_halved(one.images, int(images)) for images in m]) - m**-BIAS_POWER
    scale = (m * x * x).sum()
    if scale <= 0:
        return None
    c = (m * x * y).sum() / scale
    parts = len(m)
    error = np.sqrt(parts / max(parts - 1, 1) * ((m * x * (y - c * x)) ** 2).sum()) / scale
    reach = (own[own > 0].astype(float) ** -BIAS_POWER).mean()
    return c * reach, error * reach


@lru_cache(maxsize=100_000)
def _halved(images: int, m: int) -> float:
    """Mean of m_half^-γ over halves that hold one or more of a part's m images: hypergeometric, exactly."""
    smaller = images // 2
    drawn = np.arange(1, m + 1)
    total = np.zeros(2)
    for size in (smaller, images - smaller):
        possible = drawn[(drawn <= size) & (m - drawn <= images - size)]
        chance = np.exp(_choices(m, possible) + _choices(images - m, size - possible) - _choices(images, size))
        total += (chance * possible**-BIAS_POWER).sum(), chance.sum()
    return float(total[0] / total[1])


def _choices(n: int, k: np.ndarray | int) -> np.ndarray:
    """log of n over k"""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
