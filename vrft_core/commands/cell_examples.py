"""What a cell is about, for commands that look at it before any training: images, few-shot choice, questions.

Nothing is written: the choice is made again, as the stage `few_shot` makes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vrft_core import sampling
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.family import SMALL_CELL
from vrft_core.families.form import Form
from vrft_core.params import Benchmark, Params, Recipe, TaskSettings
from vrft_core.tasks import Task, get_task
from vrft_core.tasks.task import Example, Pair


@dataclass(frozen=True)
class Subject:
    """A cell with its data; `annotations` raises InputError while there are none."""

    layout: Layout
    params: Params
    cell: Cell

    @property
    def recipe(self) -> Recipe:
        return self.params.recipe(self.cell)

    @property
    def benchmark(self) -> Benchmark:
        return self.params.benchmark(self.cell)

    @cached_property
    def task(self) -> Task:
        return get_task(self.params.task(self.cell))

    @property
    def settings(self) -> TaskSettings:
        return self.params.task_settings(self.cell)

    @property
    def token_side(self) -> int | None:
        """Pixels of the resized image that a visual token covers each way; None for towers of a fixed size."""
        policy = self.recipe.policy
        return SMALL_CELL if policy.pretraining else registry.get(policy.family).cell

    @property
    def form(self) -> Form:
        return Form.of(self.recipe, self.settings, self.benchmark)

    @property
    def images(self) -> Path:
        return self.layout.raw(self.cell) / "images"

    @cached_property
    def annotations(self) -> Annotations:
        path = self.layout.raw(self.cell) / "annotations.json"
        if not path.is_file():
            raise InputError(path, "no such file", f"make it: vrft stage raw --cell {self.cell.at('data').key}")
        return Annotations.load(path)

    @cached_property
    def pairs(self) -> list[Pair]:
        """What is trained on. Raises InputError as `sampling.choose`."""
        settings, source = self.recipe.few_shot, self.annotations
        wanted = sampling.targets(source, settings.frequencies, self.benchmark.sampled)
        evaluated = source.chosen(self.benchmark.categories)
        chosen = sampling.choose(source, wanted, settings, self.cell.shots, self.cell.seed or 0, evaluated)
        return self.task.prompts.training(chosen)

    def examples(self, pairs: Sequence[Pair]) -> list[Example]:
        return list(self.task.prompts.examples(pairs, self.annotations, self.images, self.form))


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count` pairs, each category once before any comes twice."""
    by_category: dict[int, list[Pair]] = {}
    for pair in dict.fromkeys(pairs):
        by_category.setdefault(pair[1], []).append(pair)
    turns = max(map(len, by_category.values()), default=0)
    return [rows[i] for i in range(turns) for rows in by_category.values() if i < len(rows)][:count]
