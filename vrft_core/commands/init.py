"""`vrft init`: a user's own data becomes a benchmark, and cells of it, in params.yaml.

Lines are inserted as text where the blocks end: comments, order and spelling of what is there stay as they are.
Checking the data belongs to `sources.files`; labelled folders to `init_folder`.
"""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from vrft_core import io, yaml_edit
from vrft_core.annotations import SPLITS, Annotations
from vrft_core.cell import Cell
from vrft_core.commands.checkups.enough import HOPED, half, images_for, seen_once
from vrft_core.commands.grid_text import own_benchmarks
from vrft_core.commands.init_categories import many, pick, some
from vrft_core.errors import InputError
from vrft_core.params import Benchmark, Folder, Params
from vrft_core.sources import files, folders
from vrft_core.tasks import load_params, settings_models

FEW_TAUGHT = 4  # training images: fewer teach next to nothing


def init(
    root: Path,
    name: str,
    train: tuple[Path, Path],
    evaluation: tuple[Path, Path],
    recipe: str,
    shots: int,
    seeds: Sequence[int],
    categories: Sequence[str] | None,
    task: str,
) -> list[str]:
    """Add benchmark `name` to params.yaml; returns lines that say what was added and what to type next.

    `train` and `evaluation` are (annotation file, image folder). Without `categories`, those with enough usable
    training images and at least one evaluation image are taken and written out. Raises InputError, with params.yaml
    untouched, for a bad name, for data that `files.read` refuses and for categories short of images.
    """
    params, cells = cells_of(root, name, recipe, shots, seeds)
    benchmark: dict = {
        "task": task,
        "train": _split(root, *train),
        "eval": _split(root, *evaluation),
    }
    found = files.read(Benchmark.model_validate(benchmark), root)
    for split, digest in found.digests.items():
        benchmark[split]["sha256"] = digest
    source = Annotations.from_dict(found.data)
    return [*found.remarks, *add_benchmark(root, params, cells, benchmark, source, categories)]


def cells_of(root: Path, name: str, recipe: str, shots: int, seeds: Sequence[int]) -> tuple[Params, list[Cell]]:
    """The parameters as they are, and the cells to add. Raises InputError for names that cannot be added."""
    params = load_params(root / "params.yaml")
    cells = [Cell(recipe, name, shots, seed, data="own") for seed in sorted(seeds)]
    _check_names(params, root / "params.yaml", name, recipe, shots, cells)
    return params, cells


def add_benchmark(
    root: Path,
    params: Params,
    cells: list[Cell],
    benchmark: dict,
    source: Annotations,
    categories: Sequence[str] | None,
) -> list[str]:
    """Write the benchmark and its cells to params.yaml; returns lines that say so, the next command last."""
    path, (first, task) = root / "params.yaml", (cells[0], benchmark["task"])
    name, recipe, shots = first.benchmark, first.recipe, first.shots
    enough = 1 if params.recipes[recipe].few_shot.when_short == "all" else shots
    benchmark["categories"], left_out = pick(source, enough, categories)

    text = _insert(path.read_text(encoding="utf-8"), ("benchmarks",), {name: benchmark})
    for scope, rows in _grid_rows(cells, task).items():
        text = yaml_edit.add(text, ("grid", scope), rows)
    text = yaml_edit.append(text, ("grid", "recipes"), [recipe])
    _check_result(params, path, text, name)
    io.write_text(path, text)

    splits = ", ".join(f"{len(source.split(s).images)} {s}" for s in SPLITS)
    scored = len(source.split("eval").images)
    taught = shots * len(benchmark["categories"])
    hint = many(source, benchmark, name) if not categories else []
    short = f"warning: few training images are taken (at most {taught}); for more: --shots"
    few = (
        f"warning: {scored} evaluation images show only differences of {math.ceil(half(scored))} points or more; "
        f"for {HOPED:.0f} points use {images_for(HOPED)} or more"
    )
    ids = source.chosen(benchmark["categories"])
    once = [f"warning: in one evaluation image only: {some(found)}"] if (found := seen_once(source, ids)) else []
    return [
        f"{path}: added benchmark {name} ({splits} images), categories: {some(benchmark['categories'])}",
        *left_out,
        *hint,
        *([short] if taught < FEW_TAUGHT else []),
        *([few] if scored < images_for(HOPED) else []),
        *once,
        f"check first: vrft stage raw --cell {cells[0].at('data').key}; vrft doctor {cells[0].key}",
        f"next: vrft run {cells[0].key}",
    ]


def update(root: Path, name: str) -> list[str]:
    """Take a benchmark's annotation files as they are now: check the data, and write their digests to params.yaml."""
    path = root / "params.yaml"
    params = load_params(path)
    benchmark = params.benchmarks.get(name)
    if benchmark and benchmark.folder:
        return [_update_folder(path, root, benchmark.folder)]
    if benchmark is None or benchmark.train is None or benchmark.eval is None:
        own = sorted(own_benchmarks(params))
        raise InputError(path, f"benchmarks: {name!r} has no files of its own", f"known: {', '.join(own) or 'none'}")
    found = files.read(benchmark, root)
    text, said = path.read_text(encoding="utf-8"), found.remarks
    for name, split in (("train", benchmark.train), ("eval", benchmark.eval)):
        new = found.digests[name]
        text = text.replace(split.sha256, new)
        said.append(f"{split.annotations}: {'unchanged' if new == split.sha256 else 'taken as it is now'}")
    io.write_text(path, text)
    return said


