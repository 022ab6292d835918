"""Grounding questions: every expression of an image, as examples.

The categories of the data are kinds of expression (left, larger, …, or one for all); what is asked is the expression.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrft_core import sampling
from vrft_core.annotations import Annotations, xyxy
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks.grounding.prompts.questions import answered, asked
from vrft_core.tasks.grounding.settings import Settings
from vrft_core.tasks.task import Example, Pair

DEFAULT = "all"
DIGITS = 3  # of a true box, in the answer's frame


def questions(truth: Annotations, categories: Sequence[int], settings: Settings, root: Path) -> list[Pair]:
    """Every kind of expression that an image has."""
    wanted = set(categories)
    return [(i, c) for i in truth.images for c in truth.category_ids(i) if c in wanted]


def asked_by(protocol: str | None, annotations: Annotations, categories: Sequence[int], known: bool) -> list[Pair]:
    """`all`: every expression that the annotations list; of images without any, every category taken as one."""
    if protocol not in (DEFAULT, None):
        raise InputError("--presence", f"no {protocol!r} here", f"leave it out, or give {DEFAULT}")
    if not known:
        return [(image, category) for image in annotations.images for category in categories]
    wanted = set(categories)
    return [(i, c) for i in annotations.images for c in annotations.category_ids(i) if c in wanted]


def validation(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """As in evaluation."""
    return asked_by(DEFAULT, truth, categories, known=True)


def training(selection: sampling.Selection) -> list[Pair]:
    """The chosen expressions."""
    return sampling.pairs(selection)


def fitting(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """Nothing has to be fitted."""
    return []


def examples(pairs: Sequence[Pair], annotations: Annotations, images: Path, form: Form) -> Iterator[Example]:
    """One example an expression. `truth`: {"category_id", "annotation_id", "box": xyxy in the answer's frame, null
    where it is absent}.

    Where an image has several expressions of a kind, all are asked.
    """
    for image_id, category_id in pairs:
        image = annotations.images[image_id]
        frame = form.frame(image["width"], image["height"], images / image["file_name"])
        rows = [row for row in annotations.by_image[image_id] if row["category_id"] == category_id]
        if not rows:  # asked of an image of which nothing is known
            rows = [{"id": 0, "expression": annotations.categories[category_id]["name"], "absent": True}]
        for row in rows:
            box = None if row.get("absent") else xyxy(row["bbox"])
            expression = row["expression"]
            truth = {
                "category_id": category_id,
                "annotation_id": row["id"],
                "box": None if box is None else [round(value, DIGITS) for value in frame.scale(box)],
            }
            yield Example(
                id=f"{image_id}-{category_id}" if len(rows) == 1 else f"{image_id}-{category_id}-{row['id']}",
                image_id=image_id,
                width=image["width"],
                height=image["height"],
                image=images / image["file_name"],
                label=expression,
                question=asked(expression, form, rejection=_rejection(form)),
                answer=answered(None if box is None else frame.to_answer(box), expression, form),
                truth=json.dumps(truth),
            )


def _rejection(form: Form) -> bool:
    return isinstance(form.settings, Settings) and form.settings.rejection


def longest(form: Form, name: str) -> tuple[str, str]:
    """A question about an expression of some words, and its answer."""
    expression = f"the {name} left of the {name}"
    return asked(expression, form, rejection=_rejection(form)), answered([100, 200, 300, 400], expression, form)
