"""The paper's own training sets (arXiv 2503.01785) as its authors publish them: image, question and answer in parquet.

They hold training images only, without ids or names. So only the training images are theirs; what is evaluated, and
validated on where there is such a split, is the official set. Equal images are left out of training by their pixels.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Literal

from PIL import Image

from vrft_core.errors import InputError
from vrft_core.sources import (
    aircraft100,
    boxes,
    cars196,
    classes,
    coco,
    flowers102,
    hub,
    lvis,
    pets37,
    selection,
    writing,
)
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "virft",
    "CC BY-NC 4.0 and research only in the authors' README (their data cards say Apache 2.0)",
    "Liu et al., Visual-RFT: Visual Reinforcement Fine-Tuning, ICCV 2025",
    "https://github.com/Liuziyu77/Visual-RFT",
    ask=True,
)
FEW_COCO = ["bus", "train", "fire hydrant", "stop sign", "cat", "dog", "bed", "toilet"]
FEW_LVIS = ["horse_buggy", "die", "kitchen_table", "omelet", "papaya", "stepladder"]
COOP = classes.Settings(splits="coop")


Dataset = Literal[
    "lvis-few-shot", "coco-4-shot", "coco-base65", "coco-80",
    "flowers-4-shot", "aircraft-4-shot", "cars-4-shot", "pets-4-shot",
]  # fmt: skip


@dataclass(frozen=True)
class Set:
    repo: str
    shards: int
    rows: int
    official: ModuleType
    settings: selection.Settings


SETS: dict[Dataset, Set] = {
    "lvis-few-shot": Set("ViRFT_LVIS_few_shot", 1, 65, lvis, boxes.Settings(categories=FEW_LVIS, validation=0)),
    "coco-4-shot": Set("ViRFT_COCO_8_cate_4_shot", 1, 32, coco, boxes.Settings(categories=FEW_COCO, validation=0)),
    "coco-base65": Set("ViRFT_COCO_base65", 7, 6000, coco, boxes.Settings(validation=0)),
    "coco-80": Set("ViRFT_COCO", 7, 6000, coco, boxes.Settings(validation=0)),
    "flowers-4-shot": Set("ViRFT_CLS_flower_4_shot", 1, 408, flowers102, COOP),
    "aircraft-4-shot": Set("ViRFT_CLS_fgvc_aircraft_4_shot", 1, 400, aircraft100, aircraft100.Settings()),
    "cars-4-shot": Set("ViRFT_CLS_car196_4shot", 1, 784, cars196, COOP),
    "pets-4-shot": Set("ViRFT_CLS_pets37_4shot", 1, 148, pets37, COOP),
}
ANSWER = re.compile(r"\s*<answer>(.*)</answer>\s*", re.DOTALL)
QUESTION = re.compile(r"belonging to the category '(.+?)' in the image")


class Settings(selection.Settings):
    dataset: Dataset


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json: the paper's training rows, the official validation and evaluation images.

    Boxes come in thousandths of the image and are written in pixels. Raises InputError as `download.fetch` and
    `writing.write` do, for another number of rows than the authors give, and for a category or class that the
    official set does not have.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    chosen = SETS[settings.dataset]
    names = [f"data/train-{number:05d}-of-{chosen.shards:05d}.parquet" for number in range(chosen.shards)]
    paths = list(fetch([hub.file("virft", f"laolao77/{chosen.repo}", name, LICENCE) for name in names], cache).values())
    official, official_images = chosen.official.content(chosen.settings, cache)
    kept = [row for row in official.images if row["split"] != "train"]
    start = 1 + max((row["id"] for row in official.images), default=0)
    train = _Training({_key(row["name"]): row["id"] for row in official.categories}, start)
    count = 0
    for path in paths:
        for number, row in enumerate(_rows(path)):
            train.add(row, f"{path}: row {number}")
            count += 1
    if count != chosen.rows:
        raise InputError(paths[0].parent, f"has {count} rows, {chosen.rows} are right", "fetch it again")
    ids = {row["id"] for row in kept}

    def images(rows: list[dict]) -> Iterator[tuple[int, bytes]]:
        yield from official_images([row for row in rows if row["id"] in ids])
        sent = set()
        for path in paths:
            for row in _rows(path):
                image_id = train.ids[_digest(row)]
                if image_id not in sent:
                    sent.add(image_id)
                    yield image_id, row["image"]["bytes"]

    rows = [row for row in official.annotations if row["image_id"] in ids] + train.annotations
    info = {"source": "virft", "dataset": settings.dataset, "official": official.info}
    return Content(kept + list(train.images.values()), rows, official.categories, info), images


class _Training:
    """The paper's rows, one image and one category each, gathered by image."""

    def __init__(self, categories: dict[str, int], start: int) -> None:
        self.categories, self.start = categories, start
        self.ids: dict[str, int] = {}
        self.images: dict[int, dict] = {}
        self.annotations: list[dict] = []

    def add(self, row: dict, where: str) -> None:
        """Raises InputError naming the row for what is not as published."""
        answer = ANSWER.fullmatch(str(row["solution"]))
        if not answer or not isinstance(row["image"], dict) or not row["image"].get("bytes"):
            raise InputError(where, "must hold an image's bytes, and a solution in answer tags", "fetch it again")
        digest = _digest(row)
        image_id = self.ids.setdefault(digest, self.start + len(self.ids))
        if image_id not in self.images:
            suffix = ".png" if row["image"]["bytes"].startswith(b"\x89PNG") else ".jpg"
            image = {"id": image_id, "file_name": f"{digest[:16]}{suffix}", "split": "train", "neg_category_ids": []}
            self.images[image_id] = image
        question = QUESTION.search(str(row["problem"]))
        category = self.categories.get(_key(question[1] if question else answer[1]))
        if category is None:
            raise InputError(where, "asks for a category that the official set does not have", "fetch it again")
        if not question:
            self.annotations.append({"image_id": image_id, "category_id": category, "bbox": None})
        elif answer[1].strip() == "No Objects":
            self.images[image_id]["neg_category_ids"].append(category)
        else:
            self.annotations += [
                {"image_id": image_id, "category_id": category, "bbox": box}
                for box in _pixels(answer[1], row["image"]["bytes"], where)
            ]


def _pixels(answer: str, data: bytes, where: str) -> list[list[float]]:
    """`[{'Position': [x1, y1, x2, y2], 'Confidence': 1}, ...]` in thousandths → xywh pixels."""
    try:
        positions = [item["Position"] for item in json.loads(answer.replace("'", '"'))]
        with Image.open(BytesIO(data), formats=writing.FORMATS) as image:
            width, height = image.size
        found = []
        for x1, y1, x2, y2 in positions:
            box = [x1 * width / 1000, y1 * height / 1000, (x2 - x1) * width / 1000, (y2 - y1) * height / 1000]
            if inside := writing.box_inside(box, width, height):
                found.append(inside)
        return found
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(where, f"has no readable boxes: {type(error).__name__}", "fetch it again") from None


def _rows(path: Path) -> list[dict]:
    return hub.table(path, ["image", "problem", "solution"]).to_pylist()


def _digest(row: dict) -> str:
    return hashlib.sha256(row["image"]["bytes"]).hexdigest()


def _key(name: str) -> str:
    """Names are compared as the paper does: without spaces, underscores and case."""
    return re.sub(r"[\s_]", "", name).lower()
