"""Stage `report`: the three evaluations and both training records → one page, the numbers as JSON and Markdown.

Its learning curves and example images are also written as separate files, for pages and tools that embed them.
"""

from vrft_core import io, tracking
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.adversarial import rescore
from vrft_core.params import Params
from vrft_core.report import figures, plots, standalone
from vrft_core.report.page import cell_page
from vrft_core.report.panel import TRAINED, Inputs
from vrft_core.report.results import cell_results, difference, headlines
from vrft_core.report.summary import summary
from vrft_core.tasks import get_task


def report(layout: Layout, params: Params, cell: Cell) -> dict:
    task = get_task(params.task(cell))
    inputs = Inputs.read(layout, params, cell, task)
    results = cell_results(layout, params, cell, inputs)
    results["adversarial"] = rescore(task)
    images = layout.raw(cell) / "images"
    io.write_json(layout.difference(cell), difference(results))
    plots.write(layout.plots(cell), [*plots.learning(inputs.training), *task.panels.plots(results, inputs)])
    with io.new_directory(layout.report(cell)) as directory:
        io.write_json(directory / "metrics.json", results)
        io.write_text(directory / "summary.md", summary(results, task.panels.note(results["details"]["base"])))
        io.write_text(directory / "report.html", cell_page(results, inputs, images))
        io.write_text(
            directory / "learning.svg", standalone.charts(figures.drawn(figures.learning(inputs.training))[:2])
        )
        if shown := standalone.examples(task.panels.cell(results, inputs, images)):
            io.write_text(directory / "examples.svg", shown)
    tracking.log_report(layout, cell, TRAINED)
    return headlines(layout, cell, results)
