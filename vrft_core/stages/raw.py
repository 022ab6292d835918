"""Stage `raw`: a source → its images and one annotation file in the project's schema, with content hashes."""

from vrft_core.annotations import SPLITS, Annotations
from vrft_core.benchmarks import files, scenes
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Params


def raw(layout: Layout, params: Params, cell: Cell) -> dict:
    benchmark, recipe = params.benchmarks[cell.benchmark], params.recipe(cell)
    directory = layout.raw(cell)
    if benchmark.train:
        files.write(directory, benchmark, layout.root)
    elif recipe.data == "embedded":
        scenes.write(directory, recipe.scenes)
    else:
        raise InputError(
            "params.yaml",
            f"recipes.{cell.recipe}.data: no official source is built yet for {cell.benchmark!r} "
            "(lvis, coco, coco_ovd, flowers102, pets37, aircraft100, cars196 and reasonseg are all missing)",
            "use `data: embedded`, or your own files with `vrft init`",
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
