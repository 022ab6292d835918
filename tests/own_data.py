"""A tiny annotated data set on disk, as a user would bring it; shared by the tests of `files` and `init`."""

import random
import shutil
from pathlib import Path

from PIL import Image

from vrft_core.cli import main
from vrft_core.io import write_json

PROJECT = Path(__file__).parents[1]
SIZE = (32, 24)
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 5, "name": "mug"}]


def photo(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    """Noise, so that no two are equal and a cut is felt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1])).save(path)


def coco(split: str, ids: range) -> dict:
    """Image i shows category 1, each second one also 2, each third one also 5; two boxes a category."""
    shown = {i: [1] + [2] * (i % 2 == 0) + [5] * (i % 3 == 0) for i in ids}
    boxes = [(i, c, box) for i in ids for c in shown[i] for box in ([1.0, 2.0, 10.0, 8.0], [12.5, 3.25, 19.5, 20.75])]
    return {
        "images": [
            {"id": i, "width": SIZE[0], "height": SIZE[1], "file_name": f"{split}/{i}.jpg", "license": 4} for i in ids
        ],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, "area": 50.0, "iscrowd": 0}
            for n, (i, c, box) in enumerate(boxes, 1)
        ],
        "categories": CATEGORIES,
    }


def lvis(data: dict) -> dict:
    """The same truth in LVIS's form: no file_name, no iscrowd, explicit negatives."""
    everything = {c["id"] for c in data["categories"]}
    shown = {
        i["id"]: {r["category_id"] for r in data["annotations"] if r["image_id"] == i["id"]} for i in data["images"]
    }
    return {
        "images": [
            {k: v for k, v in image.items() if k != "file_name"}
            | {
                "coco_url": f"http://example.org/{image['file_name']}",
                "neg_category_ids": sorted(everything - shown[image["id"]]),
                "not_exhaustive_category_ids": [],
            }
            for image in data["images"]
        ],
        "annotations": [{k: v for k, v in row.items() if k != "iscrowd"} for row in data["annotations"]],
        "categories": [
            c | {"synset": f"{c['name']}.n.01", "synonyms": [c["name"]], "def": ""} for c in data["categories"]
        ],
    }


def project(root: Path) -> Path:
    """A project root with the shipped params.yaml, and beside it the user's train.json, eval.json and photos/."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "params.yaml", root)
    for split, ids in (("train", range(1, 13)), ("eval", range(101, 107))):
        write_json(root / f"{split}.json", coco(split, ids))
        for i in ids:
            photo(root / f"photos/{split}/{i}.jpg", i)
    return root


def init(root: Path, *more: str, images: str = "photos") -> int:
    folders = ["--images", str(root / images), "--eval-images", str(root / images)]
    files = ["--coco", str(root / "train.json"), "--eval-coco", str(root / "eval.json")]
    return main(["--root", str(root), "init", "my-data", *files, *folders, *more])


def content(root: Path) -> dict[str, bytes]:
    """Every file below `root`, and every folder, by relative path; not locks, which name who held them last."""
    paths = [path for path in sorted(root.rglob("*")) if path.suffix != ".lock"]
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in paths}
