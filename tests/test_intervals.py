"""95 % intervals over images and over training seeds: exact where they can be computed by hand, and covering."""

import importlib.util
import json
import sys
from itertools import combinations
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from detection_sets import random_set
from scipy import stats

from vrft_core.errors import InputError
from vrft_core.evaluation.half_samples import (
    Counted,
    bias_of_few_images,
    half_samples,
    variance_of_mean,
    variance_over_halves,
)
from vrft_core.evaluation.intervals import intervals, intervals_over_seeds, needed_images, needed_seeds
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores, ap_metric
from vrft_core.tasks.detection.metrics.matching import match

Z = NormalDist().inv_cdf(0.975)
ACCURACY = MetricSpec("accuracy", "Accuracy", "share")
OVERLAP = MetricSpec("mIoU", "Mean IoU", "mean")
PER_CLASS = MetricSpec("accuracy by class", "Accuracy averaged over classes", "macro")


def scores(metric: MetricSpec, values, images=None, below=None, parts=None) -> RatioScores:
    return RatioScores.of([metric], [values], [np.ones(len(values)) if below is None else below], images, parts)


def of_one(one, halves: int = 100) -> dict:
    (entry,) = intervals({"rft": one}, halves, seed=0)["models"]["rft"].values()
    return entry


def difference(a, b, halves: int = 100) -> dict:
    (entry,) = intervals({"rft": a, "sft": b}, halves, seed=0)["differences"]["rft-sft"].values()
    return entry


def ends(entry: dict) -> list[float]:
    return [entry["low"], entry["high"]]


