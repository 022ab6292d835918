"""What a task contributes to a page, and what it may look at to make it. Plain data; the templates turn it to HTML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.scores import Evaluation, Scores
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.report.places import Links, around_cell
from vrft_core.report.rows import Figure, Filter, Shown, TableRow
from vrft_core.tasks.task import Task

if TYPE_CHECKING:
    from vrft_core.sampling import Selection
    from vrft_core.training.record import Description

MODELS = ("base", "sft", "rft")
TRAINED = ("sft", "rft")
MODEL_NAMES = {"base": "Base", "sft": "SFT", "rft": "RFT"}


@dataclass(frozen=True)
class Table:
    """A long one is folded away until it is asked for."""

    caption: str
    head: list[str]
    rows: list[TableRow]
    folded: bool = False


@dataclass(frozen=True)
class Gallery:
    """Questions with every model's answer, and what they can be filtered by. `style`: CSS that does it."""

    entries: list[Shown]
    filters: list[Filter]
    style: Markup
    boxes: bool  # whether answers are drawn over the image


@dataclass(frozen=True)
class Panel:
    """One section of a page. `terms`: words that it uses, explained at the end of the page."""

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Figure] = field(default_factory=list)
    gallery: Gallery | None = None
    terms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """What a cell's report is made of, read once. Rows are keyed by example."""

    task: Task
    settings: Any  # of the task, from the recipe
    form: Form  # in which questions are asked
    truth: Annotations  # the evaluation split
    source: dict[str, Any]  # `info` and `licenses` of the annotation file
    categories: list[int]
    taught: frozenset[int]  # categories with few-shot examples
    selection: "Selection"
    rows: dict[str, dict[str, Any]]  # model → example → its prediction, a `Row` of the task
    metrics: dict[str, Evaluation]
    training: "dict[str, Description]"
    links: list[Links]  # of a report of this cell

    @classmethod
    def read(cls, layout: Layout, params: Params, cell: Cell, task: Task) -> "Inputs":
        """Raises InputError when the models did not answer the same questions, or metrics have other names."""
        data = io.read_json(layout.raw(cell) / "annotations.json")
        truth = Annotations.from_dict(data).split("eval")
        selection = io.read_json(layout.few_shot(cell) / "selection.json")
        settings = params.task_settings(cell)
        places = {model: layout.evaluation(cell, model) for model in MODELS}
        rows = {
            model: {row["id"]: row for row in io.read_jsonl(place / "predictions.jsonl")}
            for model, place in places.items()
        }
        for model in TRAINED:
            if set(rows[model]) != set(rows["base"]):
                raise InputError(
                    places[model] / "predictions.jsonl",
                    "answers other questions than the untouched model",
                    f"run the stages base_eval and {model}_eval on the same data",
                )
        metrics = {model: io.read_json(place / "metrics.json") for model, place in places.items()}
        wanted = task.metrics.specs(settings)[0].name
        for model, place in places.items():
            if wanted not in metrics[model]["metrics"]:
                raise InputError(
                    place / "metrics.json",
                    f"has no {wanted!r}: recorded under another name, or asked in another way",
                    f"evaluate again: vrft run {cell.key}",
                )
        return cls(
            task=task,
            settings=settings,
            form=Form.of(params.recipe(cell), settings, params.benchmark(cell)),
            truth=truth,
            source={key: data.get(key) for key in ("info", "licenses")},
            categories=truth.chosen(params.benchmark(cell).categories),
            taught=frozenset(category["id"] for category in selection["categories"]),
            selection=selection,
            rows=rows,
            metrics=metrics,
            links=around_cell(layout, params, cell),
            training={method: io.read_json(layout.training(cell, method)) for method in TRAINED},
        )

    @property
    def frequencies(self) -> bool:
        """Whether the letters of categories mean something: those of a user's own data are by-products."""
        return (self.source["info"] or {}).get("frequencies") is not False

    def licences(self) -> dict[int, str]:
        """id → name, as the annotation file lists them."""
        listed = self.source["licenses"] or []
        return {row["id"]: str(row["name"]) for row in listed if isinstance(row, dict) and {"id", "name"} <= set(row)}

    def scores(self) -> dict[str, Scores]:
        """By model."""
        return {
            model: self.task.metrics.scores(
                self.truth, list(rows.values()), self.categories, self.settings, self.taught
            )
            for model, rows in self.rows.items()
        }
