"""Percentile bootstrap over evaluated images, and over training seeds above them.

Models are resampled together, so that differences are paired. Matching happened before; the metrics are
`Matches.headline`.
"""

from collections.abc import Sequence

import numpy as np

from vrft_core.errors import InputError
from vrft_core.tasks.detection.metrics.average_precision import Matches

DIFFERENCES = (("rft", "sft"), ("rft", "base"), ("sft", "base"))
LEVEL = 0.95


def bootstrap(
    matches: dict[str, Matches], resamples: int, seed: int, differences: Sequence[tuple[str, str]] = DIFFERENCES
) -> dict:
    """Intervals of every headline metric, and of paired differences, over images drawn with replacement.

    All models must have been evaluated on the same images; each resample draws as many images as there are, also
    those without detections, and counts every model on the same draw.

    → {"models": {name: {metric: {"value", "low", "high"}}}, "differences": {"rft-sft": {metric: {…}}, …}}.
    None where a metric is undefined. Resamples in which it is undefined (say, no rare category drawn) are left out.
    """
    point, draws = _values([matches], resamples, seed)
    point, draws = {n: v[0] for n, v in point.items()}, {n: v[:, 0] for n, v in draws.items()}
    metrics = _metrics(matches)
    return {
        "models": {name: _intervals(metrics, point[name], draws[name]) for name in matches},
        "differences": {
            f"{a}-{b}": _intervals(metrics, point[a] - point[b], draws[a] - draws[b])
            for a, b in differences
            if a in matches and b in matches
        },
    }


def bootstrap_seeds(matches: list[dict[str, Matches]], resamples: int, seed: int) -> dict:
    """The same over several training runs: each resample draws training seeds, then images shared by all of them.

    `matches`: one dictionary for each training seed, with the same models. Intervals are of the mean over seeds.

    → as `bootstrap`, each metric with {"value" (mean over seeds), "std" (n - 1; None for one seed), "low", "high",
    "per_seed": [value, …]}.
    """
    names = list(matches[0])
    if any(list(one) != names for one in matches):
        raise InputError("seeds", "not every seed has the same models", "evaluate all models for every seed")
    point, draws = _values(matches, resamples, seed)
    picks = np.random.default_rng([seed, 1]).integers(len(matches), size=(resamples, len(matches)))
    metrics = _metrics(matches[0])

    def describe(value: np.ndarray, draw: np.ndarray) -> dict:
        """value [S, M], draw [B, S, M]"""
        mean = np.take_along_axis(draw, picks[:, :, None], axis=1).mean(axis=1)
        rows = _intervals(metrics, value.mean(axis=0), mean)
        for index, metric in enumerate(metrics):
            each = value[:, index]
            rows[metric]["per_seed"] = [_number(v) for v in each]
            rows[metric]["std"] = _number(each.std(ddof=1)) if len(each) > 1 else None
        return rows

    return {
        "models": {name: describe(point[name], draws[name]) for name in names},
        "differences": {
            f"{a}-{b}": describe(point[a] - point[b], draws[a] - draws[b])
            for a, b in DIFFERENCES
            if a in names and b in names
        },
    }


def bootstrap_ratios(parts: dict[str, tuple[Sequence[float], Sequence[float]]], resamples: int, seed: int) -> dict:
    """Intervals of metrics that are a sum over a sum, over answers drawn with replacement: accuracies, mean and
    cumulative IoU.

    `parts`: metric → (numerators [n], denominators [n]), for the same n answers; a mean has denominators of 1.

    → {metric: {"value", "low", "high"}}, None where there is nothing to measure.
    """
    above, below = (np.array([part[side] for part in parts.values()], dtype=float) for side in (0, 1))
    answers = above.shape[1] if len(parts) else 0
    generator = np.random.default_rng([seed, 0])
    draws = np.full((resamples, len(parts)), np.nan)
    for index in range(resamples if answers else 0):
        weights = np.bincount(generator.integers(answers, size=answers), minlength=answers)
        draws[index] = _ratio(above @ weights, below @ weights)
    return _intervals(tuple(parts), _ratio(above.sum(axis=-1), below.sum(axis=-1)), draws)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _values(seeds: list[dict[str, Matches]], resamples: int, seed: int) -> tuple[dict, dict]:
    """Headline metrics of each model: on all images [S, M], and on each resample [B, S, M].

    A model that is one and the same object for several seeds (the untouched one) is counted once.
    """
    images = next(iter(seeds[0].values())).image_ids
    for one in seeds:
        for name, matches in one.items():
            if not np.array_equal(matches.image_ids, images):
                raise InputError(name, "evaluated on other images than the rest", "pairs need the same images")
    generator = np.random.default_rng([seed, 0])
    unique = {id(matches): matches for one in seeds for matches in one.values()}
    whole = {key: matches.headline(matches.precision_table()) for key, matches in unique.items()}
    drawn = {key: np.empty((resamples, len(whole[key]))) for key in unique}
    for index in range(resamples):
        weights = np.bincount(generator.integers(len(images), size=len(images)), minlength=len(images))
        for key, matches in unique.items():
            drawn[key][index] = matches.headline(matches.precision_table(weights))
    point = {name: np.stack([whole[id(one[name])] for one in seeds]) for name in seeds[0]}
    draws = {name: np.stack([drawn[id(one[name])] for one in seeds], axis=1) for name in seeds[0]}
    return point, draws


def _metrics(matches: dict[str, Matches]) -> tuple[str, ...]:
    return next(iter(matches.values())).metrics


def _intervals(metrics: tuple[str, ...], value: np.ndarray, draws: np.ndarray) -> dict:
    """value [M], draws [B, M]"""
    rows = {}
    for index, metric in enumerate(metrics):
        known = draws[~np.isnan(draws[:, index]), index]
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
        rows[metric] = {"value": _number(value[index]), "low": _number(low), "high": _number(high)}
    return rows


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
