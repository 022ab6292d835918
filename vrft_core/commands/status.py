"""`vrft status`: which stages of which cells are made, out of date, running or failed, and what came out.

DVC knows what is out of date; it is run as a program. Without DVC every finished stage counts as made.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from vrft_core import costs, disk, io
from vrft_core.cell import Cell, Layout
from vrft_core.commands.texts import interval
from vrft_core.errors import InputError
from vrft_core.locks import DVC_IS_BUSY, dvc_holders, is_held
from vrft_core.outcomes import outcome
from vrft_core.params import Params
from vrft_core.report.verdict import finds_nothing, points
from vrft_core.stages import OF_SOME, SCOPES, STAGES, lock_file, outcome_file

FRESH, MADE, STALE, RUNNING, FAILED, NEVER = "fresh", "made", "stale", "running", "failed", "never"
OF_A_CELL = tuple(name for name in STAGES if name != "study")


@dataclass(frozen=True)
class Status:
    """One row: `stages` name → state, `failures` name → the error in one line, `result` of a finished report."""

    key: str
    stages: Mapping[str, str]
    failures: Mapping[str, str] = field(default_factory=dict)
    result: dict | None = None
    costs: Mapping[str, dict] = field(default_factory=dict)
    cost: dict | None = None
    disk: Mapping[str, int] = field(default_factory=dict)


def status(layout: Layout, params: Params, keys: Sequence[Cell]) -> tuple[list[Status], str]:
    """The rows of these cells and studies; and, if it is not known what is stale, the reason (else empty).

    `result`: {"metric", "title", "nothing", "value", "low", "high", "difference": {"value", "low", "high"}} of RFT, and
    of RFT against SFT; shares of 1; `nothing`: no model finds anything. None where there is no report. `costs`: stage →
    what its last result cost, see `costs.latest`; `cost`: of those stages added that no other cell shares. `disk`:
    bytes, see `disk.of_cell`.
    """
    stale, why = _changed(layout.root)
    return [_row(layout, params, cell, stale) for cell in keys], why


def _row(layout: Layout, params: Params, cell: Cell, stale: set[str] | None) -> Status:
    states, failures = {}, {}
    of_a_study = ("study", *(OF_SOME if cell.scope == "study" and params.compared(cell) else ()))
    for name in OF_A_CELL if cell.scope == "cell" else of_a_study:
        own = cell.at(SCOPES[name])
        states[name] = state(layout, own, name, stale)
        if states[name] == FAILED:
            failures[name] = outcome(outcome_file(layout, own, name)).get("error", "")
    spent = {name: costs.latest(costs.cost_file(layout, cell.at(SCOPES[name]), name)) for name in states}
    known = {name: cost for name, cost in spent.items() if cost}
    own = costs.added([cost for name, cost in known.items() if SCOPES[name] == cell.scope])
    return Status(cell.key, states, failures, result_of(layout, cell), known, own, disk.of_cell(layout, cell))


def state(layout: Layout, cell: Cell, name: str, stale: set[str] | None) -> str:
    """Of one stage; `cell`: of the stage's own scope; `stale`: `stage@key` of what DVC would run again."""
    if is_held(lock_file(layout, cell, name)):
        return RUNNING
    made, last = outputs(layout, cell, name), outcome(outcome_file(layout, cell, name))
    there = made.exists()
    if "error" in last and not (there and made.stat().st_mtime > last.get("at", 0)):
        return FAILED
    if not there:
        return NEVER
    if stale is None:
        return MADE
    return STALE if f"{name}@{cell.key}" in stale else FRESH


def running(layout: Layout, cells: Iterable[Cell]) -> list[str]:
    """`stage@key` of what runs now, of these cells' stages."""
    stages = dict.fromkeys((name, cell.at(SCOPES[name])) for cell in cells for name in OF_A_CELL)
    return [f"{name}@{own.key}" for name, own in stages if is_held(lock_file(layout, own, name))]


def outputs(layout: Layout, cell: Cell, name: str) -> Path:
    """What a stage makes, or the last of it."""
    match name:
        case "raw":
            return layout.raw(cell)
        case "few_shot":
            return layout.few_shot(cell)
        case "prompts":
            return layout.prompts(cell)
        case "policy":
            return layout.policy(cell)
        case "sft" | "rft":
            return layout.model(cell, name)
        case "report" | "study":
            return layout.report(cell)
        case "comparison":
            return layout.comparison(cell)
    return layout.evaluation(cell, name.removesuffix("_eval")) / "metrics.json"


def result_of(layout: Layout, cell: Cell) -> dict | None:
    """What a report says of RFT by the deciding metric, see `status`; None where there is none that can be read."""
    try:
        found = io.read_json(layout.report(cell) / "metrics.json")
        metric = found["verdict"]["metric"]
        rft, difference = found["models"]["rft"][metric], found["differences"]["rft-sft"][metric]
        names = ("value", "low", "high")
        return {
            "metric": metric, "title": found["verdict"]["title"],
            "nothing": finds_nothing(found), **{name: rft[name] for name in names},
            "difference": {name: difference[name] for name in names},
        }  # fmt: skip
    except (InputError, OSError, KeyError, TypeError):
        return None


def result_text(result: dict | None) -> str:
    """`35.0 (31.2 to 38.9), RFT − SFT +0.3 (−1.6 to +2.3)`, in points of 100."""
    if result is None or result["value"] is None:
        return ""
    if result["nothing"]:
        return "0.0 before and after training: no model finds anything"
    text = f"{points(result['value'])} ({interval(result)})"
    gain = result["difference"]
    if gain["value"] is None:
        return text
    return f"{text}, RFT − SFT {points(gain['value'], True)} ({interval(gain, True)})"


def _changed(root: Path) -> tuple[set[str] | None, str]:
    """Stages that DVC would run again (`stage@key`), or None and the reason why this is not known."""
    if find_spec("dvc") is None:
        return None, "DVC is not installed, so nothing can say what is out of date"
    if not (root / ".dvc").is_dir():
        return None, f"{root} is no DVC project, so nothing can say what is out of date; `dvc init` makes it one"
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(
        command, cwd=root, env=os.environ | {"DVC_NO_ANALYTICS": "1"}, capture_output=True, text=True, check=False
    )
    try:
        return set(json.loads(done.stdout)), ""
    except ValueError:
        if DVC_IS_BUSY.search(done.stderr):
            return None, _busy(dvc_holders(root, done.stderr))
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return None, f"DVC cannot say what is out of date: {' '.join(last)[:200]}"


def _busy(holders: Mapping[str, str]) -> str:
    """`holders`: as `dvc_holders` gives them."""
    runs = [pid for pid, command in holders.items() if re.search(r"\brepro\b", command)]
    who = f" (process {', '.join(runs or holders)})" if holders else ""
    what = "a run is in progress" if runs else "another process works with DVC"
    return f"{what}{who}; until it ends, nothing can say what is out of date"
