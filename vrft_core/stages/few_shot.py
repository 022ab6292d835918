"""Stage `few_shot`: raw → exactly K images a category, with ids, seed and content hashes recorded."""

from vrft_core import io, sampling
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params


def few_shot(layout: Layout, params: Params, cell: Cell) -> dict:
    source = Annotations.load(layout.raw(cell) / "annotations.json")
    settings = params.recipe(cell).few_shot
    categories = sampling.targets(source, settings.frequencies, params.benchmark(cell).sampled)
    evaluated = source.chosen(params.benchmark(cell).categories)
    selection = sampling.choose(source, categories, settings, cell.shots, cell.seed or 0, evaluated)
    sample = sampling.subset(source, selection)
    with io.new_directory(layout.few_shot(cell)) as directory:
        io.write_json(directory / "selection.json", selection)
        io.write_json(directory / "annotations.json", sample)
    return {
        "images": len(sample["images"]),
        "pairs": sum(len(category["images"]) for category in selection["categories"]),
        "categories": len(categories),
        "negatives": sum(len(i.get("negatives", ())) for c in selection["categories"] for i in c["images"]),
        "shots": cell.shots,
        "seed": cell.seed,
    }
