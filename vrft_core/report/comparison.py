"""Two recipes on the same evaluation images, over the seeds that both have: what their trainings gave, and cost.

A comparison is a study across recipes: it reads what the two studies read. Its Markdown is made in
`comparison_summary`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals_over_seeds
from vrft_core.evaluation.scores import Entry, MetricSpec, Scores
from vrft_core.evaluation.statistics import mean
from vrft_core.params import Params
from vrft_core.provenance import provenance
from vrft_core.report.panel import MODELS, TRAINED, Inputs
from vrft_core.report.stopped import stops
from vrft_core.report.verdict import NAMES, outcome, points

if TYPE_CHECKING:
    from vrft_core.training.record import Description

SEED = 0  # of the halves behind intervals
EQUAL = 0.02  # FLOPs that differ by less count as equal
GAINS = ("sft-base", "rft-base")
_OTHER = "other "  # before the name of a model of the recipe that is compared with
_AGREE = ("task", "version")

Metrics = dict[str, Entry]


class Cost(TypedDict):
    """Of one training, the mean over seeds. FLOPs are the upper estimate of `flops`."""

    steps: int  # as the recipe has it
    step_flops: float
    flops: float  # of all of these steps: the budget; a guard may have ended a training before
    ratio: float  # of the same method's budget in the recipe that is compared with
    equal_steps: int  # that would take the other's budget


class ComparisonResults(TypedDict):
    """Metrics in [0, 1]. Models and differences by method: base, sft, rft; gains are rft-base and sft-base."""

    cell: str
    against: str
    recipe: str
    other: str
    shots: int
    seeds: list[int]
    task: str
    version: int
    metric: str  # that decides
    title: str
    columns: list[list[str]]  # metric, short label
    models: dict[str, dict[str, Metrics]]  # recipe → method
    differences: dict[str, Metrics]  # this recipe's less the other's
    gains: dict[str, Metrics]  # what this recipe's training gained over its own base, less what the other's did
    headline: str
    also: list[str]
    cost: dict[str, dict[str, Cost]]  # recipe → method
    unlike: dict[str, list[Any]]  # parameter → its value in this recipe and in the other
    images: int
    queries: int
    draws: int
    provenance: dict[str, Any]  # recipe →


def comparison_results(
    layout: Layout, params: Params, study: Cell, other: Cell, inputs: Mapping[str, Sequence[Inputs]]
) -> ComparisonResults:
    """`inputs`: of both recipes by name, in the order of the seeds.

    Raises InputError where the two were not asked the same questions, or not measured alike.
    """
    own, theirs = inputs[study.recipe], inputs[other.recipe]
    spec = _measured_alike(study, other, own, theirs)
    mine, others = _scores(own), _scores(theirs)
    seeds = [dict(a) | {f"{_OTHER}{name}": one for name, one in b.items()} for a, b in zip(mine, others, strict=True)]
    pairs = [(name, f"{_OTHER}{name}") for name in MODELS]
    gains = [(a, b, f"{_OTHER}{a}", f"{_OTHER}{b}") for a, b in (pair.split("-") for pair in GAINS)]
    draws = params.recipe(study).evaluation.draws
    found = intervals_over_seeds(seeds, draws, SEED, [*pairs, *gains])
    differences = {name: found["differences"]["-".join((name, again))] for name, again in pairs}
    numbers = params.grid.comparisons[study.key].seeds
    costs = _costs(params, study, other, own, theirs)
    said = {name: _sentence(name, study.recipe, other.recipe, differences[name][spec.name], spec) for name in MODELS}
    return {
        "cell": study.key,
        "against": other.key,
        "recipe": study.recipe,
        "other": other.recipe,
        "shots": study.shots,
        "seeds": numbers,
        "task": own[0].task.name,
        "version": own[0].task.settings.VERSION,
        "metric": spec.name,
        "title": spec.title,
        "columns": _columns(own[0], found["models"]),
        "models": {
            study.recipe: {name: found["models"][name] for name in MODELS},
            other.recipe: {name: found["models"][f"{_OTHER}{name}"] for name in MODELS},
        },
        "differences": differences,
        "gains": {pair: found["differences"]["-".join(names)] for pair, names in zip(GAINS, gains, strict=True)},
        "headline": said["rft"],
        "also": [said["sft"], said["base"], *_stops(study, own, numbers), *_stops(other, theirs, numbers)],
        "cost": costs,
        "unlike": _unlike(params, study, other),
        "images": own[0].metrics["base"]["images"],
        "queries": own[0].metrics["base"]["queries"],
        "draws": draws,
        "provenance": {one.recipe: provenance(layout.root, params, one) for one in (study, other)},
    }


def _measured_alike(study: Cell, other: Cell, own: Sequence[Inputs], theirs: Sequence[Inputs]) -> MetricSpec:
    """The metric that decides, in both."""
    first, second = own[0], theirs[0]
    specs, again = ([*one.task.metrics.specs(one.settings)] for one in (first, second))
    if specs != again:
        raise InputError(
            f"{study.key} and {other.key}", f"are measured by other metrics: {specs[0].name!r} and {again[0].name!r}",
            f"give recipes {study.recipe} and {other.recipe} the same tasks.{first.task.name} settings",
        )  # fmt: skip
    if set(first.rows["base"]) != set(second.rows["base"]):
        raise InputError(
            f"{study.key} and {other.key}", "were asked other questions",
            f"give recipes {study.recipe} and {other.recipe} the same tasks.{first.task.name} settings, and run both",
        )  # fmt: skip
    for name in _AGREE:
        wanted = first.metrics["base"][name]
        found = [one.metrics[model][name] for one in (*own, *theirs) for model in MODELS]
        if wrong := [value for value in found if value != wanted]:
            raise InputError(
                f"{study.key} and {other.key}", f"were evaluated with {name} {wanted!r} and {wrong[0]!r}",
                f"evaluate both again: vrft run {study.key}",
            )  # fmt: skip
    return specs[0]


def _scores(inputs: Sequence[Inputs]) -> list[dict[str, Scores]]:
    """By seed and model. The untouched model is one and the same for all seeds, and counted once."""
    found = [one.scores() for one in inputs]
    for one in found[1:]:
        one["base"] = found[0]["base"]
    return found


def _sentence(method: str, recipe: str, other: str, difference: Entry, spec: MetricSpec) -> str:
    """For example: RFT of mini-native beats that of mini by 4.2 points of accuracy, 95 % interval +2.1 to +6.3."""
    name = NAMES[method]
    first, second = f"{name[0].upper()}{name[1:]} of {recipe}", f"that of {other}"
    if difference["value"] is None:
        return f"{first} and {second} cannot be compared: {spec.title} is not defined here."
    low, high = (points(difference[end], True) for end in ("low", "high"))
    of = f"points of {spec.title}, 95 % interval {low} to {high}"
    by = f"by {points(abs(difference['value']))} {of}"
    match outcome(difference):
        case "better":
            return f"{first} beats {second} {by}."
        case "worse":
            return f"{first} is worse than {second} {by}."
    measured = f"measured: {points(difference['value'], True)} {of}"
    return f"No difference between {name} of {recipe} and {second} can be shown; {measured}."


def _stops(study: Cell, inputs: Sequence[Inputs], seeds: Sequence[int]) -> list[str]:
    """A sentence on each training that a guard ended."""
    trained = {seed: one.training for seed, one in zip(seeds, inputs, strict=True)}
    return [f"{study.recipe}: {said}" for said in stops(trained)]


def _columns(first: Inputs, models: Mapping[str, Metrics]) -> list[list[str]]:
    """Of metrics that some model has a value of."""
    columns = first.task.metrics.columns(first.settings)
    return [list(pair) for pair in columns if any(one[pair[0]]["value"] is not None for one in models.values())]


def _costs(
    params: Params, study: Cell, other: Cell, own: Sequence[Inputs], theirs: Sequence[Inputs]
) -> dict[str, dict[str, Cost]]:
    found: dict[str, dict[str, Cost]] = {study.recipe: {}, other.recipe: {}}
    for method in TRAINED:
        steps = {one.recipe: getattr(params.recipe(one), method).steps for one in (study, other)}
        each = {study.recipe: _step_flops(own, method), other.recipe: _step_flops(theirs, method)}
        budget = each[other.recipe] * steps[other.recipe]
        for name in (study.recipe, other.recipe):
            spent = each[name] * steps[name]
            found[name][method] = {
                "steps": steps[name],
                "step_flops": each[name],
                "flops": spent,
                "ratio": spent / budget if budget else 0.0,
                "equal_steps": round(budget / each[name]) if each[name] else 0,
            }
    return found


def _step_flops(inputs: Sequence[Inputs], method: str) -> float:
    """Mean over seeds of a step's FLOPs; 0 where no training recorded any."""
    records: list[Description] = [one.training[method] for one in inputs]
    return mean([record.get("flops", 0.0) / record["steps"] for record in records]) or 0.0


def _unlike(params: Params, study: Cell, other: Cell) -> dict[str, list[Any]]:
    """What parameters differ between the recipes, for this task."""
    task = params.task(study)
    first, second = (_leaves(_of_task(params.recipe(one).model_dump(mode="json"), task)) for one in (study, other))
    return {
        name: [first.get(name), second.get(name)]
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    }


def _of_task(recipe: dict[str, Any], task: str) -> dict[str, Any]:
    """Without other tasks, and without the values of this task that are in `sft` and `rft` already."""
    own = {name: value for name, value in recipe["tasks"][task].items() if name not in TRAINED}
    return {**recipe, "tasks": {task: own}}


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, f"{name}.{key}".lstrip(".")).items()}
    return {name: value}
