"""What average precision hides: broken answers, surplus boxes, confidence that says nothing, invented objects.

Descriptive numbers of one model's prediction rows; no gate and no opinion here.
"""

from collections import Counter

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.evaluation.average_precision import IGNORED, TRUE
from vrft_core.evaluation.matching import iou, match, xywh

NEAR_DUPLICATE = 0.9
BINS = 10


def diagnose(rows: list[dict], truth: Annotations) -> dict:
    """`predict`'s rows and the annotations they were asked about → a JSON object. Shares lie in [0, 1].

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
    by_overlap = [detection | {"score": float(o)} for detection, o in zip(detections, overlap, strict=True)]
    return {
        "queries": len(rows),
        "reasons": dict(sorted(Counter(reason for row in rows for reason in row["reasons"]).items())),
        "answers_with_reasons": _mean([bool(row["reasons"]) for row in rows]),
        "tokens": _mean([row["tokens"] for row in rows]),
        "boxes": {
            "predicted": len(detections),
            "true": true_boxes,
            "inflation": len(detections) / true_boxes if true_boxes else None,
        },
        "duplicates": duplicates(rows),
        "hallucination": hallucination(rows, truth),
        "confidence": {
            "mean": _mean(confidence),
            "zero": _mean(confidence == 0),
            "one": _mean(confidence == 1),
            "calibration": calibration(stated, right),
            "auroc": auroc(stated, right),
            "iou_correlation": rank_correlation(confidence, overlap),
        },
        "oracle_ranking": {
            f"{protocol}/AP": match(truth, by_overlap, protocol, categories).average_precision()["AP"]
            for protocol in ("lvis", "coco")
        },
    }


def duplicates(rows: list[dict]) -> dict:
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


def hallucination(rows: list[dict], truth: Annotations) -> dict | None:
    """Answers to questions about categories that are not in the image; None where none was asked.

    `answers`: share of them that name a box; `boxes`: boxes per such question.
    """
    absent = [row for row in rows if row["category_id"] not in truth.category_ids(row["image_id"])]
    if not absent:
        return None
    counts = [len(row["boxes"]) for row in absent]
    return {"queries": len(absent), "answers": _mean([count > 0 for count in counts]), "boxes": _mean(counts)}


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> dict:
    """Expected calibration error over equal-width bins (Guo et al. 2017, arXiv 1706.04599, eq. 5).

    → {"ece", "bins": [{"low", "high", "boxes", "confidence" (mean), "precision"}]}; confidences 1 fall in the last bin.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for index in range(bins):
        inside = place == index
        rows.append(
            {
                "low": index / bins,
                "high": (index + 1) / bins,
                "boxes": int(inside.sum()),
                "confidence": _mean(confidence[inside]),
                "precision": _mean(right[inside]),
            }
        )
    gaps = [row["boxes"] * abs(row["confidence"] - row["precision"]) for row in rows if row["boxes"]]
    return {"ece": sum(gaps) / len(confidence) if len(confidence) else None, "bins": rows}


def auroc(score: np.ndarray, label: np.ndarray) -> float | None:
    """Chance that a right one scores higher than a wrong one, ties half; None unless both kinds occur."""
    label = np.asarray(label, dtype=bool)
    right, wrong = int(label.sum()), int((~label).sum())
    if not right or not wrong:
        return None
    return float((_ranks(score)[label].sum() - right * (right + 1) / 2) / (right * wrong))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's, ties averaged; None where one of the two is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _detections(rows: list[dict], truth: Annotations) -> tuple[list[dict], np.ndarray]:
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


def _ranks(values: np.ndarray) -> np.ndarray:
    """1-based ranks, the mean rank for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _mean(values) -> float | None:
    return float(np.mean(values)) if len(values) else None
