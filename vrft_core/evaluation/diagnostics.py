"""What average precision hides: broken answers, surplus boxes, confidence that says nothing, invented objects.

Descriptive numbers of one model's prediction rows; no gate and no opinion here.
"""

from collections import Counter

import numpy as np

from vrft_core.annotations import Annotations, xyxy
from vrft_core.evaluation.average_precision import IGNORED, TRUE
from vrft_core.evaluation.matching import AREAS, iou, match, xywh

NEAR_DUPLICATE = 0.9
BINS = 10
GATE = 0.5  # IoU at or below which the published overlap reward pays nothing
CUT_OFF = {"answer_not_closed", "thought_not_closed", "truncated", "too_long"}


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
    return {
        "queries": len(rows),
        "reasons": dict(sorted(Counter(reason for row in rows for reason in row["reasons"]).items())),
        "answers_with_reasons": _mean([bool(row["reasons"]) for row in rows]),
        "tokens": _mean([row["tokens"] for row in rows]),
        "cut_off": _mean([not CUT_OFF.isdisjoint(row["reasons"]) for row in rows]),
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
            "mean": _mean(confidence),
            "zero": _mean(confidence == 0),
            "one": _mean(confidence == 1),
            "calibration": calibration(stated, right),
            "auroc": auroc(stated, right),
            "iou_correlation": rank_correlation(confidence, overlap),
        },
    }


def identical(rows: list[dict]) -> float | None:
    """Share of answers that are given word for word to more than one question."""
    counts = Counter(row["completion"] for row in rows)
    return _mean([counts[row["completion"]] > 1 for row in rows])


def overlaps(rows: list[dict], truth: Annotations) -> dict:
    """What a gate at IoU .5 destroys, and for which sizes of object. Boxes are matched as the rewards match them.

    → {"pairs" (boxes on a free object, IoU > 0), "starved" (share of them at IoU ≤ .5: the gate pays these nothing),
    "by_size": {"small", "medium", "large": {"objects", "overlap" (mean IoU, 0 for a missed one), "paid" (the same after
    the gate)}}}; sizes are COCO's, by the object's area in the image.
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
        "starved": _mean([value <= GATE for value in found]),
        "by_size": {
            name: {
                "objects": len(values),
                "overlap": _mean(values),
                "paid": _mean([value if value > GATE else 0.0 for value in values]),
            }
            for name, values in sizes.items()
        },
    }


def _matched(row: dict, objects: list[list[float]]) -> list[float]:
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


def reward_against_ap(log: list[dict], validation: list[dict], metric: str = "coco/AP") -> dict | None:
    """Did the validation AP follow the reward? From a training record; None with fewer than two checkpoints.

    A checkpoint's reward is the mean over the steps since the one before. → {"checkpoints": [{"step", "reward", "AP"}],
    "spearman" (None where one of the two never moves), "drift": what the reward gained from first to last checkpoint,
    as a share of its first value, less what AP gained so; above 0 the pay rose faster than the skill}.
    """
    points, before = [], 0
    for row in validation:
        rewards = [step["reward"] for step in log if before < step["step"] <= row["step"] and "reward" in step]
        if rewards and row.get(metric) is not None:
            points.append({"step": row["step"], "reward": _mean(rewards), "AP": row[metric]})
        before = row["step"]
    if len(points) < 2:
        return None
    first, last = points[0], points[-1]
    grown = [last[name] / first[name] - 1 if first[name] > 0 else None for name in ("reward", "AP")]
    return {
        "checkpoints": points,
        "spearman": rank_correlation(*(np.array([one[name] for one in points]) for name in ("reward", "AP"))),
        "drift": None if None in grown else grown[0] - grown[1],
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
