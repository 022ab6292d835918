"""Whether the confidence that answers state means anything, as a chart."""

from collections.abc import Sequence

from vrft_core.evaluation.statistics import Bin
from vrft_core.report import charts, figures
from vrft_core.report.charts import Series
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.rows import Figure

FEWEST = 10  # boxes behind a point


def reliability(models: dict[str, Sequence[Bin]]) -> Figure | None:
    """`models`: model → bins."""
    curves = [Series(MODEL_NAMES[m], m, _points(bins)) for m, bins in models.items()]
    if not any(curve.points for curve in curves):
        return None
    ideal = Series("calibrated", "s6", [(0, 0), (100, 100)], marks=False)
    return figures.figure(
        "Is the stated confidence calibrated?",
        charts.lines(
            "Reliability", [*curves, ideal], "stated confidence, %", "boxes that are right, %", limits=(0, 100)
        ),
        "Of the boxes stated with a certain confidence, how many hit an object (IoU of 0.5 or more). On the diagonal "
        "the confidence is calibrated; a single point at 100 % means that the model always claims to be certain. "
        f"Points rest on {FEWEST} boxes or more.",
    )


def _points(bins: Sequence[Bin]) -> list[tuple[float, float]]:
    return [
        (100 * one["confidence"], 100 * one["precision"])
        for one in bins
        if one["boxes"] >= FEWEST and one["confidence"] is not None and one["precision"] is not None
    ]
