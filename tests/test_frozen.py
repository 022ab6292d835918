"""What detection does, frozen: a change of code may change these only on purpose.

Bytes of data, texts of questions and answers, and average precision counted again from fixed predictions. (What a
training gives is not here: it differs between types of processor.)
"""

import hashlib
import json
import math
import random
from pathlib import Path

import pandas as pd
import pytest
from small_project import CELL, ROOT, edit_params, small_project

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.stages import run_stage
from vrft_core.tasks import get_task, load_params

DATA = ("raw", "few_shot", "prompts")
SMALL = {
    "raw": "8d0ddb323123495267b8d66f38cf46e5e7f9113863c578673c72340bef5ef210",
    "few_shot": "a8dee6e37464ee03034cb84bedc1f4c821b9f75d4300eb7309458734cc9ca357",
    "train": "afd3bc78ff33826fe8f350b9d5a845e7b14b738bba3aa7586f09870fcdd355ba",
    "val": "313cb78bb5d2626510d7a860211b50da59c37a2078216176bb07dc8987d352bf",
}
WHOLE = {
    "raw": "58bfa93ec9dfb36dd8dc0e9e7f6fdea9cd55d637f20b9c5e83af5422e5bd906b",
    "few_shot": "eda138723f27a45dcff75cbbd45dd22835b8f8970edcab2ab9f966c8724c7ea1",
    "train": "19f65cfd4eaaf54318e26747c90e9721702adf9c5abf73622c07c44415c4620c",
    "val": "b9bc14359804db9f4c9cffe3a6169762a8afdfa460328d03ad1ae6eb8ed69655",
}
WITH_NEGATIVES = {
    "few_shot": "89eb3816971b2a72d14f854d8a6f301be2eb73599b9ff3fd6b6e7cfe71bd0c77",
    "train": "b425cf6ca2563f6bf832f45312a443c77fedc1d9dc06040f8ef5e4a73149d9fa",
    "val": "93676e7c18615094c22c499e67419e3143aace26136ba06e9197173ba7946cac",
}
SCORED = {
    "oracle": {
        "questions": 29,
        "AP": 0.3955484526043641, "AP50": 0.8299205270667122, "AP75": 0.32095170301343856,
        "APr": 0.5110654889018313, "APc": 0.31002348133973057, "APf": 0.3655563875715302,
        "stated": 0.3855372416685754, "likelihood": 0.391984380403134, "certainty": 0.3955484526043641,
        "oracle": 0.4983498349834984,
        "cat": 0.3655563875715302, "hog": 0.31002348133973057, "tiger": 0.5110654889018313,
    },
    "self": {
        "questions": 49,
        "AP": 0.372637581869642, "AP50": 0.7923831856869897, "AP75": 0.29773842045858717,
        "APr": 0.46786714894399656, "APc": 0.3004386585275069, "APf": 0.3496069381374227,
        "stated": 0.35675726751731407, "likelihood": 0.36115895666132464, "certainty": 0.372637581869642,
        "oracle": 0.4983498349834984,
        "cat": 0.3496069381374227, "hog": 0.3004386585275069, "tiger": 0.46786714894399656,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    """The data stages of a small project, run."""
    return make(small_project(tmp_path_factory.mktemp("frozen") / "project"))


def make(root: Path) -> Layout:
    layout, params = Layout(root), load_params(root / "params.yaml")
    for stage in DATA:
        run_stage(stage, layout, params, params.parse_cell(CELL))
    return layout


def digests(layout: Layout) -> dict[str, str]:
    cell = load_params(layout.root / "params.yaml").parse_cell(CELL)
    found = {"raw": tree(layout.raw(cell)), "few_shot": tree(layout.few_shot(cell))}
    for split in ("train", "val"):
        rows = pd.read_parquet(layout.prompts(cell) / split).to_dict("records")
        kept = [[row["id"], row["question"], row["answer"], json.loads(row["truth"])["boxes"]] for row in rows]
        found[split] = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    return found


def tree(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(directory).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_data_samples_and_examples_of_a_small_project(made):
    assert digests(made) == SMALL


def as_before_negatives(params: dict) -> None:
    recipe = params["recipes"]["mini"]
    recipe["few_shot"]["negatives"] = 0
    recipe["evaluation"]["validation_images"] = 200
    recipe["tasks"]["detection"]["presence"] = "oracle"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [(as_before_negatives, WHOLE), (lambda params: None, WHOLE | WITH_NEGATIVES)],
    ids=["without negatives", "as shipped"],
)
def test_data_samples_and_examples_of_the_whole_recipe(tmp_path, change, expected):
    root = small_project(tmp_path / "project")
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    edit_params(root, change)
    assert digests(make(root)) == expected


@pytest.mark.parametrize("presence", list(SCORED))
def test_average_precision_of_fixed_predictions(made, presence):
    params = load_params(made.root / "params.yaml")
    cell, task = params.parse_cell(CELL), get_task("detection")
    settings = params.task_settings(cell).model_copy(update={"presence": presence, "ranking": "certainty"})
    truth = Annotations.from_dict(io.read_json(made.raw(cell) / "annotations.json")).split("eval")
    categories = sorted(truth.categories)
    rows = predictions(truth, task.prompts.questions(truth, categories, settings, made.root))
    scores = task.metrics.scores(truth, rows, categories, settings)
    values = dict(zip([metric.name for metric in scores.metrics], scores.values(), strict=True))
    details = task.metrics.details(
        truth, rows, categories, settings, lambda models: {n: values_of(one) for n, one in models.items()}
    )
    shown = [f"lvis/{presence}/{measure}" for measure in ("AP", "AP50", "AP75", "APr", "APc", "APf")]
    found = {"questions": len(rows)}
    found |= {name.split("/")[-1]: values[name] for name in values if name in shown}
    found |= {name: each[f"lvis/{presence}/AP"] for name, each in details["ranked_by"].items()}
    found |= {name: row["AP"] for name, row in details["per_category"].items()}
    assert found == pytest.approx(SCORED[presence], abs=1e-12)
    assert values[f"coco/{presence}/AP"] == pytest.approx(SCORED[presence]["AP"], abs=1e-12)


def test_average_precision_of_taught_and_of_untaught_categories(made):
    params = load_params(made.root / "params.yaml")
    cell, task = params.parse_cell(CELL), get_task("detection")
    settings = params.task_settings(cell).model_copy(update={"presence": "self", "ranking": "certainty"})
    truth = Annotations.from_dict(io.read_json(made.raw(cell) / "annotations.json")).split("eval")
    categories = sorted(truth.categories)
    rows = predictions(truth, task.prompts.questions(truth, categories, settings, made.root))
    taught = [i for i in categories if truth.categories[i]["name"] in ("hog", "tiger")]
    values = values_of(task.metrics.scores(truth, rows, categories, settings, taught))
    each = SCORED["self"]
    assert values["lvis/self/APtaught"] == pytest.approx((each["hog"] + each["tiger"]) / 2, abs=1e-12)
    assert values["lvis/self/APuntaught"] == pytest.approx(each["cat"], abs=1e-12)
    for group in ([], categories):  # nothing to tell apart
        values = values_of(task.metrics.scores(truth, rows, categories, settings, group))
        assert math.isnan(values["lvis/self/APtaught"]) and math.isnan(values["lvis/self/APuntaught"])


def values_of(scores) -> dict[str, float]:
    return dict(zip([metric.name for metric in scores.metrics], scores.values().tolist(), strict=True))


def predictions(truth: Annotations, pairs: list[tuple[int, int]]) -> list[dict]:
    """True boxes moved a little, some of them missing, some added, with scores by lot."""
    rows = []
    for image, category in pairs:
        lot = random.Random(f"{image}/{category}")
        boxes = []
        for box in truth.boxes(image, category):
            if lot.random() < 0.85:
                boxes.append([round(value + lot.gauss(0, 4), 3) for value in box])
        if lot.random() < 0.3:
            x, y = lot.uniform(0, 60), lot.uniform(0, 60)
            wide, high = lot.uniform(8, 40), lot.uniform(8, 40)
            boxes.append([round(x, 3), round(y, 3), round(x + wide, 3), round(y + high, 3)])
        boxes = [[x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)] for x1, y1, x2, y2 in boxes]
        scores = [round(lot.random(), 2) for _ in boxes]
        rankings = {name: [round(lot.random(), 6) for _ in boxes] for name in ("likelihood", "certainty")}
        rows.append(
            {
                "id": f"{image}-{category}", "image_id": image, "category_id": category, "completion": "",
                "boxes": boxes, "scores": scores, "rankings": rankings, "reasons": [], "tokens": 1,
            }
        )  # fmt: skip
    return rows
