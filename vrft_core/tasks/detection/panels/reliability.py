"""Whether the scores of boxes mean anything: how many boxes of a certain score are right."""

from collections.abc import Mapping, Sequence

from vrft_core.evaluation.statistics import Bin, calibration
from vrft_core.report import charts, figures
from vrft_core.report.charts import Series
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.rows import Figure
from vrft_core.tasks.detection.metrics.average_precision import IGNORED, TRUE
from vrft_core.tasks.detection.panels.judging import Boxes

FEWEST = 10  # boxes behind a point


def reliability(stated: Mapping[str, Sequence[Bin]], boxes: Mapping[str, Boxes], ranking: str) -> list[Figure]:
    """Charts of the stated confidence and of the score that ranks, each where some model has two points or more.

    `stated`: model → bins.
    """
    found = [_chart("Is the stated confidence calibrated?", stated, "stated confidence, %")]
    if ranking != "stated":
        bins = {model: _bins(each) for model, each in boxes.items()}
        found.append(_chart(f"Is the ranking score ({ranking}) calibrated?", bins, f"{ranking}, %"))
    return [one for one in found if one is not None]


def about(stated: Mapping[str, Sequence[Bin]]) -> list[str]:
    """A sentence for models that state nearly the same confidence for every box."""
    said = []
    for model, bins in stated.items():
        filled = [one for one in bins if one["boxes"] >= FEWEST]
        if len(filled) == 1 and filled[0]["confidence"] is not None and filled[0]["precision"] is not None:
            said.append(f"{MODEL_NAMES[model]} {filled[0]['confidence']:.0%} (right: {filled[0]['precision']:.0%})")
    return [f"Nearly all boxes are stated with one confidence, which ranks nothing: {', '.join(said)}."] if said else []


def _bins(each: Boxes) -> Sequence[Bin]:
    outcome = each.matches.outcome[0, 0]
    judged = outcome != IGNORED
    return calibration(each.matches.score[judged], (outcome == TRUE)[judged])["bins"]


def _chart(title: str, models: Mapping[str, Sequence[Bin]], label: str) -> Figure | None:
    curves = [Series(MODEL_NAMES[m], m, _points(bins)) for m, bins in models.items()]
    if not any(len(curve.points) > 1 for curve in curves):
        return None
    ideal = Series("calibrated", "s6", [(0, 0), (100, 100)], marks=False)
    return figures.figure(
        title,
        charts.lines(
            title, [*curves, ideal], label, "boxes that are right, %", limits=(0, 100), x_limits=(0, 100), height=280
        ),
        "Of the boxes with a certain score, how many hit an object (IoU of 0.5 or more). On the diagonal the score is "
        f"the chance of being right; below it is too sure. Points rest on {FEWEST} boxes or more.",
    )


def _points(bins: Sequence[Bin]) -> list[tuple[float, float]]:
    return [
        (100 * one["confidence"], 100 * one["precision"])
        for one in bins
        if one["boxes"] >= FEWEST and one["confidence"] is not None and one["precision"] is not None
    ]
