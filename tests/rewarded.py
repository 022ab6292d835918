"""Completions in the published form, what rewards pay for them, and the answers of the published table."""

import math

from vrft_core.tasks.detection import rewards as detection

TRUE = [100, 101, 300, 300]
FAR = [600, 602, 800, 801]
STRICT_DETECTION = ["iou", "iou_dense", "iou@0.3", "average_precision", "confidence", "confidence_brier", "format"]
NEVER_PAY = ["iou", "iou_dense", "iou@0.3", "average_precision", "confidence"]


def completion(items, thought="x") -> str:
    """(box, confidence) pairs as the prompt asks for them."""
    listed = ", ".join(f"{{'Position': {list(box)}, 'Confidence': {confidence}}}" for box, confidence in items)
    return f"<think>{thought}</think> <answer>[{listed}]</answer>"


def said(text: str) -> str:
    return f"<think>x</think> <answer>{text}</answer>"


def score(task, name, text, truth, **reading):
    """What the task's reward pays for a completion."""
    return task.get(name)(task.read(text, **reading), truth)


def pay(name, items, truth=(TRUE,)):
    return score(detection, name, items if isinstance(items, str) else completion(items), list(truth))


def total(items, truth) -> float:
    return sum(pay(name, items, truth) for name in detection.SETS["strict"].values())


NEAR = [100, 100, 300, 300]  # IoU 0.995 with TRUE
LOW = [100, 100, 200, 300]  # IoU 0.4987
OFF = [500, 500, 600, 600]
JUNK = [([x, 500, x + 9, 600], 0.0) for x in range(400, 500)]
NEAR_DUPLICATES = [([100, 100, 300, y], 0.9) for y in range(300, 305)]

# what the published functions return, executed: answer, truth, IoU reward, confidence reward, format
PUBLISHED = {
    "right box": (completion([(NEAR, 0.9)]), [TRUE], 0.995, 0.90, 1),
    "IoU 0.5 or less": (completion([(LOW, 0.9)]), [TRUE], 0, 0.10, 1),
    "wrong box, confidence 0": (completion([(OFF, 0.0)]), [TRUE], 0, 1.0, 1),
    "wrong box with the true y1": (completion([([500, 101, 600, 600], 0.9)]), [TRUE], 1.0, 1.0, 1),
    "one of two": (completion([(NEAR, 0.9)]), [TRUE, FAR], 0.4975, 0.90, 1),
    "one of two with the true y1": (completion([(TRUE, 0.9)]), [TRUE, FAR], 1.0, 1.0, 1),
    "two of two and a wrong one": (
        completion([(NEAR, 0.9), ([600, 601, 800, 801], 0.9), (OFF, 0.2)]),
        [TRUE, FAR],
        0.6633,
        0.8667,
        1,
    ),
    "5 near duplicates": (completion(NEAR_DUPLICATES), [TRUE], 0.199, 0.26, 1),
    "5 exact duplicates": (completion([(NEAR, 0.9)] * 5), [TRUE], 0.995, 0.90, 1),
    "100 junk boxes, confidence 0": (completion(JUNK), [TRUE], 0, 1.0, 1),
    "[] on a positive": (said("[]"), [TRUE], 0, 0, 1),
    "No Objects on a positive": (said("No Objects"), [TRUE], 0, 0, 1),
    "No Objects on a negative": (said("No Objects"), [], 0, 0, 1),
    "[] on a negative": (said("[]"), [], 0, 0, 1),
    "boxes on a negative": (completion([(NEAR, 0.9)]), [], 0, 0, 1),
    "confidence NaN": (completion([(NEAR, "NaN")]), [TRUE], 0.995, math.nan, 1),
    "confidence 50": (completion([(NEAR, 50)]), [TRUE], 0.995, 1.0, 1),
    "confidence -3, wrong box": (completion([(OFF, -3)]), [TRUE], 0, 1.0, 1),
    "confidence as string": (completion([(NEAR, "'0.9'")]), [TRUE], 0, 0, 1),
    "confidence missing": (said(f"[{{'Position': {NEAR}}}]"), [TRUE], 0, 0, 1),
    "key position": (completion([(NEAR, 0.9)]).replace("Position", "position"), [TRUE], 0, 0, 1),
    "list over many lines": (completion([(NEAR, 0.9)]).replace("{", "\n{"), [TRUE], 0, 0, 1),
    "list ends with ', ...'": (completion([(NEAR, 0.9)]).replace("}]", "}, ...]"), [TRUE], 0, 0, 1),
    "inverted box": (completion([([300, 300, 100, 100], 0.9)]), [TRUE], 0, 0.10, 1),
    "list without tags": (f"[{{'Position': {NEAR}, 'Confidence': 0.9}}]", [TRUE], 0.995, 0.90, 0),
    "text after the answer": (completion([(NEAR, 0.9)]) + " done", [TRUE], 0.995, 0.90, 0),
    "empty thought": (completion([(NEAR, 0.9)], thought=""), [TRUE], 0.995, 0.90, 1),
    "doubled brackets": (said(f"[[{{'Position': {NEAR}, 'Confidence': 0.9}}]]"), [TRUE], 0.995, 0.90, 1),
    "cut within the second box": (
        said(f"[{{'Position': {NEAR}, 'Confidence': 0.9}}, {{'Position': [1"),
        [TRUE],
        0.995,
        0.90,
        1,
    ),
}
