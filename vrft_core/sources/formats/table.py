"""CSV, JSON or JSON lines with a row a label, or a row an image: what a row means stands in `rows`."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

from vrft_core.errors import InputError
from vrft_core.sources.formats import rows
from vrft_core.sources.formats.labels import Tree, split_of

TITLE = "a CSV or JSON table"
LOOKED_AT = 100  # rows


def mine(tree: Tree, name: str) -> bool:
    """Whether its first rows name an image and say something of it: in JSON those without labels may lack the key."""
    try:
        columns = {key for _, row in islice(_rows(tree, name), LOOKED_AT) for key in row}
    except InputError as error:
        tree.broken += [error] if tree.json(name) is None else []
        return False
    return rows.mine(columns)


def read(tree: Tree) -> None:
    for file in tree.of(mine):
        for place, row in _rows(tree, file):
            where, split = f"{tree.root / file}: {place}", split_of(f"{rows.said(row, 'split')}/")
            if item := tree.labelled(rows.said(row, "image"), file, where, split or split_of(file, last=True)):
                rows.add(item, row, where, tree.problems)


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
                yield f"line {reader.line_num}", rows.lower(row)
        except csv.Error as error:
            raise InputError(f"{tree.root / file}: line {reader.line_num}", str(error), "quote its text") from None
    elif isinstance(listed := tree.json(file), list):
        for number, row in enumerate(listed):
            if not isinstance(row, dict):
                raise InputError(
                    f"{tree.root / file}: row {number}", "is not an object", "a list of objects, or one a line"
                )
            yield f"row {number}", rows.lower(row)
