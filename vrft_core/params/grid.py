"""The grid of experiments, spelled out so that dvc.yaml can loop over it."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from vrft_core.names import Key, Name, TaskName
from vrft_core.params.benchmarks import Kind
from vrft_core.params.common import Natural, Positive, Strict


class Data(Strict):
    """Raw data that several recipes share."""

    benchmark: Name
    data: Kind


class Setup(Strict):
    """A benchmark run by a recipe: what all its cells share."""

    benchmark: Name
    recipe: Name
    task: TaskName
    data: Kind


class CellRow(Setup):
    shots: Positive
    seed: Natural


class Study(Setup):
    shots: Positive
    seeds: list[Natural]


class Comparison(Study):
    """A study beside that of another recipe, on the seeds that both have."""

    against: Name


class Grid(Strict):
    """Keys and fields must agree; `Params` checks them against each other and against benchmarks and recipes."""

    recipes: list[Name]
    data: dict[Key, Data]
    setups: dict[Key, Setup]
    cells: dict[Key, CellRow]
    studies: dict[Key, Study]
    comparisons: dict[Key, Comparison] = Field(default_factory=dict)  # of studies that `comparisons` pairs

    @field_validator("*", mode="before")
    @classmethod
    def _emptied(cls, value: Any, info: ValidationInfo) -> Any:
        """A block whose last row was deleted by hand: YAML reads nothing, not an empty block."""
        return value if value is not None else [] if info.field_name == "recipes" else {}
