"""Whether the confidence that answers state means anything, as a chart."""

from collections.abc import Sequence

from vrft_core.report import charts, figures
from vrft_core.report.charts import Series
from vrft_core.report.panel import MODEL_NAMES

FEWEST = 10  # boxes behind a point


def reliability(models: dict[str, Sequence[dict]]) -> dict | None:
    """`models`: model → bins {"confidence", "precision", "boxes"}."""
    curves = [
        Series(MODEL_NAMES[m], m, [(100 * b["confidence"], 100 * b["precision"]) for b in bins if b["boxes"] >= FEWEST])
        for m, bins in models.items()
    ]
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
