"""The record of the nights: one JSON line for each night in reports/nightly/, and queries on it.

How a night is judged belongs to `evaluation.regression`, what it does to `commands.nightly`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.regression import Difference

LATE = timedelta(hours=26)  # a night and two hours for the evaluation
KEPT = 400  # nights


def folder(layout: Layout) -> Path:
    return layout.root / "reports/nightly"


def page(layout: Layout) -> Path:
    return folder(layout) / "index.html"


def data_record(layout: Layout, cell: Cell) -> Path:
    """What the data suites last said of a cell's data."""
    return folder(layout) / "data" / f"{cell.key}.json"


def read(layout: Layout) -> list[dict]:
    """Every night kept, oldest first."""
    path = _file(layout)
    return io.read_jsonl(path) if path.is_file() else []


def append(layout: Layout, night: dict) -> list[dict]:
    """Add a night to the record; returns all that are kept."""
    nights = [*read(layout), night][-KEPT:]
    io.write_jsonl(_file(layout), nights)
    return nights


def of_cell(nights: Sequence[dict], cell: str) -> list[dict]:
    """What the nights say of one cell, oldest first; those that could not evaluate it are left out."""
    rows = [{**night["cells"][cell], "at": night["at"]} for night in nights if cell in night["cells"]]
    return [row for row in rows if "difference" in row]


def since_baseline(nights: Sequence[dict], cell: str, baseline: str) -> list[Difference]:
    """The cell's nights against this baseline, as `regression.drift` takes them."""
    return [difference(row) for row in of_cell(nights, cell) if row["baseline_digest"] == baseline]


def difference(row: dict) -> Difference:
    return Difference(*(row["difference"][name] for name in ("value", "low", "high", "se")))


def missed(nights: Sequence[dict], cell: str, now: datetime) -> str | None:
    """What to say where the cell's last evaluation is more than a night ago; None where it is not."""
    rows = of_cell(nights, cell)
    if not rows:
        return f"{cell} was never evaluated at night"
    last = datetime.fromisoformat(rows[-1]["at"])
    if now - last <= LATE:
        return None
    hours = (now - last).total_seconds() / 3600
    return f"{cell} was last evaluated {last.astimezone(UTC):%F %H:%M} UTC, {hours:.0f} h ago"


def _file(layout: Layout) -> Path:
    return folder(layout) / "nights.jsonl"
