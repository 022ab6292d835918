"""The texts of a grounding question and of the answer expected.

They follow Visual-RFT's training script (arXiv 2503.01785, reasoning grounding), its spelling included: a model that
was trained elsewhere with these words should meet the same ones. The offer to reject is this project's own.
"""

from collections.abc import Sequence

from vrft_core.families.form import Form
from vrft_core.families.formats import Native
from vrft_core.tasks.wording import NO_OBJECTS, THINKING_FIRST, native, tagged

REJECTION = f"If nothing in the image fits the instruction, return '{NO_OBJECTS}'. "


def asked(expression: str, form: Form, *, rejection: bool) -> str:
    """The question about an expression as a recipe puts it: the paper's, or for the family's own form of boxes."""
    if form.native:
        return native_question(expression, form.native, thinking=form.thinking, rejection=rejection, units=form.units)
    return question(expression, thinking=form.thinking, rejection=rejection)


def answered(box: Sequence[int] | None, expression: str, form: Form) -> str:
    """The answer that goes with `asked`; its thought repeats the expression."""
    thinking = expression if form.thinking else None
    if form.native:
        return native(form.native.write([] if box is None else [box], expression), thinking)
    return answer(box, thinking)


def native_question(expression: str, way: Native, *, thinking: bool, rejection: bool, units: str) -> str:
    """The same question for a box in a family's own form."""
    if way.ask and not thinking:
        return way.ask.format(expression)
    offer = REJECTION.replace(NO_OBJECTS, way.nothing) if rejection else ""
    return (
        f"Output the bounding box ({units}) in the image corresponding to the instruction: {expression}. {offer}"
        f"{THINKING_FIRST if thinking else ''}The output answer format should be as follows:\n"
        f"{'<think> ... </think> ' if thinking else ''}{way.example(expression)}"
    )


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
