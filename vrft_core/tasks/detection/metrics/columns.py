"""Ground truth and detections as columns (numpy arrays), checked on the way in.

What a file may contain is decided here, as in the COCO and LVIS formats. Matching and metrics belong elsewhere.
"""

import codecs
import gc
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from vrft_core import file_kinds, io
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError

RULES = ("coco", "lvis")
ACCEPTED = "give COCO or LVIS JSON, or for detections also the rows of `vrft predict`"


@dataclass(frozen=True)
class Truth:
    """Ground truth. Boxes are xywh pixels; images and categories are ascending by id."""

    rules: str
    image_ids: np.ndarray  # int64 [I]
    categories: list[dict]  # [K]: id, name and, for LVIS, frequency
    image: np.ndarray  # int64 [G], position in image_ids
    category: np.ndarray  # int64 [G], position in categories
    box: np.ndarray  # float64 [G, 4]
    area: np.ndarray  # float64 [G], of the object (its mask), square pixels
    crowd: np.ndarray  # bool [G]: a region of many objects, COCO only
    ignored: np.ndarray  # bool [G]: counts neither as found nor as missed
    negatives: np.ndarray  # int64 [?], image * K + category known to be absent, LVIS only
    not_exhaustive: np.ndarray  # int64 [?], image * K + category annotated only in part, LVIS only

    @property
    def category_ids(self) -> np.ndarray:
        return np.array([category["id"] for category in self.categories], dtype=np.int64)

    @classmethod
    def load(cls, path: Path, rules: str) -> "Truth":
        return cls.of(read(path), rules, path)

    @classmethod
    def of(cls, data: "Annotations | dict", rules: str, where: object = "ground truth") -> "Truth":
        """From COCO or LVIS v1 JSON as a dict, or from Annotations. Raises InputError on anything malformed."""
        if rules not in RULES:
            raise InputError("rules", f"{rules!r} is unknown", f"one of {', '.join(RULES)}")
        data = data.to_dict() if isinstance(data, Annotations) else data
        if not isinstance(data, dict):
            raise InputError(where, "not an object with images, annotations and categories", "is it a detections file?")
        tables = {}
        for name in ("images", "annotations", "categories"):
            tables[name] = data.get(name)
            if not isinstance(tables[name], list):
                raise InputError(where, f"has no list '{name}'", f"it must be {rules.upper()} ground truth")
        images, rows = tables["images"], tables["annotations"]
        image_ids = _unique_ids(images, f"{where}: images")
        _unique_ids(tables["categories"], f"{where}: categories")
        for category in tables["categories"]:
            if not isinstance(category.get("name"), str):
                raise InputError(f"{where}: categories: id {category['id']}", "has no 'name'", "it must be text")
            if rules == "lvis" and category.get("frequency") not in ("r", "c", "f"):
                raise InputError(
                    f"{where}: categories: id {category['id']}", "has no 'frequency'", "LVIS needs r, c or f for each"
                )
        categories = sorted(tables["categories"], key=lambda category: category["id"])
        category_ids = np.array([category["id"] for category in categories], dtype=np.int64)
        image_id, category_id, box, area = _numbers(
            rows, f"{where}: annotations", image_id=int, category_id=int, bbox=4, area=float
        )
        _refuse_negative(box, area, f"{where}: annotations")
        if rows and all("id" in row for row in rows):
            _unique_ids(rows, f"{where}: annotations")
        ignored = _flags(rows, "iscrowd" if rules == "coco" else "ignore", f"{where}: annotations")
        pairs = {"neg_category_ids": np.empty(0, np.int64), "not_exhaustive_category_ids": np.empty(0, np.int64)}
        if rules == "lvis":
            pairs = {field: _pairs(images, field, image_ids, category_ids, where) for field in pairs}
        return cls(
            rules,
            image_ids,
            categories,
            positions(image_id, image_ids, f"{where}: annotations", "image_id", "images"),
            positions(category_id, category_ids, f"{where}: annotations", "category_id", "categories"),
            box,
            area,
            ignored if rules == "coco" else np.zeros(len(rows), dtype=bool),
            ignored,
            pairs["neg_category_ids"],
            pairs["not_exhaustive_category_ids"],
        )


@dataclass(frozen=True)
class Detections:
    """Detections in the order of their file, which decides between equal scores. Boxes are xywh pixels."""

    image_id: np.ndarray  # int64 [D]
    category_id: np.ndarray  # int64 [D]
    box: np.ndarray  # float64 [D, 4]
    score: np.ndarray  # float64 [D]

    @classmethod
    def load(cls, path: Path) -> "Detections":
        return cls.of(read(path), path)

    @classmethod
    def of(cls, rows: Any, where: object = "detections") -> "Detections":
        """From a COCO results list: image_id, category_id, bbox (xywh), score. Raises InputError naming the row."""
        if not isinstance(rows, list):
            raise InputError(where, "not a list of detections", "COCO results: [{image_id, category_id, bbox, score}]")
        image_id, category_id, box, score = _numbers(
            rows, str(where), image_id=int, category_id=int, bbox=4, score=float
        )
        _refuse_negative(box, np.zeros(len(box)), str(where))
        return cls(image_id, category_id, box, score)

    def of_images(self, image_ids: np.ndarray) -> "Detections":
        """Only those in some images, in the same order."""
        keep = np.isin(self.image_id, image_ids)
        return Detections(self.image_id[keep], self.category_id[keep], self.box[keep], self.score[keep])