def _update_folder(path: Path, root: Path, folder: Folder) -> str:
    folders.read(root / folder.path, folder.format)
    new = folders.digest(root / folder.path, folder.format)
    io.write_text(path, path.read_text(encoding="utf-8").replace(folder.sha256, new))
    return f"{folder.path}: {'unchanged' if new == folder.sha256 else 'taken as it is now'}"


def _split(root: Path, file: Path, images: Path) -> dict[str, str]:
    return {
        "annotations": stored_path(root, file),
        "images": stored_path(root, images),
        "sha256": files.digest(root / stored_path(root, file)),
    }


def _check_names(params: Params, path: Path, name: str, recipe: str, shots: int, cells: list[Cell]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 40:
        raise InputError(
            f"name {name!r}",
            "must be lowercase letters, digits and single dashes, a letter first",
            "for example my-data",
        )
    if name in params.benchmarks or name in params.recipes:
        undo = f"take it out first: vrft remove {name}; or " if name in own_benchmarks(params) else ""
        raise InputError(
            path, f"{name!r} is already a benchmark or a recipe", f"{undo}choose another name, as with --name"
        )
    if recipe not in params.recipes:
        raise InputError(path, f"recipes: no recipe {recipe!r}", f"known: {', '.join(sorted(params.recipes))}")
    if shots < 1:
        raise InputError("--shots", f"must be at least 1, is {shots}", "for example --shots 4")
    if not cells or min(cell.seed or 0 for cell in cells) < 0:
        raise InputError("--seeds", "must be numbers of at least 0", "for example --seeds 0 1 2")
    if len(set(cells)) < len(cells):
        raise InputError("--seeds", "the same number twice", "each makes one cell: name different ones")
    for cell in cells:
        if Cell.parse(cell.key, list(params.recipes)) != cell:
            raise InputError(f"name {name!r}", f"makes the key {cell.key} ambiguous", "choose another name")


def stored_path(root: Path, path: Path) -> str:
    """Relative to the root where the path lies inside it, else absolute."""
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else absolute.as_posix()


def _grid_rows(cells: list[Cell], task: str) -> dict[str, dict[str, dict]]:
    first = cells[0]
    setup = {"benchmark": first.benchmark, "recipe": first.recipe, "task": task, "data": first.data}
    return {
        "data": {first.at("data").key: {"benchmark": first.benchmark, "data": first.data}},
        "setups": {first.at("setup").key: setup},
        "cells": {cell.key: {**setup, "shots": cell.shots, "seed": cell.seed} for cell in cells},
        "studies": {first.at("study").key: {**setup, "shots": first.shots, "seeds": [cell.seed for cell in cells]}},
    }


def _insert(text: str, at: tuple[str, ...], rows: dict[str, dict]) -> str:
    """Put `rows` at the end of the block mapping that lies under the keys `at`."""
    node = _node(text, at)
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        raise InputError("params.yaml", f"{'.'.join(at)} must be a block with one row a line", "spread it over lines")
    lines = text.splitlines(keepends=True)
    end = node.end_mark.line
    while not lines[end - 1].split("#")[0].strip():
        end -= 1
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    indent = " " * node.value[0][0].start_mark.column
    new = [indent + line for key, row in rows.items() for line in _block(key, row)]
    return "".join(lines[:end] + new + lines[end:])


def _node(text: str, at: tuple[str, ...]) -> yaml.Node:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in at:
        node = next(value for k, value in node.value if k.value == key)
    return node


def _block(key: str, row: dict) -> list[str]:
    """A row of the grid on one line; a benchmark with one field a line."""

    def flow(value) -> str:
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).strip()

    if "benchmark" in row:
        return [f"{key}: {flow(row)}\n"]
    return [f"{key}:\n"] + [f"  {k}: {v if isinstance(v, str) else flow(v)}\n" for k, v in row.items()]


def _check_result(before: Params, path: Path, text: str, name: str) -> None:
    """The new text must mean the old parameters and the new rows, nothing else. Raises InputError as Params.load."""
    after = Params.parse(text, path, settings_models())
    old, new = before.model_dump(), after.model_dump()
    del new["benchmarks"][name]
    new["grid"]["recipes"] = new["grid"]["recipes"][: len(old["grid"]["recipes"])]
    for rows in ("data", "setups", "cells", "studies"):
        new["grid"][rows] = {k: v for k, v in new["grid"][rows].items() if v["benchmark"] != name}
    if old != new:
        raise InputError(path, "could not be extended without changing other rows", "add the benchmark by hand")
