"""The texts of a detection question and of the answer expected.

They follow Visual-RFT (arXiv 2503.01785, Table 1 and the published scripts). Reading what a model really answered
belongs to `answers`.
"""

from collections.abc import Sequence

from vrft_core.families.frames import UNITS, Box
from vrft_core.tasks.wording import ANSWER_TAGS, NO_OBJECTS, THINKING_TAGS, tagged


def question(category: str, *, thinking: bool, family: str) -> str:
    """The detection question of the paper, with or without the request to think."""
    boxes = "[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]"
    form = f"<answer>{boxes}</answer>"
    return (
        f"Detect all objects belonging to the category '{category}' in the image, and provide the bounding boxes "
        f"({UNITS[family]}) and confidence (between 0 and 1, with two decimal places).\n"
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