def _refuse_negative(box: np.ndarray, area: np.ndarray, where: str) -> None:
    if (bad := np.flatnonzero((box[:, 2:] < 0).any(axis=1))).size:
        raise InputError(
            f"{where}: row {bad[0]}", "bbox has a negative width or height", "files hold [x, y, width, height]"
        )
    if (bad := np.flatnonzero(area < 0)).size:
        raise InputError(f"{where}: row {bad[0]}", f"'area' is {area[bad[0]]:g}", "it must not be negative")


def _flags(rows: list[dict], field: str, where: str) -> np.ndarray:
    """A column of 0, 1, true or false; a row without the field has 0."""
    values = [row.get(field, 0) for row in rows]
    for number, value in enumerate(values):
        if not isinstance(value, int | float | np.number) or value not in (0, 1):
            raise InputError(f"{where}: row {number}", f"'{field}' is {str(value)[:40]!r}", "it must be 0 or 1")
    return np.array(values, dtype=bool)


def _numbers(rows: list[dict], where: str, **fields: object) -> list[np.ndarray]:
    """One array for each field: `int` and `float` give [n], a number m gives [n, m]. All must be finite."""
    arrays = []
    for field, kind in fields.items():
        width = kind if isinstance(kind, int) else 1
        try:
            values = [row[field] for row in rows]
            if isinstance(kind, int):
                fits = set(map(len, values)) <= {kind}
                values = list(chain.from_iterable(values))
            else:
                fits = True
            fits = fits and all(_is_number(one, kind) for one in set(map(type, values)))
            array = np.array(values, dtype=np.int64 if kind is int else np.float64) if fits else None
        except (KeyError, TypeError, OverflowError):
            array = None
        if array is None:
            raise _first_bad(rows, where, field, kind)
        if not np.isfinite(array).all():
            row = np.flatnonzero(~np.isfinite(array))[0] // width
            raise InputError(f"{where}: row {row}", f"'{field}' is not finite", "every number must be finite")
        arrays.append(array.reshape(-1, width) if isinstance(kind, int) else array)
    return arrays


def _is_number(one: type, kind: object) -> bool:
    numbers = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    return issubclass(one, numbers) and one is not bool


def _first_bad(rows: list[dict], where: str, field: str, kind: object) -> InputError:
    """Which row spoils a column, found slowly once it is known that one does."""
    wanted = {int: "an integer", float: "a number"}.get(kind, f"a list of {kind} numbers")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            return InputError(f"{where}: row {index}", "not an object")
        if field not in row:
            return InputError(f"{where}: row {index}", f"'{field}' is missing", f"it must be {wanted}")
        values = row[field] if isinstance(kind, int) else [row[field]]
        fits = isinstance(values, list | tuple) and len(values) == (kind if isinstance(kind, int) else 1)
        if not fits or not all(_is_number(type(value), kind) for value in values):
            return InputError(f"{where}: row {index}", f"'{field}' is {str(row[field])[:40]!r}", f"it must be {wanted}")
    return InputError(where, f"'{field}' holds numbers out of range")


def read(path: Path) -> Any:
    """Parse JSON of a million rows in seconds: no garbage collection meanwhile, and pydantic's parser.

    A file of one object a line gives their list; a byte-order mark is skipped. Raises InputError for anything else,
    with what the file seems to be where it is of another kind.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        content = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
        first, _, rest = content.strip().partition(b"\n")
        if rest and first.startswith(b"{") and first.rstrip().endswith(b"}"):
            return io.read_jsonl(path, ACCEPTED)
        return from_json(content)
    except FileNotFoundError:
        raise InputError(path, "no such file", "check the path") from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", "check the path") from None
    except ValueError as error:
        if kind := file_kinds.recognised(path, content):
            raise InputError(path, f"is not JSON, it seems to be {kind}", ACCEPTED) from None
        raise InputError(path, f"not valid JSON: {error}", "is the file truncated?") from None
    finally:
        if enabled:
            gc.enable()


def _unique_ids(rows: list[dict], where: str) -> np.ndarray:
    """Ids, ascending."""
    (ids,) = _numbers(rows, where, id=int)
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(where, f"id {found[counts > 1][0]} occurs twice", "ids must be unique")
    return found


def positions(ids: np.ndarray, known: np.ndarray, where: str, field: str, table: str) -> np.ndarray:
    """Where each id stands in the ascending array `known`."""
    position = np.searchsorted(known, ids)
    missing = ~np.isin(ids, known)
    if missing.any():
        row = np.flatnonzero(missing)[0]
        raise InputError(f"{where}: row {row}", f"{field} {ids[row]} is not among the {table} of the ground truth")
    return position


def _pairs(
    images: list[dict], field: str, image_ids: np.ndarray, category_ids: np.ndarray, where: object
) -> np.ndarray:
    """image * K + category for every category id that the images list under `field`."""
    pairs = []
    for image in images:
        listed = image.get(field)
        if not isinstance(listed, list) or not all(_is_number(type(one), int) for one in listed):
            raise InputError(
                f"{where}: images: id {image['id']}", f"has no '{field}'", "LVIS needs a list of category ids for each"
            )
        pairs += [(image["id"], category) for category in listed]
    image_id, category_id = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    known = np.isin(category_id, category_ids)
    image, category = np.searchsorted(image_ids, image_id[known]), np.searchsorted(category_ids, category_id[known])
    return image * len(category_ids) + category
