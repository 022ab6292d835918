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
from vrft_core.sources.formats.labels import Item, Label, Tree, box, split_of

TITLE = "image, problem and solution"
COLUMNS = ("image", "problem", "solution")
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
LISTED = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")
POINTS = re.compile(rf"\({NUMBER},{NUMBER}\),?\s*\({NUMBER},{NUMBER}\)")
CATEGORY = re.compile(r"belonging to the category '(.+?)' in the image")
EXPRESSION = re.compile(r"corresponding to the instruction: (.+?)\. (?:Output|If nothing)", re.DOTALL)


def mine(tree: Tree, name: str) -> bool:
    """`cache-….arrow` is what `datasets` leaves beside the data when they are filtered or changed."""
    return name.endswith((".parquet", ".arrow")) and not PurePosixPath(name).name.startswith("cache-")


def read(tree: Tree) -> None:
    """Rows of the same image, byte for byte, are of one image. Without bytes a row names an image of the folder."""
    items, names = tree.items, set[str]()
    problem = "must hold an image's bytes, or name an image of the folder, and have a problem and a solution"
    for file in tree.of(mine):
        for number, row in enumerate(_rows(tree.root / file)):
            where = f"{tree.root / file}: row {number}"
            with tree.problems.caught(
                where, problem, "put the images into the folder, or write the data set with them"
            ):
                image: dict[str, Any] = row["image"] if isinstance(row["image"], dict) else {"bytes": row["image"]}
                held, said = image["bytes"], image.get("path")
                found = None if held else tree.image(said or "", file)
                data = (tree.root / found).read_bytes() if found else memoryview(held).tobytes()
                key = hashlib.sha256(data).hexdigest()
                if key not in items:
                    name = _name(data, said or key[:16], names, key)
                    items[key] = Item(name, data, where, split_of(file, last=True))
                    names.add(name)
                _add(items[key], row["problem"], row["solution"], where)


def _name(data: bytes, said: str, names: set[str], key: str) -> str:
    """The name that an image had, with a part of its digest where another has the same."""
    stem = "".join(c if c.isprintable() else "_" for c in PurePosixPath(said).stem)[:80]
    suffix = ".png" if data.startswith(b"\x89PNG") else ".webp" if data[8:12] == b"WEBP" else ".jpg"
    return f"{stem}-{key[:16]}{suffix}" if f"{stem}{suffix}" in names else f"{stem}{suffix}"


def _add(item: Item, problem: str, solution: str, where: str) -> None:
    inside, tagged, _ = solution.partition("<answer>")[2].partition("</answer>")
    answer = (inside if tagged else solution).strip()
    category, expression = CATEGORY.search(problem), EXPRESSION.search(problem)
    edges = [map(float, match) for match in LISTED.findall(answer) + POINTS.findall(answer)]
    if not category and not expression and not edges:
        item.labels.append(Label(answer, None, where))
        return
    wide, high = open_rgb(Path(where), content=item.content).size  # type: ignore[arg-type]
    boxes = [box(*(e * s / 1000 for e, s in zip(one, (wide, high, wide, high), strict=True))) for one in edges]
    if category:
        item.labels += [Label(category[1], one, where) for one in boxes]
        item.absent = (item.absent or frozenset()) | (set() if boxes else {category[1]})
    else:
        text = expression[1] if expression else problem.strip()
        item.labels.append(Label("expression", boxes[0] if boxes else None, where, text))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        else:
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"cannot be read: {str(error)[:100]}", "write the data set again") from None
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise InputError(path, f"has no column {missing[0]!r}", f"wanted: {', '.join(COLUMNS)}")
    for batch in table.select(list(COLUMNS)).to_batches(max_chunksize=64):
        yield from batch.to_pylist()
