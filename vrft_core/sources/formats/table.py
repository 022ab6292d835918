"""CSV, JSON or JSON lines with a row a label: image, expression or label, and a box.

Columns: `image`; `expression` (what is asked for; an empty box says that nothing fits) or `label`; the box as
x1 y1 x2 y2, as xmin ymin xmax ymax, as x y width height, or as `bbox` (a list of x, y, width, height); `split`.
Pixels. Without box columns a label is the class of its image.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from vrft_core.errors import InputError
from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Box, Kind, Label, Labelled, Tree, split_of

TITLE = "a CSV or JSON table"
SAME = {
    "image": ("image", "image_path", "file", "file_name", "filename", "path", "img"),
    "expression": ("expression", "instruction", "phrase", "caption", "text", "query"),
    "label": ("label", "category", "class", "class_name"),
    "split": ("split", "set", "subset"),
}
BOXES = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
)
EXPRESSION = "expression"  # the one category of expressions without a label of their own


def claims(tree: Tree) -> bool:
    return bool(_tables(tree))


def read(tree: Tree, problems: Problems) -> Labelled:
    found, kinds = tree.items(), set[Kind]()
    for file in _tables(tree):
        for line, row in _rows(tree, file):
            where = f"{tree.root / file}: {line}"
            image, expression, name, split = (_said(row, key) for key in SAME)
            item = found.named(image, file, where, problems, split_of(f"{split}/") or split_of(file, last=True))
            if item is None:
                continue
            try:
                box = _box(row)
            except (ValueError, TypeError, OverflowError):
                problems.add(where, "its box must be four finite numbers, or empty", "correct the row")
                continue
            kinds.add("expressions" if expression else "boxes" if _has_box(row) else "classes")
            if expression or (name and (box or not _has_box(row))):
                item.labels.append(Label(name or EXPRESSION, box, where, expression or None))
            elif name or box:
                problems.add(where, "has a label without a box, or a box without a label", "complete or remove it")
    if len(kinds) > 1:
        problems.add(tree.root, f"its tables mix {' and '.join(sorted(kinds))}", "keep one kind in the folder")
    return Labelled(kinds.pop() if len(kinds) == 1 else "boxes", list(found.values()))


def _rows(tree: Tree, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(line or row, column → value). Raises InputError where the file is no table."""
    text = tree.text(file)
    if not file.lower().endswith((".json", ".jsonl")):
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise csv.Error("another number of fields than the first line")
                yield f"line {reader.line_num}", _lower(row)
        except csv.Error as error:
            raise InputError(f"{tree.root / file}: line {reader.line_num}", str(error), "quote its text") from None
        return
    try:
        lines = [text] if file.endswith(".json") and text.lstrip().startswith("[") else text.split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        rows = rows[0] if rows and isinstance(rows[0], list) else rows
    except (ValueError, RecursionError) as error:
        raise InputError(tree.root / file, f"is not JSON: {error}", "a list of objects, or one a line") from None
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(
                f"{tree.root / file}: row {number}", "is not an object", "give a list of objects, or one a line"
            )
        yield f"row {number}", _lower(row)


def _lower(row: dict) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in row.items()}


def _said(row: dict[str, Any], key: str) -> str:
    return next((str(row[name]).strip() for name in SAME[key] if row.get(name) is not None), "")


def _has_box(row: dict[str, Any]) -> bool:
    return "bbox" in row or any(set(names) <= set(row) for names in BOXES)


def _box(row: dict[str, Any]) -> Box | None:
    """xywh pixels; None where there is none. Raises ValueError."""
    names = next((names for names in BOXES if set(names) <= set(row)), None)
    values = [row[name] for name in names] if names else row.get("bbox")
    if isinstance(values, str):
        values = values.strip("[]() ").replace(",", " ").split()
    if not values or all(value is None or str(value).strip() == "" for value in values):
        return None
    if len(values) != 4 or any(isinstance(value, bool) or value is None for value in values):
        raise ValueError
    a, b, c, d = (float(value) for value in values)
    if not all(map(math.isfinite, (a, b, c, d))):
        raise ValueError
    return (a, b, c - a, d - b) if names in BOXES[:2] else (a, b, c, d)


def _tables(tree: Tree) -> list[str]:
    """Files whose first row names an image, and an expression or a label."""
    found = []
    for name in tree.ending(".csv", ".tsv", ".json", ".jsonl"):
        try:
            row = next(_rows(tree, name), ("", {}))[1]
        except InputError:
            row = {}
        tree.read.discard(name)
        if _said(row, "image") and any(key in row for part in ("expression", "label") for key in SAME[part]):
            found.append(name)
    return found
