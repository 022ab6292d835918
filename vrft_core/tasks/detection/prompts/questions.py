"""The texts of a detection question and of the answer expected.

They follow Visual-RFT (arXiv 2503.01785, Table 1 and the published scripts). Reading what a model really answered
belongs to `answers`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vrft_core.families import registry
from vrft_core.families.family import UNITS
from vrft_core.families.form import Form
from vrft_core.families.formats import Native
from vrft_core.families.frames import Box
from vrft_core.tasks.wording import ANSWER_TAGS, NO_OBJECTS, THINKING_FIRST, THINKING_TAGS, native, tagged


def asked(category: str, form: Form) -> str:
    """The question about a category as a recipe puts it: the paper's, or for the family's own form of boxes."""
    if form.native:
        return native_question(category, form.native, thinking=form.thinking, units=form.units)
    return question(category, thinking=form.thinking, family=form.family, units=form.units)


def told(category: Mapping[str, Any], form: Form) -> str:
    """What stands before the question, where the recipe wants the annotators' instructions and there are any."""
    said = category.get("instructions") if getattr(form.settings, "instructions", False) else None
    return f"What annotators were told of '{category['name']}': {said}\n" if said else ""


def answered(boxes: Sequence[Box], confidences: Sequence[float], category: str, form: Form) -> str:
    """The answer that goes with `asked`; its thought says how many boxes there are."""
    thinking = thought(category, len(boxes)) if form.thinking else None
    if form.native:
        return native(form.native.write(boxes, category), thinking)
    return answer(boxes, confidences, thinking)


def native_question(category: str, way: Native, *, thinking: bool, units: str) -> str:
    """The same question for boxes in a family's own form, which has no confidence."""
    if way.ask and not thinking:
        return way.ask.format(category)
    return (
        f"Detect all objects belonging to the category '{category}' in the image, and provide the bounding boxes "
        f"({units}).\n"
        f"If no object belonging to the category '{category}' in the image, return '{way.nothing}'.\n"
        f"{THINKING_FIRST if thinking else ''}The output answer format should be as follows:\n"
        f"{'<think> ... </think> ' if thinking else ''}{way.example(category)}\n"
        "Please strictly follow the format."
    )


def question(category: str, *, thinking: bool, family: str, units: str | None = None) -> str:
    """The detection question of the paper, with or without the request to think.

    `units`: what coordinates mean, where that is not as the family has it.
    """
    units = units or UNITS[registry.get(family).frame or "0-1000"]
    boxes = "[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]"
    form = f"<answer>{boxes}</answer>"
    return (
        f"Detect all objects belonging to the category '{category}' in the image, and provide the bounding boxes "
        f"({units}) and confidence (between 0 and 1, with two decimal places).\n"
        f"If no object belonging to the category '{category}' in the image, return '{NO_OBJECTS}'.\n"
        f"{THINKING_TAGS if thinking else ANSWER_TAGS}The output answer format should be as follows:\n"
        f"{'<think> ... </think> ' if thinking else ''}{form}\n"
        "Please strictly follow the format."
    )


def thought(category: str, count: int) -> str:
    """The shortest true statement an answer can rest on: how many there are."""
    return f"{count} {category}"


def answer(boxes: Sequence[Box], confidences: Sequence[float], thinking: str | None) -> str:
    """The text a model should produce; `boxes` are xyxy integers in the answer's frame.

    `thinking` goes between the think tags; None leaves them out.
    """
    if boxes:
        items = ", ".join(
            f"{{'Position': [{', '.join(str(v) for v in box)}], 'Confidence': {confidence:.2f}}}"
            for box, confidence in zip(boxes, confidences, strict=True)
        )
        body = f"[{items}]"
    else:
        body = NO_OBJECTS
    return tagged(body, thinking)
