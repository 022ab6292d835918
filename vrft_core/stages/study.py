"""Stage `study`: the cells of one comparison and their reports → one page over all seeds, JSON and Markdown."""

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.report.page import study_page
from vrft_core.report.panel import Inputs
from vrft_core.report.places import around_study
from vrft_core.report.results import difference, headlines, study_results
from vrft_core.report.summary import summary
from vrft_core.tasks import get_task


def study(layout: Layout, params: Params, cell: Cell) -> dict:
    cells, task = [one for one in params.cells() if one.at("study") == cell], get_task(params.task(cell))
    inputs = [Inputs.read(layout, params, one, task) for one in cells]
    reports = [io.read_json(layout.report(one) / "metrics.json") for one in cells]
    results = study_results(layout, params, cell, inputs, reports)
    io.write_json(layout.difference(cell), difference(results))
    with io.new_directory(layout.report(cell)) as directory:
        io.write_json(directory / "metrics.json", results)
        io.write_text(directory / "summary.md", summary(results, task.panels.note(results["details"][0]["base"])))
        io.write_text(directory / "report.html", study_page(results, inputs[0], around_study(layout, cell, cells)))
    return headlines(layout, cell, results)
