"""Recipes: how a benchmark is run. What differs between tasks stands under `tasks` and is handed in by the tasks."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from vrft_core.families import registry
from vrft_core.families.family import FormatName, FrameName, Order
from vrft_core.names import Frequency, Name, Repository
from vrft_core.params.common import Natural, Positive, Share, Strict


class FewShot(Strict):
    frequencies: list[Frequency]
    when_short: Literal["refuse", "all"]
    negatives: Natural = 0  # questions about absent categories beside each chosen pair, where the task asks such
    published: bool = False  # take the whole of the set that the authors chose; shots only name it, seeds only train


class Prompts(Strict):
    """`format`: boxes are asked for as the paper writes them, or as the policy's family does (docs/families.md)."""

    thinking: bool
    format: Literal["paper", "native"] = "paper"


class Hub(Strict):
    """Weights on the Hugging Face hub, at one commit: nothing is fetched unpinned."""

    repo: Repository
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Pretraining(Strict):
    """How the small policy is made: dense alignment of the vision tower, then the language model.

    `benchmarks`: on whose embedded data, and with which share of the questions each. `opening`: so many of the language
    model's steps, at first, ask about the first of them alone, and about nothing that is not there. `wrong_names`: the
    chance that a label names a look-alike instead, by how frequent the class is.
    """

    benchmarks: Annotated[dict[Name, float], Field(min_length=1)]
    seed: Natural
    images: Positive
    vision_steps: Positive
    vision_learning_rate: float
    steps: Positive
    opening: Natural = 0
    learning_rate: float
    batch_size: Positive
    same_category: Share
    keep_further_instances: Share
    jitter: float
    bare_answers: Share
    negatives: Share = 0  # of the questions: about something that is not there
    wrong_names: dict[Frequency, Share] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something_follows(self):
        if self.opening >= self.steps:
            raise ValueError(f"opening {self.opening} leaves none of the {self.steps} steps")
        return self


class Convention(Strict):
    """What a policy's numbers mean and how it writes boxes, where that is not as its family has it (`vrft probe`)."""

    frame: FrameName
    order: Order
    native: FormatName


class Policy(Strict):
    family: str  # a module of vrft_core/families
    coordinate_step: Positive
    min_pixels: Positive
    max_pixels: Positive
    convention: Convention | None = None
    hub: Hub | None = None
    pretraining: Pretraining | None = None

    @field_validator("family")
    @classmethod
    def _family_known(cls, value: str) -> str:
        if value not in registry.names():
            raise ValueError(f"no family {value!r}; known: {', '.join(registry.names())}")
        if not registry.get(value).trained:
            raise ValueError(f"{value!r} is known to `vrft probe` alone: its models are not trained here yet")
        return value

    @model_validator(mode="after")
    def _one_origin(self):
        if (self.hub is None) == (self.pretraining is None):
            raise ValueError("give exactly one of `hub` and `pretraining`")
        if self.convention is None and registry.get(self.family).frame is None:
            raise ValueError(f"convention: what {self.family} writes is not known; `vrft probe MODEL` finds it out")
        return self


class Adapter(Strict):
    """LoRA; target_modules is a regular expression over module names.

    `base_bits`: how the frozen weights are held while the adapter is trained; 4 is NF4 (QLoRA, arXiv 2305.14314), which
    needs a CUDA GPU and bitsandbytes. The model that is evaluated has them whole.
    """

    base_bits: Literal[4, 16] = 16
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
    drafting: bool = False  # a pass of the model judges several tokens that earlier answers suggest

    @model_validator(mode="after")
    def _drafting_continues_a_prompt(self):
        if self.drafting and not self.shared_prompt:
            raise ValueError("drafting needs shared_prompt")
        return self


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


GUARDED = (  # of any task; a task adds its own
    "zero_variance", "identical", "faulty", "truncated", "length", "reward", "entropy", "kl", "resampled", "dead",
)  # fmt: skip


