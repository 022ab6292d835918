"""What a row of a table means, be it of CSV, JSON, parquet or Arrow; the files belong to `table` and `questions`.

A row names an image, and has

- `label`, or `expression` (what is asked for; an empty box says that nothing fits); the box as x1 y1 x2 y2, as
  xmin ymin xmax ymax, as x y width height, or as `bbox` (a list of x, y, width, height), in pixels. Without box columns
  a label is the class of its image; or
- `objects`, as `datasets` has them: the same of several boxes, as columns of equal length or a row each; or
- `problem` and `solution`, as Visual-RFT publishes them; boxes in thousandths of the image. A problem that names a
  category asks for its boxes; one that is answered with a single box is an expression; any other solution is a class.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vrft_core.images import open_rgb
from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Box, Item, Label, box

SAME = {
    "image": ("image", "image_path", "file", "file_name", "filename", "path", "img"),
    "expression": ("expression", "instruction", "phrase", "caption", "text", "query"),
    "label": ("label", "category", "categories", "class", "class_name", "choice"),
    "split": ("split", "set", "subset"),
}
CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
SOLVED = ("problem", "solution")
USED = {"bbox", "objects", *SOLVED, *(name for names in (*SAME.values(), *CORNERS, *SIZED) for name in names)}
WANTED = "wanted: image, and label, expression, objects, or problem and solution"
EXPRESSION = "expression"  # the one category of expressions without a label of their own
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
LISTED = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")
POINTS = re.compile(rf"\({NUMBER},{NUMBER}\),?\s*\({NUMBER},{NUMBER}\)")
CATEGORY = re.compile(r"belonging to the category '(.+?)' in the image")
ASKED = re.compile(r"corresponding to the instruction: (.+?)\. (?:Output|If nothing)", re.DOTALL)


def mine(columns: Iterable[str]) -> bool:
    """Whether rows with these columns name an image and say something of it."""
    has = set(columns)
    return bool(has & set(SAME["image"])) and (
        bool(has & {"objects", *SAME["expression"], *SAME["label"]}) or has >= set(SOLVED)
    )


def lower(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in row.items()}


def said(row: Mapping[str, Any], key: str) -> str:
    return next((str(row[name]).strip() for name in SAME[key] if row.get(name) is not None), "")


def add(item: Item, row: Mapping[str, Any], where: str, problems: Problems) -> None:
    """Give the image what a row says of it."""
    if set(SOLVED) <= set(row):
        with problems.caught(where, "its problem and its solution must be text", "correct the row"):
            _solved(item, row["problem"], row["solution"], where)
    elif "objects" in row:
        problem = "its objects must have boxes of four finite numbers, as `bbox`, in columns of one length"
        with problems.caught(where, problem, "correct the row"):
            for one in _apart(row["objects"] or []):
                _labelled(item, one, where, problems)
    else:
        with problems.caught(where, "its box must be four finite numbers, or empty", "correct the row"):
            _labelled(item, row, where, problems)


def _apart(objects: Any) -> Iterator[dict[str, Any]]:
    """Objects one by one: `{bbox: [b, …], category: [c, …]}` or `[{bbox: b, category: c}, …]`. May raise ValueError."""
    if isinstance(objects, Mapping):
        used = {key: values for key, values in objects.items() if key in USED}
        objects = [dict(zip(used, one, strict=True)) for one in zip(*used.values(), strict=True)]
    for one in objects:
        if "bbox" not in one:
            raise ValueError
        yield one


def _labelled(item: Item, row: Mapping[str, Any], where: str, problems: Problems) -> None:
    boxed = "bbox" in row or any(set(names) <= set(row) for names in (*CORNERS, *SIZED))
    expression, name, found = said(row, "expression"), said(row, "label"), _box(row)
    if any(isinstance(row.get(key), int) for key in SAME["label"]):
        problems.add(where, f"its label {name[:20]} is a number", "write the name of the class")
    elif name.startswith("[{"):
        remedy = "give each its own row; Label Studio: export JSON, neither JSON-MIN nor CSV"
        problems.add(where, "its label is a list", remedy)
    elif expression and not boxed:
        remedy = "add x1, y1, x2 and y2, empty where nothing fits; of a class: call the column label"
        problems.add(where, "has an expression, and no columns for a box", remedy)
    elif not expression and (bool(name) or bool(found)) and (not name or bool(found) != boxed):
        problems.add(where, "has a label without a box, or a box without a label", "complete or remove it")
    elif expression or name:
        item.labels.append(Label(name or EXPRESSION, found, where, expression or None))


def _box(row: Mapping[str, Any]) -> Box | None:
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


def _solved(item: Item, problem: str, solution: str, where: str) -> None:
    inside, tagged, _ = solution.partition("<answer>")[2].partition("</answer>")
    answer = (inside if tagged else solution).strip()
    category, asked = CATEGORY.search(problem), ASKED.search(problem)
    edges = [map(float, match) for match in LISTED.findall(answer) + POINTS.findall(answer)]
    if not category and not asked and not edges:
        item.labels.append(Label(answer, None, where))
        return
    wide, high = open_rgb(Path(where), content=item.data).size
    boxes = [box(*(e * s / 1000 for e, s in zip(one, (wide, high, wide, high), strict=True))) for one in edges]
    if category:
        item.labels += [Label(category[1], one, where) for one in boxes]
        item.absent = (item.absent or frozenset()) | (set() if boxes else {category[1]})
    else:
        text = asked[1] if asked else problem.strip()
        item.labels.append(Label("expression", boxes[0] if boxes else None, where, text))
