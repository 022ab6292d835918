"""What detection's scores count, as the intervals resample them."""

import numpy as np
import pytest
from detection_sets import random_set

from vrft_core.evaluation.intervals import intervals
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores, ap_metric
from vrft_core.tasks.detection.metrics.matching import match


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
