"""What the diagnostics say about prediction rows, on cases small enough to count by hand."""

import numpy as np
import pytest

from vrft_core.annotations import Annotations
from vrft_core.evaluation.statistics import auroc, calibration, identical, rank_correlation
from vrft_core.report.followed import reward_against_score
from vrft_core.tasks.detection.diagnostics import diagnose, duplicates, hallucination, overlaps

CAT, DOG = 1, 2


def annotations(objects: dict[int, list[tuple[int, list[float]]]], partial: tuple[int, ...] = ()) -> Annotations:
    """image → [(category, xyxy)]; every other category is known to be absent."""
    rows = [
        {"category_id": c, "image_id": i, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "area": 100.0}
        for i, found in objects.items()
        for c, b in found
    ]
    return Annotations.from_dict(
        {
            "images": [
                {
                    "id": i,
                    "split": "eval",
                    "neg_category_ids": sorted({CAT, DOG} - {c for c, _ in found}),
                    "not_exhaustive_category_ids": list(partial),
                }
                for i, found in objects.items()
            ],
            "annotations": [row | {"id": n + 1} for n, row in enumerate(rows)],
            "categories": [{"id": CAT, "name": "cat", "frequency": "f"}, {"id": DOG, "name": "dog", "frequency": "r"}],
        }
    )


def answer(image: int, category: int, *boxes: tuple[list[float], float], reasons: tuple[str, ...] = ()) -> dict:
    return {
        "image_id": image,
        "category_id": category,
        "completion": "",
        "boxes": [box for box, _ in boxes],
        "scores": [score for _, score in boxes],
        "reasons": list(reasons),
        "tokens": 10 * (1 + len(boxes)),
    }


BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


def test_parse_failures_are_counted_by_reason_once_an_answer():
    truth = annotations({1: [(CAT, BOX)], 2: [(CAT, BOX)]})
    rows = [answer(1, CAT, reasons=("no_answer_tag", "bad_box")), answer(2, CAT, reasons=("bad_box",))]
    found = diagnose([*rows, answer(2, CAT, (BOX, 1.0))], truth)
    assert found["reasons"] == {"bad_box": 2, "no_answer_tag": 1}
    assert found["answers_with_reasons"] == pytest.approx(2 / 3)
    assert found["tokens"] == pytest.approx((10 + 10 + 20) / 3)


def test_inflation_is_predicted_boxes_for_each_true_box():
    truth = annotations({1: [(CAT, BOX), (CAT, FAR)]})
    found = diagnose([answer(1, CAT, (BOX, 0.9), (BOX, 0.8), (FAR, 0.7))], truth)
    assert found["boxes"] == {"predicted": 3, "true": 2, "inflation": 1.5}


def test_a_box_repeated_in_one_answer_is_a_duplicate_and_in_another_answer_is_not():
    close = [0, 0, 10, 9.5]
    rows = [answer(1, CAT, (BOX, 1), (BOX, 1), (close, 1), (FAR, 1)), answer(2, CAT, (BOX, 1))]
    assert duplicates(rows) == {"exact": 1 / 5, "near": 1 / 5}
    assert duplicates([answer(1, CAT)]) == {"exact": None, "near": None}


def test_boxes_for_absent_categories_are_hallucinations():
    truth = annotations({1: [(CAT, BOX)], 2: [(CAT, BOX)]})
    rows = [answer(1, CAT, (BOX, 1)), answer(1, DOG, (BOX, 1), (FAR, 1)), answer(2, DOG)]
    assert hallucination(rows, truth) == {"queries": 2, "answers": 0.5, "boxes": 1.0}


def test_hallucination_cannot_be_measured_when_only_present_categories_are_asked_about():
    truth = annotations({1: [(CAT, BOX)]})
    assert diagnose([answer(1, CAT, (BOX, 1))], truth)["hallucination"] is None


def test_calibration_error_is_the_gap_between_confidence_and_precision_weighted_by_boxes():
    confidence, right = np.array([0.85, 0.85, 0.25, 1.0]), np.array([True, False, False, True])
    found = calibration(confidence, right)
    assert found["ece"] == pytest.approx((2 * 0.35 + 1 * 0.25 + 1 * 0.0) / 4)
    assert found["bins"][8] == {"low": 0.8, "high": 0.9, "boxes": 2, "confidence": 0.85, "precision": 0.5}
    assert found["bins"][9]["boxes"] == 1
    assert found["bins"][0]["precision"] is None


def test_auroc_is_the_share_of_pairs_ranked_rightly_with_ties_half():
    rng = np.random.default_rng(0)
    score, label = rng.integers(0, 6, 200) / 5, rng.random(200) < 0.4
    right, wrong = score[label][:, None], score[~label][None]
    assert auroc(score, label) == pytest.approx(((right > wrong) + 0.5 * (right == wrong)).mean(), abs=1e-12)


