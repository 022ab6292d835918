"""COCO and LVIS average precision: the references' numbers, and the rules behind them one by one."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from detection_sets import hotcoco_numbers, pycocotools_numbers, random_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vrft_core.annotations import Annotations
from vrft_core.boxes import iou
from vrft_core.errors import InputError
from vrft_core.tasks.detection.metrics.average_precision import published_lvis, summary
from vrft_core.tasks.detection.metrics.matching import match

FIXTURES = Path(__file__).parents[2] / "shared/data/fixtures"
needs_fixtures = pytest.mark.skipif(not FIXTURES.exists(), reason="evaluation fixtures are not beside this checkout")
BOX, FAR = [10, 10, 20, 20], [100, 100, 20, 20]


def same(ours: dict, theirs: dict, tolerance: float) -> None:
    for name, value in theirs.items():
        if isinstance(value, dict):
            same(ours[name], value, tolerance)
        elif value is None:
            assert ours[name] is None, name
        else:
            assert ours[name] == pytest.approx(value, abs=tolerance), name


def truth(objects: dict[int, list[list[float]]], category: int = 1, **image: dict[int, list[int]]) -> dict:
    """Objects of one category by image; `image` gives LVIS fields by image. Category 2 has no object."""
    rows = [(i, box) for i, boxes in objects.items() for box in boxes]
    return {
        "images": [
            {
                "id": i,
                "neg_category_ids": image.get("negative", {}).get(i, []),
                "not_exhaustive_category_ids": image.get("partial", {}).get(i, []),
            }
            for i in objects
        ],
        "annotations": [
            {"id": n, "image_id": i, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (i, box) in enumerate(rows, 1)
        ],
        "categories": [{"id": 1, "name": "cat", "frequency": "f"}, {"id": 2, "name": "dog", "frequency": "r"}],
    }


def found(image: int, box: list[float], score: float, category: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def ap50(ground_truth: dict, detections: list[dict], rules: str = "lvis") -> float:
    return match(ground_truth, detections, rules).average_precision()["AP50"]


# The references


@needs_fixtures
def test_coco_fixture_has_the_published_number():
    expected = json.loads((FIXTURES / "instances_val2014_100_expected.json").read_text())
    ground_truth, detections = (
        json.loads((FIXTURES / expected[k]).read_text()) for k in ("ground_truth", "detections")
    )
    ours = summary(match(ground_truth, detections, "coco"))
    assert ours["AP"] == pytest.approx(expected["AP"], abs=1e-12)
    theirs = pycocotools_numbers(ground_truth, detections)
    del theirs["per_category"]
    same(ours, theirs, 1e-12)


@needs_fixtures
def test_lvis_fixture_has_the_numbers_of_lvis_api():
    expected = json.loads((FIXTURES / "lvis_val_100_expected.json").read_text())
    ground_truth, detections = (
        json.loads((FIXTURES / expected[k]).read_text()) for k in ("ground_truth", "detections")
    )
    same(summary(match(ground_truth, detections, "lvis")), expected["results"], 1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_coco_equals_pycocotools_on_ties_crowds_empty_images_and_caps(seed):
    ground_truth, detections = random_set(seed, crowded=seed % 4 == 3)
    matches = match(ground_truth, detections, "coco")
    theirs = pycocotools_numbers(ground_truth, detections)
    per_category = theirs.pop("per_category")
    same(summary(matches), theirs, 1e-12)
    same(
        dict(zip(per_category, matches.average_precision()["per_category"].values(), strict=True)), per_category, 1e-12
    )


@pytest.mark.parametrize("seed", range(8))
def test_lvis_equals_hotcoco_on_ties_partial_annotation_and_the_cap(seed, tmp_path):
    ground_truth, detections = random_set(seed, crowded=seed % 4 == 3)
    for row in ground_truth["annotations"]:
        row["iscrowd"] = 0  # lvis-api knows no crowds; hotcoco heeds them all the same
    same(
        summary(match(ground_truth, detections, "lvis")),
        hotcoco_numbers(tmp_path, ground_truth, detections, "lvis"),
        1e-12,
    )


_corner, _side = st.integers(0, 4), st.integers(0, 4)
_boxes = st.lists(st.tuples(_corner, _corner, _side, _side), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    objects=st.lists(_boxes, min_size=2, max_size=2),
    detections=st.lists(st.tuples(st.integers(1, 2), st.sampled_from([0.0, 0.5, 1.0]), _boxes), max_size=4),
    crowds=st.sets(st.integers(0, 11)),
)
def test_coco_equals_pycocotools_when_scores_and_overlaps_tie(objects, detections, crowds):
    ground_truth = truth({i: [list(box) for box in boxes] for i, boxes in enumerate(objects, 1)})
    for index, row in enumerate(ground_truth["annotations"]):
        row["iscrowd"] = int(index in crowds)
    rows = [found(image, list(box), score) for image, score, boxes in detections for box in boxes]
    if not rows:
        assert summary(match(ground_truth, rows, "coco"))["AP"] in (0, None)  # pycocotools refuses an empty list
        return
    theirs = pycocotools_numbers(ground_truth, rows)
    del theirs["per_category"]
    same(summary(match(ground_truth, rows, "coco")), theirs, 1e-12)


def test_restricting_categories_equals_pycocotools_with_the_same_categories():
    ground_truth, detections = random_set(1)
    ids = [4, 10]
    theirs = pycocotools_numbers(ground_truth, detections, ids)
    per_category = theirs.pop("per_category")
    matches = match(ground_truth, detections, "coco", category_ids=ids)
    same(summary(matches), theirs, 1e-12)
    assert [category["id"] for category in matches.categories] == list(per_category) == ids


# The definition


def test_average_precision_is_the_mean_over_101_recalls_of_the_best_precision_at_that_recall_or_beyond():
    ground_truth = truth({1: [BOX, FAR]})
    rows = [found(1, BOX, 0.9), found(1, [200, 200, 9, 9], 0.8), found(1, FAR, 0.7)]
    # Recall 0 … .5 at precision 1 (51 points), .51 … 1 at precision 2/3 (50 points).
    assert ap50(ground_truth, rows) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_iou_of_a_crowd_is_over_the_detection_alone():
    small, large = np.array([0.0, 0, 10, 10]), np.array([0.0, 0, 20, 20])
    assert iou(small, large) == 0.25
    assert iou(small, large, crowd=True) == 1
    assert iou(small, np.array([10.0, 0, 10, 10])) == 0


def test_a_second_box_on_a_found_object_is_wrong():
    ground_truth = truth({1: [BOX, FAR]})
    rows = [found(1, BOX, 0.9), found(1, BOX, 0.8), found(1, FAR, 0.7)]
    assert ap50(ground_truth, rows) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_equal_scores_keep_the_order_of_the_list():
    ground_truth = truth({1: [BOX]})
    right, wrong = found(1, BOX, 0.5), found(1, FAR, 0.5)
    assert ap50(ground_truth, [right, wrong]) == pytest.approx(1)
    assert ap50(ground_truth, [wrong, right]) == pytest.approx(0.5)


def test_of_two_objects_overlapped_equally_the_later_one_is_taken():
    left, right = [0, 0, 10, 10], [4, 0, 10, 10]
    rows = [found(1, [2, 0, 10, 10], 0.9), found(1, [6, 0, 10, 10], 0.8)]  # the second reaches only the right one
    for objects, expected in (([right, left], 1), ([left, right], 51 / 101)):
        assert ap50(truth({1: objects}), rows, "coco") == pytest.approx(expected)
        assert pycocotools_numbers(truth({1: objects}), rows)["AP50"] == pytest.approx(expected)


def test_an_area_on_a_boundary_belongs_to_both_ranges():
    ground_truth = truth({1: [[0, 0, 10, 10], [100, 0, 50, 50]]})
    rows = [found(1, [200, 200, 32, 32], 0.9), found(1, [0, 0, 10, 10], 0.8), found(1, [100, 0, 50, 50], 0.7)]
    ours = summary(match(ground_truth, rows, "coco"))
    assert (ours["APs"], ours["APm"]) == (pytest.approx(0.5), pytest.approx(0.5))  # 32² is wrong in either
    theirs = pycocotools_numbers(ground_truth, rows)
    assert (theirs["APs"], theirs["APm"]) == (pytest.approx(0.5), pytest.approx(0.5))


def test_a_category_without_objects_counts_in_no_mean_and_is_none():
    result = match(truth({1: [BOX]}), [found(1, BOX, 0.9), found(1, BOX, 0.9, category=2)], "coco").average_precision()
    assert result["AP"] == pytest.approx(1)
    assert result["per_category"] == {"cat": pytest.approx(1), "dog": None}


def test_nothing_detected_is_zero_and_no_object_at_all_is_none():
    assert match(truth({1: [BOX]}), [], "coco").average_precision()["AP"] == 0
    assert match(truth({1: []}), [found(1, BOX, 0.9)], "coco").average_precision()["AP"] is None


def test_an_annotation_with_id_0_can_be_found():
    ground_truth = truth({1: [BOX]})
    ground_truth["annotations"][0]["id"] = 0
    assert ap50(ground_truth, [found(1, BOX, 0.9)], "coco") == pytest.approx(1)
    assert pycocotools_numbers(ground_truth, [found(1, BOX, 0.9)])["AP50"] == 0  # it takes 0 for 'no match'


def test_coco_counts_the_best_100_of_a_category_in_an_image():
    ground_truth = truth({1: [BOX]})
    wrong = [found(1, FAR, 0.9) for _ in range(100)]
    assert ap50(ground_truth, [*wrong[:99], found(1, BOX, 0.5)], "coco") == pytest.approx(1 / 100)
    assert ap50(ground_truth, [*wrong, found(1, BOX, 0.5)], "coco") == 0


# LVIS


def test_lvis_counts_the_best_300_of_an_image_over_all_categories_even_unverified_ones():
    ground_truth = truth({1: [BOX]})
    other = [found(1, FAR, 0.9, category=2) for _ in range(300)]
    assert ap50(ground_truth, [*other[:299], found(1, BOX, 0.5)]) == pytest.approx(1)
    assert ap50(ground_truth, [*other, found(1, BOX, 0.5)]) == 0


def test_lvis_counts_the_cap_before_categories_are_chosen():
    other = [found(1, FAR, 0.9, category=2) for _ in range(300)]
    matches = match(truth({1: [BOX]}), [*other, found(1, BOX, 0.5)], "lvis", category_ids=[1])
    assert matches.average_precision()["AP50"] == 0


def test_lvis_holds_a_detection_against_the_model_only_where_the_category_was_verified():
    rows = [found(1, BOX, 0.5), found(2, BOX, 0.9)]
    assert ap50(truth({1: [BOX], 2: []}), rows) == pytest.approx(1)
    assert ap50(truth({1: [BOX], 2: []}, negative={2: [1]}), rows) == pytest.approx(0.5)


def test_lvis_ignores_surplus_boxes_where_a_category_is_annotated_in_part():
    rows = [found(1, FAR, 0.9), found(1, BOX, 0.5)]
    assert ap50(truth({1: [BOX]}), rows) == pytest.approx(0.5)
    assert ap50(truth({1: [BOX]}, partial={1: [1]}), rows) == pytest.approx(1)


def test_lvis_reports_rare_common_and_frequent_categories_apart():
    ground_truth = truth({1: [BOX]})
    dog = truth({1: [FAR]}, category=2)["annotations"][0] | {"id": 2}
    ground_truth["annotations"].append(dog)
    result = match(ground_truth, [found(1, BOX, 0.9)], "lvis").average_precision()
    assert (result["APf"], result["APc"], result["APr"]) == (pytest.approx(1), None, 0)


def test_the_published_number_averages_a_category_over_four_area_ranges():
    ground_truth = truth({1: [BOX, [100, 100, 50, 50]]})  # one small, one medium object; none large
    matches = match(ground_truth, [found(1, BOX, 0.9)], "lvis")
    all_areas = 51 / 101
    assert summary(matches)["AP"] == pytest.approx(all_areas)
    assert published_lvis(matches)["AP"] == pytest.approx((all_areas + 1 + 0) / 3)


# Weights and input


@pytest.mark.parametrize("rules", ["coco", "lvis"])
def test_weighting_an_image_equals_evaluating_copies_of_it(rules):
    ground_truth, detections = random_set(2)
    scores = np.random.default_rng(0).permutation(len(detections)) / len(detections)
    detections = [row | {"score": float(score)} for row, score in zip(detections, scores, strict=True)]
    matches = match(ground_truth, detections, rules)
    weights = np.random.default_rng(1).integers(0, 4, len(ground_truth["images"]))
    copies = {"images": [], "annotations": [], "categories": ground_truth["categories"]}
    copied = []
    for image_id, weight in zip(matches.image_ids.tolist(), weights, strict=True):
        for number in range(weight):
            new = {"image_id": 1000 * image_id + number}
            image = next(image for image in ground_truth["images"] if image["id"] == image_id)
            copies["images"].append(image | {"id": new["image_id"]})
            rows = [row for row in ground_truth["annotations"] if row["image_id"] == image_id]
            copies["annotations"] += [r | new | {"id": len(copies["annotations"]) + n} for n, r in enumerate(rows, 1)]
            copied += [row | new for row in detections if row["image_id"] == image_id]
    same(matches.average_precision(weights), match(copies, copied, rules).average_precision(), 1e-12)


def test_weights_of_one_change_nothing():
    matches = match(*random_set(3), "lvis")
    assert matches.average_precision(np.ones(len(matches.image_ids))) == matches.average_precision()


def test_annotations_in_memory_count_like_their_file():
    ground_truth, detections = random_set(4)
    ours = match(Annotations.from_dict(ground_truth), detections, "lvis").average_precision()
    assert ours == match(ground_truth, detections, "lvis").average_precision()


def test_neither_ground_truth_nor_detections_are_changed():
    ground_truth, detections = random_set(5)
    before = copy.deepcopy((ground_truth, detections))
    match(ground_truth, detections, "coco")
    assert (ground_truth, detections) == before


def test_an_unknown_category_to_evaluate_is_refused():
    with pytest.raises(InputError, match="7 is not in the ground truth"):
        match(truth({1: [BOX]}), [], "coco", category_ids=[7])
