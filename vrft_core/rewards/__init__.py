"""Verifiable rewards: a completion and the truth in, a number in [0, 1] out, or None where it does not apply.

    completion = rewards.read(text, task="detection", limit=(1000, 1000), thinking=True)   # parse once
    reward = rewards.get("iou@0.3")                                                        # -> Reward
    value = reward(completion, truth)
    value = rewards.score("iou", text, truth)                                              # both in one call

The truth is a list of xyxy boxes for detection (empty: no such object), a class name or all names of the class for
classification, one xyxy box for grounding; boxes in the answer's frame. `NAME@GATE` is NAME with another IoU gate.
`published/NAME` reproduces the published code and its faults: values may be NaN and, for grounding, leave [0, 1].
The registry and its sets live here; no reward does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from vrft_core import answers
from vrft_core.errors import InputError
from vrft_core.rewards import classification, detection, grounding, published
from vrft_core.rewards.completion import Completion
from vrft_core.rewards.format import format as format_reward

Truth = Any
Reward = Callable[[Completion, Truth], float | None]


STRICT: dict[str, dict[str, Reward]] = {
    "detection": {
        "iou": detection.iou,
        "iou_dense": detection.iou_dense,
        "average_precision": detection.average_precision,
        "confidence": detection.confidence,
        "confidence_brier": detection.confidence_brier,
        "format": format_reward,
    },
    "classification": {"accuracy": classification.accuracy, "format": format_reward},
    "grounding": {"iou": grounding.iou, "giou": grounding.giou, "format": format_reward},
}
# of one answer among all answers to its question, `completion.group`; alone it has none
GROUP: dict[str, dict[str, Reward]] = {"detection": {"ranking": detection.ranking}}


def _published(task: str, name: str) -> Reward:
    function, solution = published.REWARDS[task][name], published.SOLUTIONS[task]
    return lambda completion, truth: function(completion.text, solution(truth))


REWARDS: dict[str, dict[str, Reward]] = {
    task: STRICT[task] | GROUP.get(task, {}) | {f"published/{name}": _published(task, name) for name in theirs}
    for task, theirs in published.REWARDS.items()
}
# set → task → what each part of its total is called, and the reward that gives it; the total is their plain sum
SETS: dict[str, dict[str, dict[str, str]]] = {
    "strict": {
        "detection": {"iou": "iou", "confidence": "confidence", "format": "format"},
        "classification": {"accuracy": "accuracy", "format": "format"},
        "grounding": {"iou": "iou", "format": "format"},
    },
    "published": {
        "detection": {"iou": "published/iou", "confidence": "published/confidence", "format": "published/format"},
        "classification": {"accuracy": "published/accuracy", "format": "published/format"},
        "grounding": {"iou": "published/giou", "format": "published/format"},
    },
}
PARSERS = {
    "detection": answers.parse_detection,
    "classification": answers.parse_classification,
    "grounding": answers.parse_grounding,
}


def read(
    text: str, task: str = "detection", limit: tuple[float, float] = (1000, 1000), thinking: bool = True
) -> Completion:
    """Parse a completion once for all rewards; `limit` is the largest x and y of the answer's frame."""
    return Completion(text, PARSERS[task](text, limit), thinking)


def get(name: str, task: str = "detection") -> Reward:
    """The reward called `name` (`iou`, `iou@0.3`, ...). Raises InputError naming the rewards that exist."""
    base, at, gate = name.partition("@")
    known = REWARDS[task]
    try:
        if base in known and not at:
            return known[base]
        if task == "detection" and base == "iou" and 0 <= float(gate) < 1:
            return partial(known[base], gate=float(gate))
    except ValueError:
        pass
    raise InputError("rewards", f"no {task} reward {name!r}", f"known: {', '.join(sorted(known))}")


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
