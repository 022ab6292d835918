"""A Hugging Face `datasets` folder, or parquet files. What a row means stands in `rows`; it holds its image's bytes."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from vrft_core.errors import InputError
from vrft_core.sources.formats import rows
from vrft_core.sources.formats.labels import Item, Tree, split_of

TITLE = "a Hugging Face data set"


def mine(tree: Tree, name: str) -> bool:
    """`cache-….arrow` is what `datasets` leaves beside the data when they are filtered or changed."""
    return name.endswith((".parquet", ".arrow")) and not PurePosixPath(name).name.startswith("cache-")


def read(tree: Tree) -> None:
    """Rows of the same image, byte for byte, are of one image. Without bytes a row names an image of the folder."""
    items, names = tree.items, set[str]()
    remedy = "put the images into the folder, or write the data set with them"
    for file in tree.of(mine):
        for number, row in enumerate(_rows(tree.root / file)):
            where, item = f"{tree.root / file}: row {number}", None
            with tree.problems.caught(where, "must hold an image's bytes, or name an image of the folder", remedy):
                held: Any = next((row[key] for key in rows.SAME["image"] if row.get(key)), None)
                said = held if isinstance(held, str) else ""
                if isinstance(held, dict):
                    held, said = held["bytes"], held.get("path") or ""
                held = None if isinstance(held, str) else held
                if not held and (found := tree.image(said, file)):
                    held = (tree.root / found).read_bytes()
                data = memoryview(held).tobytes()
                key = hashlib.sha256(data).hexdigest()
                if key not in items:
                    name = _name(data, said or key[:16], names, key)
                    items[key] = Item(name, data, where, split_of(file, last=True))
                    names.add(name)
                item = items[key]
            if item:
                rows.add(item, row, where, tree.problems)


def _name(data: bytes, said: str, names: set[str], key: str) -> str:
    """The name that an image had, with a part of its digest where another has the same."""
    stem = "".join(c if c.isprintable() else "_" for c in PurePosixPath(said).stem)[:80]
    suffix = ".png" if data.startswith(b"\x89PNG") else ".webp" if data[8:12] == b"WEBP" else ".jpg"
    return f"{stem}-{key[:16]}{suffix}" if f"{stem}{suffix}" in names else f"{stem}{suffix}"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        else:
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"cannot be read: {str(error)[:100]}", "write the data set again") from None
    used = [name for name in table.column_names if name.lower() in rows.USED]
    if not rows.mine([name.lower() for name in used]):
        has = ", ".join(table.column_names)[:100]
        raise InputError(path, f"has no images with labels: its columns are {has}", rows.WANTED)
    classes = _classes((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    for batch in table.select(used).to_batches(max_chunksize=64):
        yield from (_named(row, classes) for row in batch.to_pylist())


def _classes(written: bytes) -> dict[str, list[str]]:
    """Column → names of its numbers, for each ClassLabel among the features that `datasets` writes beside the data."""
    found = dict[str, list[str]]()

    def look(features: Any, column: str) -> None:
        if isinstance(features, dict):
            if features.get("_type") == "ClassLabel" and isinstance(features.get("names"), list):
                found[column] = [str(name) for name in features["names"]]
            for key, value in features.items():
                look(value, column if key == "feature" else key.lower())

    with contextlib.suppress(ValueError, RecursionError):  # numbers without a name are refused by `rows`
        look(json.loads(written), "")
    return found


def _named(value: Any, classes: dict[str, list[str]], column: str = "") -> Any:
    """The same with the names of classes in place of their numbers; a number that has none stays."""
    if isinstance(value, dict):
        return {key: _named(one, classes, key) for key, one in rows.lower(value).items()}
    if isinstance(value, list):
        return [_named(one, classes, column) for one in value]
    if column in classes and isinstance(value, int) and 0 <= value < len(classes[column]):
        return classes[column][value]
    return value
