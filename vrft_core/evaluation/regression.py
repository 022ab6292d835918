"""Is a model worse than its baseline? The rule of the nightly evaluation: pure functions of numbers.

One night: a p-value from each cell's paired difference (`intervals`), corrected for the number of cells. Many nights: a
sequential test that finds a small loss which no single night shows. What is evaluated belongs elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

from scipy.special import log_ndtr, stdtr, stdtridf, stdtrit

_TAIL = 0.975  # of the 95 % intervals
_Z = float(stdtrit(inf, _TAIL))
_NOTHING = 1e-12
MIXTURE = 1.0  # standard deviation of the losses that the drift test looks for, in standard errors of a night


@dataclass(frozen=True)
class Difference:
    """The deciding metric of tonight less the baseline's, as a share: value, 95 % interval, standard error over images.

    `se` is 0 where nothing varies over images; the interval may be wide even then.
    """

    value: float
    low: float
    high: float
    se: float


@dataclass(frozen=True)
class Drift:
    """What the sequential test says. `evidence` is compared with 1 / alpha; `nights`: how many differences counted."""

    found: bool
    evidence: float
    nights: int
    mean: float | None  # mean difference of the nights that counted, as a share


def p_worse(difference: Difference, tolerance: float = 0.0) -> float:
    """One-sided p-value of "the loss is at most `tolerance`", from the same distribution as the interval.

    The interval is centre ± t(df) · SE. df follows from its width, so that with tolerance 0 the p-value is below 0.025
    exactly where the whole interval lies below zero. A difference that is zero by construction has 1.
    """
    half = (difference.high - difference.low) / 2
    if half <= _NOTHING:
        return 1.0 if difference.value >= -tolerance else 0.0
    centre = (difference.high + difference.low) / 2
    se = difference.se if difference.se > _NOTHING else half / _Z
    return float(stdtr(_degrees_of_freedom(half / se), (centre + tolerance) / se))


def _degrees_of_freedom(quantile: float) -> float:
    """df of the Student distribution whose .975 quantile this is; ∞ for the normal one's and below."""
    most = 1e6
    if quantile <= float(stdtrit(most, _TAIL)):
        return inf
    return max(float(stdtridf(_TAIL, quantile)), 1.0)


def holm(p_values: Mapping[str, float], alpha: float) -> set[str]:
    """Names whose p-value is rejected by Holm's step-down rule: the chance of any false one is at most `alpha`.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    rejected: set[str] = set()
    for name, p in sorted(p_values.items(), key=lambda item: item[1]):
        if p > alpha / (len(p_values) - len(rejected)):
            break
        rejected.add(name)
    return rejected


def drift(nights: Sequence[Difference], alpha: float) -> Drift:
    """A sequential test of "the mean difference is not negative", over all nights since the baseline, oldest first.

    It may be asked every night: the chance that it ever raises a false alarm is at most `alpha` where the nights'
    errors are independent. A night that repeats the numbers of the night before says nothing new and does not count; so
    a model that answers exactly as before is never flagged, however unlucky it is with its images.

    With z a night's difference over its standard error, S = Σ z and n nights, the evidence is the likelihood ratio of
    losses |N(0, τ²)| against none, 2 (1 + n τ²)^(-1/2) exp(τ² S² / (2 (1 + n τ²))) Φ(-τ S / √(1 + n τ²)). Under "none"
    it is a supermartingale, so that it reaches 1 / alpha with a chance of at most alpha (Ville's inequality).
    Source: Robbins, Statistical methods related to the law of the iterated logarithm, Annals of Mathematical
    Statistics 41, 1970.
    """
    total, count, differences, before = 0.0, 0, [], None
    highest = 1.0
    for one in nights:
        if one == before:
            continue
        before = one
        se = one.se if one.se > _NOTHING else (one.high - one.low) / 2 / _Z
        if se <= _NOTHING:
            continue  # the baseline's own predictions
        total, count = total + one.value / se, count + 1
        differences.append(one.value)
        highest = max(highest, exp(min(_log_evidence(total, count), 700.0)))
    mean = sum(differences) / count if count else None
    return Drift(highest >= 1 / alpha, highest, count, mean)


def _log_evidence(total: float, count: int) -> float:
    width = 1 + count * MIXTURE**2
    return (
        log(2) - log(width) / 2 + (MIXTURE * total) ** 2 / (2 * width) + float(log_ndtr(-MIXTURE * total / sqrt(width)))
    )
