"""The rule of the nightly evaluation: one night's paired difference, several cells at once, and a slow drift."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from vrft_core.evaluation.intervals import intervals_over_seeds
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.regression import Difference, drift, holm, p_worse
from vrft_core.evaluation.scores import MetricSpec

SE = 0.007  # of a night: the half width of 1.39 points that 500 images give
ALPHA = 0.05


def difference(value: float, se: float = SE, df: float = math.inf) -> Difference:
    half = float(stdtrit(df, 0.975)) * se
    return Difference(value, value - half, value + half, se)


def nights(values, se: float = SE) -> list[Difference]:
    return [difference(value, se) for value in values]


@pytest.mark.parametrize("df", [2.0, 7.5, 40.0, math.inf])
@pytest.mark.parametrize("share", [0.5, 0.999, 1.001, 2.0])
def test_without_tolerance_it_is_significant_exactly_where_the_interval_excludes_zero(df, share):
    half = float(stdtrit(df, 0.975)) * SE
    assert (p_worse(difference(-share * half, df=df)) < 0.025) == (share > 1)


def test_an_improvement_is_never_a_loss_and_no_difference_is_a_coin_toss():
    assert p_worse(difference(0.05)) > 0.999
    assert p_worse(difference(0.0)) == pytest.approx(0.5)


def test_tolerance_shifts_what_counts_as_a_loss():
    loss = difference(-0.014)
    assert p_worse(loss) < 0.025 < p_worse(loss, tolerance=0.005)


def test_the_baselines_own_answers_are_certainly_not_worse():
    assert p_worse(Difference(0.0, 0.0, 0.0, 0.0)) == 1.0


def test_where_no_image_varies_the_width_of_the_interval_still_counts():
    assert 0.3 < p_worse(Difference(0.0, -0.03, 0.03, 0.0)) < 0.7


def test_it_agrees_with_the_projects_intervals_of_real_answers():
    spec = (MetricSpec("right", "right", "macro"),)
    lot = np.random.default_rng(0)
    right = (lot.random(60) < 0.8).astype(float)
    worse = right * (lot.random(60) < 0.8)
    parts = np.arange(60) % 3
    scores = {
        name: RatioScores.of(spec, [row], [np.ones(60)], range(60), parts)
        for name, row in (("now", worse), ("baseline", right))
    }
    found = intervals_over_seeds([scores], 400, 0, [("now", "baseline")])["differences"]["now-baseline"]["right"]
    one = Difference(found["value"], found["low"], found["high"], found["se_images"])
    assert one.high < 0 and p_worse(one) < 0.025


def test_holm_rejects_as_in_the_textbook():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, 0.05) == {"a", "d"}
    assert holm({"a": 0.04}, 0.05) == {"a"}
    assert holm({"a": 0.04, "b": 0.9}, 0.05) == set()
    assert holm({}, 0.05) == set()


def test_holm_keeps_the_chance_of_any_false_alarm():
    lot = np.random.default_rng(1)
    alarms = [bool(holm({str(cell): p for cell, p in enumerate(lot.random(5))}, ALPHA)) for _ in range(4000)]
    assert 0.04 < np.mean(alarms) < 0.06


def test_a_drift_of_four_tenths_of_a_point_a_night_is_flagged_before_a_night_fails_alone():
    """Night k has lost 0.4 k points; three cells, so that a night's p-value must be below alpha / 3."""
    values = [-0.004 * (number + 1) for number in range(10)]
    alone = [p_worse(difference(value), tolerance=0.005) < ALPHA / 3 for value in values]
    flagged = [drift(nights(values[: number + 1]), ALPHA).found for number in range(10)]
    assert flagged.index(True) < alone.index(True)


def test_a_lasting_loss_of_four_tenths_of_a_point_that_no_night_shows_is_flagged_within_two_months():
    lot = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        values = lot.normal(-0.004, SE / 2, 60)
        assert sum(p_worse(difference(value), tolerance=0.005) < ALPHA / 3 for value in values) == 0
        found += drift(nights(values), ALPHA).found
    assert found >= 95


def test_stationary_noise_over_sixty_nights_raises_a_false_alarm_as_rarely_as_promised():
    lot = np.random.default_rng(3)
    alarms = [drift(nights(lot.normal(0, SE, 60)), ALPHA).found for _ in range(1000)]
    assert np.mean(alarms) <= ALPHA


def test_identical_nights_are_never_flagged():
    """Neither the baseline's own answers, nor another model's that answers the same every night."""
    own = [Difference(0.0, 0.0, 0.0, 0.0)] * 400
    unlucky = [difference(-0.009)] * 400
    assert not drift(own, ALPHA).found
    said = drift(unlucky, ALPHA)
    assert (said.found, said.nights) == (False, 1)


def test_what_was_once_found_stays_found_until_a_new_baseline_begins_a_new_history():
    lost, again = nights([-0.02, -0.021, -0.022, -0.02]), nights([0.01, 0.011] * 20)
    assert drift(lost + again, ALPHA).found
    assert not drift(again, ALPHA).found


def test_no_night_is_no_evidence():
    said = drift([], ALPHA)
    assert (said.found, said.evidence, said.nights, said.mean) == (False, 1.0, 0, None)
