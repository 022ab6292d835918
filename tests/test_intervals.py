"""95 % intervals over images of shares, means, ratios and paired differences: exact where a hand can compute them."""

import numpy as np
import pytest
from detection_sets import random_set
from scipy import stats
from scored import ACCURACY, OVERLAP, PER_CLASS, Z, detection, difference, ends, logistic, of_one, scores

from vrft_core.errors import InputError
from vrft_core.evaluation.half_samples import Counted, half_samples, variance_of_mean
from vrft_core.evaluation.intervals import intervals
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores
from vrft_core.tasks.detection.metrics.matching import match


def test_the_interval_of_a_mean_is_students_on_the_scale_of_log_odds():
    values = np.random.default_rng(0).uniform(0, 1, 40)
    half = stats.t.ppf(0.975, 39) * values.std(ddof=1) / 40**0.5
    assert ends(of_one(scores(OVERLAP, values))) == pytest.approx(logistic(values.mean(), half))


def test_where_few_images_decide_a_mean_has_fewer_degrees_of_freedom():
    spread = scores(OVERLAP, np.random.default_rng(0).uniform(0, 1, 40))
    assert variance_of_mean(Counted.of(spread, half_samples(40, 2, 0)), 0)[1] == 39
    single = scores(OVERLAP, [1.0] + [0.0] * 39)
    kurtosis = (0.975 * 0.025 * (0.975**3 + 0.025**3)) / (0.975 * 0.025) ** 2  # of a Bernoulli variable
    expected = 2 * 40 / (kurtosis - 37 / 39)
    assert variance_of_mean(Counted.of(single, half_samples(40, 2, 0)), 0)[1] == pytest.approx(expected)


def test_the_interval_of_a_share_is_wilsons():
    entry = of_one(scores(ACCURACY, [1] * 45 + [0] * 5))
    assert entry["value"] == 0.9
    assert ends(entry) == pytest.approx([0.78640, 0.95652], abs=1e-5)  # by hand


@pytest.mark.parametrize("right", [0, 1])
def test_all_right_or_all_wrong_is_not_certainty(right):
    low, high = ends(of_one(scores(ACCURACY, [right] * 20)))
    bound = Z**2 / (20 + Z**2)
    assert [low, high] == pytest.approx([1 - bound, 1] if right else [0, bound])


def test_answers_that_agree_within_an_image_count_as_one_answer_an_image():
    right = np.random.default_rng(1).random(50) < 0.7
    thrice = of_one(scores(ACCURACY, np.repeat(right, 3), images=np.repeat(np.arange(50), 3)))
    once = of_one(scores(ACCURACY, right))
    assert ends(thrice) == pytest.approx(ends(once))


def test_answers_that_vary_within_an_image_count_as_more_than_one():
    rng = np.random.default_rng(2)
    answers = rng.random(300) < 0.7
    grouped = of_one(scores(ACCURACY, answers, images=np.repeat(np.arange(100), 3)))
    single, third = of_one(scores(ACCURACY, answers)), of_one(scores(ACCURACY, answers[:100]))
    width = np.diff(ends(grouped))
    assert width == pytest.approx(np.diff(ends(single)), rel=0.15)
    assert width < 0.8 * np.diff(ends(third))


def test_a_ratio_of_sums_varies_as_its_linearisation_says():
    rng = np.random.default_rng(3)
    union = rng.lognormal(0, 0.7, 300)
    above = union * rng.beta(5, 2, 300)
    one = scores(OVERLAP, above, below=union)
    ratio = above.sum() / union.sum()
    error = (above - ratio * union).std(ddof=1) / 300**0.5 / union.mean()  # Cochran, Sampling Techniques, 1977, 6.4
    entry = of_one(one)
    assert entry["value"] == pytest.approx(ratio)
    influence = above - ratio * union
    kurtosis = np.mean(influence**4) / np.mean(influence**2) ** 2
    half = stats.t.ppf(0.975, 600 / (kurtosis - 297 / 299)) * error
    assert ends(entry) == pytest.approx(logistic(ratio, half), abs=0.03 * error)


def test_answers_that_do_not_count_for_a_metric_change_nothing():
    values, other = [1, 0.5, 0.2, 0.4], [0.0] * 6
    padded = scores(OVERLAP, values + other, below=[1] * 4 + [0] * 6)
    assert padded.counted.tolist() == [4]
    assert ends(of_one(padded)) == pytest.approx(ends(of_one(scores(OVERLAP, values))))


def test_equal_values_leave_room_for_images_that_differ():
    low, high = ends(of_one(scores(OVERLAP, [0.5] * 30)))
    bound = Z**2 / (30 + Z**2)
    assert [low, high] == pytest.approx([0.5 - bound / 2, 0.5 + bound / 2])


