"""What average precision hides: broken answers, surplus boxes, confidence without information, invented objects.

Descriptive numbers: of one model's prediction rows (`diagnose`), and of a generation batch in training (`health`).
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypedDict

import numpy as np

from vrft_core.annotations import Annotations, xyxy
from vrft_core.boxes import iou, xywh
from vrft_core.evaluation.statistics import Calibration, auroc, calibration, identical, mean, rank_correlation
from vrft_core.tasks.answer_span import CUT_OFF
from vrft_core.tasks.box_answers import Box, Parsed
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics.average_precision import IGNORED, TRUE
from vrft_core.tasks.detection.metrics.matching import AREAS, match

NEAR_DUPLICATE = 0.9
GATE = 0.5  # IoU at or below which the published overlap reward pays nothing


class Size(TypedDict):
    objects: int
    overlap: float | None  # mean IoU, 0 for a missed one
    paid: float | None  # the same after the gate


class Matching(TypedDict):
    pairs: int  # boxes on a free object, IoU > 0
    starved: float | None  # share of them at IoU ≤ .5: the gate pays these nothing
    by_size: dict[str, Size]  # small, medium, large, as COCO has them


class Boxes(TypedDict):
    predicted: int
    true: int
    inflation: float | None


class Duplicates(TypedDict):
    exact: float | None
    near: float | None


class Hallucination(TypedDict):
    queries: int
    answers: float | None  # share of them that name a box
    boxes: float | None  # for each such question


class Confidence(TypedDict):
    mean: float | None
    zero: float | None
    one: float | None
    calibration: Calibration
    auroc: float | None
    iou_correlation: float | None


class Diagnosis(TypedDict):
    queries: int
    reasons: dict[str, int]
    answers_with_reasons: float | None
    tokens: float | None
    cut_off: float | None
    identical: float | None
    matching: Matching
    boxes: Boxes
    duplicates: Duplicates
    hallucination: Hallucination | None  # None where nothing absent was asked about
    confidence: Confidence


def diagnose(rows: Sequence[Row], truth: Annotations) -> Diagnosis:
    """`predict`'s rows and the annotations they were asked about. Shares lie in [0, 1].

    Confidence is judged on the boxes that the LVIS rules call right or wrong at IoU .5: a surplus box of a category
    that is not exhaustively annotated in its image is neither. None stands where there is nothing to measure.
    """
    detections, overlap = _detections(rows, truth)
    confidence = np.array([detection["score"] for detection in detections])
    categories = sorted({row["category_id"] for row in rows})
    matches = match(truth, detections, "lvis", categories)
    judged = matches.outcome[0, 0] != IGNORED
    right = (matches.outcome[0, 0] == TRUE)[judged]
    stated = matches.score[judged]
    true_boxes = sum(len(truth.boxes(row["image_id"], row["category_id"])) for row in rows)
    return {
        "queries": len(rows),
        "reasons": dict(sorted(Counter(reason for row in rows for reason in row["reasons"]).items())),
        "answers_with_reasons": mean([bool(row["reasons"]) for row in rows]),
        "tokens": mean([row["tokens"] for row in rows]),
        "cut_off": mean([not CUT_OFF.isdisjoint(row["reasons"]) for row in rows]),
        "identical": identical(rows),
        "matching": overlaps(rows, truth),
        "boxes": {
            "predicted": len(detections),
            "true": true_boxes,
            "inflation": len(detections) / true_boxes if true_boxes else None,
        },
        "duplicates": duplicates(rows),
        "hallucination": hallucination(rows, truth),
        "confidence": {
            "mean": mean(confidence),
            "zero": mean(confidence == 0),
            "one": mean(confidence == 1),
            "calibration": calibration(stated, right),
            "auroc": auroc(stated, right),
            "iou_correlation": rank_correlation(confidence, overlap),
        },
    }


def overlaps(rows: Sequence[Row], truth: Annotations) -> Matching:
    """What a gate at IoU .5 destroys, and for which sizes of object (its area in the image).

    Boxes are matched as the rewards match them.
    """
    found: list[float] = []
    sizes: dict[str, list[float]] = {name: [] for name in AREAS if name != "all"}
    for row in rows:
        here = truth.by_image[row["image_id"]]
        objects = sorted((o for o in here if o["category_id"] == row["category_id"]), key=lambda o: o["bbox"])
        best = _matched(row, [xyxy(o["bbox"]) for o in objects])
        found += [value for value in best if value > 0]
        for one, value in zip(objects, best, strict=True):
            sizes[next(name for name in sizes if one["area"] < AREAS[name][1] or name == "large")].append(value)
    return {
        "pairs": len(found),
        "starved": mean([value <= GATE for value in found]),
        "by_size": {
            name: {
                "objects": len(values),
                "overlap": mean(values),
                "paid": mean([value if value > GATE else 0.0 for value in values]),
            }
            for name, values in sizes.items()
        },
    }


def _matched(row: Row, objects: list[list[float]]) -> list[float]:
    """IoU of each object with the box that takes it, 0 for a missed one: surest box first, best free object each."""
    best = [0.0] * len(objects)
    if not objects or not row["boxes"]:
        return best
    table = iou(xywh(row["boxes"])[:, None], xywh(objects)[None])
    for index in sorted(range(len(row["boxes"])), key=lambda i: (-row["scores"][i], row["boxes"][i])):
        target = int(table[index].argmax())
        if table[index, target] > 0:
            best[target] = float(table[index, target])
            table[:, target] = 0
    return best


def duplicates(rows: Sequence[Row]) -> Duplicates:
    """Share of boxes that repeat an earlier box of the same answer: exactly, or nearly (IoU ≥ .9, not exactly)."""
    exact, near, total = 0, 0, 0
    for row in rows:
        boxes = xywh(row["boxes"])
        for index in range(len(boxes)):
            earlier = boxes[:index]
            same = bool((earlier == boxes[index]).all(axis=1).any())
            exact += same
            near += not same and bool((iou(boxes[index], earlier) >= NEAR_DUPLICATE).any())
        total += len(boxes)
    return {"exact": exact / total if total else None, "near": near / total if total else None}


def hallucination(rows: Sequence[Row], truth: Annotations) -> Hallucination | None:
    """Answers to questions about categories that are not in the image; None where none was asked."""
    absent = [row for row in rows if row["category_id"] not in truth.category_ids(row["image_id"])]
    if not absent:
        return None
    counts = [len(row["boxes"]) for row in absent]
    return {"queries": len(absent), "answers": mean([count > 0 for count in counts]), "boxes": mean(counts)}


def _detections(rows: Sequence[Row], truth: Annotations) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Every box as a COCO result, and its highest IoU with an object of its category (0 without one)."""
    detections, overlap = [], []
    for row in rows:
        boxes, objects = xywh(row["boxes"]), xywh(truth.boxes(row["image_id"], row["category_id"]))
        overlap.append(iou(boxes[:, None], objects[None]).max(axis=1, initial=0))
        detections += [
            {"image_id": row["image_id"], "category_id": row["category_id"], "bbox": box, "score": score}
            for box, score in zip(boxes.tolist(), row["scores"], strict=True)
        ]
    return detections, np.concatenate([np.empty(0), *overlap])


