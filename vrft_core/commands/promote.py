"""`vrft promote`: make a cell's RFT model the champion of its benchmark and recipe, if it passes all gates.

The model is registered in any case, as the challenger; it becomes champion where every gate is open. Nothing is trained
or evaluated here: the gates read what `vrft run`, the data suites and the baseline left.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from vrft_core import io, nights, provenance, registry, tracking
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.commands.baseline import METHOD, PREDICTIONS, load_baseline
from vrft_core.commands.export import export
from vrft_core.commands.nightly import check_data, compare
from vrft_core.errors import InputError
from vrft_core.evaluation.instructive import Instructive, instructive
from vrft_core.evaluation.regression import p_worse
from vrft_core.families.form import Form
from vrft_core.images import open_rgb
from vrft_core.params import Params
from vrft_core.report.verdict import points
from vrft_core.sampling import targets
from vrft_core.tasks import get_task

SIDE = 512  # px, of an image in a trace, at most


@dataclass(frozen=True)
class Gate:
    name: str
    passed: bool
    said: str


def promote(layout: Layout, params: Params, cell: Cell) -> tuple[bool, list[str]]:
    """(whether the model is champion now, lines to print). Raises InputError where the cell was not trained yet."""
    cell = cell.at("cell")
    trained = layout.model(cell, METHOD)
    if not trained.is_dir():
        raise InputError(trained, "no trained model here", f"run `vrft run {cell.key}` first, or `dvc pull`")
    gates = list(_gates(layout, params, cell))
    version = _register(layout, params, cell)
    if version.created:
        _show(layout, params, cell, version)
    name = f"{version.model} version {version.number}"
    lines = [f"{'passed' if gate.passed else 'FAILED'}  {gate.name}: {gate.said}" for gate in gates]
    if not all(gate.passed for gate in gates):
        failed = ", ".join(gate.name for gate in gates if not gate.passed)
        return False, [*lines, f"{name} ({cell.key}) is not promoted: {failed} did not pass; it is registered"]
    before = registry.promote(layout, version)
    after = f", after version {before}" if before else ""
    return True, [*lines, f"{name} ({cell.key}) is the champion{after}"]


def roll_back(layout: Layout, model: str) -> str:
    left, back = registry.roll_back(layout, model)
    return f"{model}: version {back} is the champion again; version {left} is not"


def _gates(layout: Layout, params: Params, cell: Cell) -> Iterator[Gate]:
    for name, gate in (("data checks", _data), ("regression", _regression), ("diagnostics", _diagnostics)):
        try:
            yield Gate(name, *gate(layout, params, cell))
        except InputError as error:
            yield Gate(name, False, str(error))


def _data(layout: Layout, params: Params, cell: Cell) -> tuple[bool, str]:
    """The last result of the data suites if it belongs to the present data; else they run again."""
    record = nights.data_record(layout, cell)
    found = io.read_json(record) if record.is_file() else None
    if found is None or any(provenance.digest(layout.root / path) != md5 for path, md5 in found["inputs"].items()):
        if check_data(layout, [cell.key]) is None:
            return False, "not run, since Great Expectations is not installed; install it, or run this where it is"
        found = io.read_json(record)
    broken = found["broken"]
    return not broken, "; ".join(broken[:5]) or f"{found['suites']} suites hold"


def _regression(layout: Layout, params: Params, cell: Cell) -> tuple[bool, str]:
    """The cell's evaluation against the recorded baseline, by the rule of the night for a single cell."""
    predictions = layout.evaluation(cell, METHOD) / PREDICTIONS
    if not predictions.is_file():
        raise InputError(predictions, "no such file", f"evaluate first: vrft run {cell.key}")
    rows, baseline = io.read_jsonl(predictions), load_baseline(layout, params, cell)
    if {row["id"] for row in rows} != {row["id"] for row in baseline}:
        raise InputError(layout.baseline(cell), "answers other questions", f"record it again: vrft baseline {cell.key}")
    everything = Annotations.load(layout.raw(cell) / "annotations.json")
    categories = everything.chosen(params.benchmark(cell).categories)
    task, settings = get_task(params.task(cell)), params.task_settings(cell)
    draws = params.recipe(cell).evaluation.draws
    found = compare(task, settings, everything.split("eval"), categories, rows, baseline, draws)
    p = p_worse(nights.difference(found), params.nightly.tolerance)
    ends = found["difference"]
    said = f"{points(ends['value'], True)} points from the baseline (95 % interval {points(ends['low'], True)} to "
    return p >= params.nightly.alpha, f"{said}{points(ends['high'], True)}), p = {p:.3g}"


