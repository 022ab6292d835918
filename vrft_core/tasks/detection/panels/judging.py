"""Which boxes are right and which answers fail in what way, at an IoU of 0.5, by the rules of LVIS AP.

For the gallery and the counts beside it: a box counts here exactly where it counts in `lvis/…/AP50`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vrft_core.boxes import iou, xywh
from vrft_core.report.judged import Judged
from vrft_core.report.panel import Inputs
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics.average_precision import FALSE, IGNORED, TRUE, Matches
from vrft_core.tasks.detection.metrics.ranking import ranked
from vrft_core.tasks.detection.metrics.scores import match_rows

HIT, NEAR = 0.5, 0.1  # IoU from which a box is right, and from which it is about the object at all
RIGHT = f"An answer is right if it has a box on every object (IoU of {HIT} or more) and no other box."
ABSENT, MISSED, TWICE = "a box about something absent", "an object missed", "a second box on one object"
PLACED, OTHER, NOTHING = "a box badly placed", "a box on another category", "a box on nothing of that kind"
FORM = "a wrong format"
FAILURES = (MISSED, ABSENT, PLACED, OTHER, TWICE, NOTHING, FORM)
ASKED_ABSENT, ASKED_PRESENT = "about something absent", "about something present"


@dataclass(frozen=True)
class Boxes:
    """One model's boxes. Rows as they are ranked; `outcome`: TRUE, FALSE or IGNORED of each box of an example."""

    rows: Mapping[str, Row]
    matches: Matches
    outcome: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, inputs: Inputs, model: str) -> "Boxes":
        rows = ranked(list(inputs.rows[model].values()), inputs.settings.ranking)
        matches = match_rows(inputs.truth, rows, inputs.categories, ["lvis"])["lvis"]
        flat = np.full(sum(len(row["boxes"]) for row in rows), IGNORED, dtype=np.uint8)
        flat[matches.row] = matches.outcome[0, 0]
        cuts = np.cumsum([len(row["boxes"]) for row in rows])[:-1]
        parts = np.split(flat, cuts) if rows else []
        outcome = {row["id"]: part for row, part in zip(rows, parts, strict=True)}
        return cls({row["id"]: row for row in rows}, matches, outcome)


def judge(inputs: Inputs, boxes: Mapping[str, Boxes]) -> dict[str, dict[str, Judged]]:
    """Model → example → how good its answer is: F1 of its boxes at an IoU of 0.5."""
    return {
        model: {name: _judged(inputs, row, each.outcome[name]) for name, row in each.rows.items()}
        for model, each in boxes.items()
    }


def _judged(inputs: Inputs, row: Row, outcome: np.ndarray) -> Judged:
    objects = inputs.truth.boxes(row["image_id"], row["category_id"])
    found, wrong = int((outcome == TRUE).sum()), int((outcome == FALSE).sum())
    missed = max(len(objects) - found, 0)
    failures = [MISSED] if missed else []
    for box, one in zip(row["boxes"], outcome, strict=True):
        if one == FALSE:
            failures.append(failure(inputs, row, box))
    if row["reasons"]:
        failures.append(FORM)
    total = 2 * found + wrong + missed
    quality = 2 * found / total if total else 1.0
    named = tuple(one for one in FAILURES if one in failures)
    return Judged(quality, named, ASKED_PRESENT if objects else ASKED_ABSENT)


def failure(inputs: Inputs, row: Row, box: Sequence[float]) -> str:
    """Why a box that counts as wrong is wrong."""
    objects = inputs.truth.boxes(row["image_id"], row["category_id"])
    if not objects:
        return ABSENT
    nearest = _nearest(box, objects)
    if nearest >= HIT:
        return TWICE
    if nearest >= NEAR:
        return PLACED
    return OTHER if lies_on(inputs, row, box) is not None else NOTHING


def lies_on(inputs: Inputs, row: Row, box: Sequence[float]) -> int | None:
    """The other category whose object a box covers (IoU of 0.5 or more); None where there is none."""
    overlaps = {
        other: _nearest(box, inputs.truth.boxes(row["image_id"], other))
        for other in inputs.truth.category_ids(row["image_id"])
        if other != row["category_id"]
    }
    best = max(overlaps, key=lambda other: overlaps[other], default=None)
    return best if best is not None and overlaps[best] >= HIT else None


def _nearest(box: Sequence[float], objects: Sequence[Sequence[float]]) -> float:
    return float(iou(xywh([box])[:, None], xywh(objects)[None]).max(initial=0))
