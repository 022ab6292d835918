"""The contract of a task: what differs between tasks, each part behind the same name in every package of `tasks`.

| part          | says                                                            | read by                         |
|---------------|-----------------------------------------------------------------|---------------------------------|
| `settings`    | what stands under `recipes.X.tasks.<task>`, and the version     | parameters                      |
| `prompts`     | which questions are asked, their texts, the answers expected    | prompts, evaluation, policy     |
| `answers`     | parsing; the row that a prediction becomes                      | training, evaluation            |
| `rewards`     | the registry of rewards, and the answers made to be overpaid    | training, report                |
| `metrics`     | names and definitions of what is measured                       | training, evaluation, report    |
| `diagnostics` | what the metrics hide; signs that a training goes wrong         | training, evaluation            |
| `panels`      | what the report shows of this task alone                        | report, study                   |
| `checks`      | what must hold of the data and of an evaluation, as plain data  | asset checks                    |
| `frames`      | the data as frames that the checks look at                      | asset checks                    |
| `commands`    | what the command line does with files of this task              | commands                        |
| `supervision` | what the small policy sees of this task before any fine-tuning  | policy                          |

A part is a module or a package and is imported when it is asked for, so that a stage reaches, and depends on, the parts
it uses and no others. Nothing outside `tasks` may know which task it serves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict, cast

from PIL import Image

from vrft_core.annotations import Annotations
from vrft_core.evaluation.scores import Entry, MetricSpec, Scores
from vrft_core.images import open_rgb
from vrft_core.params import Pretraining, TaskSettings

if TYPE_CHECKING:
    import pandas as pd

    from vrft_core.commands.boxed import Mark
    from vrft_core.commands.evaluate import Measurement, Outside
    from vrft_core.expectations import Expectation
    from vrft_core.families.form import Form
    from vrft_core.families.formats import Native
    from vrft_core.policy.lessons import Lesson, Pool
    from vrft_core.report.panel import Inputs, Panel
    from vrft_core.report.plots import Plot
    from vrft_core.report.rows import CellResults, StudyResults
    from vrft_core.report.silence import Silence
    from vrft_core.sampling import Selection

Pair = tuple[int, int]  # image id, category id: what one question is about
Truth = Any  # what a task's rewards compare an answer with
Interval = Callable[[Mapping[str, Scores]], Mapping[str, Mapping[str, Entry]]]  # models → name → metric
Reward = Callable[[Any, Truth], float | None]  # completion, truth → [0, 1], or None where it does not apply


@dataclass(frozen=True)
class Example:
    """One image, one question, the answer expected."""

    id: str  # opaque: never parsed
    image_id: int
    width: int  # pixels
    height: int
    image: Path | Image.Image
    label: str  # category, class or instruction
    question: str
    answer: str
    truth: str  # JSON, as the task's rewards and metrics read it

    def picture(self) -> Image.Image:
        """RGB, in memory."""
        if isinstance(self.image, Image.Image):
            return self.image.convert("RGB")
        return open_rgb(self.image, (self.width, self.height))


class Prediction(TypedDict):
    """One answer as it is stored, one JSON object a line; a task adds fields of its own."""

    id: str  # of the example
    image_id: int
    category_id: int
    completion: str
    reasons: list[str]  # what was repaired or dropped in reading it
    tokens: int
    file_name: NotRequired[str]  # of the image; this and the next by `vrft predict` alone
    category: NotRequired[str]  # its name


@dataclass(frozen=True)
class Written:
    """A completion with what the model thought of each token.

    `places`: start and end of each token in `text`; `logprobs`, `entropies`: nats, one a token.
    """

    text: str
    places: Sequence[tuple[int, int]]
    logprobs: Sequence[float]
    entropies: Sequence[float]
    watched: Sequence[float]  # probability that `Answers.WATCHED` would have begun in each token's place


class Settings(Protocol):
    VERSION: int  # raise it when numbers change: reports of two versions are not compared
    RULES: Sequence[str]  # by which `vrft evaluate` can count
    Settings: type[TaskSettings]


class Prompts(Protocol):
    DEFAULT: str  # what `vrft predict` asks of a cell's evaluation images, see `asked_by`

    def questions(self, truth: Annotations, categories: Sequence[int], settings: Any, root: Path) -> list[Pair]:
        """What evaluation asks about the images of `truth`."""
        ...

    def validation(self, truth: Annotations, categories: Sequence[int], settings: Any) -> list[Pair]:
        """What is asked to choose a checkpoint."""
        ...

    def training(self, selection: "Selection") -> list[Pair]:
        """What is asked in training, from a few-shot selection."""
        ...

    def asked_by(
        self, protocol: str | None, annotations: Annotations, categories: Sequence[int], known: bool
    ) -> list[Pair]:
        """What is asked by a protocol of the task that is named on the command line, or (None) of images in general.

        `known`: the annotations are true, and not a mere list of images.
        """
        ...

    def fitting(self, truth: Annotations, categories: Sequence[int], settings: Any) -> list[Pair]:
        """What is asked about training images to fit what the metrics need; mostly nothing."""
        ...

    def examples(
        self, pairs: Sequence[Pair], annotations: Annotations, images: Path, form: "Form"
    ) -> Iterator[Example]: ...

    def longest(self, form: "Form", name: str) -> tuple[str, str]:
        """A question and an answer as long as they come, about `name`: for plans."""
        ...


class Answers(Protocol):
    WATCHED: Sequence[str]  # texts whose probability is wanted wherever a token is written; may be empty

    def parse(self, text: str, limit: tuple[float, float], native: "Native | None" = ...) -> Any:
        """Value and named reasons; never raises. `limit`: largest x and y of the answer's frame.

        Tasks whose answers hold boxes read them in the form `native`, where one is given.
        """
        ...

    def row(self, example: Example, form: "Form", written: Written) -> Mapping[str, Any]:
        """What a `Prediction` holds of this task: its own fields and `reasons`."""
        ...

    def agree(self, row: Any, drawn: Sequence[Any]) -> None:
        """Adds to a row what sampled answers to the same question say of it."""
        ...


class Rewards(Protocol):
    REWARDS: Mapping[str, Reward]
    SETS: Mapping[str, Mapping[str, str]]  # strict, published → part of the total → reward
    EARNED: Sequence[str]  # rewards that an answer which finds nothing must not earn half of

    def get(self, name: str) -> Reward: ...

    def read(
        self, text: str, limit: tuple[float, float] = ..., thinking: bool = ..., native: "Native | None" = ...
    ) -> Any:
        """A completion parsed once, for all rewards and for `diagnostics.health`.

        `native`: the form of boxes that was asked for, where that is not the paper's; tasks without boxes ignore it.
        """
        ...

    def truth(self, text: str) -> Truth:
        """What the rewards take, from an example's `truth`."""
        ...


