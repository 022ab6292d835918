"""Links from a report to its study, other seeds, predictions and runs in MLflow; they work from a file.

What has no page when the report is written is named without a link, as are runs of an MLflow that is not always there.

Also when and on what the models were trained, as the training records say. Paths are relative to the page.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote

from vrft_core.cell import Cell, Layout
from vrft_core.params import Params

if TYPE_CHECKING:
    from vrft_core.training.record import Description

NAMES = {"sft": "SFT", "rft": "RFT"}
LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(?=/|$)")
SHORT = 8  # characters of a run's id


class Link(TypedDict):
    text: str
    href: str  # empty for a text alone


class Links(TypedDict):
    label: str
    links: list[Link]


class Fact(TypedDict):
    label: str
    text: str


def around_cell(layout: Layout, params: Params, cell: Cell) -> list[Links]:
    """Links of a cell's report; which seeds there are is the grid's to say."""
    folder, study = layout.report(cell), cell.at("study")
    page = "report.html"
    others = [one for one in params.cells() if one.at("study") == study and one != cell]
    found = [_pages("Study over all seeds", folder, {study.key: layout.report(study) / page})]
    found.append(_pages("Other seeds", folder, {f"seed {one.seed}": layout.report(one) / page for one in others}))
    predictions = {model: layout.evaluation(cell, model) / "predictions.jsonl" for model in ("base", "sft", "rft")}
    named = {{"base": "Base"}.get(model, NAMES.get(model, model)): path for model, path in predictions.items()}
    found.append(_links("Predictions", folder, named))
    beside = {"numbers": folder / "metrics.json", "summary": folder / "summary.md"}
    beside |= {f"{NAMES[method]} training": layout.training(cell, method) for method in NAMES}
    found.append(_links("Files", folder, beside))
    return [one for one in found if one["links"]]


def around_study(layout: Layout, study: Cell, cells: Sequence[Cell]) -> list[Links]:
    folder = layout.report(study)
    seeds = {f"seed {one.seed}": layout.report(one) / "report.html" for one in cells}
    beside = {"numbers": folder / "metrics.json", "summary": folder / "summary.md"}
    return [_pages("Reports", folder, seeds), _links("Files", folder, beside)]


def runs(training: "Mapping[str, Description]") -> list[Links]:
    """The runs in MLflow that a cell's training records name; by http alone.

    A server's are links. On this machine's loopback MLflow is there only while somebody runs it: text says how.
    """
    links: list[Link] = []
    local = ""
    for method, name in NAMES.items():
        address = str(training[method].get("run") or "")
        if not address.startswith(("http://", "https://")):
            continue
        if server := LOOPBACK.match(address):
            local = server[0]
            links.append({"text": f"{name} run {address.rpartition('/')[2][:SHORT]}", "href": ""})
        else:
            links.append({"text": name, "href": address})
    if local:
        links[-1]["text"] += f" (start it with make ui; then at {local})"
    return [{"label": "MLflow", "links": links}] if links else []


def facts(training: "Sequence[Mapping[str, Description]]", commit: Mapping | None) -> list[Fact]:
    """When and on what was trained, of one cell or of several; what was not recorded is left out."""
    records = [each[method] for each in training for method in NAMES]
    days = sorted({day[:10] for one in records if (day := str(one.get("finished") or ""))})
    machines = sorted({str(name) for one in records if (name := one.get("hardware"))})
    found: list[Fact] = []
    if days:
        found.append({"label": "Trained", "text": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"})
    if machines:
        found.append({"label": "On", "text": "; ".join(machines)})
    if commit:
        changed = " and uncommitted changes" if commit["dirty"] else ""
        found.append({"label": "Code", "text": f"commit {commit['commit'][:10]}{changed}"})
    return found


def _links(label: str, folder: Path, targets: Mapping[str, Path]) -> Links:
    links: list[Link] = [
        {"text": text, "href": quote(Path(os.path.relpath(path, folder)).as_posix())} for text, path in targets.items()
    ]
    return {"label": label, "links": links}


def _pages(label: str, folder: Path, targets: Mapping[str, Path]) -> Links:
    """Pages of other reports: links to those that are there by now, and the names of the others."""
    links = _links(label, folder, {text: path for text, path in targets.items() if path.is_file()})
    if missing := [text for text, path in targets.items() if not path.is_file()]:
        links["links"].append({"text": f"{', '.join(missing)} (not made when this page was written)", "href": ""})
    return links
