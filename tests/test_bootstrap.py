"""Intervals over images and over training seeds, from matches that are counted again and never made again."""

import time

import numpy as np
import pytest
from detection_sets import random_set

from vrft_core.errors import InputError
from vrft_core.evaluation.bootstrap import bootstrap, bootstrap_ratios, bootstrap_seeds
from vrft_core.tasks.detection.metrics.average_precision import Matches
from vrft_core.tasks.detection.metrics.matching import match

BOX = [10, 10, 20, 20]


def detector(hits: np.ndarray) -> Matches:
    """One object an image, found where `hits` says so and nothing else: AP is the share found."""
    ids = range(1, len(hits) + 1)
    ground_truth = {
        "images": [{"id": i} for i in ids],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": BOX, "area": 400, "iscrowd": 0} for i in ids
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    found = [{"image_id": i, "category_id": 1, "bbox": BOX, "score": 0.5} for i in ids if hits[i - 1]]
    return match(ground_truth, found, "coco")


def shares(seed: int, *chances: float, images: int = 80) -> list[Matches]:
    rng = np.random.default_rng(seed)
    return [detector(rng.random(images) < chance) for chance in chances]


def test_the_value_is_the_metric_on_all_images_and_lies_within_its_interval():
    (model,) = shares(0, 0.6)
    interval = bootstrap({"rft": model}, 200, seed=0)["models"]["rft"]["AP"]
    assert interval["value"] == model.average_precision()["AP"]
    assert interval["low"] < interval["value"] < interval["high"]


def test_an_interval_runs_from_the_2_5th_to_the_97_5th_percentile_of_recounts_over_drawn_images():
    (model,) = shares(0, 0.5, images=30)
    interval = bootstrap({"rft": model}, 1000, seed=0)["models"]["rft"]["AP"]
    rng = np.random.default_rng(99)
    recounts = [model.average_precision(rng.multinomial(30, [1 / 30] * 30))["AP"] for _ in range(1000)]
    assert [interval["low"], interval["high"]] == pytest.approx(np.percentile(recounts, [2.5, 97.5]), abs=0.012)
    assert np.percentile(recounts, 5) > interval["low"] + 0.012


def test_intervals_hold_the_true_value_about_as_often_as_they_say():
    held = 0
    for seed in range(40):
        interval = bootstrap({"rft": shares(seed, 0.6)[0]}, 100, seed)["models"]["rft"]["AP50"]
        held += interval["low"] <= 0.6 <= interval["high"]
    assert 0.85 <= held / 40 <= 1


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    (model,) = shares(0, 0.6)
    first, again, other = (bootstrap({"rft": model}, 50, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_headline_metric_has_an_interval_and_an_undefined_one_is_none():
    ground_truth, detections = random_set(3)
    for category in ground_truth["categories"]:
        category["frequency"] = "f"
    found = bootstrap({"base": match(ground_truth, detections, "lvis")}, 20, seed=0)["models"]["base"]
    assert list(found) == ["AP", "AP50", "AP75", "APr", "APc", "APf"]
    assert found["APr"] == {"value": None, "low": None, "high": None}
    assert found["APf"] == found["AP"]


def test_differences_are_paired_over_the_same_resampled_images():
    rng = np.random.default_rng(0)
    hits = rng.random(100) < 0.5
    better = hits.copy()
    better[np.flatnonzero(~hits)[:5]] = True
    found = bootstrap({"sft": detector(hits), "rft": detector(better)}, 300, seed=0)
    difference = found["differences"]["rft-sft"]["AP50"]
    models = [found["models"][name]["AP50"] for name in ("sft", "rft")]
    assert difference["value"] == pytest.approx(models[1]["value"] - models[0]["value"])
    assert models[1]["low"] < models[0]["high"]  # apart, the two cannot be told from each other
    assert difference["low"] > 0  # paired, they can


def test_a_model_does_not_differ_from_itself():
    (model,) = shares(0, 0.6)
    found = bootstrap({"base": model, "sft": model, "rft": model}, 20, seed=0)["differences"]
    assert list(found) == ["rft-sft", "rft-base", "sft-base"]
    assert all(entry["low"] == entry["high"] == 0 for metrics in found.values() for entry in metrics.values())


def test_images_without_any_detection_are_resampled_too():
    hits = np.zeros(50, dtype=bool)
    hits[0] = True
    found = bootstrap({"rft": detector(hits)}, 200, seed=0)["models"]["rft"]["AP50"]
    assert found["low"] == 0 < found["high"]  # the one image that was found is often not drawn


def test_models_evaluated_on_different_images_are_refused():
    with pytest.raises(InputError, match="other images"):
        bootstrap({"sft": shares(0, 0.5, images=10)[0], "rft": shares(0, 0.5, images=11)[0]}, 10, seed=0)


def test_over_seeds_the_value_is_the_mean_with_the_values_and_their_spread_beside_it():
    runs = shares(0, 0.5, 0.6, 0.7)
    found = bootstrap_seeds([{"rft": run} for run in runs], 50, seed=0)["models"]["rft"]["AP"]
    values = [run.average_precision()["AP"] for run in runs]
    assert found["per_seed"] == pytest.approx(values)
    assert found["value"] == pytest.approx(np.mean(values))
    assert found["std"] == pytest.approx(np.std(values, ddof=1))


def test_training_seeds_that_disagree_widen_the_interval():
    agreeing, apart = shares(0, 0.6, 0.6, 0.6), shares(0, 0.3, 0.6, 0.9)

    def width(runs: list[Matches]) -> float:
        entry = bootstrap_seeds([{"rft": run} for run in runs], 200, seed=0)["models"]["rft"]["AP"]
        return entry["high"] - entry["low"]

    assert width(apart) > 2 * width(agreeing)


def test_a_resample_over_seeds_is_a_mean_over_as_many_seeds_as_there_are():
    runs = [detector(np.full(20, found)) for found in (False, True) * 4]  # AP 0 or 1, whichever images are drawn
    entry = bootstrap_seeds([{"rft": run} for run in runs], 500, seed=0)["models"]["rft"]["AP"]
    spread = 1.96 * np.sqrt(0.25 / 8)
    assert [entry["low"], entry["high"]] == pytest.approx([0.5 - spread, 0.5 + spread], abs=0.07)


def test_one_seed_gives_the_interval_over_images():
    base, rft = shares(0, 0.4, 0.6)
    one = bootstrap_seeds([{"base": base, "rft": rft}], 100, seed=3)
    images = bootstrap({"base": base, "rft": rft}, 100, seed=3)
    for kind, name in (("models", "rft"), ("differences", "rft-base")):
        entry = one[kind][name]["AP"]
        assert {k: entry[k] for k in ("value", "low", "high")} == images[kind][name]["AP"]
        assert entry["std"] is None


def test_differences_over_seeds_pair_models_within_a_seed():
    base = shares(9, 0.4)[0]
    found = bootstrap_seeds([{"base": base, "rft": run} for run in shares(0, 0.6, 0.7)], 50, seed=0)
    models = {name: entry["AP"]["per_seed"] for name, entry in found["models"].items()}
    expected = np.subtract(models["rft"], models["base"])
    assert found["differences"]["rft-base"]["AP"]["per_seed"] == pytest.approx(expected)


def test_seeds_with_different_models_are_refused():
    base, rft = shares(0, 0.4, 0.6)
    with pytest.raises(InputError, match="same models"):
        bootstrap_seeds([{"base": base}, {"base": base, "rft": rft}], 10, seed=0)


def test_a_ratio_of_sums_has_its_interval_over_answers_and_none_without_any():
    found = bootstrap_ratios({"mean": ([0, 1, 1, 0], [1] * 4), "whole": ([2, 3, 4, 5], [2, 3, 4, 5])}, 200, seed=0)
    assert found["mean"]["value"] == 0.5
    assert found["mean"]["low"] < 0.5 < found["mean"]["high"]
    assert found["whole"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert bootstrap_ratios({"mean": ([], [])}, 10, seed=0)["mean"]["value"] is None


def test_a_thousand_resamples_of_a_small_evaluation_take_seconds():
    models = dict(zip(("base", "sft", "rft"), shares(0, 0.4, 0.5, 0.6, images=500), strict=True))
    started = time.process_time()
    bootstrap(models, 1000, seed=0)
    assert time.process_time() - started < 10
