"""Predictions that another model made of a cell's evaluation images: which of them answers which question.

What an answer is belongs to each task's `commands`; measuring them beside the cell's own models to
`vrft_core.commands.outside`.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft_core.annotations import Annotations
from vrft_core.commands.evaluate import Outside
from vrft_core.errors import InputError

COMMON = ("id", "image_id", "category_id")  # of a row, whichever model answered

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def matched(
    given: object,
    asked: Sequence[Any],
    truth: Annotations,
    where: Path,
    *,
    key: Sequence[str],
    fields: str,
    answer: Answer,
    keep: Sequence[str] = (),
) -> Outside:
    """The question rows `asked`, with another model's answers in the place of their own.

    Args:
        given: the rows of the file, JSON objects.
        key: the fields that tell which question a row answers.
        fields: all fields that a row needs, for a message.
        answer: a row's own fields, from one of `given`, or from {} where there is none. Raises KeyError, TypeError or
            ValueError for one that cannot be used.
        keep: what belongs to the question besides `COMMON`.

    Raises InputError naming file and row: not usable, a question answered twice, an image that has another name in the
    ground truth; and where no row answers a question.
    """
    if not isinstance(given, list):
        raise InputError(where, "is not a list of answers", f"each needs {fields}")
    questions = {tuple(row[field] for field in key) for row in asked}
    found: dict[tuple[Hashable, ...], Mapping[str, Any]] = {}
    left_out = 0
    for number, row in enumerate(given, 1):
        place = f"{where}: row {number}"
        try:
            question, said = tuple(row[field] for field in key), answer(row)
            about_nothing = question not in questions
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InputError(place, "is not an answer that can be measured", f"it needs {fields}") from None
        if about_nothing:
            left_out += 1
            continue
        name = truth.images[row["image_id"]]["file_name"] if "image_id" in row else None
        if name and row.get("file_name", name) != name:
            raise InputError(
                place, f"file_name {row['file_name']!r} has the id of {name!r} in the ground truth",
                "give the ids of annotations.json; vrft predict does with --annotations",
            )  # fmt: skip
        if question in found:
            raise InputError(place, "answers a question that was answered before", "keep one answer a question")
        found[question] = said
    if not found:
        raise InputError(
            where, "answers none of the cell's evaluation questions", "use the ids of the cell's annotations.json"
        )
    rows = []
    for row in asked:
        said = found.get(tuple(row[field] for field in key))
        own = {field: row[field] for field in (*COMMON, *keep)}
        rows.append({**own, **(answer({}) if said is None else said)})
    return Outside(rows, len(questions) - len(found), left_out)


def pixels(box: Sequence[float]) -> list[float]:
    """A box of a file, xyxy pixels. Raises TypeError or ValueError for anything else."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if not all(map(math.isfinite, (x1, y1, x2, y2))) or x1 > x2 or y1 > y2:
        raise ValueError(box)
    return [x1, y1, x2, y2]
