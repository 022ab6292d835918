"""COCO and LVIS JSON; Roboflow's `_annotations.coco.json` in a folder for each split. The rows are `coco_json`'s."""

import json
from typing import Any

from vrft_core.sources import coco_json
from vrft_core.sources.coco_json import Dataset, Problems
from vrft_core.sources.formats.labels import Item, Items, Label, Labelled, Tree, split_of

TITLE = "COCO or LVIS JSON"
DESCRIBED = ("synset", "synonyms", "def")


def claims(tree: Tree) -> bool:
    return bool(_files(tree))


def read(tree: Tree, problems: Problems) -> Labelled:
    found, described = tree.items(), dict[str, dict]()
    for file in _files(tree):
        data = coco_json.load(tree.path(file), problems)
        described |= {c["name"]: {key: c[key] for key in DESCRIBED} for c in data.categories.values()}
        _gather(tree, file, data, found, problems)
    return Labelled("boxes", list(found.values()), described)


def _gather(tree: Tree, file: str, data: Dataset, found: Items, problems: Problems) -> None:
    items: dict[int, Item] = {}

    def names(ids: list[int]) -> frozenset[str]:
        return frozenset(data.categories[i]["name"] for i in ids)

    for i, row in data.images.items():
        where = f"{tree.root / file}: image {i}"
        item = found.named(row["file_name"], file, where, problems, split_of(file, last=True))
        if item is None:
            continue
        if item.size:
            problems.add(where, f"{row['file_name']!r} is also listed in {item.where}", "list each image once")
        item.size, items[i] = (row["width"], row["height"]), item
        item.absent, item.partly = names(row["neg_category_ids"]), names(row["not_exhaustive_category_ids"])
    for row in data.annotations:
        if item := items.get(row["image_id"]):
            where = f"{tree.root / file}: annotation {row['id']}"
            item.labels.append(Label(data.categories[row["category_id"]]["name"], tuple(row["bbox"]), where))


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.ending(".json") if _looks_right(tree, name)]


def _looks_right(tree: Tree, name: str) -> bool:
    try:
        data: Any = json.loads(tree.text(name))
    except (ValueError, RecursionError):
        return name.endswith("_annotations.coco.json")
    finally:
        tree.read.discard(name)
    return isinstance(data, dict) and "images" in data and "annotations" in data
