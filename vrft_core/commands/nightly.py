"""`vrft nightly`: is every model as good as its baseline? Evaluates each cell again, and what it rests on.

No stage of dvc.yaml: it makes nothing that others depend on, and runs whether or not anything has changed. Every part
may fail alone; the night still ends in a verdict, a row, a page and a notice.
"""

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from vrft_core import io, nights, notices, provenance, tracking
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.commands import golden
from vrft_core.commands.baseline import METHOD, PREDICTIONS, deciding, load_baseline, other
from vrft_core.errors import InputError
from vrft_core.evaluation.adversarial import rescore
from vrft_core.evaluation.intervals import intervals_over_seeds
from vrft_core.evaluation.regression import drift, holm, p_worse
from vrft_core.locks import exclusive, say
from vrft_core.params import Params
from vrft_core.report import trend
from vrft_core.report.verdict import points
from vrft_core.stages.evaluate import SEED, answers
from vrft_core.tasks import Task, get_task

COMPARISON = "comparison.json"


def nightly(layout: Layout, params: Params, keys: Sequence[str] = (), now: datetime | None = None) -> dict:
    """One night of these cells (of all under `nightly:` where none is named): evaluate, judge, record, tell.

    → the night as `nights` keeps it: {"at", "passed", "sentence", "cells", "rewards", "golden", "data", "run",
    "commit"}.
    Raises InputError where there is no cell to evaluate; trouble of a single part is part of the night.
    """
    cells = {key: params.parse_cell(key).at("cell") for key in keys or params.nightly.cells}
    if not cells:
        raise InputError("params.yaml", "nightly.cells names no cell", "list the cells to evaluate every night")
    with exclusive(layout.root / "runs/nightly.lock", "nightly"):
        commit = provenance.git(layout.root)
        past = nights.read(layout)
        night: dict[str, Any] = {
            "at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
            "commit": commit and commit["commit"],
            "cells": {key: _attempt(evaluate, layout, params, cell) for key, cell in cells.items()},
            "rewards": {name: _attempt(rewards, name) for name in sorted({params.task(c) for c in cells.values()})},
            "golden": None if keys or not params.nightly.golden else _attempt(train_golden, layout, params),
            "data": _attempt(check_data, layout, list(cells)),
        }
        judge(night, past, params)
        night["run"] = tracking.log_night(layout, night)
        trend.write(layout, nights.append(layout, night))
    subject = f"vrft nightly: {'passed' if night['passed'] else 'FAILED'}, {night['at'][:10]}"
    for trouble in notices.notify(subject, night["sentence"], _told(night)):
        say(trouble)
    return night


def evaluate(layout: Layout, params: Params, cell: Cell) -> dict:
    """Ask the cell's model everything again and compare. See `compare` for the result.

    Raises InputError where no baseline is recorded, or one for other evaluation data.
    """
    task, settings = get_task(params.task(cell)), params.task_settings(cell)
    baseline = load_baseline(layout, params, cell)
    with answers(layout, params, cell, METHOD, purpose="nightly") as (truth, categories, rows):
        if _asked(rows) != _asked(baseline):
            raise other(layout, cell, "answers other questions than are asked now")
        draws = params.recipe(cell).evaluation.draws
        found = compare(task, settings, truth, categories, rows, baseline, draws)
        directory = layout.runs(cell, "nightly")
        io.write_jsonl(directory / PREDICTIONS, rows)
        found |= {
            "title": deciding(params, cell).title,
            "baseline_digest": io.sha256(layout.baseline(cell) / PREDICTIONS),
            "weights": provenance.digest(layout.model(cell, METHOD)),
        }
        io.write_json(directory / COMPARISON, found)
    return found


def compare(
    task: Task, settings: Any, truth: Annotations, categories: list[int], now: list, baseline: list, draws: int
) -> dict:
    """The deciding metric of both, and their difference with its paired 95 % interval over images.

    → {"metric": its name, such as lvis/oracle/AP, "value", "low", "high", "baseline": its value there, "difference":
    {"value", "low", "high", "se"}, "metrics": {name: {"label", "value", "low", "high"}} of all that a report shows}.
    """
    scores = {
        name: task.metrics.scores(truth, rows, categories, settings)
        for name, rows in (("now", now), ("baseline", baseline))
    }
    found = intervals_over_seeds([scores], draws, SEED, differences=[("now", "baseline")])
    name = task.metrics.specs(settings)[0].name
    difference = found["differences"]["now-baseline"][name]
    if difference["high"] is None:
        raise InputError("evaluation split", "has no object to find", "add evaluation images")
    tonight = found["models"]["now"]
    ends = ("value", "low", "high")
    return {
        "metric": name,
        **{end: tonight[name][end] for end in ends},
        "baseline": found["models"]["baseline"][name]["value"],
        "difference": {**{end: difference[end] for end in ends}, "se": difference.get("se_images") or 0.0},
        "metrics": {
            metric: {"label": label, **{end: tonight[metric][end] for end in ends}}
            for metric, label in task.metrics.columns(settings)
            if metric in tonight
        },
    }


def rewards(name: str) -> dict:
    """The adversarial answers of a task, rewarded again."""
    found = rescore(get_task(name))
    wrong = [f"{one['case']}: {one['reward']} pays {one['paid']}, not {one['golden']}" for one in found["mismatches"]]
    return {"passed": not wrong, "cases": found["cases"], "said": "; ".join(wrong[:5])}


