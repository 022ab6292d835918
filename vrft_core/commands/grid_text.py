"""The grid of params.yaml as text: rows of cells put in and taken out, and benchmarks of a user's own data."""

from collections.abc import Sequence
from pathlib import Path

from vrft_core import yaml_edit
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.params import Params, comparison_rows

BLOCKS = ("data", "setups", "cells", "studies")


def own_benchmarks(params: Params) -> list[str]:
    """Those that `vrft init` has added."""
    return [name for name, row in params.benchmarks.items() if row.train or row.folder]


def examples(root: Path, name: str) -> Path:
    """The sheet that `vrft init` draws of a folder that becomes the benchmark `name`."""
    return root / "reports" / f"{name}-examples.png"


def with_cells(text: str, params: Params, new: list[Cell]) -> str:
    """The text with the rows of new cells; those of a study that is there go behind its own."""
    rows = {name: {} for name in BLOCKS}
    seeds: dict[str, list[int]] = {}
    last = {cell.at("study").key: cell.key for cell in params.cells()}
    for cell in new:
        setup = {
            "benchmark": cell.benchmark,
            "recipe": cell.recipe,
            "task": params.task(cell),
            "data": cell.data,
        }
        study = cell.at("study").key
        seeds.setdefault(study, []).append(cell.seed or 0)
        rows["data"][cell.at("data").key] = {"benchmark": cell.benchmark, "data": cell.data}
        rows["setups"][cell.at("setup").key] = setup
        rows["cells"][cell.key] = {**setup, "shots": cell.shots, "seed": cell.seed}
        rows["studies"][study] = {**setup, "shots": cell.shots, "seeds": seeds[study]}
    behind = {cell.key: last[cell.at("study").key] for cell in new if cell.at("study").key in last}
    for name in BLOCKS:
        text = yaml_edit.add(text, ("grid", name), rows[name], behind if name == "cells" else None)
    for study in set(seeds) & set(params.grid.studies):
        text = yaml_edit.append(text, ("grid", "studies", study, "seeds"), seeds[study])
    text = yaml_edit.append(text, ("grid", "recipes"), dict.fromkeys(cell.recipe for cell in new))
    return _with_comparisons(text, params, [*params.cells(), *new])


def without_cells(text: str, params: Params, gone: list[Cell], left: list[Cell]) -> str:
    """The text without the rows of cells; `left`: those that stay."""
    keys = {cell.key for cell in gone}
    if keys & set(params.nightly.cells):
        text = yaml_edit.remove(text, ("nightly", "cells"), keys)
    if params.nightly.golden in keys:
        text = yaml_edit.put(text, ("nightly", "golden"), None)
    text = yaml_edit.remove(text, ("grid", "cells"), {cell.key for cell in gone})
    for block, scope in (("data", "data"), ("setups", "setup"), ("studies", "study")):
        unused = {c.at(scope).key for c in gone} - {c.at(scope).key for c in left}
        text = yaml_edit.remove(text, ("grid", block), unused)
    for study in {cell.at("study").key for cell in left} & {cell.at("study").key for cell in gone}:
        seeds = {cell.seed for cell in gone if cell.at("study").key == study}
        text = yaml_edit.remove(text, ("grid", "studies", study, "seeds"), seeds)
    text = yaml_edit.remove(text, ("grid", "recipes"), {c.recipe for c in gone} - {c.recipe for c in left})
    return _with_comparisons(text, params, left)


def _with_comparisons(text: str, params: Params, cells: Sequence[Cell]) -> str:
    """The text with the rows of `grid.comparisons` that a grid of these cells has."""
    rows, have = comparison_rows(params, cells), params.grid.comparisons
    if not rows and not have:
        return text
    at = ("grid", "comparisons")
    try:
        text = yaml_edit.remove(text, at, set(have) - set(rows))
        text = yaml_edit.add(text, at, rows)
        for key in set(rows) & set(have):
            if rows[key]["seeds"] != have[key].seeds:
                text = yaml_edit.put(text, (*at, key, "seeds"), rows[key]["seeds"])
    except KeyError:
        raise InputError("params.yaml", "grid has no block `comparisons`", "write `comparisons: {}` there") from None
    return text
