"""Presence maps: which categories a model claims to see in each image, in the file format of Visual-RFT.

{image id: [category name, …]} as JSON; the ids are text, as JSON wants it. The paper asked its base models so, but
released neither question nor code (its maps are `exist_map_*.json`): the question here is this project's own.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft_core import io, policy
from vrft_core.commands.predict import Request
from vrft_core.errors import InputError
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.policy.device import autocast, loaded_dtype, prepare
from vrft_core.tasks import get_task
from vrft_core.tasks.task import Example

_YES = re.compile(r"\W*(?:<answer>\W*)?(yes|no)\b", re.IGNORECASE)
TOKENS = 8


def existence_question(category: str) -> str:
    """Our own: the published one is not known."""
    return (
        f"Is there any object belonging to the category '{category}' in the image? Answer with one word, 'yes' or 'no'."
    )


def claim(
    model: Any, processor: Any, examples: Sequence[Example], form: Form, **settings: Any
) -> tuple[dict[str, list[str]], int]:
    """Ask whether each example's category is there → (presence map, how many answers were neither yes nor no).

    An unclear answer claims nothing. `settings` go to `predict`. Raises InputError when not one answer is clear: such a
    model cannot make a map.
    """
    asked = [replace(one, question=existence_question(one.label)) for one in examples]
    rows = predict(model, processor, asked, get_task("detection"), form, max_new_tokens=TOKENS, **settings)
    said = [answer and answer[1].lower() for answer in (_YES.match(row["completion"]) for row in rows)]
    if rows and not any(said):
        raise InputError(
            "the model", f"answered neither yes nor no to any of {len(rows)} questions, but, for example, "
            f"{rows[0]['completion'][:40]!r}", "make the map with a model that answers questions",
        )  # fmt: skip
    found: dict[str, list[str]] = {str(row["image_id"]): [] for row in rows}
    for one, answer in zip(examples, said, strict=True):
        if answer == "yes":
            found[str(one.image_id)].append(one.label)
    return found, said.count(None)


def make_map(request: Request, output: Path) -> dict:
    """Ask whether each category is in each image, write the presence map; → {"images", "questions", "present", …}."""
    examples = request.examples(None)
    recipe = request.recipe
    prepare(recipe)
    model, processor = policy.load(request.model, request.adapter, loaded_dtype(recipe))
    size = recipe.evaluation.batch_size
    with autocast(recipe):
        found, unclear = claim(model, processor, examples, Form.of(recipe), batch_size=size, what="questions answered")
    io.write_json(output, found)
    present = sum(map(len, found.values()))
    return {
        "images": len(found), "questions": len(examples), "present": present, "unclear": unclear,
        "sha256": io.sha256(output),
    }  # fmt: skip
