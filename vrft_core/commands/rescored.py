"""`vrft evaluate --cell … --presence`: a cell's own answers, scored as if another protocol had chosen the questions.

No model is asked: the answers of the evaluation are used again, as far as the protocol asks for them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from vrft_core.cell import Cell, Layout
from vrft_core.commands.outside import evaluated, scores
from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals_over_seeds
from vrft_core.params import Params
from vrft_core.report.panel import MODEL_NAMES, Inputs
from vrft_core.report.results import SEED

if TYPE_CHECKING:
    from vrft_core.evaluation.scores import Entry


class Rescored(TypedDict):
    """Metrics in [0, 1]; intervals cover images, and in a study its seeds."""

    cell: str
    presence: str
    metric: str  # that decides
    title: str
    models: "dict[str, dict[str, Entry]]"
    differences: "dict[str, dict[str, Entry]]"  # rft-sft, rft-base, sft-base → metric
    images: int
    questions: int


def measure(layout: Layout, params: Params, cell: Cell, protocol: str) -> Rescored:
    """Base, SFT and RFT of a cell or a study by the questions of `protocol`.

    Raises InputError for a protocol that asks what the evaluation did not, and for a cell that was not evaluated.
    """
    inputs = [_by(one, protocol) for one in evaluated(layout, params, cell)]
    scores = [dict(one.scores()) for one in inputs]
    for one in scores:  # one and the same model for every seed: counted once
        one["base"] = scores[0]["base"]
    first = inputs[0]
    found = intervals_over_seeds(scores, params.recipe(cell).evaluation.draws, SEED)
    spec = first.task.metrics.specs(first.settings)[0]
    return {
        "cell": cell.key,
        "presence": protocol,
        "metric": spec.name,
        "title": spec.title,
        "models": found["models"],
        "differences": found["differences"],
        "images": len(scores[0]["base"].units),
        "questions": len(first.rows["base"]),
    }


def _by(inputs: Inputs, protocol: str) -> Inputs:
    """The answers to the protocol's questions alone, and settings that name metrics after it."""
    settings = inputs.settings.asking(protocol)
    pairs = set(inputs.task.prompts.asked_by(protocol, inputs.truth, inputs.categories, known=True))
    rows = {
        model: {key: row for key, row in found.items() if (row["image_id"], row["category_id"]) in pairs}
        for model, found in inputs.rows.items()
    }
    if missing := len(pairs) - len(rows["base"]):
        raise InputError(
            "--presence", f"{missing} of the {len(pairs)} questions by {protocol!r} were not asked in the evaluation",
            "choose a protocol that asks less than the recipe's",
        )  # fmt: skip
    return replace(inputs, settings=settings, rows=rows)


def lines(result: Rescored) -> list[str]:
    """To read in a terminal; points of 100."""
    metric = result["metric"]
    rows = [(MODEL_NAMES[model], entries[metric], False) for model, entries in result["models"].items()]
    for pair, entries in result["differences"].items():
        names = " − ".join(MODEL_NAMES[model] for model in pair.split("-"))
        rows.append((names, entries[metric], True))
    said = [f"{result['title']}, points of 100, by {result['questions']} questions about {result['images']} images"]
    said += scores(rows)
    said.append(f"95 % intervals. The answers of {result['cell']}'s evaluation, scored again; no model was asked.")
    return said
