"""`vrft track --rebuild`: MLflow's runs from the files that the stages left, as after a clone and `dvc pull`.

Runs that MLflow has already are not changed. A model that version 0.1 recorded, in shares of 1 under the same names,
gets a run in points. Times are the present ones; curves, settings, results and reports are the original ones.
"""

from vrft_core import io, provenance, tracking
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.report.panel import MODELS, TRAINED


def rebuild(layout: Layout, params: Params) -> list[str]:
    """A line for each model whose run was made. Raises InputError where MLflow cannot be reached."""
    lines, seen = [], set()
    for cell in params.cells():
        for method in MODELS:
            own = cell.at("setup") if method == "base" else cell
            evaluation = layout.evaluation(cell, method) / "metrics.json"
            if (own.key, method) in seen or not evaluation.is_file() or not layout.model(cell, method).is_dir():
                continue
            seen.add((own.key, method))
            if tracking.recorded(layout, cell, method):
                continue
            if method in TRAINED and layout.training(cell, method).is_file():
                _training(layout, params, cell, method)
            tracking.log_evaluation(layout, params, own, method, io.read_json(evaluation)["metrics"])
            if method in TRAINED and layout.report(cell).is_dir():
                tracking.log_report(layout, cell, [method])
            lines.append(f"{own.key} {method}: recorded")
    return lines or ["MLflow knows every model that is evaluated here"]


def _training(layout: Layout, params: Params, cell: Cell, method: str) -> None:
    record, model = io.read_json(layout.training(cell, method)), layout.model(cell, method)
    with tracking.run(layout, params, cell, method, computed=False) as run:
        for row in record["log"]:
            run.metrics({name: value for name, value in row.items() if name != "step"}, row["step"])
        for row in record["validation"]:
            run.metrics({f"validation/{record['validation_metric']}": row["score"]}, row["step"])
        run.artifact(layout.training(cell, method))
        run.model(f"{cell.key}-{method}", model, provenance.directory_digest(model))
