"""Names: which experiment is meant, and where its files lie.

A key is the same string in dvc.yaml, on the command line and, less its benchmark, as a Dagster partition.
What a cell does with its names belongs to the stages.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from vrft_core.errors import InputError

HEADLINE = "points.json"  # in the folder of an evaluation: what `dvc metrics` shows of it
SCOPES = ("recipe", "setup", "study", "cell")  # each within the one before


@dataclass(frozen=True)
class Cell:
    """One experiment, or one of the wider scopes it shares files with. What a scope does not have is empty.

    | scope  | key                  | what is shared                          |
    |--------|----------------------|-----------------------------------------|
    | recipe | `mini`               | the starting weights                    |
    | data   | `lvis-embedded`      | raw data                                |
    | setup  | `lvis-mini`          | the untouched model's results           |
    | study  | `lvis-mini-1shot`    | a comparison over seeds                 |
    | cell   | `lvis-mini-1shot-s0` | one few-shot sample and what it trains  |

    `data` (embedded, official or own) follows from benchmark and recipe; `Params` fills it in.
    """

    recipe: str = ""
    benchmark: str = ""
    shots: int = 0
    seed: int | None = None
    data: str = field(default="", compare=False)

    @property
    def scope(self) -> str:
        if not self.recipe:
            return "data"
        return SCOPES[sum((bool(self.benchmark), bool(self.shots), self.seed is not None))]

    @property
    def key(self) -> str:
        if self.scope == "data":
            return f"{self.benchmark}-{self.data}"
        parts = [self.benchmark, self.recipe]
        parts += [f"{self.shots}shot"] if self.shots else []
        parts += [f"s{self.seed}"] if self.seed is not None else []
        return "-".join(part for part in parts if part)

    def at(self, scope: str) -> "Cell":
        """The wider scope this cell belongs to. Raises InputError when the cell itself is wider."""
        if scope == "data":
            if not (self.benchmark and self.data):
                raise InputError(self.key, f"is a {self.scope}, and data are needed", "give the whole key")
            return Cell(benchmark=self.benchmark, data=self.data)
        if self.scope == "data" or SCOPES.index(scope) > SCOPES.index(self.scope):
            raise InputError(self.key, f"is a {self.scope}, and a {scope} is needed", "give the whole key")
        depth = SCOPES.index(scope)
        return Cell(
            self.recipe,
            self.benchmark if depth >= 1 else "",
            self.shots if depth >= 2 else 0,
            self.seed if depth >= 3 else None,
            self.data if depth >= 1 else "",
        )

    @classmethod
    def parse(cls, key: str, recipes: list[str]) -> "Cell":
        """Read a key of any scope. Recipe names decide where the benchmark's name ends."""
        match = re.fullmatch(r"(?P<head>.+?)(-(?P<shots>\d+)shot(-s(?P<seed>\d+))?)?", key)
        head, shots, seed = (match["head"], match["shots"], match["seed"]) if match else (key, None, None)
        for recipe in sorted(recipes, key=len, reverse=True):
            if head == recipe and not shots:
                return cls(recipe)
            if head.endswith(f"-{recipe}"):
                return cls(recipe, head.removesuffix(f"-{recipe}"), int(shots or 0), int(seed) if seed else None)
        raise InputError(
            key, f"no such cell: it must end in one of the recipes {', '.join(recipes)}, shots and seed",
            "for example lvis-mini-1shot-s0",
        )  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where each stage's output lies under the project root. `dvc.yaml` names the same paths."""

    root: Path

    def raw(self, cell: Cell) -> Path:
        return self.root / "data/raw" / cell.at("data").key

    def few_shot(self, cell: Cell) -> Path:
        return self.root / "data/few_shot" / cell.at("cell").key

    def prompts(self, cell: Cell) -> Path:
        return self.root / "data/prompts" / cell.at("cell").key

    def policy(self, cell: Cell) -> Path:
        return self.root / "models" / cell.at("recipe").key / "policy"

    def model(self, cell: Cell, method: str) -> Path:
        """`method` is base, sft or rft."""
        return self.policy(cell) if method == "base" else self.root / "models" / cell.at("cell").key / method

    def evaluation(self, cell: Cell, method: str) -> Path:
        if method == "base":
            return self.root / "reports" / cell.at("setup").key / "base"
        return self._results(cell) / method

    def training(self, cell: Cell, method: str) -> Path:
        """The training record (a JSON file): curve, chosen checkpoint, cost."""
        return self._results(cell) / f"{method}_training.json"

    def report(self, cell: Cell) -> Path:
        """A cell's report, or a study's."""
        if cell.scope == "study":
            return self.root / "reports/studies" / cell.key
        return self._results(cell) / "report"

    def difference(self, cell: Cell) -> Path:
        """RFT against SFT of a cell or a study, in a few numbers (a JSON file)."""
        if cell.scope == "study":
            return self.root / "reports/studies" / f"{cell.key}-rft-sft.json"
        return self._results(cell) / "rft-sft.json"

    def plots(self, cell: Cell) -> Path:
        """Tables of a report's curves and bars."""
        return self._results(cell) / "plots"

    def comparison(self, cell: Cell) -> Path:
        """A study beside that of another recipe."""
        return self.root / "reports/comparisons" / cell.at("study").key

    def _results(self, cell: Cell) -> Path:
        # A study depends on one directory, so its cells' results lie side by side.
        return self.root / "reports" / cell.at("study").key / f"s{cell.at('cell').seed}"

    def baseline(self, cell: Cell) -> Path:
        """What the nightly evaluation compares with: recorded by hand, tracked by git."""
        return self.root / "baselines" / cell.at("cell").key

    def runs(self, cell: Cell, method: str) -> Path:
        """Checkpoints and rollouts: outside DVC, kept between attempts."""
        return self.root / "runs" / cell.key / method
