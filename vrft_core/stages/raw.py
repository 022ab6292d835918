"""Stage `raw`: a source → its images and one annotation file in the project's schema, with content hashes."""

import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from vrft_core import sources
from vrft_core.annotations import SPLITS, Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Benchmark, Params
from vrft_core.sources import files, folders, scenes


def raw(layout: Layout, params: Params, cell: Cell) -> dict:
    benchmark = params.benchmark(cell)
    directory = layout.raw(cell)
    if benchmark.folder:
        folders.write(directory, benchmark.folder, layout.root)
    elif cell.data == "own":
        files.write(directory, benchmark, layout.root)
    elif cell.data == "embedded" and benchmark.embedded:
        scenes.write(directory, benchmark.embedded)
    elif cell.data == "official" and benchmark.official:
        source = sources.get(benchmark.official)
        source.write(directory, _settings(source, cell, benchmark), cache(layout))
    else:
        raise InputError("params.yaml", f"benchmarks.{cell.benchmark} has no {cell.data} data", "name some there")
    source = Annotations.load(directory / "annotations.json")
    splits = {split: source.split(split) for split in SPLITS}
    sizes = {name: len(split.images) for name, split in splits.items()} | {"categories": len(source.categories)}
    for name, size in benchmark.expect.items():
        if sizes[name] != size:
            shutil.rmtree(directory)
            where = f"benchmarks.{cell.benchmark}.expect.{name}"
            raise InputError(
                "params.yaml", f"{where}: found {sizes[name]}, the protocol has {size}", "check `settings`"
            )
    taught = {category for i in splits["train"].images for category in source.category_ids(i)}
    scored = {category for i in splits["eval"].images for category in source.category_ids(i)}
    return {
        **{f"{name}_images": len(split.images) for name, split in splits.items()},
        "annotations": sum(len(rows) for rows in source.by_image.values()),
        "categories": len(source.categories),
        "only_in_eval": sorted(source.categories[i]["name"] for i in scored - taught),
    }


def cache(layout: Layout) -> Path:
    """Where downloads are kept, for all projects that name the same folder in VRFT_CACHE_DIR."""
    return Path(os.environ.get("VRFT_CACHE_DIR") or layout.root / "downloads")


def _settings(source: ModuleType, cell: Cell, benchmark: Benchmark) -> Any:
    """What the benchmark says of its official source, as the source's own model reads it."""
    said = dict(benchmark.settings)
    for name in ("categories", "taught"):
        if name in source.Settings.model_fields:
            said[name] = getattr(benchmark, name)
    try:
        return source.Settings.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(
            "params.yaml", f"benchmarks.{cell.benchmark}.settings.{field}: {first['msg']}", "see docs/official-data.md"
        ) from None
