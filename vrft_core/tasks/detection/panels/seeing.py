"""What the gallery shows of detection: true boxes, every model's, and for each box its scores by name."""

from collections.abc import Mapping

from vrft_core.report import drawing
from vrft_core.report.gallery import Seen
from vrft_core.report.panel import Inputs
from vrft_core.tasks.detection.metrics.average_precision import FALSE, IGNORED, TRUE
from vrft_core.tasks.detection.panels.judging import Boxes, failure


def see(inputs: Inputs, boxes: Mapping[str, Boxes], model: str, name: str) -> Seen:
    """One model's answer. The number on a box is its place by score; the list below says the scores."""
    stated, row, outcome = inputs.rows[model][name], boxes[model].rows[name], boxes[model].outcome[name]
    objects = inputs.truth.boxes(row["image_id"], row["category_id"])
    found, extra = int((outcome == TRUE).sum()), int((outcome == FALSE).sum())
    if objects:
        caption = f"{found} of {len(objects)} found" + (f", {extra} wrong" if extra else "")
    else:
        caption = f"not there, {extra} wrong" if extra else "not there, no box"
    order = sorted(range(len(row["boxes"])), key=lambda i: (-row["scores"][i], i))[: drawing.MOST_BOXES]
    notes, drawn = [], []
    ranking = inputs.settings.ranking
    for place, i in enumerate(order, 1):
        score, confidence = row["scores"][i], stated["scores"][i]
        scores = f"stated confidence {confidence:.2f}"
        if ranking != "stated":
            scores = f"{ranking} {score:.2f}, {scores}"
        what = {TRUE: "right", IGNORED: "not counted"}.get(int(outcome[i])) or failure(inputs, row, row["boxes"][i])
        notes.append(f"Box {place}: {scores}; {what}")
        drawn.append((row["boxes"][i], _plate(place, ranking, score, confidence)))
    return Seen(caption, drawn, objects, notes)


def _plate(place: int, ranking: str, score: float, confidence: float) -> str:
    if ranking == "stated":
        return f"{place}: stated {confidence:.2f}"
    return f"{place}: {ranking} {score:.2f}, stated {confidence:.2f}"
