"""`vrft overview`: one page that compares reports which were made before, of any cells and studies."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.commands.outside import kept
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.report import overview as page

if TYPE_CHECKING:
    from vrft_core.report.overview import Report

PAGE = "reports/overview.html"


def overview(layout: Layout, params: Params, wanted: Sequence[Cell], out: Path | None = None) -> list[str]:
    """Write the page, `reports/overview.html` where `out` is None; returns lines that say what it compares.

    `wanted`: cells and studies; none: every study of the grid that has a report, else its cells. Raises InputError for
    one without a report, and where there is no report at all.
    """
    out = out or layout.root / PAGE
    chosen = list(dict.fromkeys(wanted)) or _made(layout, params)
    if not chosen:
        raise InputError("reports", "hold no report of this grid", "make one: vrft run CELL")
    groups: dict[str, list[tuple[Report, str]]] = {}
    beside = {}
    for cell in chosen:
        path = layout.report(cell) / "metrics.json"
        if not path.is_file():
            raise InputError(path, "no such report", f"make it: vrft run {cell.key}")
        address = Path(os.path.relpath(path.with_name("report.html"), out.resolve().parent)).as_posix()
        results = io.read_json(path)
        groups.setdefault(cell.at("setup").key, []).append((results, quote(address)))
        beside[cell.key] = kept(layout, cell, results)
    for rows in groups.values():
        rows.sort(key=lambda row: (row[0]["shots"] or 0, row[0].get("seed", -1)))
    io.write_text(out, page.html(groups, beside))
    every = [one for rows in groups.values() for one, _ in rows]
    return [page.headline(every), f"Page: {out}"]


def _made(layout: Layout, params: Params) -> list[Cell]:
    found: list[Cell] = []
    for study in dict.fromkeys(cell.at("study") for cell in params.cells()):
        cells = [cell for cell in params.cells() if cell.at("study") == study]
        found += [study] if _has(layout, study) else [cell for cell in cells if _has(layout, cell)]
    return found


def _has(layout: Layout, cell: Cell) -> bool:
    return (layout.report(cell) / "metrics.json").is_file()
