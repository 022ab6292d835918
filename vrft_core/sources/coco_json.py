"""Reading a user's COCO (instances) or LVIS v1 file, with every row checked before any is used.

Rows come out in the project's schema, without split and content hash. Image files and the joining of splits belong
to `files`.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from vrft_core import io
from vrft_core.errors import InputError

TOLERANCE = 1.0  # pixels a box may reach over the border by rounding; it is clipped


@dataclass
class Problems:
    """Everything found wrong, so that the first can be shown with the number of those that follow."""

    found: list[tuple[object, str, str]] = field(default_factory=list)

    def add(self, where: object, problem: str, remedy: str) -> None:
        self.found.append((where, problem, remedy))

    @contextlib.contextmanager
    def caught(self, where: object, problem: str, remedy: str) -> Iterator[None]:
        """What a row raises that is not as it must be becomes a problem; the rest of the block is left out."""
        try:
            yield
        except InputError as error:
            self.add(error.where, error.problem, error.remedy)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            self.add(where, problem, remedy)

    def refuse(self) -> None:
        """Raise InputError with the first problem, if there is one."""
        if self.found:
            (where, problem, remedy), more = self.found[0], len(self.found) - 1
            raise InputError(where, problem, remedy + (f" (and {more} more)" if more else ""))


@dataclass(frozen=True)
class Dataset:
    """One checked annotation file. Boxes are xywh pixels inside the image."""

    path: Path
    images: dict[int, dict]
    categories: dict[int, dict]
    annotations: list[dict]
    licenses: list[dict]
    crowds: list[int]  # image id of each crowd region

    def of(self, chosen: Container[int]) -> "Dataset":
        """With those images only."""
        return replace(
            self,
            images={i: row for i, row in self.images.items() if i in chosen},
            annotations=[row for row in self.annotations if row["image_id"] in chosen],
            crowds=[i for i in self.crowds if i in chosen],
        )


def load(path: Path, problems: Problems) -> Dataset:
    """Read and check one file; which of the two formats it has is told by `neg_category_ids` on its images.

    COCO annotates every category exhaustively: all absent ones become `neg_category_ids`. A COCO crowd region
    (`iscrowd` 1) is dropped, and its (image, category) noted in `not_exhaustive_category_ids`: it is not trained on,
    and in evaluation further detections there are neither right nor wrong.

    Raises InputError where the file cannot be read as such; wrong rows are added to `problems` and left out.
    """
    return checked(path, io.read_json(path, "give a COCO or LVIS JSON file"), problems)


def checked(path: Path, data: Any, problems: Problems) -> Dataset:
    """The same of a file's content."""
    if not isinstance(data, dict):
        raise InputError(path, f"holds a {type(data).__name__} at the top, not an object", "give a COCO or LVIS file")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list) or not all(isinstance(row, dict) for row in data[key]):
            state = "must be a list of objects" if key in data else "is missing"
            raise InputError(path, f"{key} {state}", "give a COCO or LVIS file of instances")
    lvis = {"neg_category_ids" in row for row in data["images"]}
    if len(lvis) == 2:
        raise InputError(path, "images: only some have neg_category_ids", "give them to all (LVIS) or to none (COCO)")

    categories = _checked(path, "categories", data["categories"], _category, problems)
    names = Counter(row["name"] for row in categories.values())
    if twice := sorted(name for name, count in names.items() if count > 1):
        problems.add(path, f"categories.name: {twice[0]!r} is used twice", "give each category its own name")
    images = _checked(path, "images", data["images"], lambda row: _image(row, categories, lvis == {True}), problems)
    known, rows = {row.get("id") for row in data["images"] if _is_id(row.get("id"))}, data["annotations"]
    if not any("id" in row for row in rows):  # some tools leave it out
        rows = [{**row, "id": number} for number, row in enumerate(rows, 1)]
    annotations = _checked(path, "annotations", rows, lambda row: _annotation(row, images, known, categories), problems)
    if not any(not row["iscrowd"] for row in annotations.values()) and not problems.found:
        problems.add(path, "annotations: no image has an object", "a split needs at least one annotated image")
    if lvis == {False}:
        _note_absent_and_crowds(images, categories, annotations)
    return Dataset(
        path,
        images,
        categories,
        [{**row, "iscrowd": 0} for row in annotations.values() if not row["iscrowd"]],
        [row for row in _list(data.get("licenses")) if isinstance(row, dict) and _plain(row) == row],
        [row["image_id"] for row in annotations.values() if row["iscrowd"]],
    )


class _Wrong(Exception):
    """One row's first fault: what, and what to do about it."""


def _checked(path: Path, name: str, rows: list[dict], check, problems: Problems) -> dict[int, dict]:
    """Run `check` on every row; those that pass, by id."""
    passed: dict[int, dict] = {}
    for number, row in enumerate(rows):
        try:
            if not _is_id(row.get("id")):
                raise _Wrong("id", "is missing or no whole number", "number the rows")
            if row["id"] in passed:
                raise _Wrong("id", f"{row['id']} is used twice", "give each row its own id")
            passed[row["id"]] = check(row)
        except _Wrong as wrong:
            what, problem, remedy = wrong.args
            label = f" (id {row['id']})" if what != "id" else ""
            problems.add(path, f"{name}[{number}].{what}{label}: {problem}", remedy)
    return passed