class Metrics(Protocol):
    VALIDATION: str  # the name of what `validate` returns

    def specs(self, settings: Any) -> Sequence[MetricSpec]:
        """Every metric of an evaluation; the first decides verdicts."""
        ...

    def columns(self, settings: Any) -> Sequence[tuple[str, str]]:
        """(metric, short label): what a table of results shows."""
        ...

    def scores(
        self,
        truth: Annotations,
        rows: Sequence[Any],
        categories: Sequence[int],
        settings: Any,
        taught: Collection[int] = (),
    ) -> Scores:
        """`taught`: of the categories those with few-shot examples."""
        ...

    def details(
        self,
        truth: Annotations,
        rows: Sequence[Any],
        categories: Sequence[int],
        settings: Any,
        interval: Interval,
    ) -> Mapping[str, Any]:
        """What an evaluation records besides its metrics. `interval`: several models' scores → name → metric."""
        ...

    def validate(self, examples: Sequence[Example], rows: Sequence[Any], settings: Any, form: "Form") -> float: ...

    def fit(self, rows: Sequence[Any], seen: Sequence[Any], train: Annotations, settings: Any) -> None:
        """Completes rows with what was learned from answers about training images (`prompts.fitting`)."""
        ...


class Diagnostics(Protocol):
    GUARDS: Mapping[str, str]  # guard of this task → the metric it watches in the training log
    LIVE: Mapping[str, str]  # share in the training log → what it is called where someone watches

    def diagnose(self, rows: Sequence[Any], truth: Annotations) -> Mapping[str, Any]:
        """What the metrics hide, of one model's predictions: a JSON object."""
        ...

    def health(self, completions: Sequence[Any], truths: Sequence[Truth]) -> dict[str, float]:
        """What the answers of one generation batch look like, by metric."""
        ...

    def measured(self, found: Any) -> dict[str, float | None]:
        """The values that `checks.LIMITS` are about, from `diagnose`."""
        ...


