"""What the small policy is shown of detection before anyone fine-tunes it: answers as careless as the web's."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from vrft_core.families.form import Form
from vrft_core.families.frames import Box
from vrft_core.params import Pretraining, Scenes
from vrft_core.policy.lessons import Lesson, Pool, mirrored
from vrft_core.policy.tokenizer import BLANK, pieces_of
from vrft_core.sources.scenes import many
from vrft_core.tasks.detection.prompts.questions import answer, answered, asked, question, thought
from vrft_core.tasks.wording import NAME, NO_OBJECTS, native_pieces

_NUMBER = r"\d+\.\d+|\d+"


def names(settings: Scenes) -> list[str]:
    """The categories of the scenes: each must be one token."""
    return [name for group in ("f", "c", "r") for name in settings.categories[group]]


def words(settings: Scenes) -> list[str]:
    """None but the names."""
    return []


def pieces(form: Form) -> list[str]:
    """What question and answer texts consist of between category, thought and numbers."""
    boxes = [[0] * 4] * 2
    if form.native:
        forms = [replace(form, thinking=thinking) for thinking in (True, False)]
        return native_pieces(
            [asked(NAME, one) for one in forms], [answered(boxes, [], NAME, one) for one in forms], form.native.nothing
        )
    texts = [question(BLANK, thinking=thinking, family=form.family) for thinking in (True, False)]
    fragments = pieces_of(texts)
    answers = [answer(boxes, [0.0] * 2, BLANK), answer(boxes, [0.0] * 2, None), answer([], [], BLANK)]
    bare = answers[1].removeprefix("<answer>").removesuffix("</answer>")
    for text in (*answers, bare):
        fragments += re.split(rf"{_NUMBER}|{BLANK}", text)
    return [*fragments, NO_OBJECTS]


def draw_pool(settings: Scenes, pretraining: Pretraining) -> Pool:
    """The pre-training scenes and, appended, the same mirrored. How often a category repeats is pre-training's own."""
    settings, count = settings.model_copy(update={"same_category": pretraining.same_category}), pretraining.images
    scenes = (
        (number, (scene.image, objects, None), mirrored(scene.image, objects))
        for number, scene in many.draw(settings, count, "policy: drawing scenes")
        for objects in [[(o.category, tuple(map(float, o.box))) for o in scene.objects]]
    )
    return Pool.of(count, settings.image_size, scenes)


class WebAnswers:
    """Draws a question about a scene and its careless answer.

    As in scraped data: further instances are often left out, boxes are a little off, confidences mean nothing, and
    part of the answers is a bare list without tags. (Rare categories are rare because few scenes show them.)
    """

    def __init__(self, scenes: Scenes, form: Form, settings: Pretraining) -> None:
        self.settings = settings
        self.form, self.thinking = form, form.thinking
        self.frame = form.frame(scenes.image_size, scenes.image_size)

    def draw(self, rng: random.Random, objects: Sequence[tuple[str, Box]]) -> tuple[str, str]:
        """The texts of one question and its answer; there must be an object."""
        names = [name for name, _ in objects]
        category = rng.choice(names)
        boxes = [box for name, box in objects if name == category]
        rng.shuffle(boxes)
        keep = self.settings.keep_further_instances
        listed = sorted(self._jittered(rng, b) for i, b in enumerate(boxes) if i == 0 or rng.random() < keep)
        confidences = [rng.randint(1, 10) / 10 for _ in listed]
        question = asked(category, self.form)
        if self.form.native:
            return question, answered(listed, confidences, category, self.form)
        if rng.random() < self.settings.bare_answers:
            bare = answer(listed, confidences, None)
            return question, bare.removeprefix("<answer>").removesuffix("</answer>")
        return question, answer(listed, confidences, thought(category, len(listed)) if self.thinking else None)

    def silence(self, rng: random.Random, category: str) -> tuple[str, str]:
        """The texts of a question about something that is not there, and of its answer.

        Which category is asked about follows how often scenes show it, as with things that are there.
        """
        question = asked(category, self.form)
        if self.form.native:
            return question, answered([], [], category, self.form)
        if rng.random() < self.settings.bare_answers:
            return question, NO_OBJECTS
        return question, answer([], [], thought(category, 0) if self.thinking else None)

    def _jittered(self, rng: random.Random, box: Box) -> list[int]:
        # jitter is in thousandths of the image, as the answer counts
        spread = self.settings.jitter * self.frame.width / self.frame.limit[0]
        x1, y1, x2, y2 = (value + rng.gauss(0, spread) for value in box)
        return self.frame.to_answer([x1, y1, max(x1, x2), max(y1, y2)])


def lesson(pool: Pool, first: int, scenes: Scenes, form: Form, settings: Pretraining, share: float) -> Lesson:
    """Where are all objects of a category that the image shows? Scenes with one object are the easy ones.

    Asks about the images of `pool` from number `first` on, as many as `draw_pool` gives.
    """
    answers = WebAnswers(scenes, form, settings)
    rows = range(first, first + 2 * settings.images)

    def draw(rng: random.Random, row: int) -> tuple[str, str] | None:
        here = {name for name, _ in pool.objects[row]}
        if settings.negatives and rng.random() < settings.negatives:
            elsewhere = [name for name, _ in pool.objects[rng.choice(rows)] if name not in here]
            return answers.silence(rng, rng.choice(elsewhere)) if elsewhere else None
        return answers.draw(rng, pool.objects[row]) if here else None

    return Lesson(draw, rows, [row for row in rows if len(pool.objects[row]) == 1], share)
