"""The grid of experiments, spelled out so that dvc.yaml can loop over it."""

from vrft_core.params.common import Natural, Positive, Strict


class Data(Strict):
    """Raw data that several recipes share."""

    benchmark: str
    data: str


class Setup(Strict):
    """A benchmark run by a recipe: what all its cells share."""

    benchmark: str
    recipe: str
    task: str
    data: str


class CellRow(Setup):
    shots: Positive
    seed: Natural


class Study(Setup):
    shots: Positive
    seeds: list[Natural]


class Grid(Strict):
    """Keys and fields must agree; `Params` checks them against each other and against benchmarks and recipes."""

    recipes: list[str]
    data: dict[str, Data]
    setups: dict[str, Setup]
    cells: dict[str, CellRow]
    studies: dict[str, Study]