def train_golden(layout: Layout, params: Params) -> dict:
    cell = params.parse_cell(str(params.nightly.golden))
    recorded = golden.load_curve(layout, cell)
    return {"cell": cell.key, **golden.compare_curves(golden.train_again(layout, params, cell), recorded)}


def check_data(layout: Layout, keys: Sequence[str]) -> dict | None:
    """The data suites, by the program that has them; None where Great Expectations or Dagster is not installed.

    → {"passed", "suites", "said"}
    """
    if not all(map(importlib.util.find_spec, ("pipelines", "great_expectations", "dagster"))):
        return None
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipelines.data_suites", *keys],
        env=os.environ | {"VRFT_ROOT": str(layout.root.resolve())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["ended without a word"]
        raise InputError("data suites", lines[-1].removeprefix("vrft: "))
    found = json.loads(done.stdout.splitlines()[-1])
    broken = [line for one in found.values() for line in one["broken"]]
    return {
        "passed": not broken,
        "suites": sum(one["suites"] for one in found.values()),
        "said": "; ".join(broken[:5]),
    }


def judge(night: dict, past: list[dict], params: Params) -> None:
    """Give each cell its p-value, drift and verdict (good, worse, drifting, failed), and the night its sentence."""
    alpha, tolerance, cells = params.nightly.alpha, params.nightly.tolerance, night["cells"]
    compared = {key: row for key, row in cells.items() if "difference" in row}
    p_values = {key: p_worse(nights.difference(row), tolerance) for key, row in compared.items()}
    worse = holm({**dict.fromkeys(cells, 1.0), **p_values}, alpha)
    for key, row in cells.items():
        if key not in compared:
            row["verdict"] = "failed"
            continue
        so_far = nights.since_baseline([*past, night], key, row["baseline_digest"])
        drifted = drift(so_far, alpha / len(cells))
        row |= {
            "p": p_values[key],
            "drift": {"evidence": drifted.evidence, "nights": drifted.nights, "mean": drifted.mean},
            "verdict": "worse" if key in worse else "drifting" if drifted.found else "good",
        }
    others = [one for one in (*night["rewards"].values(), night["golden"], night["data"]) if one is not None]
    night["passed"] = all(row["verdict"] == "good" for row in cells.values()) and all(one["passed"] for one in others)
    night["sentence"] = _sentence(night, past)


def _sentence(night: dict, past: list[dict]) -> str:
    said = [text for key, row in night["cells"].items() if (text := _of_cell(key, row))]
    if missing := [key for key, row in night["cells"].items() if row.get("unrecorded")]:
        remedy = f"where a model is good, record it with `vrft baseline {missing[0]}`"
        said.append(f"no baseline is recorded for {', '.join(missing)}, so nothing was compared: {remedy}")
    said += [
        f"the rewards of {name} changed: {one['said']}" for name, one in night["rewards"].items() if not one["passed"]
    ]
    if night["golden"] and not night["golden"]["passed"]:
        differs = "cannot be compared" if night["golden"].get("unrecorded") else "differs"
        said.append(f"the golden training {differs}: {night['golden']['said']}")
    if night["data"] and not night["data"]["passed"]:
        said.append(f"data checks are broken: {night['data']['said']}")
    good = [key for key, row in night["cells"].items() if row["verdict"] == "good"]
    proved = [f"{len(good)} of {len(night['cells'])} models as good as their baselines"]
    if night["golden"] and night["golden"]["passed"]:
        proved.append(f"golden training: {night['golden']['said']}")
    if count := sum(one.get("cases", 0) for one in night["rewards"].values() if one["passed"]):
        proved.append(f"{count} adversarial answers paid as specified")
    if night["data"] and night["data"]["passed"]:
        proved.append(f"{night['data']['suites']} data suites hold")
    elif night["data"] is None:
        proved.append("data suites not run (Great Expectations is not installed)")
    now = datetime.fromisoformat(night["at"])
    late = [key for key in night["cells"] if nights.of_cell(past, key) and nights.missed(past, key, now)]
    if late:
        proved.append(f"a night was missed before this one for {', '.join(late)}")
    return f"FAILED: {'; '.join(said)}. Else: {'; '.join(proved)}." if said else f"Passed: {'; '.join(proved)}."


def _of_cell(key: str, row: dict) -> str | None:
    if row.get("unrecorded"):  # said of all such cells together
        return None
    if row["verdict"] == "failed":
        return f"{key} could not be evaluated: {row['said']}"
    if row["verdict"] == "worse":
        low, high = (points(row["difference"][end], True) for end in ("low", "high"))
        lost = points(-row["difference"]["value"])
        return f"{key} lost {lost} points of {row['title']} (95 % interval {low} to {high})"
    if row["verdict"] == "drifting":
        one = row["drift"]
        return (
            f"{key} drifts: {points(one['mean'], True)} points of {row['title']} on average over {one['nights']} nights"
        )
    return None


def _attempt(work, *arguments: object) -> dict | None:
    """What `work` returns, or {"passed": False, "said": what went wrong}: one part's trouble is not the night's end."""
    try:
        return work(*arguments)
    except golden.NotRecorded as error:
        return {"passed": False, "said": str(error), "unrecorded": True}
    except InputError as error:
        return {"passed": False, "said": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"passed": False, "said": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def _told(night: dict) -> dict:
    """What a webhook gets beside the sentence."""
    verdicts = {key: row["verdict"] for key, row in night["cells"].items()}
    return {"passed": night["passed"], "at": night["at"], "cells": verdicts, "commit": night["commit"]}


def _asked(rows: list[dict]) -> set[str]:
    return {row["id"] for row in rows}
