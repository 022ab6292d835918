"""Studies of settings: a variant is a project of its own, and nothing but what is named differs; labels made wrong."""

import sys
from pathlib import Path
from typing import Any

import yaml

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import mini_study  # noqa: E402
import noisy_labels  # noqa: E402

CELL, NEW = "phrases-mini-4shot-s0", "phrases-mini-16shot-s3"
VALUES = {"base": 0.44, "sft": 0.48, "rft": 0.5}
RATE = "recipes.mini.tasks.grounding.rft.learning_rate=1e-5"


def made(tmp_path: Path, stages: list[str]) -> tuple[Layout, Layout, Path]:
    """(root, variant, a stage's output in the root): a variant of a root that has trained by both methods."""
    root, folder = tmp_path / "root", tmp_path / "out/slow"
    params = mini_study.load_params(ROOT / "params.yaml")
    cell = params.parse_cell(CELL)
    for method in ("sft", "rft"):
        (Layout(root).model(cell, method)).mkdir(parents=True)
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    mini_study.prepared(root, folder, [RATE], [CELL, NEW], stages)
    return Layout(root), Layout(folder), Path(cell.key)


def test_a_variant_differs_in_what_is_named_and_has_the_cells_it_needs(tmp_path):
    _, ours, _ = made(tmp_path, ["rft"])
    theirs, changed = yaml.safe_load((ROOT / "params.yaml").read_text()), ours.root / "params.yaml"
    params = mini_study.load_params(changed)
    assert params.recipe(params.parse_cell(CELL)).rft.learning_rate == 1e-5
    assert params.parse_cell(NEW).shots == 16

    found = yaml.safe_load(changed.read_text())
    found["recipes"]["mini"]["tasks"]["grounding"]["rft"] = theirs["recipes"]["mini"]["tasks"]["grounding"]["rft"]
    assert found | {"grid": None} == theirs | {"grid": None}


def test_what_is_not_trained_again_is_a_link_to_the_root(tmp_path):
    theirs, ours, key = made(tmp_path, ["rft"])
    assert (ours.root / "models" / key / "sft").resolve() == (theirs.root / "models" / key / "sft").resolve()
    assert not (ours.root / "models" / key / "rft").exists()


def test_studies_of_several_bases_make_one_table_by_the_metric_that_decides():
    def entry(value: float) -> dict:
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    found: Any = {
        "cell": "lvis-mini-1shot",
        "seeds": [0, 1],
        "verdict": {"metric": "AP", "title": "LVIS AP"},
        "models": {name: {"AP": entry(value), "AP50": entry(0.9)} for name, value in VALUES.items()},
        "differences": {pair: {"AP": entry(0.02)} for pair in ("rft-sft", "rft-base", "sft-base")},
    }
    head, _, first, second = mini_study.table([("seed0", found), ("seed1", found)]).splitlines()
    assert head.startswith("| variant | study, metric | seeds | Base | SFT | RFT | RFT − SFT |")
    assert first.startswith("| seed0 | lvis-mini-1shot, LVIS AP | 0, 1 | 44.0 [43.0, 45.0] | 48.0 [47.0, 49.0] |")
    assert second.startswith("| seed1 ") and second.count("+2.0 [+1.0, +3.0]") == 3 and "90.0" not in second


def test_the_share_of_training_labels_is_wrong_and_no_other():
    rows = [("train", 1)] * 8 + [("val", 2)] * 2
    data = {
        "images": [
            {"id": i, "split": split, "neg_category_ids": [c for c in (1, 2, 3) if c != label]}
            for i, (split, label) in enumerate(rows)
        ],
        "annotations": [{"image_id": i, "category_id": label} for i, (_, label) in enumerate(rows)],
        "categories": [{"id": c} for c in (1, 2, 3)],
    }
    found, count = noisy_labels.spoiled(data, 0.25, 0)
    wrong = [i for i, (_, label) in enumerate(rows) if found["annotations"][i]["category_id"] != label]
    assert count == len(wrong) == 2 and max(wrong) < 8
    for image, row in zip(found["images"], found["annotations"], strict=True):
        assert sorted([*image["neg_category_ids"], row["category_id"]]) == [1, 2, 3]


def test_wrong_labels_are_counted_in_the_sample_of_every_cell_of_the_data(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    params = mini_study.load_params(tmp_path / "params.yaml")
    names, images = params.benchmarks["icons"].embedded.names, range(1, 81)
    truth: Any = {
        "images": [
            {"id": i, "split": "train", "sha256": f"{i}", "neg_category_ids": [], "not_exhaustive_category_ids": []}
            for i in images
        ],
        "annotations": [{"id": i, "image_id": i, "category_id": 1 + i % len(names)} for i in images],
        "categories": [{"id": k, "name": name, "frequency": "c"} for k, name in enumerate(names, 1)],
    }

    def counted(labels: dict[int, int]) -> set[tuple[int, int]]:
        rows = [row | {"category_id": labels.get(row["image_id"], row["category_id"])} for row in truth["annotations"]]
        io.write_json(tmp_path / "data/raw/icons-embedded/annotations.json", truth | {"annotations": rows})
        found = noisy_labels.samples(tmp_path, "icons-embedded", Annotations.from_dict(truth))
        assert set(found) == {f"icons-mini-1shot-s{seed}" for seed in (0, 1, 2)}
        return set(found.values())

    assert counted({}) == {(0, 16)}
    assert counted({i: 1 + (i + 1) % len(names) for i in images}) == {(16, 16)}
    first, second = ([i for i in images if 1 + i % len(names) == label] for label in (1, 2))
    assert counted(dict.fromkeys(first, 2) | dict.fromkeys(second, 1)) == {(2, 16)}