def test_nothing_to_measure_has_no_interval():
    empty = scores(ACCURACY, [])
    assert of_one(empty) == {"value": None, "low": None, "high": None}
    assert of_one(scores(OVERLAP, [0.0, 0.0], below=[0, 0])) == {"value": None, "low": None, "high": None}


def test_one_image_says_something_of_a_share_only():
    assert ends(of_one(scores(ACCURACY, [1]))) == pytest.approx([1 / (1 + Z**2), 1])
    assert of_one(scores(OVERLAP, [0.6])) == {"value": 0.6, "low": None, "high": None}
    entry = of_one(detection(images=1, names=["lvis/AP"]))
    assert entry["value"] is not None
    assert ends(entry) == [None, None]


def test_intervals_stay_between_0_and_1():
    assert 0 < ends(of_one(scores(OVERLAP, [1, 1, 1, 0.1])))[0] < ends(of_one(scores(OVERLAP, [1, 1, 1, 0.1])))[1] < 1
    assert ends(of_one(scores(PER_CLASS, [1, 1, 1, 0.1])))[1] == 1
    assert ends(difference(scores(PER_CLASS, [1, 1, 1, 0]), scores(PER_CLASS, [0, 0, 0, 0.1])))[1] == 1


def test_a_difference_is_symmetric_and_paired():
    a, b = detection(1), detection(2, shift=0.15)
    found = intervals({"a": a, "b": b}, 200, 0, differences=[("a", "b"), ("b", "a")])
    for metric in ("lvis/AP", "lvis/AP50", "lvis/APr"):
        forth, back = found["differences"]["a-b"][metric], found["differences"]["b-a"][metric]
        assert forth["value"] == pytest.approx(
            found["models"]["a"][metric]["value"] - found["models"]["b"][metric]["value"]
        )
        assert ends(forth) == pytest.approx([-back["high"], -back["low"]])


def test_a_small_improvement_everywhere_is_seen_only_in_pairs():
    values = np.random.default_rng(5).beta(3, 3, 60) * 0.9
    better = values + np.random.default_rng(6).normal(0.03, 0.01, 60)
    found = intervals({"sft": scores(OVERLAP, values), "rft": scores(OVERLAP, better)}, 10, 0)
    models = [found["models"][name]["mIoU"] for name in ("sft", "rft")]
    assert models[1]["low"] < models[0]["high"]
    assert found["differences"]["rft-sft"]["mIoU"]["low"] > 0


def test_a_difference_of_shares_adds_one_gained_and_one_lost():
    after = scores(ACCURACY, [1] * 5 + [0] * 3 + [1] * 92)
    before = scores(ACCURACY, [0] * 5 + [1] * 3 + [1] * 92)
    entry = difference(after, before)
    centre = 2 / 102
    half = Z * (((5 + 1 + 3 + 1) / 102 - centre**2) / 102) ** 0.5
    assert entry["value"] == pytest.approx(0.02)
    assert ends(entry) == pytest.approx([centre - half, centre + half])


def test_a_model_does_not_differ_from_itself():
    for one in (detection(names=["lvis/AP"]), scores(ACCURACY, [1, 0, 1]), scores(OVERLAP, [0.1, 0.3])):
        entry = difference(one, one)
        assert entry == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_two_models_that_agree_on_these_images_may_differ_on_others():
    for metric, values in ((ACCURACY, [1, 0, 1, 1]), (OVERLAP, [0.5, 0.2, 0.1, 0.9])):
        low, high = ends(difference(scores(metric, values), scores(metric, values)))
        assert low == -high < 0


def test_models_of_other_images_or_metrics_are_refused():
    with pytest.raises(InputError, match="other images"):
        difference(scores(OVERLAP, [0.1, 0.2]), scores(OVERLAP, [0.1, 0.2, 0.3]))
    with pytest.raises(InputError, match="other metrics"):
        difference(scores(OVERLAP, [0.1, 0.2]), scores(ACCURACY, [0, 1]))


def test_the_order_of_images_and_answers_does_not_matter():
    rng = np.random.default_rng(7)
    values, images = rng.random(60), rng.integers(0, 25, 60)
    order = rng.permutation(60)
    for metric in (OVERLAP, PER_CLASS):
        one = of_one(scores(metric, values, images=images, parts=images % 3))
        other = of_one(scores(metric, values[order], images=images[order], parts=images[order] % 3))
        assert ends(one) == pytest.approx(ends(other), abs=1e-12)
    truth, detections = random_set(3)
    turned = truth | {key: truth[key][::-1] for key in ("images", "annotations", "categories")}
    entries = [
        of_one(DetectionScores({"coco": match(one, detections, "coco")}, ["coco/AP"])) for one in (truth, turned)
    ]
    assert entries[0] == entries[1]


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    one = detection()
    first, again, other = (intervals({"rft": one}, 40, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
