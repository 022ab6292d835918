"""Verifiable rewards of detection: a completion and the truth in, a number in [0, 1] out, or None.

    completion = read(text, limit=(1000, 1000), thinking=True)   # parse once
    value = get("iou@0.3")(completion, truth)

The truth is a list of xyxy boxes in the answer's frame (empty: no such object). `NAME@GATE` is NAME with another IoU
gate. `published/NAME` reproduces the published code and its faults. The registry lives here; no reward does.
"""

import json
from functools import partial

from vrft_core.families.formats import Native
from vrft_core.tasks.box_answers import Box
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.detection.answers import parse
from vrft_core.tasks.detection.rewards import boxes
from vrft_core.tasks.format import format
from vrft_core.tasks.registry import look_up, published_rewards
from vrft_core.tasks.task import Reward

STRICT: dict[str, Reward] = {
    "iou": boxes.iou,
    "iou_dense": boxes.iou_dense,
    "average_precision": boxes.average_precision,
    "confidence": boxes.confidence,
    "confidence_brier": boxes.confidence_brier,
    "format": format,
}
# of one answer among all answers to its question, `completion.group`; alone it has none
GROUP: dict[str, Reward] = {"ranking": boxes.ranking}
REWARDS: dict[str, Reward] = STRICT | GROUP | published_rewards("detection")
# set → what each part of its total is called, and the reward that gives it; the total is their plain sum
SETS = {
    "strict": {"iou": "iou", "confidence": "confidence", "format": "format"},
    "published": {"iou": "published/iou", "confidence": "published/confidence", "format": "published/format"},
}
EARNED = ("iou", "confidence")  # what an answer that finds nothing must not earn half of


def read(
    text: str, limit: tuple[float, float] = (1000, 1000), thinking: bool = True, native: Native | None = None
) -> Completion:
    """Parse a completion once for all rewards; `limit` is the largest x and y of the answer's frame.

    `native`: the form that was asked for, where that is not the paper's.
    """
    return Completion(text, parse(text, limit, native), thinking, native is not None)


def truth(text: str) -> list[Box]:
    """The true boxes, from an example's `truth`."""
    return json.loads(text)["boxes"]


def get(name: str) -> Reward:
    """The reward called `name` (`iou`, `iou@0.3`, ...). Raises InputError naming the rewards that exist."""
    base, at, gate = name.partition("@")
    if base == "iou" and at:
        try:
            if 0 <= float(gate) < 1:
                return partial(boxes.iou, gate=float(gate))
        except ValueError:
            pass
    return look_up(name, REWARDS)
