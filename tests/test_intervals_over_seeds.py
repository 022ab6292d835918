"""95 % intervals over training seeds and images together, and how many of both a difference needs."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats
from scored import ACCURACY, OVERLAP, Z, detection, ends, logistic, scores

from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals, intervals_over_seeds, needed_images, needed_seeds
from vrft_core.evaluation.ratio_scores import RatioScores


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
