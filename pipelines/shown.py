"""Metadata of a materialization: numbers in points, the deciding one first with its interval; tables, images, links.

Read from the files that the stage made; nothing is computed again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import previews
from pipelines.pages import FOLDERS, link
from vrft_core import io, tracking
from vrft_core.cell import Cell, Layout
from vrft_core.costs import attempts, cost_file
from vrft_core.params import Params
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.summary import pair_name
from vrft_core.report.verdict import PAIRS, points
from vrft_core.stages import SCOPES
from vrft_core.tasks import get_task

EVALUATIONS = {"base_eval": "base", "sft_eval": "sft", "rft_eval": "rft"}
RECORDED = {"policy": "policy", "sft": "sft", "rft": "rft", **EVALUATIONS}  # stage → whose run in MLflow
CHECKED = ("raw", "few_shot", "prompts")  # stages whose output has data docs
COMPARED = ("report", "study")
SPENT = ("cpu_seconds", "peak_memory_mb")
ENDS = {"": "value", ", low end": "low", ", high end": "high"}  # of a 95 % interval


def metadata(root: Path, params: Params, cell: Cell, stage: str, reported: Mapping[str, Any]) -> dict[str, Any]:
    """`reported`: what the stage itself and DVC said, which comes last. `cell`: any that the stage belongs to."""
    layout, cell = Layout(root), cell.at(SCOPES[stage])
    found: dict[str, Any] = {}
    if stage in EVALUATIONS:
        found |= _evaluation(layout, params, cell, EVALUATIONS[stage])
        first = get_task(params.task(cell)).metrics.specs(params.task_settings(cell))[0].name
        reported = {name: value for name, value in reported.items() if name != first}  # it has come, in words
    if stage in COMPARED:
        found |= _comparison(layout, cell)
        reported = {name: value for name, value in reported.items() if not _repeats(name)}
    if stage == "comparison":
        found["result"] = dg.MetadataValue.md((layout.comparison(cell) / "summary.md").read_text(encoding="utf-8"))
    found |= links(layout, cell, stage)
    reported = {**reported, **_spent(layout, cell, stage, reported)}
    images = previews.of(layout, params, cell, stage)
    found |= {name: dg.MetadataValue.md(text) for name, text in images.items()}
    return found | {name: _short(name, value) for name, value in reported.items() if name not in found}


def _spent(layout: Layout, cell: Cell, stage: str, reported: Mapping[str, Any]) -> dict[str, float]:
    """What the stage itself counted, where its executor saw less: a fork of another process is not its executor's."""
    own = (attempts(cost_file(layout, cell, stage)) or [{}])[-1]
    seen = {name: getattr(reported[name], "value", reported[name]) for name in SPENT if name in reported}
    return {name: max(value, own.get(name, 0)) for name, value in seen.items()}


def links(layout: Layout, cell: Cell, stage: str) -> dict[str, dg.MetadataValue]:
    """Report, data docs, MLflow's run and the code: what there is of them."""
    found: dict[str, dg.MetadataValue] = {}
    if cell.scope in ("cell", "study"):
        found["report"] = link(layout.root, layout.report(cell) / "report.html")
    if stage in CHECKED:
        found["data docs"] = link(layout.root, layout.root / FOLDERS[1] / stage / cell.key / "checks.html")
    if stage in RECORDED and (page := tracking.address(layout, cell.key, RECORDED[stage])):
        found["MLflow run"] = dg.MetadataValue.url(page)
    return found


def _evaluation(layout: Layout, params: Params, cell: Cell, method: str) -> dict[str, Any]:
    task = get_task(params.task(cell))
    metrics, settings = task.metrics, params.task_settings(cell)
    deciding = metrics.specs(settings)[0]
    results = io.read_json(layout.evaluation(cell, method) / "metrics.json")["metrics"]
    found = _interval(f"{deciding.title[0].upper()}{deciding.title[1:]}", results.get(deciding.name, {}))
    columns = [(name, label) for name, label in metrics.columns(settings) if name in results]
    return found | {"result": dg.MetadataValue.md(_table(layout, cell, method, columns))}


def _table(layout: Layout, cell: Cell, method: str, columns: list[tuple[str, str]]) -> str:
    """This model with its intervals, beside those it is compared with, as far as they are evaluated."""
    own, *others = [method, *(name for name in MODEL_NAMES if cell.scope == "cell" and name != method)]
    files = {name: layout.evaluation(cell, name) / "metrics.json" for name in (own, *others)}
    models = {name: io.read_json(path)["metrics"] for name, path in files.items() if path.is_file()}
    lines = [f"| points | {' | '.join(MODEL_NAMES[name] for name in models)} |", "|---|" + "---:|" * len(models)]
    for metric, label in columns:
        first, *rest = [one.get(metric) for one in models.values()]
        if first and first["value"] is not None:
            cells = [_bracketed(first), *(points(one["value"]) if one else "–" for one in rest)]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "In brackets the 95 % interval over the choice of evaluation images."])


def _comparison(layout: Layout, cell: Cell) -> dict[str, Any]:
    folder = layout.report(cell)
    results = io.read_json(folder / "metrics.json")
    metric, title = results["verdict"]["metric"], results["verdict"]["title"]
    found: dict[str, Any] = {"verdict": results["verdict"]["headline"]}
    for pair in PAIRS:
        found |= _interval(f"{pair_name(pair)}, {title}", results["differences"][pair][metric])
    return found | {"result": dg.MetadataValue.md((folder / "summary.md").read_text(encoding="utf-8"))}


def _interval(name: str, entry: Mapping[str, Any]) -> dict[str, float]:
    """In points, so that Dagster draws all three over time."""
    return {f"{name}{what}": round(100 * entry[end], 2) for what, end in ENDS.items() if entry.get(end) is not None}


def _bracketed(entry: Mapping[str, Any]) -> str:
    return f"{points(entry['value'])} [{points(entry['low'])}, {points(entry['high'])}]"


def _repeats(name: str) -> bool:
    return name in ("verdict", "page") or any(name.endswith(f"/{pair}") for pair in PAIRS)


def _short(name: str, value: Any) -> Any:
    """Numbers with the digits that count; validation scores in points."""
    number = value.value if isinstance(value, dg.FloatMetadataValue) else value
    if not isinstance(number, float):
        return value
    return round(100 * number, 2) if name.startswith("validation/") else float(f"{number:.4g}")
