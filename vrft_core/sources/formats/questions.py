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
    held, names = dict[str, Item](), set(tree.images)
    remedy = "put the images into the folder, or write the data set with them"
    for file in tree.of(mine):
        split = split_of(file, last=True)
        for number, row in enumerate(_rows(tree.root / file)):
            where, item = f"{tree.root / file}: row {number}", None
            with tree.problems.caught(where, "must hold an image's bytes, or name an image of the folder", remedy):
                image: Any = next(filter(None, map(row.get, rows.SAME["image"])), None)
                image = image if isinstance(image, dict) else {"path" if isinstance(image, str) else "bytes": image}
                said = image.get("path") or ""
                if said and not image.get("bytes"):
                    item = tree.labelled(said, file, where, split)
                else:
                    data = memoryview(image["bytes"]).tobytes()
                    if (key := hashlib.sha256(data).hexdigest()) not in held:
                        name = _name(data, said or key[:16], names, key)
                        names.add(name)
                        held[key] = tree.items[name] = Item(name, data, where, split)
                    item = held[key]
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
    features = None
    with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError):  # numbers without a name are refused
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    for batch in table.select(used).to_batches(max_chunksize=64):
        for row in batch.to_pylist():
            yield _named(row, features)


def _named(value: Any, feature: Any) -> Any:
    """The same with the names of classes in place of their numbers; a number that has none stays.

    `feature`: what `datasets` writes of the value, in JSON.
    """
    while isinstance(feature, dict) and isinstance(feature.get("_type"), str) and "feature" in feature:
        feature = feature["feature"]
    if isinstance(value, list):
        return [_named(one, feature[0] if isinstance(feature, list) and feature else feature) for one in value]
    said = feature if isinstance(feature, dict) else {}
    if isinstance(value, dict):
        return rows.lower({key: _named(one, said.get(key)) for key, one in value.items()})
    names = said.get("names") if said.get("_type") == "ClassLabel" else None
    if isinstance(names, list) and isinstance(value, int) and 0 <= value < len(names):
        return str(names[value])
    return value
