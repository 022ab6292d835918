"""Verifiable rewards: a completion and the truth in, a number in [0, 1] out, or None where it does not apply.

    completion = rewards.read(text, task="detection", limit=(1000, 1000), thinking=True)   # parse once
    reward = rewards.get("iou@0.3")                                                        # -> Reward
    value = reward(completion, truth)                                                      # truth: list of xyxy boxes
    value = rewards.score("iou", text, truth)                                              # both in one call

`NAME@GATE` is the reward NAME with another gate. The registry and its sets live here; no reward does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from vrft_core import answers
from vrft_core.answers import Completion
from vrft_core.errors import InputError
from vrft_core.rewards import detection
from vrft_core.rewards.format import format as format_reward

Truth = Any
Reward = Callable[[Completion, Truth], float | None]

DETECTION: dict[str, Reward] = {
    "iou": detection.iou,
    "iou_dense": detection.iou_dense,
    "average_precision": detection.average_precision,
    "confidence": detection.confidence,
    "confidence_brier": detection.confidence_brier,
    "format": format_reward,
}
REWARDS: dict[str, dict[str, Reward]] = {"detection": DETECTION}
STRICT: dict[str, tuple[str, ...]] = {"detection": ("iou", "confidence", "format")}

_PARSERS = {"detection": answers.parse_detection}
_GATED = {"iou"}


def read(
    text: str, task: str = "detection", limit: tuple[float, float] = (1000, 1000), thinking: bool = True
) -> Completion:
    """Parse a completion once for all rewards; `limit` is the largest x and y of the answer's frame."""
    return Completion(text, _PARSERS[task](text, limit), thinking)


def get(name: str, task: str = "detection") -> Reward:
    """The reward called `name` (`iou`, `iou@0.3`, ...). Raises InputError naming the rewards that exist."""
    base, at, gate = name.partition("@")
    known = REWARDS[task]
    try:
        if base in known and not at:
            return known[base]
        if base in known and base in _GATED and 0 <= float(gate) < 1:
            return partial(known[base], gate=float(gate))
    except ValueError:
        pass
    raise InputError("rewards", f"no {task} reward {name!r}", f"known: {', '.join(sorted(known))}, iou@GATE")


def score(
    name: str,
    text: str,
    truth: Truth,
    *,
    task: str = "detection",
    limit: tuple[float, float] = (1000, 1000),
    thinking: bool = True,
) -> float | None:
    """One reward of one text; where several are wanted, `read` once and call each."""
    return get(name, task)(read(text, task, limit, thinking), truth)
