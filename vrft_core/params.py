"""What params.yaml means, typed and frozen. Unknown keys are errors, so that a typo cannot be ignored.

Science parameters, and what each stage needs of a machine; where a step runs is configured in `pipelines`.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vrft_core import yaml_text
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.names import Account, Key, Label, Name, Partitions, Repository

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Files(Strict):
    """One annotated split on disk; paths are relative to the project root or absolute.

    `sha256` is that of the annotation file: a change in it is noticed, and taken over by `vrft update`.
    """

    annotations: str
    images: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Benchmark(Strict):
    """A data set with its task. Without `train` and `eval` the recipe's own source is used.

    `categories` names what is sampled and trained on; without it the recipe's `few_shot.frequencies` decide.
    """

    task: Literal["detection"]
    train: Files | None = None
    eval: Files | None = None
    categories: Annotated[list[str], Field(min_length=1)] | None = None  # only these are sampled and evaluated

    @model_validator(mode="after")
    def _both_or_neither(self):
        if (self.train is None) != (self.eval is None):
            raise ValueError("give both `train` and `eval`, or neither")
        return self


class SplitSizes(Strict):
    train: Positive
    val: Positive
    eval: Positive


class Scenes(Strict):
    """The embedded source: drawn scenes (`benchmarks/scenes`)."""

    image_size: Positive
    images: SplitSizes
    max_objects: Positive
    same_category: Share
    glyphs: Annotated[int, Field(ge=1, le=3)]
    categories: dict[Literal["f", "c", "r"], list[str]]
    seed: Natural


class FewShot(Strict):
    frequencies: list[Literal["f", "c", "r"]]
    when_short: Literal["refuse", "all"]


class Prompts(Strict):
    thinking: bool


class Hub(Strict):
    """Weights on the Hugging Face hub, at one commit: nothing is fetched unpinned."""

    repo: Repository
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Pretraining(Strict):
    """How the small policy is made: dense alignment of the vision tower, then the language model."""

    seed: Natural
    images: Positive
    vision_steps: Positive
    vision_learning_rate: float
    steps: Positive
    learning_rate: float
    batch_size: Positive
    same_category: Share
    keep_further_instances: Share
    jitter: float
    bare_answers: Share


class Policy(Strict):
    family: Literal["qwen2-vl", "qwen2.5-vl", "qwen3-vl"]
    coordinate_step: Positive
    min_pixels: Positive
    max_pixels: Positive
    hub: Hub | None = None
    pretraining: Pretraining | None = None

    @model_validator(mode="after")
    def _one_origin(self):
        if (self.hub is None) == (self.pretraining is None):
            raise ValueError("give exactly one of `hub` and `pretraining`")
        return self


class Adapter(Strict):
    """LoRA; target_modules is a regular expression over module names."""

    r: Positive
    alpha: Positive
    target_modules: str


class Sft(Strict):
    learning_rate: float
    targets: Literal["as_asked", "answer_only"] = "as_asked"  # or without the thought, though the question asks for it
    patience: Positive | None = None  # checkpoints in a row without a better validation score that end the training
    steps: Positive
    warmup_steps: Natural
    batch_size: Positive  # rows a step learns from, over all processes
    micro_batch_size: Positive | None = None  # rows a process computes at once; without it, its whole share
    gradient_checkpointing: bool = False
    save_steps: Positive
    checkpoint: Literal["last", "validation"]


class Reuse(Strict):
    """What a GRPO step computes once instead of once a completion: same numbers, less work (docs/training.md)."""

    vision_features: bool = True  # a frozen vision tower sees an image once
    image_preprocessing: bool = True  # so does the image processor
    shared_prompt: bool = True  # a group's prompt is run once, in generation and in log-probabilities


class Limit(Strict):
    """A guard's bound: what to do once the metric has been beyond it for `steps` steps in a row."""

    above: float | None = None
    below: float | None = None
    steps: Positive = 1
    then: Literal["warn", "stop"] = "warn"

    @model_validator(mode="after")
    def _bounded(self):
        if self.above is None and self.below is None:
            raise ValueError("give `above`, `below` or both")
        return self

    def broken_by(self, value: float) -> bool:
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


GUARDED = Literal[
    "zero_variance", "identical", "faulty", "repeating", "box_inflation", "confidence_zero", "confidence_one",
    "truncated", "length", "reward", "entropy", "kl", "resampled", "dead",
]  # fmt: skip


