"""The shape of what a report holds: its results (`metrics.json`), and the rows, charts and images of its panels.

Types only. Where results come from is in `results`, what is shown of them in `page`, `summary` and a task's panels.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from markupsafe import Markup

from vrft_core.evaluation.scores import Entry

if TYPE_CHECKING:
    from vrft_core.evaluation.adversarial import Rescored
    from vrft_core.training.record import Description

Details = Mapping[str, Any]  # what a task's `metrics.details` made
Diagnosis = Mapping[str, Any]  # what a task's `diagnostics.diagnose` made


class TableRow(TypedDict):
    label: str
    cells: list[str]
    note: str


class Figure(TypedDict):
    title: str
    svg: Markup
    caption: str


class Answered(TypedDict):
    """One model's answer about an image of the gallery."""

    name: str
    css: str
    svg: Markup  # its boxes over the image, small; empty where the answer holds no boxes
    large: Markup
    mark: str  # right, partly or wrong
    caption: str
    notes: list[str]  # one a box: its scores by name, whether it is right
    completion: str


class Shown(TypedDict):
    """One question of the gallery."""

    number: int
    label: str
    question: str
    expected: str
    few_shot: bool
    tags: str  # which options of the filters it belongs to
    picture: Markup  # `drawing.Picture.store`
    plain: Markup  # the image without boxes
    answers: list[Answered]
    credit: str


class Option(TypedDict):
    value: str
    label: str


class Filter(TypedDict):
    """A choice above the gallery."""

    id: str
    label: str
    groups: list[tuple[str, list[Option]]]  # of one heading, empty for none


class Verdict(TypedDict):
    metric: str
    title: str
    outcome: str  # better, worse or undecided
    nothing: bool  # whether no model finds anything
    headline: str  # `main`, then the remarks
    main: str
    remarks: list[str]  # on silent models, and on trainings that a guard ended
    also: list[str]


class Measured(TypedDict):
    images: int
    queries: int
    draws: int  # random halves behind each interval
    categories: int
    few_shot_categories: int
    few_shot_images: int


class Beside(TypedDict):
    """A number of the paper beside the same one here. Points of 100."""

    label: str
    paper: float
    here: dict[str, float | None]  # value, low, high
    inside: bool | None  # whether the paper's value lies in the interval


class PaperTable(TypedDict):
    table: int
    title: str
    metric: str | None  # here
    paper_metric: str
    rows: list[Beside]
    claims: list[Beside]
    notes: list[str]


class Followed(TypedDict):
    """Whether the validation score followed the reward."""

    checkpoints: list["FollowedCheckpoint"]
    spearman: float | None
    drift: float | None


class FollowedCheckpoint(TypedDict):
    step: int
    reward: float
    score: float


class Named(TypedDict):
    """What names things on a page."""

    task: str
    version: int
    subject: str
    columns: list[list[str]]  # metric, short label
    titles: dict[str, str]


class Results(Named):
    """What the results of a cell and of a study have in common. Metrics in [0, 1]."""

    cell: str
    shots: int | None
    models: dict[str, dict[str, Entry]]  # model → metric
    differences: dict[str, dict[str, Entry]]  # such as rft-sft → metric
    verdict: Verdict
    needs: str
    measured: Measured
    provenance: dict[str, Any]


class CellResults(Results):
    seed: int
    paper: PaperTable | None
    training: "dict[str, Description]"
    details: dict[str, Details]
    diagnostics: dict[str, Diagnosis]
    adversarial: "NotRequired[Rescored]"


class SeedResults(TypedDict):
    """One cell in the results of a study: the deciding metric."""

    cell: str
    seed: int
    models: dict[str, Entry]
    differences: dict[str, Entry]
    training: "dict[str, Description]"


class StudyResults(Results):
    seeds: list[int]
    details: list[dict[str, Details]]  # by cell
    per_seed: list[SeedResults]


class OutsideResults(TypedDict):
    """Another model, measured on the images of a cell or a study (`vrft evaluate --cell`). Metrics in [0, 1].

    Intervals cover images, and in a study the seeds of its own trainings.
    """

    cell: str
    name: str
    file: str
    sha256: str
    version: int  # of the task's numbers
    metric: str  # that decides
    title: str
    metrics: dict[str, Entry]
    differences: dict[str, dict[str, Entry]]  # this model less base, sft and rft → metric
    own: dict[str, float | None]  # base, sft and rft by the deciding metric, when this was measured
    images: int
    questions: int
    unanswered: int
    left_out: int
