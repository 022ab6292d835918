"""What the small policy is shown of grounding before anyone fine-tunes it: expressions with careless answers."""

import random
from dataclasses import replace

from vrft_core.families.form import Form
from vrft_core.params import PhraseScenes, Pretraining
from vrft_core.policy.lessons import Lesson, Pool, Seen
from vrft_core.policy.tokenizer import BLANK, pieces_of
from vrft_core.sources.scenes import grouping, many, phrases
from vrft_core.tasks.grounding.prompts.questions import answer, answered, asked, question
from vrft_core.tasks.wording import NAME, NO_OBJECTS, native_pieces

CARELESS = 0.15  # share of answers that name another object of the same category


def names(settings: PhraseScenes) -> list[str]:
    """The categories of the objects: each must be one token."""
    return list(settings.categories)


def words(settings: PhraseScenes) -> list[str]:
    """What expressions are made of."""
    return phrases.words(settings)


def pieces(form: Form) -> list[str]:
    """What question and answer texts consist of between expressions, thoughts and numbers."""
    if form.native:
        forms = [replace(form, thinking=thinking) for thinking in (True, False)]
        return native_pieces(
            [asked(NAME, one, rejection=rejection) for one in forms for rejection in (True, False)],
            [answered([0] * 4, NAME, one) for one in forms],
            form.native.nothing,
        )
    questions = [
        question(BLANK, thinking=thinking, rejection=rejection)
        for thinking in (True, False)
        for rejection in (True, False)
    ]
    box = f"({BLANK},{BLANK}),({BLANK},{BLANK})"
    said = [f"<think>{BLANK}</think><answer>{box}</answer>", f"<answer>{box}</answer>", answer(None, BLANK)]
    return [*pieces_of([*questions, *said]), NO_OBJECTS]


def draw_pool(scenes: PhraseScenes, pretraining: Pretraining) -> Pool:
    """The pre-training scenes and, appended, the same mirrored; each with its expressions, target and rivals."""
    count = pretraining.images
    drawn = (
        (number, _seen(one), _seen(phrases.mirrored(one)))
        for number, one in many.draw(scenes, count, "policy: drawing phrases")
    )
    return Pool.of(count, scenes.image_size, drawn)


def _seen(drawn: phrases.PhraseScene) -> Seen:
    return drawn.image, [(o.category, tuple(map(float, o.box))) for o in drawn.objects], drawn.expressions


def lesson(pool: Pool, first: int, scenes: PhraseScenes, form: Form, settings: Pretraining, share: float) -> Lesson:
    """Which object is meant? Boxes are a little off, and some answers name another object of the category.

    At least the share `negatives` of the expressions means nothing in the image: those that the scene came with, and
    texts about a category that it does not show. With 0 the scene's own are asked like all others.
    """
    frame = form.frame(scenes.image_size, scenes.image_size)
    spread = settings.jitter * frame.width / frame.limit[0]  # jitter is in thousandths of the image, as answers count
    rows = range(first, first + 2 * settings.images)

    def unmet(rng: random.Random, row: int) -> str:
        """A text that means nothing in the image."""
        if (own := [said.text for said in pool.notes[row] if said.target is None]) and rng.random() < 0.5:
            return own[0]
        present = list(dict.fromkeys(name for name, _ in pool.objects[row]))
        missing = rng.choice([name for name in scenes.categories if name not in present])
        return grouping.absent(missing, present, rng)

    def silence(text: str) -> tuple[str, str]:
        return asked(text, form, rejection=True), answered(None, text, form)

    def draw(rng: random.Random, row: int) -> tuple[str, str] | None:
        if settings.negatives and rng.random() < settings.negatives:
            return silence(unmet(rng, row))
        said = rng.choice(pool.notes[row])
        if said.target is None:
            return None if settings.negatives else silence(said.text)
        target = said.target
        if rng.random() < CARELESS:
            target = rng.choice(said.candidates)
        x1, y1, x2, y2 = (value + rng.gauss(0, spread) for value in pool.objects[row][target][1])
        box = frame.to_answer([x1, y1, max(x1, x2), max(y1, y2)])
        return asked(said.text, form, rejection=True), answered(box, said.text, form)

    return Lesson(draw, rows, share=share)