class Rft(Strict):
    learning_rate: float
    steps: Positive
    warmup_steps: Natural
    batch_size: Positive  # completions a step learns from, over all processes
    micro_batch_size: Positive | None = None  # completions a process computes at once; without it, its whole share
    gradient_checkpointing: bool = False
    generation: Literal["transformers", "vllm_colocate", "vllm_server"] = "transformers"
    num_generations: Annotated[int, Field(ge=2)]
    num_iterations: Positive = 1  # updates that learn from one generation (GRPO's μ)
    resample: Natural = 0  # rounds a step in which groups without variance give way to others; docs/training.md
    temperature: float
    top_k: Natural
    top_p: Share
    beta: float
    loss_type: str
    scale_rewards: Literal["group", "batch", "none"]
    max_completion_length: Positive
    rewards: dict[str, float]
    save_steps: Positive
    checkpoint: Literal["last", "validation"]
    reuse: Reuse = Reuse()
    guards: dict[str, Limit] = {}  # of GUARDED, or `zero_variance/REWARD`, `reward/REWARD`; docs/training-at-scale.md

    @model_validator(mode="after")
    def _consistent(self):
        known = {*get_args(GUARDED)} | {
            f"{kind}/{name}" for kind in ("zero_variance", "reward") for name in self.rewards
        }
        if unknown := sorted(set(self.guards) - known):
            raise ValueError(f"guards: no {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "kl" in self.guards and self.beta == 0:
            raise ValueError("guards: kl is only measured where beta is not 0")
        if self.save_steps % self.num_iterations:
            raise ValueError(f"save_steps {self.save_steps} is no multiple of num_iterations {self.num_iterations}")
        if not self.resample and (useless := {"resampled", "dead"} & set(self.guards)):
            raise ValueError(f"guards: {min(useless)} is only measured where resample is not 0")
        return self


class PresenceMap(Strict):
    """A stored presence map, its path relative to the project root, and its digest: a changed one is noticed."""

    map: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Evaluation(Strict):
    """What is asked (`evaluation.queries`) and what boxes are ranked by (`evaluation.ranking`), among other things."""

    presence: Literal["oracle", "self"] | PresenceMap
    ranking: Literal["stated", "likelihood", "certainty", "combined", "consistency"]
    calibration_images: Natural
    samples: Natural
    batch_size: Positive
    max_new_tokens: Positive
    resamples: Positive
    validation_images: Positive

    @property
    def protocol(self) -> str:
        """oracle, self or map"""
        return self.presence if isinstance(self.presence, str) else "map"

    @model_validator(mode="after")
    def _ranking_can_be_had(self):
        if self.ranking == "consistency" and not self.samples:
            raise ValueError("ranking `consistency` needs `samples` of 1 or more")
        if self.ranking == "combined" and not self.calibration_images:
            raise ValueError("ranking `combined` needs `calibration_images` of 1 or more")
        return self

    @property
    def validation_ranking(self) -> str:
        """What boxes are ranked by when a checkpoint is chosen: `combined` is fitted once, on the model chosen."""
        return "certainty" if self.ranking == "combined" else self.ranking


class Recipe(Strict):
    data: Literal["embedded", "official"]
    threads: Positive
    scenes: Scenes | None = None
    few_shot: FewShot
    prompts: Prompts
    policy: Policy
    adapter: Adapter | None
    sft: Sft
    rft: Rft
    evaluation: Evaluation


class Resources(Strict):
    """What a stage asks for where it runs as a job. GPUs, CPUs and memory are those of one node.

    `partition`, `account`, `qos` are Slurm's words; `namespace`, `queue`, `priority` Kubernetes'.
    """

    gpus: Natural = 0
    gpu_type: Label | None = None
    cpus: Positive = 2
    memory: Annotated[str, Field(pattern=r"^[1-9]\d*[MG]$")] = "4G"  # 2^20, 2^30 bytes
    time: Annotated[str, Field(pattern=r"^[1-9]\d*[mhd]$")] = "1h"
    nodes: Positive = 1
    partition: Partitions | None = None
    account: Account | None = None
    qos: Account | None = None
    namespace: Label | None = None
    queue: Label | None = None
    priority: Label | None = None

    @property
    def memory_mb(self) -> int:
        return int(self.memory[:-1]) * {"M": 1, "G": 1024}[self.memory[-1]]

    @property
    def minutes(self) -> int:
        return int(self.time[:-1]) * {"m": 1, "h": 60, "d": 24 * 60}[self.time[-1]]


class RecipeResources(Strict):
    """By stage; what a stage does not say is taken from `default`."""

    default: Resources = Resources()
    policy: Resources = Resources()
    sft: Resources = Resources()
    rft: Resources = Resources()
    base_eval: Resources = Resources()
    sft_eval: Resources = Resources()
    rft_eval: Resources = Resources()

    def of(self, stage: str) -> Resources:
        own = getattr(self, stage, Resources())
        return self.default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class Grid(Strict):
    """The experiments, spelled out so that dvc.yaml can loop over them. Keys and fields must agree."""

    class Source(Strict):
        benchmark: Name
        recipe: Name

    class CellRow(Strict):
        benchmark: Name
        recipe: Name
        shots: Positive
        seed: Natural

    class Study(Strict):
        benchmark: Name
        recipe: Name
        shots: Positive
        seeds: list[Natural]

    recipes: list[Name]
    sources: dict[Key, Source]
    cells: dict[Key, CellRow]
    studies: dict[Key, Study]


class Params(Strict):
    benchmarks: dict[Name, Benchmark]
    recipes: dict[Name, Recipe]
    grid: Grid
    nightly: list[Key]
    resources: dict[Name, RecipeResources] = {}

    def resources_of(self, recipe: str, stage: str) -> Resources:
        return self.resources.get(recipe, RecipeResources()).of(stage)

    def cells(self) -> list[Cell]:
        return [Cell(c.recipe, c.benchmark, c.shots, c.seed) for c in self.grid.cells.values()]

    def recipe(self, cell: Cell) -> Recipe:
        return self.recipes[cell.recipe]

    def parse_cell(self, key: str) -> Cell:
        """A key of any scope that the grid knows. Raises InputError with the keys that exist."""
        cell = Cell.parse(key, list(self.recipes))
        known = {c.at(cell.scope).key for c in self.cells()}
        if key not in known:
            raise InputError("params.yaml", f"grid has no {cell.scope} {key!r}", f"known: {', '.join(sorted(known))}")
        return cell

    @model_validator(mode="after")
    def _grid_agrees(self):
        for key, row in self.grid.cells.items():
            cell = Cell(row.recipe, row.benchmark, row.shots, row.seed)
            if cell.key != key:
                raise ValueError(f"grid.cells.{key}: its fields spell {cell.key}")
            if row.recipe not in self.recipes:
                raise ValueError(f"grid.cells.{key}: no recipe {row.recipe!r}")
            if row.benchmark not in self.benchmarks:
                raise ValueError(f"grid.cells.{key}: no benchmark {row.benchmark!r}")
        cells = self.cells()
        wanted = {
            "recipes": {c.recipe for c in cells},
            "sources": {c.at("source").key for c in cells},
            "studies": {c.at("study").key for c in cells},
        }
        for name, keys in wanted.items():
            if (have := set(getattr(self.grid, name))) != keys:
                raise ValueError(
                    f"grid.{name} must be exactly {sorted(keys)}, as grid.cells implies; it is {sorted(have)}"
                )
        for key, study in self.grid.studies.items():
            seeds = sorted(c.seed for c in cells if c.at("study").key == key)
            if sorted(study.seeds) != seeds:
                raise ValueError(f"grid.studies.{key}.seeds must be {seeds}, as grid.cells implies")
        if unknown := set(self.resources) - set(self.recipes):
            raise ValueError(f"resources: no recipe {sorted(unknown)[0]!r}")
        if unknown := set(self.nightly) - set(self.grid.cells):
            raise ValueError(f"nightly: no cell {sorted(unknown)[0]!r} in grid.cells")
        return self

    @classmethod
    def load(cls, path: Path) -> "Params":
        """Raises InputError with the first wrong field."""
        return cls.parse(yaml_text.read(path), path)

    @classmethod
    def parse(cls, text: str, path: Path) -> "Params":
        """`text` as the content of `path`. Raises InputError with the first wrong field."""
        try:
            return cls.model_validate(yaml_text.parse(text, path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "grid"
            raise InputError(
                path, f"{field}: {first['msg'].removeprefix('Value error, ')}", "see params.yaml's comments"
            ) from None
