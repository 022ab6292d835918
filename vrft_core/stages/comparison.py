"""Stage `comparison`: a study and that of another recipe → paired differences and costs, as JSON and Markdown."""

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.report.comparison import comparison_results
from vrft_core.report.comparison_summary import comparison_summary
from vrft_core.report.panel import Inputs
from vrft_core.tasks import get_task


def comparison(layout: Layout, params: Params, cell: Cell) -> dict:
    """Raises InputError where the recipe is compared with none, or the other's cells are not in the grid."""
    other, task = params.compared(cell), get_task(params.task(cell))
    if other is None:
        raise InputError(
            cell.key, "the grid has no study of another recipe to compare it with",
            "name the pair under `comparisons` in params.yaml, then `vrft add comparisons`",
        )  # fmt: skip
    seeds = params.grid.comparisons[cell.key].seeds
    inputs = {
        study.recipe: [
            Inputs.read(layout, params, one, task)
            for one in params.cells()
            if one.at("study") == study and one.seed in seeds
        ]
        for study in (cell, other)
    }
    results = comparison_results(layout, params, cell, other, inputs)
    with io.new_directory(layout.comparison(cell)) as directory:
        io.write_json(directory / "metrics.json", results)
        io.write_text(directory / "summary.md", comparison_summary(results))
    metric = results["metric"]
    found = {f"{metric}/{method}": entries[metric]["value"] for method, entries in results["differences"].items()}
    return found | {"verdict": results["headline"]}
