"""Random detection sets that hold what evaluation trips over, and the reference libraries' numbers for them."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np


def random_set(seed: int, images: int = 12, categories: int = 6, crowded: bool = False) -> tuple[dict, list[dict]]:
    """Ground truth with LVIS and COCO fields, and detections.

    Holds ties (scores of one decimal), images without objects or detections, categories without objects, crowds,
    objects of all sizes, categories annotated in part, detections of categories that were not verified; with
    `crowded`, images with more than 300 detections and categories with more than 100 in one.
    """
    rng = np.random.default_rng(seed)
    truth = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": 3 * k + 1, "name": f"thing {k}", "frequency": "rcf"[int(rng.integers(3))]} for k in range(categories)
        ],
    }
    detections = []
    ids = [category["id"] for category in truth["categories"]]
    for image in rng.permutation(np.arange(100, 100 + images)).tolist():
        present = [k for k in ids[:-1] if rng.random() < 0.4]
        truth["images"].append(
            {
                "id": image,
                "width": 400,
                "height": 400,
                "neg_category_ids": [k for k in ids if k not in present and rng.random() < 0.5],
                "not_exhaustive_category_ids": [k for k in present if rng.random() < 0.3],
            }
        )
        for category in present:
            for _ in range(rng.integers(1, 5)):
                size = rng.choice([12, 50, 150]) * rng.uniform(0.6, 1.5, 2)
                box = [*rng.uniform(0, 200, 2), *size]
                truth["annotations"].append(
                    {
                        "id": len(truth["annotations"]) + 1,
                        "image_id": image,
                        "category_id": category,
                        "bbox": [round(float(v), 1) for v in box],
                        "area": round(float(size.prod() * 0.8), 1),
                        "iscrowd": int(rng.random() < 0.1),
                    }
                )
        own = [row for row in truth["annotations"] if row["image_id"] == image]
        for _ in range(int(rng.choice([0, 5, 30])) if not crowded else 450):
            if own and rng.random() < 0.6:
                row = own[rng.integers(len(own))]
                jitter = rng.normal(0, rng.choice([0, 0.03, 0.15]), 4) * np.tile(row["bbox"][2:], 2)
                box, category = np.array(row["bbox"]) + jitter, row["category_id"]
            else:
                box, category = np.concatenate([rng.uniform(0, 300, 2), rng.uniform(5, 150, 2)]), int(rng.choice(ids))
            box[2:] = np.maximum(box[2:], 0)
            detections.append(
                {
                    "image_id": image,
                    "category_id": category,
                    "bbox": [round(float(v), 1) for v in box],
                    "score": round(float(rng.random()), int(rng.choice([1, 3]))),
                }
            )
    return truth, [detections[i] for i in rng.permutation(len(detections))]


def pycocotools_numbers(truth: dict, detections: list[dict], category_ids: list[int] | None = None) -> dict:
    """pycocotools' twelve numbers and AP per category id; None for its -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = json.loads(json.dumps(truth))
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(json.loads(json.dumps(detections))), "bbox")
        if category_ids is not None:
            evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs@100", "ARm@100", "ARl@100")
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    each = {k: _none(precision[:, :, i].mean()) for i, k in enumerate(evaluation.params.catIds)}
    return {name: _none(value) for name, value in zip(names, evaluation.stats, strict=True)} | {"per_category": each}


def hotcoco_numbers(directory: Path, truth: dict, detections: list[dict], protocol: str) -> dict:
    """hotcoco's numbers; None for its -1."""
    import hotcoco

    (directory / "gt.json").write_text(json.dumps(truth))
    (directory / "dt.json").write_text(json.dumps(detections))
    known = hotcoco.COCO(str(directory / "gt.json"))
    found = known.load_res(str(directory / "dt.json"))
    evaluation = hotcoco.COCOeval(known, found, "bbox", lvis_style=protocol == "lvis")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.run()
    return {name: _none(value) for name, value in evaluation.get_results().items()}


def _none(value: float) -> float | None:
    return None if value < 0 else float(value)
