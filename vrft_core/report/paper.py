"""The tables of the Visual-RFT paper (arXiv 2503.01785, tables 2 to 8) as data, and a report's results beside them.

`paper.json` holds every number as printed, which of params.yaml's benchmarks has which column (`here`), the gains and
claims made of them, and where the paper disagrees with itself. What the report shows of it is in the templates.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from vrft_core.evaluation.scores import Ends, Intervals
from vrft_core.params import Policy
from vrft_core.report.rows import Beside, PaperTable

METHODS = ("base", "sft", "rft")
MEAN_TOLERANCE = 0.1 + 1e-9  # the mean and its cells are both rounded to one decimal
GAIN_TOLERANCE = 0.05 + 1e-9  # gains are differences of printed cells


@cache
def load() -> dict[str, Any]:
    """The content of paper.json. Do not change it."""
    return json.loads(files("vrft_core.report").joinpath("paper.json").read_text(encoding="utf-8"))


def cells(table: int, policy: str, method: str, shots: int | None) -> dict[str, float] | None:
    """Column → points of 100 of one row; None: no such row. Some rows hold for all shots, as the untouched policy's."""
    found = next(one for one in load()["tables"] if one["table"] == table)
    for row in found["rows"]:
        if (row["policy"], row["method"]) == (policy, method) and row["shots"] in (None, shots):
            return dict(zip(found["columns"], row["values"], strict=True))
    return None


def _row(table: int, policy: str, method: str, shots: int | None) -> dict[str, float]:
    """`cells` of a row that paper.json itself refers to."""
    found = cells(table, policy, method, shots)
    assert found, f"paper.json has no {method} of {policy} in table {table}"
    return found


def policy_name(policy: Policy) -> str | None:
    """What the paper's tables call a recipe's policy, `qwen2-vl-2b`; None for one that is pre-trained here."""
    return policy.hub and policy.hub.repo.rsplit("/", 1)[-1].lower().removesuffix("-instruct")


def compare(
    results: Intervals, categories: list[str], benchmark: str, policy: str | None, shots: int
) -> PaperTable | None:
    """A report's results beside the matching rows of the paper; None where the paper has none.

    `categories`: names of those that were evaluated. Where questions were asked in another way than the paper's, the
    metric of the same definition stands beside it.
    Rows: first the methods, then the gains over the untouched policy.
    """
    for table in load()["tables"]:
        if benchmark not in table["here"]:
            continue
        column = table["here"][benchmark]
        printed = {method: cells(table["table"], policy or "", method, shots) for method in METHODS}
        if printed["base"] and (printed["sft"] or printed["rft"]):
            shown = {m: row[column] for m, row in printed.items() if row}
            return _beside(results, categories, table, column, policy, shots, shown)
    return None


_SHOWN: Final = ("value", "low", "high")


def _beside(
    results: Intervals,
    categories: list[str],
    table: Mapping[str, Any],
    column: str,
    policy: str | None,
    shots: int,
    printed: dict[str, float],
) -> PaperTable:
    metric = _here(table["metric"], results["models"]["base"])

    def entry(label: str, paper: float, found: Ends | None) -> Beside:
        known = {name: found.get(name) if found else None for name in _SHOWN}
        here = {name: None if value is None else 100 * value for name, value in known.items()}
        low, high = here["low"], here["high"]
        return {
            "label": label,
            "paper": paper,
            "here": here,
            "inside": None if low is None or high is None else low <= paper <= high,
        }

    rows = [entry(method, value, results["models"][method].get(metric or "")) for method, value in printed.items()]
    gains = {m: round(v - printed["base"], 1) for m, v in printed.items() if m != "base"}
    differences = {m: results["differences"].get(f"{m}-base", {}).get(metric or "") for m in gains}
    rows += [entry(f"{m}-base", gain, differences[m]) for m, gain in gains.items()]
    claims = [
        entry(gain["claim"], gain["value"], differences[gain["method"]])
        for gain in load()["gains"]
        if "claim" in gain
        and (gain["table"], gain["policy"], gain["column"]) == (table["table"], policy, column)
        and gain["shots"] in (None, shots)
    ]
    notes = [
        f"{one['note']} (table {one['table']}, {one['policy']}, {one['method']}: {', '.join(one['columns'])})"
        for one in load()["inconsistencies"]
        if (one["table"], one["policy"]) == (table["table"], policy) and one["shots"] in (None, shots)
    ]
    notes.insert(0, table["caveat"])
    averaged = {name.replace("_", " ") for name in table["mean"].get(column, ())}
    if averaged and averaged != {name.replace("_", " ") for name in categories}:
        notes.insert(0, "The paper's mean is over other categories than this report's: the two do not compare.")
    return {
        "table": table["table"],
        "title": table["title"],
        "metric": metric,
        "paper_metric": table["metric"],
        "rows": rows,
        "claims": claims,
        "notes": notes,
    }


def _here(printed: str | None, known: Collection[str]) -> str | None:
    """The metric that has the first and the last part of its name in common with the printed one."""
    if printed is None or printed in known:
        return printed
    ends = printed.split("/")[0], printed.split("/")[-1]
    return next((name for name in known if (name.split("/")[0], name.split("/")[-1]) == ends), printed)


def inconsistencies() -> list[tuple]:
    """Where the printed numbers disagree with each other, found by arithmetic.

    → (table, policy, shots, method, columns, kind) as in paper.json's list: `mean` of a row's cells, `gain` over the
    untouched policy, `start` of a claim, `copied` cells of a trained policy in two tables.
    """
    found = []
    for table in load()["tables"]:
        for row in table["rows"]:
            values = dict(zip(table["columns"], row["values"], strict=True))
            for column, weights in table["mean"].items():
                mean = sum(values[name] * weight for name, weight in weights.items()) / sum(weights.values())
                if abs(mean - values[column]) > MEAN_TOLERANCE:
                    found.append((table["table"], row["policy"], row["shots"], row["method"], (column,), "mean"))
    for gain in load()["gains"]:
        table, policy, shots, method, column = (gain[k] for k in ("table", "policy", "shots", "method", "column"))
        after, before = (_row(table, policy, m, shots)[column] for m in (method, "base"))
        if abs(after - before - gain["value"]) > GAIN_TOLERANCE:
            found.append((table, policy, shots, method, (column,), "gain"))
    for start in load()["started_at"]:
        if _row(start["table"], start["policy"], "base", None)[start["column"]] != start["value"]:
            found.append((start["table"], start["policy"], None, "base", (start["column"],), "start"))
    return found + _copied()


def _copied() -> list[tuple]:
    found = []
    tables = {table["table"]: table for table in load()["tables"]}
    shared = tuple(name for name in tables[4]["columns"][1:] if name in tables[8]["columns"])
    for a in tables[4]["rows"]:
        for b in tables[8]["rows"]:
            if a["method"] == "base" or (a["policy"], a["method"]) != (b["policy"], b["method"]):
                continue
            left, right = (
                dict(zip(tables[number]["columns"], row["values"], strict=True)) for number, row in ((4, a), (8, b))
            )
            if all(left[name] == right[name] for name in shared):
                for number, row in ((4, a), (8, b)):
                    found.append((number, row["policy"], row["shots"], row["method"], shared, "copied"))
    return found
