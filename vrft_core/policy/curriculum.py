"""What a recipe's small policy is pre-trained on: benchmarks with embedded data, each taught by its task."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerFast

from vrft_core.families.form import Form
from vrft_core.params import Params, Recipe
from vrft_core.policy.lessons import Lesson, Pool
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.tasks import get_task
from vrft_core.tasks.task import Task


class Subject(NamedTuple):
    """One benchmark of the curriculum. `scenes` are its embedded source's settings."""

    task: Task
    scenes: Any
    share: float
    form: Form


def subjects(params: Params, recipe: Recipe) -> list[Subject]:
    """In the recipe's order; none where the policy comes from the hub."""
    pretraining = recipe.policy.pretraining
    wanted = pretraining.benchmarks if pretraining else {}
    found = []
    for name, share in wanted.items():
        benchmark = params.benchmarks[name]
        form = Form.of(recipe, recipe.tasks.get(benchmark.task), benchmark)
        found.append(Subject(get_task(benchmark.task), benchmark.embedded, share, form))
    return found


def names(taught: Sequence[Subject]) -> list[str]:
    """Names of all things that the images show, once each."""
    return list(dict.fromkeys(name for one in taught for name in one.task.supervision.names(one.scenes)))


def tokenizer(taught: Sequence[Subject], recipe: Recipe) -> PreTrainedTokenizerFast:
    """A vocabulary in which every question and answer of the curriculum is short."""
    pieces = [piece for one in taught for piece in one.task.supervision.pieces(one.form)]
    words = [word for one in taught for word in one.task.supervision.words(one.scenes)]
    return build_tokenizer([*names(taught), *words], pieces, recipe.policy.coordinate_step)


def lessons(taught: Sequence[Subject], recipe: Recipe) -> tuple[Pool, list[Lesson], list[Lesson]]:
    """All images in one pool, what the opening asks about them, and a lesson a subject."""
    settings = recipe.policy.pretraining
    assert settings is not None
    drawn = [one.task.supervision.draw_pool(one.scenes, settings) for one in taught]
    sizes = list(map(len, drawn))
    pool = Pool.joined(drawn)
    first, found = 0, []
    for one, size in zip(taught, sizes, strict=True):
        found.append(one.task.supervision.lesson(pool, first, one.scenes, one.form, settings, one.share))
        first += size
    positive = settings.model_copy(update={"negatives": 0.0})
    one = taught[0]
    opening = one.task.supervision.lesson(pool, 0, one.scenes, one.form, positive, 1.0)
    return pool, [opening], found
