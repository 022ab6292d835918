"""The questions of a probe: each scene in every form, with and without a word on what numbers mean.

A question says nothing of what numbers mean, so that a model does not follow the question in place of its own ways;
one more is asked as the model's family, or the recipe that taught it, has it. Reading belongs to `conventions`.
"""

from collections.abc import Callable, Sequence

from PIL import Image

from vrft_core.families.family import UNITS, Family
from vrft_core.families.form import Form
from vrft_core.families.formats import FORMS, Native
from vrft_core.probing.conventions import PAPER
from vrft_core.probing.scenes import Shown
from vrft_core.tasks import DEFAULT, get_task
from vrft_core.tasks.wording import ANSWER_TAGS

Answer = Callable[[Sequence[Image.Image], Sequence[Sequence[str]]], list[list[str]]]
"""Pictures, and the questions about each → an answer to each question."""


def ask(answer: Answer, scenes: Sequence[Shown], family: Family | None, forms: Sequence[Form]) -> dict[str, list]:
    """Form → for each way of asking, one text a scene. `forms`: in which a recipe asks the model."""
    ways: list[tuple[str, Callable[[str], str]]] = []
    for form in (PAPER, *FORMS):
        ways.append((form, lambda name, form=form: neutral(name, form)))
        if form != PAPER and (plain := FORMS[form].ask):
            ways.append((form, plain.format))
    for known in forms:
        form = known.native.name if known.native else PAPER
        ways.append((form, lambda name, known=known: get_task(DEFAULT).prompts.longest(known, name)[0]))
    if not forms and family and family.frame:
        units = UNITS[family.frame]
        ways += [(form, lambda name, form=form: neutral(name, form, units)) for form in (PAPER, family.native) if form]
    questions = [[say(scene.name) for _, say in ways] for scene in scenes]
    answers = answer([scene.picture for scene in scenes], questions)
    found: dict[str, list] = {}
    for number, (form, _) in enumerate(ways):
        found.setdefault(form, []).append([texts[number] for texts in answers])
    return found


def neutral(name: str, form: str, units: str | None = None) -> str:
    """A question about one category that shows a form and, without `units`, says nothing of what numbers mean."""
    meaning = f" ({units})" if units else ""
    if form == PAPER:
        example, tags = "<answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>", ANSWER_TAGS
    else:
        example, tags = Native(form, "xyxy").example(name), ""  # pyright: ignore[reportArgumentType]  a form's name
    return (
        f"Detect all objects belonging to the category '{name}' in the image, and provide the bounding boxes{meaning}."
        f"\n{tags}The output answer format should be as follows:\n{example}"
    )
