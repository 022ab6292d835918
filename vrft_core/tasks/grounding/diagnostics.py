"""What accuracy hides: broken answers, several boxes in place of one, answers that ignore the expression.

Descriptive numbers: of one model's prediction rows (`diagnose`), and of a generation batch in training (`health`).
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from vrft_core.annotations import Annotations
from vrft_core.boxes import iou, xywh
from vrft_core.evaluation.statistics import identical, mean
from vrft_core.tasks.answer_span import CUT_OFF
from vrft_core.tasks.box_answers import Box
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.grounding.answers import Row
from vrft_core.tasks.grounding.metrics import HIT, annotation, right, target

GUARDS = {"several_boxes": "boxes/several", "no_box": "boxes/none"}  # guard → the metric it watches
LIVE = {"boxes/none": "no box"}


class Diagnosis(TypedDict):
    queries: int
    reasons: dict[str, int]
    answers_with_reasons: float | None
    tokens: float | None
    cut_off: float | None
    identical: float | None
    several_boxes: float | None
    no_box: float | None
    false_alarms: float | None
    candidate: float | None


def diagnose(rows: Sequence[Row], truth: Annotations) -> Diagnosis:
    """`predict`'s rows and the annotations they were asked about. Shares lie in [0, 1].

    `candidate`: of the wrong boxes, the share that hit another object of the target's category: the expression was
    ignored, not the category. None where there is nothing to measure.
    """
    meant = [row for row in rows if target(truth, row) is not None]
    absent = [row for row in rows if target(truth, row) is None]
    wrong = [row for row in meant if row["box"] is not None and not right(truth, row)]
    return {
        "queries": len(rows),
        "reasons": dict(sorted(Counter(reason for row in rows for reason in row["reasons"]).items())),
        "answers_with_reasons": mean([bool(row["reasons"]) for row in rows]),
        "tokens": mean([row["tokens"] for row in rows]),
        "cut_off": mean([not CUT_OFF.isdisjoint(row["reasons"]) for row in rows]),
        "identical": identical(rows),
        "several_boxes": mean(["several_boxes" in row["reasons"] for row in rows]),
        "no_box": mean([row["box"] is None for row in meant]),
        "false_alarms": mean([row["box"] is not None for row in absent]),
        "candidate": mean([_hits_another(truth, row) for row in wrong]),
    }


def _hits_another(truth: Annotations, row: Row) -> bool:
    here = annotation(truth, row)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in here.get("candidates", [])]
    return bool(boxes) and bool((iou(xywh([row["box"] or [0, 0, 0, 0]]), xywh(boxes)) >= HIT).any())


def health(completions: Sequence[Completion], truths: Sequence[Box | None]) -> dict[str, float]:
    """What the answers of one generation batch look like.

    - `boxes/several`: share that lists more than one box.
    - `boxes/none`: share without a usable box, where one is meant. Left out where nothing is.
    """
    read = [completion.parsed for completion in completions]
    found = {"boxes/several": mean(["several_boxes" in one.reasons for one in read]) or 0.0}
    silent = [not one.detections for one, truth in zip(read, truths, strict=True) if truth is not None]
    return found | ({"boxes/none": sum(silent) / len(silent)} if silent else {})


def measured(found: Diagnosis) -> dict[str, float | None]:
    """The values that `checks.LIMITS` are about, from `diagnose`; None where there is nothing to measure."""
    return {
        "several_boxes": found["several_boxes"],
        "no_box": found["no_box"],
        "false_alarms": found["false_alarms"],
    }