def every_half(images: int) -> np.ndarray:
    """All halves of ⌊N/2⌋ images, then their complements in the same order."""
    chosen = list(combinations(range(images), images // 2))
    halves = np.zeros((len(chosen), images), dtype=bool)
    for half, members in zip(halves, chosen, strict=True):
        half[list(members)] = True
    return np.concatenate([halves, ~halves])


def detector(seed: int, images: int = 30, protocol: str = "lvis", shift: float = 0.1):
    """Matches of one to three objects an image, of four categories, with jittered and invented boxes."""
    rng = np.random.default_rng(0)
    truth = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": k, "name": f"thing {k}", "frequency": "rfcf"[k]} for k in range(4)]
    noise, found = np.random.default_rng([seed, 1]), []
    for image in range(images):
        truth["images"].append({"id": image, "neg_category_ids": [], "not_exhaustive_category_ids": []})
        for _ in range(rng.integers(1, 4)):
            box, category = [*rng.uniform(0, 200, 2), *rng.uniform(40, 90, 2)], int(rng.integers(4))
            row = {"id": len(truth["annotations"]) + 1, "image_id": image, "category_id": category, "bbox": box}
            truth["annotations"].append(row | {"area": box[2] * box[3], "iscrowd": 0})
            moved = (np.array(box) + noise.normal(0, shift, 4) * 60).tolist()
            found.append({"image_id": image, "category_id": category, "bbox": moved, "score": noise.random()})
    return match(truth, found, protocol)


def detection(seed: int = 0, names=("lvis/AP", "lvis/AP50", "lvis/APr"), **options) -> DetectionScores:
    return DetectionScores({"lvis": detector(seed, **options)}, names)


# ------------------------------------------------------------------------------------------- shares, means, ratios
def logistic(value: float, half: float) -> list[float]:
    return [1 / (1 + np.exp(-(np.log(value / (1 - value)) + sign * half / (value * (1 - value))))) for sign in (-1, 1)]


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


# ------------------------------------------------------------------------------------------- means over parts
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


# ------------------------------------------------------------------------------------------- differences
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


# ------------------------------------------------------------------------------------------- what is counted
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


@pytest.mark.parametrize("seed", range(6))
def test_detection_counts_what_the_matches_count(seed):
    truth, detections = random_set(seed)
    matches = {protocol: match(truth, detections, protocol) for protocol in ("lvis", "coco")}
    names = ["lvis/self/APr", "coco/self/AP75", "lvis/self/AP", "lvis/self/APc"]
    one = DetectionScores(matches, names)
    weights = np.random.default_rng(seed).integers(0, 3, len(one.units))
    expected = {p: m.average_precision(weights) for p, m in matches.items()}
    wanted = [expected[p][m] for p, m in (("lvis", "APr"), ("coco", "AP75"), ("lvis", "AP"), ("lvis", "APc"))]
    assert one.values(weights) == pytest.approx([np.nan if v is None else v for v in wanted], nan_ok=True, abs=0)
    parts = one.parts(weights)
    means = [np.nanmean(row) if (~np.isnan(row)).any() else np.nan for row in parts]
    assert one.values(weights) == pytest.approx(means, nan_ok=True)
    present = {(row["image_id"], row["category_id"]) for row in truth["annotations"] if not row["iscrowd"]}
    ids = [category["id"] for category in truth["categories"]]
    assert one.support[1].tolist() == [sum(k == category for _, category in present) for k in ids]
    assert one.counted[1] == len({image for image, _ in present})
    rare = [category["frequency"] == "r" for category in truth["categories"]]
    assert (one.support[0] > 0).tolist() == [r and s > 0 for r, s in zip(rare, one.support[2], strict=True)]


@pytest.mark.parametrize("protocol", ["lvis", "coco"])
def test_an_image_without_weight_is_as_if_it_had_not_been_evaluated(protocol):
    for seed in range(8):
        truth, detections = random_set(seed, crowded=seed == 0)
        out = {image["id"] for image in truth["images"][::2]}
        weights = [image["id"] not in out for image in sorted(truth["images"], key=lambda image: image["id"])]
        fewer = truth | {
            "images": [image for image in truth["images"] if image["id"] not in out],
            "annotations": [row for row in truth["annotations"] if row["image_id"] not in out],
        }
        subset = match(fewer, [row for row in detections if row["image_id"] not in out], protocol)
        for area in range(4):
            assert match(truth, detections, protocol).precision_table(weights, area) == pytest.approx(
                subset.precision_table(area=area), nan_ok=True, abs=1e-15
            )


def test_detection_refuses_what_it_cannot_count():
    truth, detections = random_set(1)
    with pytest.raises(ValueError, match="'lvis/oracle/AR' does not end in one of AP, AP50"):
        ap_metric("lvis/oracle/AR")
    matches = {"lvis": match(truth, detections, "lvis"), "coco": match(truth, detections, "coco", [1, 4])}
    with pytest.raises(ValueError, match="different images or categories"):
        DetectionScores(matches, ["lvis/AP"])


def test_names_become_titles_and_rare_categories_borrow_the_bias_of_all():
    metric = ap_metric("lvis/oracle/APr")
    assert (metric.title, metric.kind, metric.pool) == ("LVIS APr (oracle presence)", "ap", "lvis/oracle/AP")
    assert ap_metric("coco/AP50").pool is None


def test_a_metric_that_is_undefined_has_no_interval():
    truth, detections = random_set(3)
    for category in truth["categories"]:
        category["frequency"] = "f"
    one = DetectionScores({"lvis": match(truth, detections, "lvis")}, ["lvis/AP", "lvis/APr", "lvis/APf"])
    found = intervals({"rft": one}, 40, seed=0)["models"]["rft"]
    assert found["lvis/APr"] == {"value": None, "low": None, "high": None}
    assert found["lvis/APf"] == found["lvis/AP"]


# ------------------------------------------------------------------------------------------- over seeds
def runs(*shifts: float, images: int = 50) -> list[RatioScores]:
    rng = np.random.default_rng(8)
    common = rng.beta(3, 3, images) * 0.6
    return [scores(OVERLAP, common + shift + rng.normal(0, 0.02, images)) for shift in shifts]


def test_seeds_and_images_vary_together_by_satterthwaites_rule():
    three = runs(0.1, 0.2, 0.25)
    base = scores(OVERLAP, np.zeros(50))
    found = intervals_over_seeds([{"base": base, "rft": one} for one in three], 10, seed=0)
    entry = found["differences"]["rft-base"]["mIoU"]
    each = np.array([one.values()[0] for one in three])
    image = np.mean([one.above[0] for one in three], axis=0)
    between, v = each.var(ddof=1) / 3, image.var(ddof=1) / 50
    assert stats.kurtosis(image) < 0  # so that there are n - 1 degrees of freedom
    df = (between + v) ** 2 / (between**2 / 2 + v**2 / 49)
    half = max(stats.t.ppf(0.975, df) * (between + v) ** 0.5, stats.t.ppf(0.975, 2) * between**0.5)
    assert entry["value"] == pytest.approx(each.mean())
    assert entry["per_seed"] == pytest.approx(each)
    assert entry["std"] == pytest.approx(each.std(ddof=1))
    assert entry["se_images"] == pytest.approx(v**0.5)
    assert ends(entry) == pytest.approx([each.mean() - half, each.mean() + half])
    assert ends(found["models"]["rft"]["mIoU"]) == pytest.approx(logistic(each.mean(), half))


def test_seeds_that_agree_leave_the_interval_over_images():
    (one,) = runs(0.1)
    alone = intervals({"rft": one}, 10, 0)["models"]["rft"]["mIoU"]
    entry = intervals_over_seeds([{"rft": one}] * 3, 10, 0)["models"]["rft"]["mIoU"]
    assert ends(entry) == pytest.approx(ends(alone))
    assert entry["std"] == pytest.approx(0)


def test_one_seed_gives_the_interval_over_images():
    models = {"base": detection(1), "rft": detection(2)}
    one, images = intervals_over_seeds([models], 60, seed=3), intervals(models, 60, seed=3)
    for kind, name in (("models", "rft"), ("differences", "rft-base")):
        entry = one[kind][name]["lvis/AP"]
        assert {key: entry[key] for key in images[kind][name]["lvis/AP"]} == images[kind][name]["lvis/AP"]
        assert entry["std"] is None


def test_seeds_that_disagree_widen_the_interval_of_any_metric():
    for metric, kind in ((ACCURACY, "models"), (ACCURACY, "differences")):
        rng = np.random.default_rng(9)
        base = scores(metric, rng.random(200) < 0.5)

        def width(*chances: float, metric=metric, kind=kind, base=base, rng=rng) -> float:
            seeds = [{"base": base, "rft": scores(metric, rng.random(200) < chance)} for chance in chances]
            found = intervals_over_seeds(seeds, 10, 0)[kind]
            low, high = ends(next(iter(found["rft" if kind == "models" else "rft-base"].values())))
            return high - low

        assert width(0.4, 0.6, 0.8) > 3 * width(0.6, 0.6, 0.6)


def test_differences_over_seeds_are_paired_within_a_seed_and_the_untouched_model_counts_once():
    base, trained = detection(0), [detection(1, shift=0.05), detection(2, shift=0.05)]
    found = intervals_over_seeds([{"base": base, "rft": one} for one in trained], 60, 0)
    models = {name: entry["lvis/AP"]["per_seed"] for name, entry in found["models"].items()}
    expected = np.subtract(models["rft"], models["base"])
    assert found["differences"]["rft-base"]["lvis/AP"]["per_seed"] == pytest.approx(expected)
    assert found["models"]["base"]["lvis/AP"]["std"] == 0


def test_seeds_with_different_models_are_refused():
    one = detection()
    with pytest.raises(InputError, match="same models"):
        intervals_over_seeds([{"base": one}, {"base": one, "rft": one}], 10, 0)


# ------------------------------------------------------------------------------------------- planning
def test_with_the_images_that_are_needed_four_of_five_studies_show_the_difference():
    images = needed_images(difference=0.02, half_width=0.03, images=500)
    error = 0.03 / Z * (500 / images) ** 0.5
    assert NormalDist().cdf(0.02 / error - Z) == pytest.approx(0.8, abs=0.001)
    assert needed_images(-0.02, 0.03, 500) == images
    assert needed_images(0.0, 0.03, 500) is None


def test_seeds_that_are_needed_grow_with_their_spread_and_cannot_replace_images():
    few, many = (needed_seeds(0.04, std, se_images=0.01) for std in (0.01, 0.03))
    assert 2 <= few < many
    assert needed_seeds(0.04, 0.01, se_images=0.02) is None


# ------------------------------------------------------------------------------------------- coverage
@pytest.fixture(scope="module")
def coverage():
    path = Path(__file__).parents[1] / "bench" / "coverage.py"
    spec = importlib.util.spec_from_file_location("bench_coverage", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_on_a_long_tail_intervals_cover_where_percentiles_do_not(coverage):
    tally = coverage.run(["detection"], [80], coverage.QUICK, seed=0)
    for what in ("AP", "AP, difference"):
        assert tally.coverage(f"long tail: lvis/{what}", 80, "adopted") >= 90
        assert tally.coverage(f"8 categories: coco/{what}", 80, "adopted") >= 90
    assert tally.coverage("long tail: lvis/AP, corrected", 80, "adopted") >= 90
    assert tally.coverage("long tail: lvis/AP, corrected", 80, "percentile") < 85


def test_accuracies_near_1_are_covered(coverage):
    tally = coverage.run(["ratios"], [50], coverage.QUICK, seed=0)
    assert tally.coverage("accuracy 0.98", 50, "adopted") >= 90
    assert tally.coverage("accuracy 0.98", 50, "percentile") < 80
    assert "| accuracy 0.98 |" in "\n".join(tally.markdown())


def test_real_evaluation_images_serve_as_a_pool(coverage, tmp_path):
    truth, detections = random_set(2, images=40)
    (tmp_path / "annotations.json").write_text(json.dumps(truth))
    pairs: dict = {}
    for row in detections:
        x, y, w, h = row["bbox"]
        said = pairs.setdefault((row["image_id"], row["category_id"]), ([], []))
        said[0].append([x, y, x + w, y + h])
        said[1].append(row["score"])
    rows = [
        {"image_id": i, "category_id": k, "boxes": boxes, "scores": values} for (i, k), (boxes, values) in pairs.items()
    ]
    for name in ("rft.jsonl", "sft.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = [tmp_path / "rft.jsonl", tmp_path / "sft.jsonl"]
    pool = coverage.read_pool(tmp_path / "annotations.json", paths, "stated")
    assert pool.images == len({row["image_id"] for row in detections})
    size = coverage.Size(samples=4, draws=20, fresh=10)
    tally = coverage.run(["detection"], [30], size, 0, pool)
    assert tally.coverage("real pool: coco/AP, difference", 30, "adopted") >= 75  # the same answers twice
    assert set(tally.rows["real pool: lvis/AP"]) == {30}
