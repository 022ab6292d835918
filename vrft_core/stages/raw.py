"""Stage `raw`: a source → its images and one annotation file in the project's schema, with content hashes."""

from vrft_core.annotations import SPLITS, Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.sources import files, scenes


def raw(layout: Layout, params: Params, cell: Cell) -> dict:
    benchmark = params.benchmark(cell)
    directory = layout.raw(cell)
    if cell.data == "own":
        files.write(directory, benchmark, layout.root)
    elif cell.data == "embedded" and benchmark.embedded:
        scenes.write(directory, benchmark.embedded)
    else:
        raise InputError(
            "params.yaml",
            f"benchmarks.{cell.benchmark}.official: no source {benchmark.official!r} is built yet",
            "use a recipe with `data: embedded`, or your own files with `vrft init`",
        )
    source = Annotations.load(directory / "annotations.json")
    splits = {split: source.split(split) for split in SPLITS}
    taught = {category for i in splits["train"].images for category in source.category_ids(i)}
    scored = {category for i in splits["eval"].images for category in source.category_ids(i)}
    return {
        **{f"{name}_images": len(split.images) for name, split in splits.items()},
        "annotations": sum(len(rows) for rows in source.by_image.values()),
        "categories": len(source.categories),
        "only_in_eval": sorted(source.categories[i]["name"] for i in scored - taught),
    }
