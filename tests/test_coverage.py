"""The simulation in bench/coverage.py: intervals cover as often as they say."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from detection_sets import random_set


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
