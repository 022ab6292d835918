"""95 % intervals of each model's metrics, and of paired differences, over images and over training seeds above them.

An interval covers what a fresh sample of as many images would give on average. AP of few images is biased upward, so
beside it stands a corrected AP whose interval covers the AP of infinitely many images. docs/intervals.md says how often
they do. How much a metric varies is measured in `half_samples`; what is counted belongs to each task (`scores`).
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from scipy.special import stdtrit

from vrft_core.errors import InputError
from vrft_core.evaluation.half_samples import (
    Counted,
    bias_of_few_images,
    half_samples,
    is_over_parts,
    variance_of_mean,
    variance_over_halves,
)
from vrft_core.evaluation.scores import Entry, Intervals, Scores

DIFFERENCES = (("rft", "sft"), ("rft", "base"), ("sft", "base"))
LEVEL = 0.95
POWER = 0.8  # the chance to show a difference that `needed_images` and `needed_seeds` plan for
_TAIL = (1 + LEVEL) / 2
_Z = float(stdtrit(np.inf, _TAIL))
_NOTHING = 1e-9  # a half width below it is rounding
_SIGNS = (1.0, -1.0, -1.0, 1.0)  # of a pair, a - b, or of two pairs, (a - b) - (c - d)


def intervals(
    models: Mapping[str, Scores], halves: int, seed: int, differences: Sequence[tuple[str, ...]] = DIFFERENCES
) -> Intervals:
    """Intervals over images, of models that were evaluated on the same ones.

    `halves`: how many random halves of the images to count on; 1000 gives a width to within 3 %, 200 to within 7 %.

    → {"models": {name: {metric: {"value", "low", "high"}}}, "differences": {"rft-sft": {metric: {…}}, …}}. A model's ap
    metrics also have "corrected": {"value", "low", "high"}. None where a metric is undefined, and for the ends where
    fewer than two images count.

    Let SE² be the variance over images with df degrees of freedom (`half_samples`), t the .975 quantile of Student's
    distribution, z the normal one, n the images that count.
    * ap, macro, and differences of all but shares: value ± t(df) · SE.
    * mean: the same on the scale of log(value / (1 - value)), where SE becomes SE / (value (1 - value)) (Korn and
      Graubard, Analysis of Health Surveys, 1999).
    * share: Wilson's interval (JASA 22, 1927) with n answers; several answers an image count as
      n_eff = p (1 - p) / SE² (Kish, Survey Sampling, 1965), with t(df) for z.
    * difference of shares: two answers added, one gained and one lost (Bonett and Price, Journal of Educational and
      Behavioral Statistics 37, 2012).
    * corrected: value - bias ± t(df) · √(SE² + SE_bias²).
    * Where nothing varies, SE = 0 does not mean certainty: with n images alike, a share u = z² / (n + z²) of others
      might differ (Wilson's bound for none of n), so that the interval is value · (1 - u) to value · (1 - u) + u.
    """
    found = _describe([models], halves, seed, differences)
    for entries in (found["models"], found["differences"]):
        for metrics in entries.values():
            for entry in metrics.values():
                for field in ("std", "per_seed", "se_images"):
                    del entry[field]
    return found


def intervals_over_seeds(
    seeds: Sequence[Mapping[str, Scores]], halves: int, seed: int, differences: Sequence[tuple[str, ...]] = DIFFERENCES
) -> Intervals:
    """The same for the mean over training seeds: one dictionary for each seed, with the same models and images.

    A model that is one and the same object for several seeds (the untouched one) is counted once. Four names in
    `differences` are a difference of two differences, (a - b) - (c - d).

    → as `intervals`, each metric also with "std" (over seeds, n - 1; None for one seed), "per_seed": [value, …] and
    "se_images", the standard error that comes from images alone.

    S seeds with standard deviation s; V = SE² of the mean over seeds, over images shared by all, with df degrees of
    freedom: ± max(t(ν) · √(s²/S + V), t(S - 1) · s/√S), ν = (s²/S + V)² / ((s²/S)² / (S - 1) + V² / df), again by
    Satterthwaite. s contains what images do to single seeds, so that this is wide rather than narrow.
    """
    names = list(seeds[0])
    if any(list(one) != names for one in seeds):
        raise InputError("seeds", "not every seed has the same models", "evaluate all models for every seed")
    return _describe(seeds, halves, seed, differences)


def needed_images(difference: float, half_width: float, images: int) -> int | None:
    """How many images would show a difference of this size with a chance of 80 %; None for a difference of 0.

    An interval of `half_width` at `images` narrows like 1/√images. It excludes zero with the chance POWER where
    |difference| = (z + z_power) · SE, so n = images · (half_width / |difference|)² · ((z + z_power) / z)², 2.04 times
    as many as make the half width equal the difference. `half_width` must be of one run, or for a mean over seeds from
    images alone (1.96 · se_images). A difference that was measured on few images is itself uncertain: plan with the
    smallest one that matters.
    """
    if not difference:
        return None
    return ceil(images * (half_width / abs(difference)) ** 2 * _power_factor() ** 2 - _NOTHING)


def needed_seeds(difference: float, std: float, se_images: float, most: int = 100) -> int | None:
    """How many training seeds would show a mean difference of this size, on these images, with a chance of 80 %.

    The smallest S ≥ 2 with max(t(ν) √(s²/S + V), t(S - 1) s/√S) · (z + z_power) / z ≤ |difference|, s = `std` of the
    differences of seeds and V = `se_images`²; None where `most` are not enough: it takes more images first.
    """
    for count in range(2, most + 1):
        half = _half_width(se_images**2, np.inf, std**2, count)
        if half * _power_factor() <= abs(difference):
            return count
    return None


def _power_factor() -> float:
    return float((_Z + stdtrit(np.inf, POWER)) / _Z)


def _describe(
    seeds: Sequence[Mapping[str, Scores]], halves: int, seed: int, differences: Sequence[tuple[str, ...]]
) -> Intervals:
    scores = {id(one): one for models in seeds for one in models.values()}
    first = next(iter(seeds[0].values()))
    for models in seeds:
        for name, one in models.items():
            if not np.array_equal(one.units, first.units):
                raise InputError(name, "evaluated on other images than the rest", "pairs need the same images")
            if one.metrics != first.metrics:
                raise InputError(name, "measured by other metrics than the rest", "evaluate all models alike")
    drawn = half_samples(len(first.units), halves, seed)
    counted = {key: Counted.of(one, drawn) for key, one in scores.items()}
    runs = [{name: counted[id(one)] for name, one in models.items()} for models in seeds]
    share = 1 / len(runs)

    def rows(*signs: tuple[float, str]) -> dict[str, Entry]:
        mean = Counted.combine([(sign * share, run[name]) for run in runs for sign, name in signs])
        each = np.array([sum(sign * run[name].value for sign, name in signs) for run in runs])  # [S, M]
        return {
            metric.name: _entry(mean, index, each[:, index], paired=len(signs) > 1)
            for index, metric in enumerate(first.metrics)
        }

    return {
        "models": {name: rows((1.0, name)) for name in runs[0]},
        "differences": {
            "-".join(names): rows(*zip(_SIGNS, names, strict=False)) for names in differences if {*names} <= {*runs[0]}
        },
    }


def _entry(one: Counted | None, index: int, each: np.ndarray, paired: bool) -> Entry:
    """`one`: what is described, None for a difference that is zero by construction; `each`: its value by seed [S]."""
    count = len(each)
    spread = each.var(ddof=1) if count > 1 else 0.0
    value = each.mean()
    low = high = variance = np.nan
    corrected = None
    if one is None and not np.isnan(value):
        low = high = variance = value
    elif one is not None and not np.isnan(value):
        variance, low, high, corrected = _ends(one, index, value, spread, count, paired)
    entry: Entry = {"value": _number(value), "low": _number(low), "high": _number(high)}
    if corrected:
        centre, lowest, highest = map(_number, corrected)
        entry["corrected"] = {"value": centre, "low": lowest, "high": highest}
    entry["std"] = _number(each.std(ddof=1)) if count > 1 else None
    entry["per_seed"] = [_number(one) for one in each]
    entry["se_images"] = _number(np.sqrt(variance))
    return entry


def _ends(one: Counted, index: int, value: float, spread: float, count: int, paired: bool) -> tuple:
    """Variance over images, low, high, and the corrected value with its ends or None."""
    metric, n = one.metrics[index], one.counted[index]
    least = -1.0 if paired else 0.0
    if metric.kind == "share":
        ends = _share_difference if paired else _share
        return *ends(one, index, value, spread, count), None
    variance, df = (variance_over_halves if is_over_parts(metric) else variance_of_mean)(one, index)
    if np.isnan(variance):
        return np.nan, np.nan, np.nan, None
    half = _half_width(variance, df, spread, count)
    if half > _NOTHING and metric.kind == "mean" and not paired and 0 < value < 1:
        low, high = _logistic(value, half)
    elif half > _NOTHING:
        low, high = value - half, value + half
    else:
        low, high = _unvaried(value, _images_alike(one, index) if is_over_parts(metric) else n, paired)
    corrected = None
    if metric.kind == "ap" and not paired and (bias := bias_of_few_images(one, index)):
        centre = value - bias[0]
        wider = max(_half_width(variance + bias[1] ** 2, df, spread, count), high - value, value - low)
        corrected = tuple(np.clip([centre, centre - wider, centre + wider], 0.0, 1.0))
    return variance, max(low, least), min(high, 1.0), corrected


def _half_width(variance: float, df: float, spread: float, count: int) -> float:
    """Of a mean over `count` seeds with variance `spread` between them, and `variance` over images of the mean."""
    seeds = spread / count
    total = seeds + variance
    if total <= 0:
        return 0.0
    if not seeds:
        return _t(df) * np.sqrt(total)
    joint = total**2 / (seeds**2 / (count - 1) + variance**2 / df)
    return max(_t(joint) * np.sqrt(total), _t(count - 1) * np.sqrt(seeds))


def _share(one: Counted, index: int, value: float, spread: float, count: int) -> tuple[float, float, float]:
    """Variance, and Wilson's interval: with A = q² / n_eff, ((p + A/2) ± √(A p (1 - p) + A² / 4)) / (1 + A)."""
    n, squares = one.counted[index], (one.influence[one.place(index)] ** 2).sum()
    odds = value * (1 - value)
    if abs(squares - n * odds) <= 1e-9 * n:  # every image is all right or all wrong
        variance, df = odds / n, np.inf
    else:
        variance, df = variance_of_mean(one, index)[0], n - 1.0
    half = _half_width(variance, df, spread, count)
    a = half**2 / odds if half > _NOTHING and odds > 0 else _Z**2 / n
    middle, reach = (value + a / 2) / (1 + a), np.sqrt(a * odds + a**2 / 4) / (1 + a)
    return variance, max(middle - reach, 0.0), min(middle + reach, 1.0)


def _share_difference(one: Counted, index: int, value: float, spread: float, count: int) -> tuple[float, float, float]:
    n = one.counted[index]
    squares = (one.influence[one.place(index)] ** 2).sum() + n * value**2 + 2
    centre = n * value / (n + 2)
    variance = (squares / (n + 2) - centre**2) / (n + 2)
    influence = one.influence[one.place(index)]
    whole = influence[np.abs(influence) > _NOTHING] + value
    binary = (np.abs(whole - np.round(whole)) < _NOTHING).all()
    half = _half_width(variance, np.inf if binary else n - 1.0, spread, count)
    return variance, max(centre - half, -1.0), min(centre + half, 1.0)


def _logistic(value: float, half: float) -> tuple[float, float]:
    odds, times = value / (1 - value), np.exp(half / (value * (1 - value)))
    return odds / (odds + times), odds * times / (1 + odds * times)


def _unvaried(value: float, n: float, paired: bool) -> tuple[float, float]:
    others = _Z**2 / (n + _Z**2)
    rest = value * (1 - others)
    return (rest - others, rest + others) if paired else (rest, rest + others)


def _images_alike(one: Counted, index: int) -> float:
    """To how many images alike a mean over parts amounts: K² / Σ 1/m, each part's images weighing 1 / (K m)."""
    support = one.support[index][one.support[index] > 0].astype(float)
    return len(support) ** 2 / (1 / support).sum()


def _t(df: float) -> float:
    return float(stdtrit(max(df, 1.0), _TAIL))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