class Panels(Protocol):
    SUBJECT: str  # such as: few-shot object detection
    WORDS: str  # what the deciding metric means, for someone who never heard of it
    SMALL_PRINT: str  # what the other metrics of the table mean

    def note(self, details: Any) -> str:
        """How it was asked and measured, in one line."""
        ...

    def how(self, details: Any) -> list[str]:
        """The same, in sentences."""
        ...

    def silence(self, inputs: "Inputs", model: str) -> "Silence":
        """How many of one model's answers name nothing."""
        ...

    def cell(self, results: "CellResults", inputs: "Inputs", images: Path) -> "list[Panel]": ...

    def study(self, results: "StudyResults") -> "list[Panel]": ...

    def plots(self, results: "CellResults", inputs: "Inputs") -> "list[Plot]":
        """What `dvc plots` shows of a cell besides its learning curves; may be empty."""
        ...


class Checks(Protocol):
    """Plain data, read whenever definitions are loaded: no heavy import here."""

    LABELS: str  # what a user's own images must be labelled with: boxes, classes or expressions
    GOOD: str  # what the deciding number means and what a good one is, in a few sentences
    DESCRIPTIONS: Mapping[str, Mapping[str, str]]  # stage (raw, prompts) → check → what it says
    EXPECTATIONS: "Mapping[str, Mapping[str, Sequence[Expectation]]]"  # stage → frame → what must hold
    LIMITS: Mapping[str, tuple[float, str]]  # of an evaluation's numbers: the most there should be, what more means


class Frames(Protocol):
    def raw(self, directory: Path) -> "dict[str, pd.DataFrame]": ...

    def prompts(
        self, directory: Path, raw_directory: Path, few_shot_directory: Path, form: "Form"
    ) -> "dict[str, pd.DataFrame]": ...


class Commands(Protocol):
    def evaluate(self, wanted: "Measurement") -> tuple[Mapping[str, Any], str]:
        """What `vrft evaluate` prints: an object for JSON, and a table to read."""
        ...

    def outside(self, path: Path, asked: Sequence[Any], truth: Annotations, settings: Any) -> "Outside":
        """A file of another model's answers as prediction rows, one for each row of `asked`, by the same questions."""
        ...

    def make_map(self, request: Any, output: Path) -> Mapping[str, Any]:
        """What `vrft presence` does."""
        ...

    def marks(self, row: Any, settings: Any) -> "list[Mark]":
        """What a prediction row shows over its image, best first."""
        ...

    def solution(self, row: Mapping[str, Any], limit: tuple[float, float]) -> Truth:
        """The truth that a row of a log states, as the rewards take it. Raises ValueError with what is wrong."""
        ...

    def boxes(self, example: Example, form: "Form") -> list[list[float]]:
        """What an example's truth marks in its image, xyxy pixels; nothing where it marks nothing."""
        ...

    def contradictions(self, truth: Annotations) -> list[tuple[set[int], str]]:
        """Labels that cannot all be right: the images they are of, and a sentence that names them."""
        ...


class Supervision(Protocol):
    """`scenes`: settings of an embedded source."""

    def names(self, scenes: Any) -> list[str]:
        """Names of the things that the scenes show."""
        ...

    def words(self, scenes: Any) -> list[str]:
        """Words of questions and answers besides, with their spaces."""
        ...

    def pieces(self, form: "Form") -> list[str]:
        """What the texts of questions and answers consist of between names and numbers."""
        ...

    def draw_pool(self, scenes: Any, pretraining: Pretraining) -> "Pool": ...

    def lesson(
        self, pool: "Pool", first: int, scenes: Any, form: "Form", settings: Pretraining, share: float
    ) -> "Lesson": ...


@dataclass(frozen=True)
class Task:
    """One task by name. Each attribute imports its part when it is first asked for."""

    name: str
    package: str

    def _part(self, name: str) -> Any:
        return import_module(f"{self.package}.{name}")

    @cached_property
    def settings(self) -> Settings:
        return cast(Settings, self._part("settings"))

    @cached_property
    def prompts(self) -> Prompts:
        return cast(Prompts, self._part("prompts"))

    @cached_property
    def answers(self) -> Answers:
        return cast(Answers, self._part("answers"))

    @cached_property
    def rewards(self) -> Rewards:
        return cast(Rewards, self._part("rewards"))

    @cached_property
    def metrics(self) -> Metrics:
        return cast(Metrics, self._part("metrics"))

    @cached_property
    def diagnostics(self) -> Diagnostics:
        return cast(Diagnostics, self._part("diagnostics"))

    @cached_property
    def panels(self) -> Panels:
        return cast(Panels, self._part("panels"))

    @cached_property
    def checks(self) -> Checks:
        return cast(Checks, self._part("checks"))

    @cached_property
    def frames(self) -> Frames:
        return cast(Frames, self._part("frames"))

    @cached_property
    def commands(self) -> Commands:
        return cast(Commands, self._part("commands"))

    @cached_property
    def supervision(self) -> Supervision:
        return cast(Supervision, self._part("supervision"))
