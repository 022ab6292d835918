"""The one annotation schema of the project: LVIS v1's, with two fields of our own on each image.

`split` (train, val or eval) and `sha256` (of the image file). Boxes in files are xywh pixels; in memory they are
xyxy pixels. Reading other people's files belongs to `sources`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vrft_core import io
from vrft_core.names import Frequency

SPLITS = ("train", "val", "eval")


def frequency(image_count: int) -> Frequency:
    """LVIS's letter for a category found in this many training images: r 1-10, c 11-100, f more."""
    return "r" if image_count <= 10 else "c" if image_count <= 100 else "f"


def counted(categories: Iterable[dict], rows: Iterable[dict]) -> list[dict]:
    """Category rows with LVIS's counts and letter over these annotation rows."""
    images, boxes = defaultdict[int, set[int]](set), Counter[int]()
    for row in rows:
        images[row["category_id"]].add(row["image_id"])
        boxes[row["category_id"]] += 1
    counts = {i: len(found) for i, found in images.items()}
    return [
        row
        | {
            "frequency": frequency(counts.get(row["id"], 0)),
            "image_count": counts.get(row["id"], 0),
            "instance_count": boxes[row["id"]],
        }
        for row in categories
    ]


def spoken(category: dict) -> list[str]:
    """All names of a category as one says them, its own first, then its synonyms; LVIS writes spaces as underscores."""
    names = [category["name"], *(category.get("synonyms") or ())]
    return list(dict.fromkeys(name.replace("_", " ") for name in names))


def xyxy(bbox: list[float]) -> list[float]:
    """xywh pixels → xyxy pixels."""
    x, y, w, h = bbox
    return [x, y, x + w, y + h]


@dataclass(frozen=True)
class Annotations:
    """One annotation file in memory, indexed. Rows are the file's own dicts; do not change them."""

    images: dict[int, dict]
    categories: dict[int, dict]
    by_image: dict[int, list[dict]]

    @classmethod
    def from_dict(cls, data: dict) -> "Annotations":
        by_image: dict[int, list[dict]] = {image["id"]: [] for image in data["images"]}
        for row in data["annotations"]:
            by_image[row["image_id"]].append(row)
        return cls(
            {image["id"]: image for image in data["images"]},
            {category["id"]: category for category in data["categories"]},
            by_image,
        )

    @classmethod
    def load(cls, path: Path) -> "Annotations":
        return cls.from_dict(io.read_json(path))

    def to_dict(self) -> dict:
        return {
            "images": list(self.images.values()),
            "annotations": [row for rows in self.by_image.values() for row in rows],
            "categories": list(self.categories.values()),
        }

    def split(self, name: str) -> "Annotations":
        """Only the images of one split, with every category kept."""
        images = {i: image for i, image in self.images.items() if image["split"] == name}
        return Annotations(images, self.categories, {i: self.by_image[i] for i in images})

    def first(self, count: int) -> "Annotations":
        """The first images of the file, with every category kept."""
        images = dict(list(self.images.items())[:count])
        return Annotations(images, self.categories, {i: self.by_image[i] for i in images})

    def chosen(self, names: Sequence[str] | None) -> list[int]:
        """Ids of the categories so named, or of all; ascending."""
        wanted = None if names is None else frozenset(names)
        return sorted(i for i, category in self.categories.items() if wanted is None or category["name"] in wanted)

    def category_ids(self, image_id: int) -> list[int]:
        """Categories annotated in an image, ascending."""
        return sorted({row["category_id"] for row in self.by_image[image_id]})

    def boxes(self, image_id: int, category_id: int) -> list[list[float]]:
        """xyxy pixels of one category in one image, sorted."""
        return sorted(xyxy(r["bbox"]) for r in self.by_image[image_id] if r["category_id"] == category_id)