GUARDS = {  # guard → the metric it watches
    "repeating": "answers/repeating",
    "box_inflation": "boxes/inflation",
    "confidence_zero": "confidence/zero",
    "confidence_one": "confidence/one",
}
LIVE = {"answers/false_alarm": "false alarms"}


def health(completions: Sequence[Completion], truths: Sequence[Sequence[Box]]) -> dict[str, float]:
    """What the answers of one generation batch look like.

    - `answers/repeating`: share that names a box twice (exactly, or at IoU ≥ 0.9).
    - `boxes/inflation`: boxes offered, refused ones among them / true boxes. Left out where nothing is true.
    - `answers/false_alarm`: share, of the answers to questions about something absent, that name a box.
    - `confidence/zero`, `confidence/one`: share of boxes stated with exactly that. Left out without boxes.
    """
    read = [completion.parsed for completion in completions]
    found = {"answers/repeating": mean(["duplicate_box" in one.reasons or _repeats(one) for one in read]) or 0.0}
    if true := sum(map(len, truths)):
        found["boxes/inflation"] = sum(len(one.detections) + one.dropped for one in read) / true
    absent = [one for one, true in zip(read, truths, strict=True) if not true]
    if absent:
        found["answers/false_alarm"] = sum(bool(one.detections) for one in absent) / len(absent)
    stated = [box.confidence for one in read for box in one.detections if box.stated]
    if stated:
        found["confidence/zero"] = stated.count(0.0) / len(stated)
        found["confidence/one"] = stated.count(1.0) / len(stated)
    return found


def _repeats(parsed: Parsed) -> bool:
    return any(_iou(a.box, b.box) >= NEAR_DUPLICATE for a, b in combinations(parsed.detections, 2))


def _iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def measured(found: Diagnosis) -> dict[str, float | None]:
    """The values that `checks.LIMITS` are about, from `diagnose`; None where there is nothing to measure."""
    confidence, repeated = found["confidence"], found["duplicates"]
    return {
        "box_inflation": found["boxes"]["inflation"],
        "confidence_extremes": _sum(confidence["zero"], confidence["one"]),
        "duplicates": _sum(repeated["exact"], repeated["near"]),
    }


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
