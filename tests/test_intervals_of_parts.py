"""95 % intervals of means over categories or classes: by half-samples, and corrected for few images."""

from itertools import combinations

import numpy as np
import pytest
from detection_sets import random_set
from scipy import stats
from scored import OVERLAP, PER_CLASS, detection, ends, of_one, scores

from vrft_core.evaluation.half_samples import (
    Counted,
    bias_of_few_images,
    half_samples,
    variance_of_mean,
    variance_over_halves,
)
from vrft_core.evaluation.intervals import intervals
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores
from vrft_core.tasks.detection.metrics.matching import match


def every_half(images: int) -> np.ndarray:
    """All halves of ⌊N/2⌋ images, then their complements in the same order."""
    chosen = list(combinations(range(images), images // 2))
    halves = np.zeros((len(chosen), images), dtype=bool)
    for half, members in zip(halves, chosen, strict=True):
        half[list(members)] = True
    return np.concatenate([halves, ~halves])


def two_classes() -> RatioScores:
    return scores(PER_CLASS, [0, 1, 0.2, 0.6], parts=[0, 0, 1, 1])


def test_the_variance_over_halves_and_its_degrees_of_freedom_by_hand():
    # Halves by images: 01 .5, 02 .1, 03 .3, 12 .6, 13 .8, 23 .4; once more as complements.
    variance, df = variance_over_halves(Counted.of(two_classes(), every_half(4)), 0)
    assert variance == pytest.approx(2 * 0.295 / 11)
    # Over the halves that hold a class, the first varies by .2, the second by .032; both have two images.
    assert df == pytest.approx((0.2 + 0.032) ** 2 / (0.2**2 + 0.032**2))


@pytest.mark.parametrize("images", [6, 7])
def test_over_all_halves_a_mean_varies_as_a_sample_does(images):
    values = np.random.default_rng(4).random(images)
    whole = scores(PER_CLASS, values)
    variance, df = variance_over_halves(Counted.of(whole, every_half(images)), 0)
    draws = len(every_half(images))
    assert variance * (draws - 1) / draws == pytest.approx(values.var(ddof=1) / images)
    assert df == pytest.approx(images - 1)
    assert variance_of_mean(Counted.of(scores(OVERLAP, values), every_half(images)), 0) == pytest.approx(
        (values.var(ddof=1) / images, images - 1)
    )


def test_halves_come_with_their_complements():
    halves = half_samples(7, 11, seed=0)
    assert halves.shape == (12, 7)
    assert halves[:6].sum(axis=1).tolist() == [3] * 6
    assert (halves[:6] ^ halves[6:]).all()


def test_the_bias_of_few_images_by_hand():
    """One category in two of four images: halves hold one image (8 of 10 that hold any) or both (2 of 10)."""
    metric = MetricSpec("AP", "", "ap")
    one = scores(metric, [0.2, 0.6, 0, 0], below=[1, 1, 0, 0])
    counted = Counted.of(one, every_half(4))
    x = 0.8 * 1 + 0.2 * 2 ** (-2 / 3) - 2 ** (-2 / 3)
    y = (0.2 * 4 + 0.6 * 4 + 0.4 * 2) / 10 - 0.4
    bias, error = bias_of_few_images(counted, 0)
    assert bias == pytest.approx(y / x * 2 ** (-2 / 3), abs=1e-12)
    assert error == pytest.approx(0, abs=1e-12)


def test_corrected_values_have_wider_intervals_and_differences_have_none():
    found = intervals({"rft": detection(1), "sft": detection(2)}, 200, seed=0)
    entry = found["models"]["rft"]["lvis/AP"]
    corrected = entry["corrected"]
    assert corrected["low"] < corrected["value"] < corrected["high"]
    assert np.diff(ends(corrected)) > np.diff(ends(entry))
    assert corrected["value"] < entry["value"]
    assert "corrected" not in found["differences"]["rft-sft"]["lvis/AP"]


def test_the_bias_of_rare_categories_is_estimated_over_all_of_them():
    whole, alone = detection(names=["lvis/AP", "lvis/APr"]), detection(names=["lvis/APr"])
    halves = half_samples(30, 100, 0)
    together = bias_of_few_images(Counted.of(whole, halves), 1)
    assert together[1] > 0 == bias_of_few_images(Counted.of(alone, halves), 0)[1]  # one rare category: no residuals


def test_one_category_has_an_interval():
    entry = of_one(detection(names=["lvis/APr"]))
    assert 0 <= entry["low"] < entry["value"] < entry["high"] <= 1


def test_parts_without_a_second_image_are_judged_by_how_they_differ():
    entry = of_one(scores(PER_CLASS, [0.1, 0.5, 0.6, 0.9, 0.4], parts=range(5)), 1000)
    error = np.std([0.1, 0.5, 0.6, 0.9, 0.4], ddof=1) / 5**0.5
    assert ends(entry) == pytest.approx(stats.t.interval(0.95, 4, 0.5, error), abs=0.1 * error)


def test_a_detector_that_finds_nothing_might_find_something_elsewhere():
    truth, _ = random_set(0)
    nothing = DetectionScores({"coco": match(truth, [], "coco")}, ["coco/AP"])
    entry = of_one(nothing)
    assert entry["value"] == entry["low"] == 0 < entry["high"] < 0.7