def _category(row: dict) -> dict:
    name = row.get("name")
    if not _is_text(name) or not name.strip() or len(name) > 100:
        raise _Wrong("name", "must be printable text of at most 100 characters", "name the category")
    synonyms = [s for s in _list(row.get("synonyms")) if _is_text(s)]
    return {
        "id": row["id"],
        "name": name,
        "synset": row["synset"] if _is_text(row.get("synset")) else name,
        "synonyms": synonyms or [name],
        "def": row["def"] if _is_text(row.get("def")) else name,
    }


def _image(row: dict, categories: dict[int, dict], lvis: bool) -> dict:
    for side in ("width", "height"):
        if not _is_id(row.get(side)) or row[side] == 0:
            raise _Wrong(side, f"must be a whole number of pixels, is {show(row.get(side))}", "give the image's size")
    name = row.get("file_name")
    if lvis and isinstance(row.get("coco_url"), str):
        name = "/".join(row["coco_url"].split("/")[-2:])
    if not isinstance(name, str) or not name or "\0" in name:
        raise _Wrong("file_name", "is missing", "give the path relative to the image folder")
    lists = {}
    for key in ("neg_category_ids", "not_exhaustive_category_ids"):
        lists[key] = row.get(key, []) if lvis else []
        if not isinstance(lists[key], list) or not all(_is_id(i) and i in categories for i in lists[key]):
            raise _Wrong(key, "must list ids of the file's categories", "correct the list")
    kept = _plain({key: row.get(key) for key in ("license", "coco_url", "flickr_url")})
    return {"id": row["id"], "width": row["width"], "height": row["height"], "file_name": name, **lists, **kept}


def _annotation(row: dict, images: dict[int, dict], known: set[int], categories: dict[int, dict]) -> dict:
    for key, ids in (("image_id", known), ("category_id", categories)):
        if not _is_id(row.get(key)) or row[key] not in ids:
            table = key.removesuffix("_id").replace("category", "categorie") + "s"
            raise _Wrong(key, f"{show(row.get(key))} is not among the file's {table}", "correct it or remove the row")
    if row.get("iscrowd", 0) not in (0, 1):
        raise _Wrong("iscrowd", f"must be 0 or 1, is {show(row['iscrowd'])}", "correct it")
    image = images.get(row["image_id"], {"width": math.inf, "height": math.inf})  # the image's own fault is reported
    bbox = _box(row.get("bbox"), image["width"], image["height"])
    area = row.get("area")
    return {
        "id": row["id"],
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": bbox,
        "area": area if _is_finite(area) and area > 0 else bbox[2] * bbox[3],
        "segmentation": _segmentation(row.get("segmentation"), bbox, image["width"], image["height"]),
        "iscrowd": int(row.get("iscrowd", 0)),
    }


def _box(bbox: Any, width: float, height: float) -> list[float]:
    """xywh pixels, clipped to the image where it reaches over the border by no more than TOLERANCE."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_finite(v) for v in bbox):
        raise _Wrong("bbox", f"must be four finite numbers x, y, width, height, is {show(bbox)}", "correct it")
    x, y, w, h = bbox
    if w <= 0 or h <= 0:
        side = "width" if w <= 0 else "height"
        raise _Wrong("bbox", f"{show(bbox)} has no {side}", "correct the box or remove the annotation")
    if min(x, y) < -TOLERANCE or x + w > width + TOLERANCE or y + h > height + TOLERANCE:
        raise _Wrong(
            "bbox",
            f"{show(bbox)} reaches out of the {width}x{height} image",
            "correct the box or remove the annotation",
        )
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x2 <= x1 or y2 <= y1:
        raise _Wrong("bbox", f"{show(bbox)} lies outside the {width}x{height} image", "remove the annotation")
    inside = x >= 0 and y >= 0 and x + w <= width and y + h <= height
    return [x, y, w, h] if inside else [x1, y1, x2 - x1, y2 - y1]


def _segmentation(value: Any, bbox: list[float], width: float, height: float) -> list | dict:
    """Polygons and uncompressed run lengths as they are; for anything else the box's outline."""
    if isinstance(value, dict) and isinstance(counts := value.get("counts"), list):
        if value.get("size") == [height, width] and all(map(_is_id, counts)) and sum(counts) == height * width:
            return {"size": value["size"], "counts": counts}
    elif isinstance(value, list) and value:
        points = [p for p in value if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0]
        if len(points) == len(value) and all(_is_finite(v) for polygon in points for v in polygon):
            return value
    x, y, w, h = bbox
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def _note_absent_and_crowds(images: dict, categories: dict, annotations: dict[int, dict]) -> None:
    present: dict[int, set[int]] = {image_id: set() for image_id in images}
    crowds: dict[int, set[int]] = {image_id: set() for image_id in images}
    for row in annotations.values():
        present.get(row["image_id"], set()).add(row["category_id"])
        if row["iscrowd"]:
            crowds.get(row["image_id"], set()).add(row["category_id"])
    for image_id, image in images.items():
        image["neg_category_ids"] = sorted(set(categories) - present[image_id])
        image["not_exhaustive_category_ids"] = sorted(crowds[image_id])


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable()


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _plain(row: dict) -> dict:
    return {key: value for key, value in row.items() if isinstance(value, int) or _is_text(value)}


def show(value: Any) -> str:
    """A value as it may stand in an error line: short, and without line breaks or control characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
