"""The grid as a table on a terminal: what `vrft status` prints."""

import shutil
import sys
from collections.abc import Sequence

import click

from vrft_core.cli.costs import cost_table, cost_text
from vrft_core.commands.status import FAILED, FRESH, MADE, NEVER, RUNNING, STALE, Status, result_text
from vrft_core.commands.telling import WIDEST

MARKS = {
    FRESH: ("●", "green"), MADE: ("●", None), STALE: ("○", "yellow"), RUNNING: ("▶", "cyan"), FAILED: ("✗", "red"),
    NEVER: ("·", "bright_black"),
}  # fmt: skip
MEANINGS = {
    FRESH: "up to date", MADE: "made", STALE: "stale", RUNNING: "running", FAILED: "failed", NEVER: "not made yet",
}  # fmt: skip


def table(rows: Sequence[Status]) -> str:
    """Cells × stages, then studies; a result stands behind its row where the terminal is wide enough, else below."""
    if not rows:
        return "The grid of params.yaml has no cells; `vrft add` puts some in."
    cells, studies = [row for row in rows if "study" not in row.stages], [row for row in rows if "study" in row.stages]
    width = max(len(row.key) for row in rows)
    lines = []
    for group in (cells, studies):
        if not group:
            continue
        names = list(dict.fromkeys(name for row in group for name in row.stages))
        spent = [cost_text(row.cost) for row in group]
        wide = max(map(len, spent))
        lines += ["", f"{'':<{width}}  {'  '.join(names)}" + ("  cost" if wide else "")]
        for row, cost in zip(group, spent, strict=True):
            marks = "  ".join(
                _mark(row.stages[name], len(name)) if name in row.stages else " " * len(name) for name in names
            )
            line = f"{row.key:<{width}}  {marks}" + (f"  {cost:<{max(wide, 4)}}" if wide else "")
            lines.append(
                _with_result(line.rstrip(), _plain_width(width, names) + (2 + max(wide, 4) if wide else 0), row)
            )
            lines += [f"  {name} failed: {error}" for name, error in row.failures.items()]
    if len(rows) == 1 and rows[0].costs:
        lines += ["", cost_table(rows[0].costs)]
    used = {state for row in rows for state in row.stages.values()}
    lines += ["", "   ".join(f"{_mark(state)} {text}" for state, text in MEANINGS.items() if state in used)]
    return "\n".join(lines[1:])


def _with_result(line: str, used: int, row: Status) -> str:
    text = result_text(row.result)
    if not text or row.result is None:
        return line
    text = f"{row.result['title']} {text}"
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
    return f"{line}  {text}" if used + 2 + len(text) <= room else f"{line}\n    {text}"


def _plain_width(width: int, names: Sequence[str]) -> int:
    return width + sum(2 + len(name) for name in names)


def _mark(state: str, width: int = 1) -> str:
    mark, colour = MARKS[state]
    return click.style(f"{mark:^{width}}", fg=colour)
