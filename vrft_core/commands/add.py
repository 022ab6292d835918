"""`vrft add` and `vrft remove`: put cells into the grid of params.yaml, and take them out. The file is edited as text.

The result is loaded and compared with what was meant before it replaces the file. Making a benchmark belongs to `init`.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from vrft_core import io, yaml_edit, yaml_text
from vrft_core.cell import Cell, Layout
from vrft_core.commands import paper
from vrft_core.commands.grid_text import examples, own_benchmarks, with_cells, without_cells
from vrft_core.commands.status import running
from vrft_core.errors import InputError
from vrft_core.params import Nightly, Params
from vrft_core.tasks import settings_models

DEFAULT = "mini"
COMPARED = "comparisons"


def add(
    root: Path,
    benchmark: str,
    recipe: str | None = None,
    shots: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[str]:
    """Put a cell for each of `shots` and `seeds` into the grid; `benchmark` may be `paper`: the cells of its tables; or
    `comparisons`: for each cell there of a recipe that others are compared with, theirs.

    Returns lines that say what was added. Existing cells stay. Raises InputError, with params.yaml untouched, for
    unknown names, and where recipe and benchmark do not fit.
    """
    _numbers("--seeds", seeds, 0)
    path = root / "params.yaml"
    text = yaml_text.read(path)
    params = Params.parse(text, path, settings_models())
    if benchmark in (paper.NAME, COMPARED):
        if given := [option for option, value in (("--recipe", recipe), ("--shots", shots)) if value is not None]:
            whose = "the paper's tables" if benchmark == paper.NAME else f"what {COMPARED} in params.yaml names"
            raise InputError(given[0], f"{whose} have their own", "leave it out, or name one benchmark")
        wanted = paper.cells(seeds) if benchmark == paper.NAME else _to_compare(params, path, seeds)
    else:
        wanted = [
            (benchmark, recipe or DEFAULT, k, seed) for k in _numbers("--shots", shots or (1,), 1) for seed in seeds
        ]
    cells = [_cell(params, path, *row) for row in wanted]
    new = [cell for cell in dict.fromkeys(cells) if cell.key not in params.grid.cells]
    if not new:
        return [f"{path}: nothing to add, the grid has {'all of these' if len(cells) > 1 else 'this'} already"]
    _replace(path, params, with_cells(text, params, new), [*params.cells(), *new])
    return [*_told(path, "added", new), f"next: vrft plan {new[0].key}", f"      vrft run {new[0].key}"]


def remove(
    root: Path,
    name: str,
    recipe: str | None = None,
    shots: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """Take cells out of the grid, and out of `nightly`.

    `name`: a benchmark, the key of a cell or study, `paper`, or `comparisons`: of all recipes compared with others.

    Recipe, shots and seeds narrow the choice where they are given. Where a benchmark of the user's own data is named
    alone, its entry goes, too, and the sheet that `vrft init` drew; all other files stay. Returns lines that say what
    was removed; raises InputError where nothing is meant.
    """
    path = root / "params.yaml"
    text = yaml_text.read(path)
    params = Params.parse(text, path, settings_models())
    if name == COMPARED:
        listed = {cell.key for cell in params.cells() if cell.recipe in params.comparisons}
    else:
        listed = {Cell(r, b, k, seed).key for b, r, k, seed in paper.cells(seeds or _seeds(params))}
    gone = [
        cell
        for cell in params.cells()
        if (name in (cell.benchmark, cell.key, cell.at("study").key, cell.at("setup").key) or
            (name in (paper.NAME, COMPARED) and cell.key in listed))
        and (recipe is None or cell.recipe == recipe)
        and (shots is None or cell.shots in shots)
        and (seeds is None or cell.seed in seeds)
    ]  # fmt: skip
    own = own_benchmarks(params)
    whole = [name] if name in own and not (recipe or shots or seeds) else []
    if not gone and not whole:
        known = sorted({cell.at("study").key for cell in params.cells()})
        raise InputError(path, f"the grid has no such cell of {name!r}", f"studies: {', '.join(known) or 'none'}")
    left = [cell for cell in params.cells() if cell not in gone]
    text = yaml_edit.remove(without_cells(text, params, gone, left), ("benchmarks",), whole)
    _replace(path, params, text, left, whole)
    for benchmark in whole:
        examples(root, benchmark).unlink(missing_ok=True)
    lines = _told(path, "removed", gone) if gone else []
    now = ", ".join(running(Layout(root), gone))
    lines += [f"warning: running now: {now}; a run of a removed cell fails at its next stage"] if now else []
    lines += [f"{path}: removed benchmark {name}; your images stay, `vrft init` adds them again"] if whole else []
    emptied = {cell.benchmark for cell in gone} - {cell.benchmark for cell in left} - set(whole)
    lines += [f"benchmark {kept} stays; to remove it: vrft remove {kept}" for kept in own if kept in emptied]
    return [*lines, "what was made stays under data/, models/, runs/ and reports/"]


def _cell(params: Params, path: Path, benchmark: str, recipe: str, shots: int, seed: int) -> Cell:
    """A cell that may stand in the grid. Raises InputError in one line where names or kinds of data do not fit."""
    if benchmark not in params.benchmarks:
        known = f"known: {', '.join(params.benchmarks)}, or {paper.NAME} or {COMPARED}"
        raise InputError(path, f"benchmarks: no benchmark {benchmark!r}", known)
    if recipe not in params.recipes:
        raise InputError(path, f"recipes: no recipe {recipe!r}", f"known: {', '.join(params.recipes)}")
    row, how = params.benchmarks[benchmark], params.recipes[recipe]
    able = [n for n, other in params.recipes.items() if row.kind(other.data) and row.task in other.tasks]
    remedy = f"take {', '.join(able)}" if able else "no recipe does"
    kind = row.kind(how.data)
    if kind is None:
        problem = f"recipe {recipe} needs {how.data} data, and benchmark {benchmark} has none"
        raise InputError(path, problem, remedy)
    if how.few_shot.published and not row.published:
        sets = [name for name, other in params.benchmarks.items() if other.published and other.task == row.task]
        problem = f"recipe {recipe} takes published few-shot sets, and {benchmark} has none"
        raise InputError(path, problem, f"take {', '.join(sets) or 'another recipe'}")
    if row.task not in how.tasks:
        problem = f"recipes.{recipe}.tasks has no block {row.task}, the task of {benchmark}"
        raise InputError(path, problem, remedy)
    cell = Cell(recipe, benchmark, shots, seed, data=kind)
    if Cell.parse(cell.key, list(params.recipes)) != cell:
        raise InputError(path, f"the key {cell.key} could mean another recipe", "rename the benchmark or the recipe")
    return cell


def _numbers(option: str, values: Sequence[int], least: int) -> Sequence[int]:
    if not values or min(values) < least:
        raise InputError(option, f"must be numbers of at least {least}", f"for example {option} {least}")
    return values


def _seeds(params: Params) -> list[int]:
    return sorted({cell.seed for cell in params.cells() if cell.seed is not None})


def _to_compare(params: Params, path: Path, seeds: Sequence[int]) -> list[tuple[str, str, int, int]]:
    """(benchmark, recipe, shots, seed): what is missing beside the cells in the grid."""
    pairs = params.comparisons.items()
    found = [
        (cell.benchmark, recipe, cell.shots, cell.seed or 0)
        for recipe, against in pairs
        for cell in params.cells()
        if cell.recipe == against and cell.seed in seeds
    ]
    if not found:
        others = ", ".join(dict.fromkeys(params.comparisons.values())) or "none"
        raise InputError(
            path, f"comparisons: the grid has no cell with these seeds of the recipes to compare with: {others}",
            "add those first: vrft add BENCHMARK --recipe RECIPE",
        )  # fmt: skip
    return found


def _replace(path: Path, before: Params, text: str, cells: Iterable[Cell], without: Collection[str] = ()) -> None:
    """Write the text if it means what is wanted: these cells, and else what it meant before, `without` benchmarks."""
    after = Params.parse(text, path, settings_models())
    old, new = before.model_dump(), after.model_dump()
    wanted = {cell.key for cell in cells}
    for name in without:
        del old["benchmarks"][name]
    if _rest(old) != _rest(new) or set(after.grid.cells) != wanted or after.nightly != _kept(before.nightly, wanted):
        raise InputError(path, "could not be changed without changing other rows", "edit its grid by hand")
    io.write_text(path, text)


def _rest(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in ("grid", "nightly")}


def _kept(nightly: Nightly, cells: set[str]) -> Nightly:
    kept = [key for key in nightly.cells if key in cells]
    return nightly.model_copy(update={"cells": kept, "golden": nightly.golden if nightly.golden in cells else None})


def _told(path: Path, what: str, cells: list[Cell]) -> list[str]:
    """One line a study."""
    studies: dict[str, list[int]] = {}
    for cell in cells:
        studies.setdefault(cell.at("study").key, []).append(cell.seed or 0)
    count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    lines = [f"  {study}: seeds {', '.join(map(str, sorted(seeds)))}" for study, seeds in studies.items()]
    return [f"{path}: {what} {count}", *lines]
