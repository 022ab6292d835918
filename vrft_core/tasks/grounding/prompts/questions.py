"""The texts of a grounding question and of the answer expected.

They follow Visual-RFT's training script (arXiv 2503.01785, reasoning grounding), its spelling included: a model that
was trained elsewhere with these words should meet the same ones. The offer to reject is this project's own.
"""

from collections.abc import Sequence

from vrft_core.tasks.wording import NO_OBJECTS, tagged

REJECTION = f"If nothing in the image fits the instruction, return '{NO_OBJECTS}'. "


def question(expression: str, *, thinking: bool, rejection: bool) -> str:
    """The paper's question, with or without the request to think, and with the offer to reject."""
    asked = f"Output the bounding box in the image corresponding to the instruction: {expression}. "
    offer = REJECTION if rejection else ""
    if not thinking:
        return f'{asked}{offer}Output your grouding box. Following "<answer>(x1,y1),(x2,y2)</answer>" format.'
    return (
        f"{asked}{offer}Output the thinking process in <think> </think> and your grouding box. Following "
        '"<think> thinking process </think>\n<answer>(x1,y1),(x2,y2)</answer>)" format.'
    )


def answer(box: Sequence[int] | None, thinking: str | None) -> str:
    """The text a model should produce; `box` is xyxy integers in the answer's frame, None where nothing is meant."""
    if box is None:
        return tagged(NO_OBJECTS, thinking)
    x1, y1, x2, y2 = box
    return tagged(f"({x1},{y1}),({x2},{y2})", thinking)
