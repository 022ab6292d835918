"""What the small policy is shown of grounding: expressions that mean something, and as many as told that do not."""

import random
import re
from pathlib import Path

import pytest

from vrft_core.families.form import Form
from vrft_core.params import PhraseScenes
from vrft_core.sources.scenes.grouping import SIDES, definitions, spoken
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.wording import NO_OBJECTS

PARAMS = load_params(Path(__file__).resolve().parents[1] / "params.yaml")
RECIPE, SCENES = PARAMS.recipes["mini"], PARAMS.benchmarks["phrases"].embedded
assert isinstance(SCENES, PhraseScenes) and RECIPE.policy.pretraining
PRETRAINING = RECIPE.policy.pretraining
IMAGES, DRAWN = 16, 400


@pytest.fixture(scope="module")
def pool():
    return get_task("grounding").supervision.draw_pool(SCENES, pretraining(0.0))


def pretraining(negatives: float):
    return PRETRAINING.model_copy(update={"images": IMAGES, "negatives": negatives})


def drawn(pool, negatives: float) -> list[tuple[int, str, str]]:
    form = Form.of(RECIPE, RECIPE.tasks["grounding"], PARAMS.benchmarks["phrases"])
    lesson = get_task("grounding").supervision.lesson(pool, 0, SCENES, form, pretraining(negatives), 1.0)
    rng, found = random.Random(0), []
    while len(found) < DRAWN:
        row = rng.choice(lesson.rows)
        if said := lesson.draw(rng, row):
            found.append((row, *said))
    return found


def silent(rows) -> float:
    return sum(NO_OBJECTS in answer for *_, answer in rows) / len(rows)


def test_the_share_of_expressions_without_a_target_is_the_one_that_is_told(pool):
    assert silent(drawn(pool, 1.0)) == 1.0
    # of the four expressions of a scene, one in eight means nothing, and is asked no more often than chance has it
    assert 0.2 < silent(drawn(pool, 0.25)) < 0.32
    assert 0.08 < silent(drawn(pool, 0.0)) < 0.18


def test_an_expression_without_a_target_is_about_nothing_in_its_image(pool):
    names = SCENES.categories if isinstance(SCENES, PhraseScenes) else []
    for row, question, _ in drawn(pool, 1.0):
        expression = question.split("instruction: ")[1].split(". ")[0]
        if expression in [said.text for said in pool.notes[row] if said.target is None]:
            continue
        meant = {name for name in names if is_about(expression, name)}
        assert len(meant) == 1 and not meant & {name for name, _ in pool.objects[row]}, expression


def is_about(expression: str, name: str) -> bool:
    head = re.split("|".join(SIDES), expression)[0]  # 'the cat left of the dog' is about a cat
    return expression == definitions()[name] or head.endswith(f" {spoken(name)}")
