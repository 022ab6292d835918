"""Results of logged answers as an object and as a table, for the command line of several tasks."""

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from vrft_core.evaluation.intervals import intervals
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec

HALVES, SEED = 1000, 0
Parts = Mapping[str, tuple[ArrayLike, ArrayLike]]  # metric → numerators, denominators, one each an answer


def measured(rows: Sequence[dict], parts: Parts, shares: Sequence[str] = ()) -> tuple[dict, list[str]]:
    """Metrics with 95 % intervals, over images where every row names its `image`, else over answers; and their lines.

    `shares`: the metrics that are shares of right answers.
    """
    images = [row.get("image") for row in rows]
    specs = [MetricSpec(name, name, "share" if name in shares else "mean") for name in parts]
    above, below = zip(*parts.values(), strict=True)
    known = all(isinstance(image, str) for image in images)
    scores = RatioScores.of(specs, above, below, images if known else None)
    found = intervals({"answers": scores}, HALVES, SEED)["models"]["answers"]
    lines = [f"{len(rows)} answers", ""]
    for name, entry in found.items():
        lines.append(f"{name:<18}{shown(entry['value'])}  [{shown(entry['low'])}, {shown(entry['high'])}]")
    return found, lines


def shown(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{value:6.3f}"
