"""What params.yaml means, typed and frozen; one module a block. Unknown keys are errors.

Science parameters, and what each stage needs of a machine; where a step runs is configured in `pipelines`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from vrft_core import yaml_text
from vrft_core.cell import SCOPES, Cell
from vrft_core.errors import InputError, nearest
from vrft_core.names import Name
from vrft_core.params.benchmarks import Benchmark, Embedded, Files, Folder, IconScenes, PhraseScenes, Scenes, SplitSizes
from vrft_core.params.common import Natural, Positive, Share, Strict
from vrft_core.params.grid import Grid, Setup
from vrft_core.params.nightly import Nightly
from vrft_core.params.recipes import (
    Adapter,
    Evaluation,
    FewShot,
    Hub,
    Limit,
    Policy,
    Pretraining,
    Prompts,
    Recipe,
    Reuse,
    Rft,
    Sft,
    TaskSettings,
)  # fmt: skip
from vrft_core.params.resources import RecipeResources, Resources

__all__ = [
    "Adapter", "Benchmark", "Embedded", "Evaluation", "FewShot", "Files", "Folder", "Grid", "Hub", "IconScenes",
    "Limit", "Natural", "Nightly", "Params", "PhraseScenes", "Policy", "Positive", "Pretraining", "Prompts", "Recipe",
    "RecipeResources", "Resources", "Reuse", "Rft", "Scenes", "Sft", "Share", "SplitSizes", "Strict", "TaskSettings",
]  # fmt: skip

_SHOWN = 12  # keys in a message


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more, see grid in params.yaml" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


class Params(Strict):
    benchmarks: dict[Name, Benchmark]
    recipes: dict[Name, Recipe]
    comparisons: dict[Name, Name] = Field(default_factory=dict)  # recipe → the recipe that it is compared with
    grid: Grid
    nightly: Nightly = Nightly()
    resources: dict[Name, RecipeResources] = Field(default_factory=dict)

    def resources_of(self, recipe: str, stage: str) -> Resources:
        return self.resources.get(recipe, RecipeResources()).of(stage)

    def cells(self) -> list[Cell]:
        return [Cell(c.recipe, c.benchmark, c.shots, c.seed, data=c.data) for c in self.grid.cells.values()]

    def compared(self, study: Cell) -> Cell | None:
        """The study that this one is compared with; None for one that is compared with none."""
        row = self.grid.comparisons.get(study.key)
        return row and replace(study, recipe=row.against)

    def recipe(self, cell: Cell) -> Recipe:
        """The cell's recipe; where the cell has a benchmark, with the values of its task."""
        recipe = self.recipes[cell.recipe]
        return recipe.of(self.task(cell)) if cell.benchmark else recipe

    def benchmark(self, cell: Cell) -> Benchmark:
        if cell.benchmark not in self.benchmarks:
            raise InputError(
                cell.key, f"params.yaml has no benchmark {cell.benchmark!r}", f"known: {', '.join(self.benchmarks)}"
            )
        return self.benchmarks[cell.benchmark]

    def task(self, cell: Cell) -> str:
        return self.benchmark(cell).task

    def task_settings(self, cell: Cell) -> TaskSettings:
        """What the recipe says of the cell's task."""
        return self.recipe(cell).tasks[self.task(cell)]

    def parse_cell(self, key: str) -> Cell:
        """A key of any scope that the grid knows. Raises InputError with the keys that exist."""
        if key in self.grid.data:
            row = self.grid.data[key]
            return Cell(benchmark=row.benchmark, data=row.data)
        try:
            scope = Cell.parse(key, list(self.recipes)).scope
        except InputError:  # of no recipe here
            scope = "cell"
        known = {c.at(scope).key: c.at(scope) for c in self.cells()}
        if key not in known:
            every = [*self.grid.data, *(c.at(one).key for c in self.cells() for one in SCOPES)]
            remedy = f"{nearest(key, dict.fromkeys(every))} known: {_listed(sorted(known))}"
            raise InputError("params.yaml", f"grid has no {scope} {key!r}", remedy.lstrip())
        return known[key]

    @model_validator(mode="after")
    def _pretraining_has_data(self):
        for name, recipe in self.recipes.items():
            for wanted in recipe.policy.pretraining.benchmarks if recipe.policy.pretraining else ():
                if wanted not in self.benchmarks or not self.benchmarks[wanted].embedded:
                    raise ValueError(
                        f"recipes.{name}.policy.pretraining.benchmarks: {wanted!r} is not a benchmark "
                        "with embedded data"
                    )
        return self

    @model_validator(mode="after")
    def _grid_agrees(self):
        for key, row in self.grid.cells.items():
            self._check_setup(f"grid.cells.{key}", row)
            cell = Cell(row.recipe, row.benchmark, row.shots, row.seed)
            if cell.key != key:
                raise ValueError(f"grid.cells.{key}: its fields give {cell.key}")
        cells = self.cells()
        wanted = {
            "recipes": {c.recipe for c in cells},
            "data": {c.at("data").key for c in cells},
            "setups": {c.at("setup").key for c in cells},
            "studies": {c.at("study").key for c in cells},
        }
        for name, keys in wanted.items():
            if (have := set(getattr(self.grid, name))) != keys:
                raise ValueError(
                    f"grid.{name} must be exactly {sorted(keys)}, as grid.cells implies; it is {sorted(have)}"
                )
        for key, row in self.grid.setups.items():
            self._check_setup(f"grid.setups.{key}", row)
        for key, study in self.grid.studies.items():
            self._check_setup(f"grid.studies.{key}", study)
            seeds = sorted(c.seed for c in cells if c.seed is not None and c.at("study").key == key)
            if sorted(study.seeds) != seeds:
                raise ValueError(f"grid.studies.{key}.seeds must be {seeds}, as grid.cells implies")
        self._check_comparisons()
        if unknown := set(self.resources) - set(self.recipes):
            raise ValueError(f"resources: no recipe {sorted(unknown)[0]!r}")
        golden = {self.nightly.golden} - {None}
        if unknown := ({*self.nightly.cells} | golden) - set(self.grid.cells):
            raise ValueError(f"nightly: no cell {sorted(map(str, unknown))[0]!r} in grid.cells")
        return self

    def _check_setup(self, where: str, row: Setup) -> None:
        if row.recipe not in self.recipes:
            raise ValueError(f"{where}: no recipe {row.recipe!r}")
        if row.benchmark not in self.benchmarks:
            raise ValueError(f"{where}: no benchmark {row.benchmark!r}")
        benchmark, recipe = self.benchmarks[row.benchmark], self.recipes[row.recipe]
        if row.task != benchmark.task:
            raise ValueError(f"{where}.task: {row.benchmark} is {benchmark.task!r}, not {row.task!r}")
        kind = benchmark.kind(recipe.data)
        if kind is None:
            raise ValueError(f"{where}: recipe {row.recipe} needs {recipe.data} data, and {row.benchmark} has none")
        if row.data != kind:
            raise ValueError(f"{where}.data: {row.recipe} takes the {kind} data of {row.benchmark}, not {row.data!r}")
        if recipe.few_shot.published and not benchmark.published:
            raise ValueError(f"{where}: few_shot.published of {row.recipe} wants a published set, as of source virft")
        if row.task not in recipe.tasks:
            raise ValueError(f"{where}: recipes.{row.recipe}.tasks has no block {row.task!r}")

    def _check_comparisons(self) -> None:
        for recipe, against in self.comparisons.items():
            if unknown := [name for name in (recipe, against) if name not in self.recipes]:
                raise ValueError(f"comparisons.{recipe}: no recipe {unknown[0]!r}; known: {', '.join(self.recipes)}")
            if recipe == against:
                raise ValueError(f"comparisons.{recipe}: a recipe is compared with another one")
        wanted = comparison_rows(self, self.cells())
        have = {key: row.model_dump() for key, row in self.grid.comparisons.items()}
        if have != wanted:
            key = min(key for key in {*have, *wanted} if have.get(key) != wanted.get(key))
            row = wanted.get(key, "left out")
            raise ValueError(f"grid.comparisons.{key} must be {row}, as comparisons and grid.cells imply")

    @model_validator(mode="after")
    def _tasks_exist(self, info: ValidationInfo):
        known = (info.context or {}).get("tasks")
        for name, benchmark in self.benchmarks.items():
            if known is not None and benchmark.task not in known:
                raise ValueError(f"benchmarks.{name}.task: no task {benchmark.task!r}; known: {', '.join(known)}")
        return self

    @classmethod
    def load(cls, path: Path, tasks: Mapping[str, type[TaskSettings]]) -> "Params":
        """`tasks`: name → what its settings mean. Raises InputError with the first wrong field."""
        return cls.parse(yaml_text.read(path), path, tasks)

    @classmethod
    def parse(cls, text: str, path: Path, tasks: Mapping[str, type[TaskSettings]]) -> "Params":
        """`text` as the content of `path`. Raises InputError with the first wrong field."""
        try:
            return cls.model_validate(yaml_text.parse(text, path), context={"tasks": tasks})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "grid"
            raise InputError(
                path, f"{field}: {first['msg'].removeprefix('Value error, ')}", "see params.yaml's comments"
            ) from None


def comparison_rows(params: Params, cells: Iterable[Cell]) -> dict[str, dict]:
    """What `grid.comparisons` must hold for these cells: each study whose recipe is compared with that of another one.

    Both are about one benchmark, with the same data and shots. Only seeds that both have are compared.
    """
    studies: dict[Cell, list[int]] = {}
    for cell in cells:
        studies.setdefault(cell.at("study"), []).append(cell.seed or 0)
    found = {}
    for study, own in studies.items():
        against = params.comparisons.get(study.recipe)
        other = replace(study, recipe=against or "")
        seeds = sorted(set(own) & set(studies.get(other, ())))
        if against and seeds and params.recipes[against].data == params.recipes[study.recipe].data:
            found[study.key] = {
                "benchmark": study.benchmark,
                "recipe": study.recipe,
                "task": params.task(study),
                "data": study.data,
                "shots": study.shots,
                "seeds": seeds,
                "against": against,
            }
    return found
