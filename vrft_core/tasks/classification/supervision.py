"""What the small policy is shown of classification in pre-training: labels as careless as the web's."""

import random

from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.params import IconScenes, Pretraining
from vrft_core.policy.lessons import Lesson, Pool, mirrored
from vrft_core.policy.tokenizer import BLANK, pieces_of
from vrft_core.sources.scenes import icons, many
from vrft_core.tasks.classification.prompts.questions import answer, question
from vrft_core.tasks.classification.settings import Settings


def names(scenes: IconScenes) -> list[str]:
    """The classes' labels: each must be one token."""
    return [label(name) for name in scenes.names]


def label(name: str) -> str:
    """What a class is called in questions and answers, as `annotations.spoken` has it."""
    return name.replace("_", " ")


def words(scenes: IconScenes) -> list[str]:
    """None but the names."""
    return []


def pieces(form: Form) -> list[str]:
    """What question and answer texts consist of between the names.

    Raises InputError for questions that list the classes: none of them are asked here.
    """
    if isinstance(form.settings, Settings) and form.settings.class_list:
        raise InputError(
            "params.yaml", "tasks.classification.class_list: a model that is pre-trained here cannot read a list",
            "set it to false, or take a policy from the hub",
        )  # fmt: skip
    texts = [question(form.subject, thinking=thinking) for thinking in (True, False)]
    return pieces_of([*texts, *(answer(BLANK, thinking=thinking) for thinking in (True, False))])


def draw_pool(scenes: IconScenes, pretraining: Pretraining) -> Pool:
    """The pre-training icons and, appended, the same mirrored; every class equally often."""
    count = pretraining.images
    drawn = (
        (number, (scene.image, objects, None), mirrored(scene.image, objects))
        for number, scene in many.draw(scenes, count, "policy: drawing icons")
        for objects in [[(label(o.category), tuple(map(float, o.box))) for o in scene.objects]]
    )
    return Pool.of(count, scenes.image_size, drawn)


class WebLabels:
    """Draws a careless label of an image.

    As in scraped data: the less frequent a class, the more often its label names the look-alike that people know
    better (`icons.look_alike`), at `wrong_names`' chance; and part of the answers are bare names without tags.
    """

    def __init__(self, scenes: IconScenes, form: Form, settings: Pretraining) -> None:
        self.thinking, self.bare = form.thinking, settings.bare_answers
        self.asked = question(form.subject, thinking=form.thinking)
        bands = scenes.categories.items()
        self.wrong = {label(name): settings.wrong_names.get(band, 0.0) for band, group in bands for name in group}
        self.look_alike = {label(name): label(icons.look_alike(scenes, name)) for _, group in bands for name in group}

    def draw(self, rng: random.Random, true: str) -> tuple[str, str]:
        """The texts of the question and of its answer."""
        said = self.look_alike[true] if rng.random() < self.wrong[true] else true
        return self.asked, said if rng.random() < self.bare else answer(said, thinking=self.thinking)


def lesson(pool: Pool, first: int, scenes: IconScenes, form: Form, settings: Pretraining, share: float) -> Lesson:
    """What does the image show? Asks about images of `pool` from number `first` on, as many as `draw_pool` gives."""
    labels = WebLabels(scenes, form, settings)

    def draw(rng: random.Random, row: int) -> tuple[str, str]:
        [(name, _)] = pool.objects[row]
        return labels.draw(rng, name)

    return Lesson(draw, range(first, first + 2 * settings.images), share=share)
