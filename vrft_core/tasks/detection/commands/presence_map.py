"""Presence maps: which categories a model claims to see in each image, in the file format of Visual-RFT.

{image id: [category name, …]} as JSON; the ids are text, as JSON wants it. The paper asked its base models so, but
released neither question nor code (its maps are `exist_map_*.json`): the question here is this project's own.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vrft_core.errors import InputError
from vrft_core.evaluation.predict import Query, predict

_YES = re.compile(r"\W*(?:<answer>\W*)?(yes|no)\b", re.IGNORECASE)
TOKENS = 8


def existence_question(category: str) -> str:
    """Ours, for want of the published one."""
    return (
        f"Is there any object belonging to the category '{category}' in the image? Answer with one word, 'yes' or 'no'."
    )


def claim(
    model: Any, processor: Any, queries: Sequence[Query], names: dict[int, str], **settings: Any
) -> tuple[dict[str, list[str]], int]:
    """Ask whether each query's category is there → (presence map, how many answers were neither yes nor no).

    An unclear answer claims nothing. `names`: category id → name; `settings` go to `predict`. Raises InputError when
    not one answer is clear: such a model cannot make a map.
    """
    asked = [replace(query, question=existence_question(names[query.category_id])) for query in queries]
    rows = predict(model, processor, asked, max_new_tokens=TOKENS, **settings)
    said = [answer and answer[1].lower() for answer in (_YES.match(row["completion"]) for row in rows)]
    if rows and not any(said):
        raise InputError(
            "the model", f"answered neither yes nor no to any of {len(rows)} questions, but, for example, "
            f"{rows[0]['completion'][:40]!r}", "make the map with a model that answers questions",
        )  # fmt: skip
    found: dict[str, list[str]] = {str(row["image_id"]): [] for row in rows}
    for row, answer in zip(rows, said, strict=True):
        if answer == "yes":
            found[str(row["image_id"])].append(names[row["category_id"]])
    return found, said.count(None)
