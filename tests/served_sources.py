"""Official files in the published layouts on a real server, and what every stage relies on in what a source writes."""

import hashlib
import json
from pathlib import Path

import official_layouts as layouts
import pytest
from data_server import serving
from PIL import Image

from vrft_core.annotations import SPLITS, Annotations
from vrft_core.sources import coco, refcoco


@pytest.fixture(name="server")
def official_server(monkeypatch):
    monkeypatch.setenv("VRFT_ACCEPT_LICENCES", "all")
    monkeypatch.delenv("VRFT_DATA_DIR", raising=False)
    with serving() as running:
        yield running


@pytest.fixture(name="photos")
def server_with_photos(server, monkeypatch):
    """COCO with its photographs, on the server."""
    layouts.publish(monkeypatch, server, coco, layouts.coco())
    return server


def checked(directory: Path) -> Annotations:
    """The annotations, once everything is so that every stage can rely on it."""
    data = json.loads((directory / "annotations.json").read_text())
    found = Annotations.from_dict(data)
    ids = [row["id"] for row in data["annotations"]]
    assert len(set(ids)) == len(ids)
    for image in found.images.values():
        path = directory / "images" / image["file_name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image["sha256"]
        assert Image.open(path).size == (image["width"], image["height"])
        assert image["file_name"].startswith(f"{image['split']}/")
        assert image["split"] in SPLITS
        assert set(image["neg_category_ids"]) <= set(found.categories)
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        image = found.images[row["image_id"]]
        assert 0 <= x < x + w <= image["width"] and 0 <= y < y + h <= image["height"]
        assert {"id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd"} <= set(row)
    for category in found.categories.values():
        assert {"id", "name", "synset", "synonyms", "def", "frequency", "image_count", "instance_count"} <= set(
            category
        )
    assert {p.relative_to(directory / "images").as_posix() for p in (directory / "images").rglob("*.*")} == {
        image["file_name"] for image in found.images.values()
    }
    digests = {split: {i["sha256"] for i in found.split(split).images.values()} for split in SPLITS}
    assert not digests["train"] & (digests["val"] | digests["eval"]) and not digests["val"] & digests["eval"]
    return found


def sizes(found: Annotations) -> dict[str, int]:
    return {split: len(found.split(split).images) for split in SPLITS}


def labels(found: Annotations) -> dict[str, str]:
    """File name → class name, of a classification source."""
    assert all(len(rows) == 1 for rows in found.by_image.values())
    return {
        image["file_name"].partition("/")[2]: found.categories[found.by_image[i][0]["category_id"]]["name"]
        for i, image in found.images.items()
    }


@pytest.fixture(name="tables")
def server_with_tables(photos, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", photos.address)
    splits = {"train": [9, 10, 10, 11], "val": [12, 13], "testA": [14, 15, 16]}
    for number, (split, ids) in enumerate(splits.items()):
        name = refcoco.TABLES["refcoco"][split]
        data = layouts.refcoco_table(ids, 100 * number)
        path = f"/datasets/jxu124/refcoco/resolve/main/data/{name}"
        photos.files[path] = data
        photos.headers[path] = {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
    monkeypatch.setattr(refcoco, "REFS", {"refcoco": {split: len(ids) for split, ids in splits.items()}})
    return photos
