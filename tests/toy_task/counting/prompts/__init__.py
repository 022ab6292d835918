"""Counting questions: one an image. All animals count, of whatever category."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrft_core import sampling
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks.counting.settings import Settings
from vrft_core.tasks.task import Example, Pair
from vrft_core.tasks.wording import ANSWER_TAGS, THINKING_TAGS, tagged

DEFAULT = "all"
NONE = 0  # in place of a category, where an image shows none


def question(thinking: bool) -> str:
    """The same for every image."""
    return f"How many animals are in the image? {THINKING_TAGS if thinking else ANSWER_TAGS}"


def answer(count: object, thinking: bool) -> str:
    """The text a model should produce; the thought is the count too."""
    return tagged(str(count), str(count) if thinking else None)


def questions(truth: Annotations, categories: Sequence[int], settings: Settings, root: Path) -> list[Pair]:
    """Every image, under the first of its categories."""
    return [(image, min(truth.category_ids(image), default=NONE)) for image in truth.images]


def validation(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """As in evaluation."""
    return questions(truth, categories, settings, Path())


def training(selection: dict) -> list[Pair]:
    """The chosen images, each once."""
    return list({image: (image, category) for image, category in sampling.pairs(selection)}.values())


def asked_by(protocol: str | None, annotations: Annotations, categories: Sequence[int], known: bool) -> list[Pair]:
    """`all`: every image."""
    if protocol not in (DEFAULT, None):
        raise InputError("--presence", f"no {protocol!r} here", f"leave it out, or give {DEFAULT}")
    return [(image, min(annotations.category_ids(image), default=NONE)) for image in annotations.images]


def fitting(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """Nothing has to be fitted."""
    return []


def examples(pairs: Sequence[Pair], annotations: Annotations, images: Path, form: Form) -> Iterator[Example]:
    """One example an image. `truth`: {"category_id", "count"}."""
    for image_id, category_id in pairs:
        image, count = annotations.images[image_id], len(annotations.by_image[image_id])
        yield Example(
            id=f"animals-{image_id}",
            image_id=image_id,
            width=image["width"],
            height=image["height"],
            image=images / image["file_name"],
            label=str(count),
            question=question(form.thinking),
            answer=answer(count, form.thinking),
            truth=json.dumps({"category_id": category_id, "count": count}),
        )


def longest(form: Form, name: str) -> tuple[str, str]:
    """The question, and an answer of two digits."""
    return question(form.thinking), answer(88, form.thinking)
