"""CSV, JSON or JSON lines with a row a label: image, expression or label, and a box.

Columns: `image`; `expression` (what is asked for; an empty box says that nothing fits) or `label`; the box as
x1 y1 x2 y2, as xmin ymin xmax ymax, as x y width height, or as `bbox` (a list of x, y, width, height); `split`.
Pixels. Without box columns a label is the class of its image.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from vrft_core.errors import InputError
from vrft_core.sources.formats.labels import Box, Label, Tree, box, split_of

TITLE = "a CSV or JSON table"
SAME = {
    "image": ("image", "image_path", "file", "file_name", "filename", "path", "img"),
    "expression": ("expression", "instruction", "phrase", "caption", "text", "query"),
    "label": ("label", "category", "class", "class_name"),
    "split": ("split", "set", "subset"),
}
CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
EXPRESSION = "expression"  # the one category of expressions without a label of their own


def mine(tree: Tree, name: str) -> bool:
    """Whether the first row names an image, and an expression or a label."""
    try:
        row = next(_rows(tree, name), ("", {}))[1]
    except InputError as error:
        tree.broken += [error] if tree.json(name) is None else []
        return False
    return bool(_said(row, "image")) and any(key in row for key in (*SAME["expression"], *SAME["label"]))


def read(tree: Tree) -> None:
    for file in tree.of(mine):
        for place, row in _rows(tree, file):
            where = f"{tree.root / file}: {place}"
            image, expression, name, split = (_said(row, key) for key in SAME)
            boxed = "bbox" in row or any(set(names) <= set(row) for names in (*CORNERS, *SIZED))
            item = tree.named(image, file, where, split_of(f"{split}/") or split_of(file, last=True))
            with tree.problems.caught(where, "its box must be four finite numbers, or empty", "correct the row"):
                found = _box(row)
                if not item or not (expression or name or found):
                    continue
                if name.startswith("[{"):
                    remedy = "give each its own row; Label Studio: export JSON, neither JSON-MIN nor CSV"
                    tree.problems.add(where, "its label is a list", remedy)
                elif not expression and (not name or bool(found) != boxed):
                    problem = "has a label without a box, or a box without a label"
                    tree.problems.add(where, problem, "complete or remove it")
                else:
                    item.labels.append(Label(name or EXPRESSION, found, where, expression or None))


def _rows(tree: Tree, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(line or row, column → value) of a table; nothing of another file. Raises InputError for a broken CSV."""
    if file.lower().endswith((".csv", ".tsv")):
        text = tree.text(file)
        first = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise csv.Error("another number of fields than the first line")
                yield f"line {reader.line_num}", _lower(row)
        except csv.Error as error:
            raise InputError(f"{tree.root / file}: line {reader.line_num}", str(error), "quote its text") from None
    elif isinstance(rows := tree.json(file), list):
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise InputError(
                    f"{tree.root / file}: row {number}", "is not an object", "a list of objects, or one a line"
                )
            yield f"row {number}", _lower(row)


def _lower(row: dict) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in row.items()}


def _said(row: dict[str, Any], key: str) -> str:
    return next((str(row[name]).strip() for name in SAME[key] if row.get(name) is not None), "")


def _box(row: dict[str, Any]) -> Box | None:
    """xywh pixels; None where there is none. Raises ValueError or TypeError."""
    names = next((names for names in (*CORNERS, *SIZED) if set(names) <= set(row)), None)
    values = [row[name] for name in names] if names else row.get("bbox")
    if isinstance(values, str):
        values = values.strip("[]() ").replace(",", " ").split()
    if not values or all(value is None or str(value).strip() == "" for value in values):
        return None
    if any(isinstance(value, bool) for value in values):
        raise ValueError("true and false are no numbers")
    a, b, c, d = map(float, values)
    return box(a, b, c, d) if names in CORNERS else box(a, b, a + c, b + d)
