"""Grounding metrics on regions small enough to count by hand."""

import numpy as np
import pytest
from pycocotools import mask as reference

from vrft_core.tasks.grounding.metrics.overlap import IGNORE, box_scores, decode, mask_scores, published_box


def mask(*columns: int) -> np.ndarray:
    """One row of ten pixels with some of them set."""
    row = np.zeros((1, 10), dtype=np.uint8)
    row[0, list(columns)] = 1
    return row


def test_miou_is_the_mean_over_questions_and_ciou_weighs_by_area():
    predicted = [(0, 0, 10, 10), (0, 0, 100, 50)]
    truth = [(0, 0, 10, 10), (0, 0, 100, 100)]
    assert box_scores(predicted, truth) == {"mIoU": pytest.approx(0.75), "cIoU": pytest.approx(5100 / 10100)}


def test_a_missing_box_counts_as_zero_and_its_object_still_in_the_union():
    found = box_scores([None, (0, 0, 10, 10)], [(0, 0, 10, 10), (0, 0, 10, 10)])
    assert found == {"mIoU": pytest.approx(0.5), "cIoU": pytest.approx(0.5)}


def test_giou_is_the_mean_over_images_and_ciou_summed_intersections_over_summed_unions():
    found = mask_scores([mask(0, 1), mask(0)], [mask(0, 1, 2, 3), mask(0)])
    assert found == {"gIoU": pytest.approx((2 / 4 + 1) / 2, abs=1e-4), "cIoU": pytest.approx(3 / 5)}


def test_ignored_pixels_count_on_neither_side_unless_asked_for():
    target = mask(0, 1)
    target[0, 5:] = IGNORE
    predicted = mask(0, 1, 5, 6)
    assert mask_scores([predicted], [target])["cIoU"] == pytest.approx(1)
    assert mask_scores([predicted], [target], ignore=False)["cIoU"] == pytest.approx(0.5)


def test_saying_nothing_where_nothing_is_counts_as_one():
    assert mask_scores([None, mask()], [mask(), mask()]) == {"gIoU": 1, "cIoU": 0}


def test_a_missing_mask_is_an_empty_one():
    assert mask_scores([None], [mask(0, 1)]) == {"gIoU": 0, "cIoU": 0}


def test_a_mask_of_another_size_is_refused_and_never_resized():
    with pytest.raises(ValueError, match="target"):
        mask_scores([np.zeros((2, 2))], [mask(0)])


def test_no_questions_have_no_scores():
    assert box_scores([], []) == {"mIoU": None, "cIoU": None}
    assert mask_scores([], []) == {"gIoU": None, "cIoU": None}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_are_read_as_pycocotools_reads_them(share):
    drawn = np.asfortranarray(np.random.default_rng(0).random((37, 53)) < share, dtype=np.uint8)
    rle = reference.encode(drawn)
    counts = rle["counts"].decode()
    assert np.array_equal(decode({"size": rle["size"], "counts": counts}), drawn)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        "abc",
        {"size": [2, 2]},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": "\x01"},
        {"size": [2, 2], "counts": "oooooooooooo"},
        {"size": [2**40, 2**40], "counts": [1]},
        {"size": ["2", 2], "counts": [4]},
    ],
)
def test_what_is_no_mask_is_refused(rle):
    with pytest.raises(ValueError, match="not a run-length encoded mask"):
        decode(rle)


def test_the_published_evaluation_reads_the_first_box_of_whole_numbers_anywhere():
    assert published_box("<think>(1,2),(3,4)</think><answer>(5,6),(7,8)</answer>") == (1, 2, 3, 4)
    assert published_box("<answer>(1.5,2),(3,4)</answer>") is None
    assert published_box("<answer>(3,4),(1,2)</answer>") is None