def test_auroc_needs_right_and_wrong_boxes():
    assert auroc(np.array([0.1, 0.9]), np.array([True, True])) is None


def test_rank_correlation_is_one_for_any_rising_relation_and_none_for_constant_confidence():
    overlap = np.array([0.1, 0.4, 0.5, 0.9])
    assert rank_correlation(overlap**3, overlap) == pytest.approx(1)
    assert rank_correlation(-overlap, overlap) == pytest.approx(-1)
    assert rank_correlation(np.ones(4), overlap) is None


def test_confidence_at_the_ends_is_reported_as_a_share():
    truth = annotations({1: [(CAT, BOX)]})
    found = diagnose([answer(1, CAT, (BOX, 1.0), (FAR, 0.0), (FAR, 0.5), (FAR, 1.0))], truth)["confidence"]
    assert (found["zero"], found["one"]) == (0.25, 0.5)


def test_a_surplus_box_of_a_category_annotated_in_part_is_neither_right_nor_wrong():
    rows = [answer(1, CAT, (BOX, 0.9), (FAR, 0.8))]
    whole = diagnose(rows, annotations({1: [(CAT, BOX)]}))["confidence"]["calibration"]["bins"]
    partly = diagnose(rows, annotations({1: [(CAT, BOX)]}, partial=(CAT,)))["confidence"]["calibration"]["bins"]
    assert (whole[8]["boxes"], partly[8]["boxes"]) == (1, 0)


def test_answers_without_a_single_box_are_described_too():
    found = diagnose([answer(1, CAT)], annotations({1: [(CAT, BOX)]}))
    assert found["boxes"]["predicted"] == 0
    assert found["confidence"]["calibration"]["ece"] is None


def test_near_misses_are_the_touching_boxes_that_a_gate_at_one_half_pays_nothing():
    truth = annotations({1: [(CAT, BOX), (CAT, FAR)], 2: [(CAT, BOX)]})
    half, third = [0, 0, 10, 5], [0, 0, 10, 3]
    found = overlaps([answer(1, CAT, (half, 0.9), (FAR, 0.8)), answer(2, CAT, (third, 1), (FAR, 1))], truth)
    assert (found["pairs"], found["starved"]) == (3, pytest.approx(2 / 3))
    assert overlaps([answer(1, CAT, ([80, 80, 90, 90], 1))], truth)["starved"] is None


def test_an_object_is_taken_by_the_surest_box_that_touches_it_and_once():
    truth = annotations({1: [(CAT, BOX)]})
    found = overlaps([answer(1, CAT, (BOX, 0.3), ([0, 0, 10, 6], 0.9))], truth)
    assert found["pairs"] == 1
    assert found["by_size"]["small"]["overlap"] == pytest.approx(0.6)


def test_overlap_is_given_by_size_with_missed_objects_as_zero_and_after_the_gate():
    truth = annotations({1: [(CAT, BOX)], 2: [(CAT, [0, 0, 50, 50])], 3: [(CAT, BOX)]})
    truth.by_image[2][0]["area"] = 2500.0
    rows = [answer(1, CAT, ([0, 0, 10, 4], 1)), answer(2, CAT, ([0, 0, 50, 40], 1)), answer(3, CAT)]
    assert overlaps(rows, truth)["by_size"] == {
        "small": {"objects": 2, "overlap": pytest.approx(0.2), "paid": 0.0},
        "medium": {"objects": 1, "overlap": pytest.approx(0.8), "paid": pytest.approx(0.8)},
        "large": {"objects": 0, "overlap": None, "paid": None},
    }


def test_answers_cut_off_and_answers_given_twice_are_shares_of_all():
    truth = annotations({1: [(CAT, BOX)], 2: [(CAT, BOX)]})
    rows = [answer(1, CAT, reasons=("truncated",)), answer(2, CAT, reasons=("no_answer_tag",))]
    assert diagnose(rows, truth)["cut_off"] == 0.5
    assert identical([row | {"completion": text} for row, text in zip(rows * 2, "aabc", strict=True)]) == 0.5
    assert identical([]) is None


def test_reward_and_validation_score_are_compared_at_each_checkpoint():
    log = [{"step": step, "reward": float(step)} for step in range(1, 7)]
    validation = [
        {"step": 0, "score": 0.9},
        *({"step": s, "score": score} for s, score in ((2, 0.2), (4, 0.3), (6, 0.25))),
    ]
    found = reward_against_score(log, validation)
    assert [one["reward"] for one in found["checkpoints"]] == [1.5, 3.5, 5.5]
    assert found["spearman"] == pytest.approx(0.5)
    assert found["drift"] == pytest.approx((5.5 / 1.5 - 1) - (0.25 / 0.2 - 1))


def test_one_checkpoint_tells_nothing_of_reward_and_score():
    assert reward_against_score([{"step": 1, "reward": 1.0}], [{"step": 1, "score": 0.2}]) is None
    assert reward_against_score([], []) is None
