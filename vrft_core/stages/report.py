"""Stage `report`: the three evaluations and both training records → one page, the numbers as JSON and Markdown."""

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.adversarial import rescore
from vrft_core.params import Params
from vrft_core.report import pictures
from vrft_core.report.page import cell_page
from vrft_core.report.results import Inputs, cell_results
from vrft_core.report.summary import MODEL_NAMES, summary


def report(layout: Layout, params: Params, cell: Cell) -> dict:
    inputs = Inputs.read(layout, params, cell)
    selection = io.read_json(layout.few_shot(cell) / "selection.json")
    results = cell_results(layout, params, cell, inputs, selection) | {"adversarial": rescore()}
    taught = {category["id"] for category in selection["categories"]}
    gallery = pictures.gallery(
        inputs.truth,
        layout.raw(cell) / "images",
        inputs.rows,
        pictures.choose(list(inputs.rows["base"]), taught, cell.seed),
        MODEL_NAMES,
        inputs.licences(),
        taught,
    )
    with io.new_directory(layout.report(cell)) as directory:
        io.write_json(directory / "metrics.json", results)
        io.write_text(directory / "summary.md", summary(results))
        io.write_text(directory / "report.html", cell_page(results, inputs, gallery))
    metric = results["verdict"]["metric"]
    return {f"{metric}/{pair}": values[metric]["value"] for pair, values in results["differences"].items()} | {
        "verdict": results["verdict"]["headline"],
        "page": (layout.report(cell) / "report.html").relative_to(layout.root).as_posix(),
    }
