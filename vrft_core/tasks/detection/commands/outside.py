"""Detections that another model made of a cell's evaluation images, as answers to the cell's questions."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.commands.evaluate import Outside
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics.columns import Detections, read
from vrft_core.tasks.detection.settings import Settings
from vrft_core.tasks.outside import matched, pixels

_FIELDS = "image_id, category_id, boxes [[x1, y1, x2, y2], …] in pixels and as many scores"
Pair = tuple[int, int]


def outside(path: Path, asked: Sequence[Row], truth: Annotations, settings: Settings) -> Outside:
    """Rows of `vrft predict`, one a question, or COCO results (a detector's), one a box.

    A detector looks for every category in every image. Of its boxes those count that answer a question: about a
    category that the cell's models were asked about in that image. A question without a box is answered with none.

    Boxes are ranked by their scores, those of `vrft predict` by the recipe's ranking where the rows hold it.
    """
    data = read(path)
    if not (isinstance(data, list) and data and isinstance(data[0], dict) and "boxes" in data[0]):
        return _of_detector(Detections.of(data, path), asked, truth, settings, path)
    return matched(
        data, asked, truth, path, key=["image_id", "category_id"], fields=_FIELDS,
        answer=partial(_answer, settings.ranking),
    )  # fmt: skip


def _answer(ranking: str, row: Mapping[str, Any]) -> dict:
    boxes = [pixels(box) for box in row["boxes"]] if row else []
    rankings = row.get("rankings", {})
    scores = [float(score) for score in rankings.get(ranking, row["scores"])] if row else []
    if len(scores) != len(boxes) or not np.isfinite(scores).all():
        raise ValueError(scores)
    return {"boxes": boxes, "scores": scores, "rankings": {ranking: scores}}


def _of_detector(
    found: Detections, asked: Sequence[Row], truth: Annotations, settings: Settings, path: Path
) -> Outside:
    """Unanswered are the questions about images of which the file says nothing at all."""
    boxes: dict[Pair, list[tuple[list[float], float]]] = {(row["image_id"], row["category_id"]): [] for row in asked}
    columns = (found.image_id, found.category_id, found.box, found.score)
    left_out = 0
    for image, category, (x, y, width, height), score in zip(*(column.tolist() for column in columns), strict=True):
        if (image, category) in boxes:
            boxes[image, category].append(([x, y, x + width, y + height], score))
        else:
            left_out += 1
    rows = [
        {
            "image_id": image,
            "category_id": category,
            "boxes": [box for box, _ in answers],
            "scores": [score for _, score in answers],
        }
        for (image, category), answers in boxes.items()
    ]
    seen = set(found.image_id.tolist())
    if not any(row["boxes"] for row in rows):
        rows = []  # refused by `matched`
    result = matched(
        rows, asked, truth, path, key=["image_id", "category_id"], fields=_FIELDS,
        answer=partial(_answer, settings.ranking),
    )  # fmt: skip
    return Outside(result.rows, sum(row["image_id"] not in seen for row in asked), left_out)
