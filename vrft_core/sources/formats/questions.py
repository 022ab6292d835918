"""A Hugging Face `datasets` folder, or parquet files: `image`, `problem` and `solution` as Visual-RFT has them.

Boxes are in thousandths of the image. A problem that names a category asks for its boxes; one that is answered with a
single box is an expression; any other solution is the class of the image.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from vrft_core.errors import InputError
from vrft_core.images import open_rgb
from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Item, Kind, Label, Labelled, Tree, split_of

TITLE = "image, problem and solution"
COLUMNS = ("image", "problem", "solution")
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
LISTED = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")
POINTS = re.compile(rf"\({NUMBER},{NUMBER}\),?\s*\({NUMBER},{NUMBER}\)")
CATEGORY = re.compile(r"belonging to the category '(.+?)' in the image")
EXPRESSION = re.compile(r"corresponding to the instruction: (.+?)\. (?:Output|If nothing)", re.DOTALL)


def claims(tree: Tree) -> bool:
    return bool(tree.ending(".parquet", ".arrow"))


def read(tree: Tree, problems: Problems) -> Labelled:
    items: dict[str, Item] = {}
    kinds: set[Kind] = set()
    names: set[str] = set()
    for file in tree.ending(".parquet", ".arrow"):
        for number, row in enumerate(_rows(tree, file)):
            where = f"{tree.root / file}: row {number}"
            data = row["image"].get("bytes") if isinstance(row["image"], dict) else row["image"]
            if (
                not isinstance(data, bytes)
                or not isinstance(row["problem"], str)
                or not isinstance(row["solution"], str)
            ):
                problems.add(where, "must hold an image's bytes, a problem and a solution", "write the data set again")
                continue
            said = row["image"].get("path") if isinstance(row["image"], dict) else None
            key = hashlib.sha256(data).hexdigest()
            stem = PurePosixPath(str(said)).stem if said else key[:16]
            stem = "".join(c if c.isprintable() else "_" for c in stem)[:80]
            name = f"{stem}{_suffix(data)}"
            if key not in items:
                if name in names:
                    name = f"{PurePosixPath(name).stem}-{key[:16]}{_suffix(data)}"
                names.add(name)
                items[key] = Item(name, data, where, split_of(file, last=True))
            kinds.add(_add(items[key], row["problem"], row["solution"], where))
    if len(kinds) > 1:
        problems.add(tree.root, f"its rows mix {' and '.join(sorted(kinds))}", "keep one kind in the folder")
    return Labelled(kinds.pop() if len(kinds) == 1 else "boxes", list(items.values()))


def _add(item: Item, problem: str, solution: str, where: str) -> Kind:
    tagged = solution.partition("<answer>")[2].partition("</answer>")
    answer = (tagged[0] if tagged[1] else solution).strip()
    category, expression = CATEGORY.search(problem), EXPRESSION.search(problem)
    found = [[float(value) for value in match] for match in LISTED.findall(answer) + POINTS.findall(answer)]
    if not category and not expression and not found:
        item.labels.append(Label(answer, None, where))
        return "classes"
    assert isinstance(item.content, bytes)
    wide, high = open_rgb(Path(where), content=item.content).size
    boxes = [
        (x1 * wide / 1000, y1 * high / 1000, (x2 - x1) * wide / 1000, (y2 - y1) * high / 1000)
        for x1, y1, x2, y2 in found
    ]
    if category:
        item.labels += [Label(category[1], box, where) for box in boxes]
        item.absent = (item.absent or frozenset()) | (set() if boxes else {category[1]})
        return "boxes"
    text = expression[1] if expression else problem.strip()
    item.labels.append(Label("expression", boxes[0] if boxes else None, where, text))
    return "expressions"


def _suffix(data: bytes) -> str:
    return ".png" if data.startswith(b"\x89PNG") else ".webp" if data[8:12] == b"WEBP" else ".jpg"


def _rows(tree: Tree, file: str) -> Iterator[dict[str, Any]]:
    path = tree.path(file)
    try:
        if file.endswith(".parquet"):
            table = parquet.read_table(path)
        else:
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"cannot be read: {str(error)[:100]}", "write the data set again") from None
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise InputError(path, f"has no column {missing[0]!r}", f"wanted: {', '.join(COLUMNS)}")
    for batch in table.select(list(COLUMNS)).to_batches(max_chunksize=64):
        yield from batch.to_pylist()
