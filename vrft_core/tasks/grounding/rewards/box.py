"""Rewards for grounding: how well the one box of an answer fits the one true box.

Functions of (completion, truth) with values in [0, 1]; truth is one xyxy box in the answer's frame, or None where
nothing is meant: there 'No Objects' earns 1.0 and anything else 0.0. Each further box that an answer lists, usable or
not, divides the reward: listing more never pays.
"""

from collections.abc import Callable

from vrft_core.tasks.box_answers import Box
from vrft_core.tasks.completion import Completion


def iou(completion: Completion, truth: Box | None) -> float:
    """IoU of the first usable box / number of boxes listed; 0.0 without one."""
    return _first_box(completion, truth, lambda box, true: overlap(box, true)[0])


def giou(completion: Completion, truth: Box | None) -> float:
    """(1 + GIoU) / 2 of the first usable box / number of boxes listed; 0.0 without one (arXiv 1902.09630).

    Half of the published GIoU + 1, on valid boxes only, so that it cannot leave [0, 1].
    """
    return _first_box(completion, truth, lambda box, true: (1.0 + overlap(box, true)[1]) / 2.0)


def _first_box(completion: Completion, truth: Box | None, fit: Callable[[Box, Box], float]) -> float:
    parsed = completion.parsed
    if truth is None:
        return 1.0 if parsed.says_none else 0.0
    return fit(parsed.detections[0].box, truth) / (1 + parsed.dropped) if parsed.detections else 0.0


def overlap(box: Box, truth: Box) -> tuple[float, float]:
    """IoU in [0, 1] and generalised IoU in [-1, 1] of two boxes of positive area."""
    x1, y1, x2, y2 = box
    tx1, ty1, tx2, ty2 = truth
    common = max(0.0, min(x2, tx2) - max(x1, tx1)) * max(0.0, min(y2, ty2) - max(y1, ty1))
    union = (x2 - x1) * (y2 - y1) + (tx2 - tx1) * (ty2 - ty1) - common
    hull = (max(x2, tx2) - min(x1, tx1)) * (max(y2, ty2) - min(y1, ty1))
    iou = min(1.0, common / union)
    return iou, max(-1.0, min(iou, iou - (hull - union) / hull))
