"""What the small policy is shown of counting before anyone fine-tunes it: counts that are often off by one."""

import random

import numpy as np

from vrft_core.families.form import Form
from vrft_core.params import Pretraining, Scenes
from vrft_core.policy.lessons import Lesson, Pool
from vrft_core.policy.tokenizer import BLANK, pieces_of
from vrft_core.progress import track
from vrft_core.sources.scenes import scene
from vrft_core.tasks.counting.prompts import answer, question

CARELESS = 0.3  # share of counts that are off by one


def names(scenes: Scenes) -> list[str]:
    """The categories of the scenes."""
    return [name for group in scenes.categories.values() for name in group]


def words(scenes: Scenes) -> list[str]:
    """None but the names."""
    return []


def pieces(form: Form) -> list[str]:
    """What question and answer texts consist of between the numbers."""
    return pieces_of([question(form.thinking), answer(BLANK, form.thinking)])


def draw_pool(scenes: Scenes, pretraining: Pretraining) -> Pool:
    """The pre-training scenes."""
    count = pretraining.images
    drawn = [scene(scenes, "pretraining", i) for i in track(range(count), "policy: drawing scenes", count)]
    objects = [[(thing.category, tuple(map(float, thing.box))) for thing in one.objects] for one in drawn]
    return Pool(np.stack([one.image for one in drawn]), objects, [None] * count)


def lesson(pool: Pool, first: int, scenes: Scenes, form: Form, settings: Pretraining, share: float) -> Lesson:
    """How many? Asks about the images of `pool` from number `first` on, as many as `draw_pool` gives."""

    def draw(rng: random.Random, row: int) -> tuple[str, str]:
        count = len(pool.objects[row])
        if rng.random() < CARELESS:
            count += rng.choice((-1, 1))
        return question(form.thinking), answer(count, form.thinking)

    return Lesson(draw, range(first, first + settings.images), share=share)