def _diagnostics(layout: Layout, params: Params, cell: Cell) -> tuple[bool, str]:
    task = get_task(params.task(cell))
    path = layout.evaluation(cell, METHOD) / "metrics.json"
    if not path.is_file():
        raise InputError(path, "no such file", f"evaluate first: vrft run {cell.key}")
    values = task.diagnostics.measured(io.read_json(path)["diagnostics"])
    beyond = [
        f"{name} {value:.3g}, limit {most:g}"
        for name, (most, _) in task.checks.LIMITS.items()
        if (value := values[name]) is not None and value > most
    ]
    return not beyond, "; ".join(beyond) or f"{len(task.checks.LIMITS)} numbers within their limits"


def _register(layout: Layout, params: Params, cell: Cell) -> registry.Version:
    trained = layout.model(cell, METHOD)
    form = Form.of(params.recipe(cell), params.task_settings(cell), params.benchmark(cell))
    if form.native:
        raise InputError(
            f"recipes.{cell.recipe}.prompts.format",
            "is native, which registered models do not read",
            "see `vrft export`",
        )
    asked = {
        "max_new_tokens": params.recipe(cell).evaluation.max_new_tokens,
        "coordinates": _coordinates(form),
    }
    commit = provenance.git(layout.root)
    report = layout.report(cell) / "report.html"
    tags = {
        "vrft.cell": cell.key,
        tracking.DVC_DIGEST: provenance.directory_digest(trained),
        tracking.DVC_PATH: trained.relative_to(layout.root).as_posix(),
        "git.commit": commit["commit"] if commit else "",
        "git.dirty": str(commit["dirty"]) if commit else "",
        "report": report.relative_to(layout.root).as_posix() if report.is_file() else "",
        "curves": layout.training(cell, METHOD).relative_to(layout.root).as_posix(),
        "dagster.run": os.environ.get("DAGSTER_RUN_ID", ""),
    }
    tags = {name: text for name, text in tags.items() if text}
    setup = cell.at("setup").key
    task = get_task(params.task(cell))
    text = (
        f"RFT models of `{cell.benchmark}` by the recipe `{cell.recipe}`. {task.panels.WORDS} Ask as `question` in the "
        "model's metadata does."
    )
    return registry.register(
        layout, setup, text, tags, asked, _example(layout, params, cell, form),
        lambda folder: export(layout, params, cell, METHOD, folder),
    )  # fmt: skip


def _coordinates(form: Form) -> list[float] | str:
    """What `served_model` needs to turn an answer's numbers into pixels."""
    sizes = [(100, 100), (1000, 500)]
    limits = [form.frame(*size).limit for size in sizes]
    if limits[0] == limits[1]:
        return [float(end) for end in limits[0]]
    return "original" if limits == sizes else "resized"


def _show(layout: Layout, params: Params, cell: Cell, version: registry.Version) -> None:
    """The most instructive predictions, against the untouched model's, where both were evaluated."""
    files = [layout.evaluation(cell, method) / PREDICTIONS for method in (METHOD, "base")]
    if not all(path.is_file() for path in files):
        return
    raw, task, settings = layout.raw(cell), get_task(params.task(cell)), params.task_settings(cell)
    everything = Annotations.load(raw / "annotations.json")
    truth, categories = everything.split("eval"), everything.chosen(params.benchmark(cell).categories)
    form = Form.of(params.recipe(cell), settings, params.benchmark(cell))
    pairs = task.prompts.questions(truth, categories, settings, layout.root)
    examples = list(task.prompts.examples(pairs, truth, images=raw / "images", form=form))
    rows, before = (io.read_jsonl(path) for path in files)
    found = instructive(task, form, examples, rows, before)
    registry.log_traces(layout, version, [_trace(one) for one in found])


def _trace(one: Instructive) -> dict:
    image = one.example.image
    picture = open_rgb(image) if isinstance(image, Path) else image
    picture.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return {
        "name": f"{one.example.label}: {'gained' if one.gain > 0 else 'lost' if one.gain < 0 else 'as before'}",
        "question": one.example.question,
        "image": buffer.getvalue(),
        "answer": one.completion,
        "expected": one.example.answer,
        "numbers": {"earned": one.earned, "earned by the untouched model": one.earned_before},
    }


def _example(layout: Layout, params: Params, cell: Cell, form: Form) -> dict:
    """{"question"}: in the words that the model was taught."""
    source = Annotations.load(layout.raw(cell) / "annotations.json")
    settings = params.recipe(cell).few_shot
    first = targets(source, settings.frequencies, params.benchmark(cell).sampled)[0]["name"]
    question, _ = get_task(params.task(cell)).prompts.longest(form, first)
    return {"question": question}