class TaskSettings(Strict):
    """What a recipe says of one task. A task's own model adds fields and the guards it can measure (`MEASURED`)."""

    MEASURED: ClassVar[tuple[str, ...]] = ()

    rewards: Annotated[dict[str, float], Field(min_length=1)]  # reward → weight
    guards: dict[str, Limit] = Field(default_factory=dict)  # of MEASURED, or `zero_variance/REWARD`, `reward/REWARD`
    samples: Natural = 0  # answers drawn beside the greedy one in evaluation
    sft: dict[str, Any] = Field(default_factory=dict)  # what of the recipe's `sft` is another value for this task
    rft: dict[str, Any] = Field(default_factory=dict)  # the same of `rft`

    def unsuited(self, prompts: Prompts) -> str | None:
        """What of these settings such questions cannot give, in a few words; None where all is well."""
        return None

    def asking(self, protocol: str) -> Self:
        """These settings with another protocol of questions; a task that has one protocol stays as it is."""
        return self

    @property
    def validation_samples(self) -> int:
        """The same where a checkpoint is chosen; a task that does not choose by them draws none."""
        return self.samples

    @model_validator(mode="after")
    def _guards_known(self):
        known = {*self.MEASURED} | {f"{kind}/{name}" for kind in ("zero_variance", "reward") for name in self.rewards}
        if unknown := sorted(set(self.guards) - known):
            raise ValueError(f"guards: no {unknown[0]!r}; known: {', '.join(sorted(known))}")
        return self


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
    resample: Natural = 0  # rounds a step in which groups without variance are replaced by others; docs/training.md
    temperature: float
    top_k: Natural
    top_p: Share
    beta: float
    loss_type: str
    scale_rewards: Literal["group", "batch", "none"]
    max_completion_length: Positive
    save_steps: Positive
    checkpoint: Literal["last", "validation"]
    reuse: Reuse = Reuse()
    guards: dict[str, Limit] = Field(
        default_factory=dict
    )  # of GUARDED; a task's own stand under `tasks`; docs/training-at-scale.md

    @model_validator(mode="after")
    def _consistent(self):
        if unknown := sorted(set(self.guards) - set(GUARDED)):
            raise ValueError(f"guards: no {unknown[0]!r}; known: {', '.join(GUARDED)}; or under tasks")
        if "kl" in self.guards and self.beta == 0:
            raise ValueError("guards: kl is only measured where beta is not 0")
        if self.save_steps % self.num_iterations:
            raise ValueError(f"save_steps {self.save_steps} is not a multiple of num_iterations {self.num_iterations}")
        if not self.resample and (useless := {"resampled", "dead"} & set(self.guards)):
            raise ValueError(f"guards: {min(useless)} is only measured where resample is not 0")
        return self


class Evaluation(Strict):
    """How answers are asked for and measured; what is asked stands under `tasks`."""

    batch_size: Positive
    max_new_tokens: Positive
    draws: Positive  # random halves of the images behind each interval
    validation_images: Positive


class Recipe(Strict):
    data: Literal["embedded", "official"]
    threads: Positive
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of every pass; `auto`: bf16 on a GPU that can, else fp32
    deterministic: bool = False  # on a GPU: only operations that give the same bits every time
    few_shot: FewShot
    prompts: Prompts
    policy: Policy
    adapter: Adapter | None
    sft: Sft
    rft: Rft
    evaluation: Evaluation
    tasks: Annotated[dict[str, SerializeAsAny[TaskSettings]], Field(min_length=1)]

    @field_validator("tasks", mode="before")
    @classmethod
    def _by_task(cls, value: Any, info: ValidationInfo) -> Any:
        """Each block as its task's model reads it; `Params.parse` hands the models in."""
        models = (info.context or {}).get("tasks", {})
        if not isinstance(value, dict):
            return value
        if unknown := [name for name in value if name not in models]:
            raise ValueError(f"no task {unknown[0]!r}; known: {', '.join(models)}")
        found = {}
        for name, block in value.items():
            try:
                found[name] = models[name].model_validate(block)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, (name, *first["loc"])))
                raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        return found

    @model_validator(mode="after")
    def _tasks_suit_the_prompts(self):
        for name, settings in self.tasks.items():
            if wrong := settings.unsuited(self.prompts):
                raise ValueError(f"tasks.{name}.{wrong}")
        return self

    @model_validator(mode="after")
    def _trainings_make_sense(self):
        for task in self.tasks:
            self.of(task)
        return self

    def of(self, task: str) -> "Recipe":
        """The recipe with the task's own values in `sft` and `rft`. Raises ValueError where they make no sense."""
        changed = {}
        for name, model in (("sft", Sft), ("rft", Rft)):
            if own := getattr(self.tasks.get(task), name, None):
                try:
                    changed[name] = model.model_validate(getattr(self, name).model_dump() | own)
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join(map(str, ("tasks", task, name, *first["loc"])))
                    raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        return self.model_copy(update=changed)

    def guards(self, task: str) -> dict[str, Limit]:
        """Every limit that a training for `task` is held against."""
        return self.rft.guards | self.tasks[task].guards
