"""`vrft evaluate` of predictions says how often a model names no box, about what is there and about what is not."""

import json

import pytest

from vrft_core import cli, io

SIZE = {"width": 100, "height": 100, "split": "eval"}
TRUTH = {
    "images": [
        {"id": 1, "file_name": "1.png", "neg_category_ids": [2, 3], "not_exhaustive_category_ids": [], **SIZE},
        {"id": 2, "file_name": "2.png", "neg_category_ids": [1], "not_exhaustive_category_ids": [], **SIZE},
        {"id": 3, "file_name": "3.png", "neg_category_ids": [1, 2, 3], "not_exhaustive_category_ids": [], **SIZE}
        | {"split": "val"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
    ],
    "categories": [
        {"id": 1, "name": "cat", "frequency": "f"},
        {"id": 2, "name": "hog", "frequency": "r"},
        {"id": 3, "name": "tiger", "frequency": "r"},
    ],
}  # fmt: skip
SAID = {  # (image, category): whether a box is named
    (1, 1): True, (2, 2): False,  # present
    (1, 2): True, (1, 3): False, (2, 1): False,  # verified absent
    (2, 3): True,  # nobody knows
}  # fmt: skip


@pytest.fixture
def measured(tmp_path, capsys):
    """What `vrft evaluate` prints of the answers, by the rules given."""
    io.write_json(tmp_path / "truth.json", TRUTH)
    rows = [
        {"image_id": image, "category_id": category, "boxes": [[10, 10, 30, 30]] * box, "scores": [0.9] * box}
        for (image, category), box in SAID.items()
    ]
    io.write_jsonl(tmp_path / "predictions.jsonl", rows)

    def run(rules: str, *options: str) -> str:
        files = ["--ground-truth", str(tmp_path / "truth.json"), "--detections", str(tmp_path / "predictions.jsonl")]
        assert cli.main(["evaluate", "--rules", rules, *files, *options]) == 0
        return capsys.readouterr().out

    return run


def test_by_lvis_only_what_was_verified_absent_counts_as_absent(measured):
    assert json.loads(measured("lvis", "--json"))["silence"] == {
        "present": {"questions": 2, "silent": 0.5, "by_frequency": {"frequent": 0.0, "rare": 1.0}},
        "absent": {
            "questions": 3, "silent": pytest.approx(2 / 3), "by_frequency": {"frequent": 1.0, "rare": 0.5},
        },
    }  # fmt: skip


def test_by_coco_what_is_not_annotated_is_absent(measured):
    found = json.loads(measured("coco", "--json"))["silence"]["absent"]
    assert (found["questions"], found["silent"]) == (4, 0.5)


def test_the_table_says_it_in_a_line_each(measured):
    lines = measured("lvis").splitlines()
    assert "  2 questions about something present: answered without a box in 50.0 % (frequent 0.0, rare 100.0)" in lines
    assert "  3 questions about something absent: answered without a box in 66.7 % (frequent 100.0, rare 50.0)" in lines
