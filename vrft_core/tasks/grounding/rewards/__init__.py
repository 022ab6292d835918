"""Verifiable rewards of grounding. The truth is one xyxy box in the answer's frame, or None."""

import json

from vrft_core.families.formats import Native
from vrft_core.tasks.box_answers import Box
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.format import format
from vrft_core.tasks.grounding.answers import parse
from vrft_core.tasks.grounding.rewards import box
from vrft_core.tasks.registry import look_up, published_rewards
from vrft_core.tasks.task import Reward

STRICT: dict[str, Reward] = {"iou": box.iou, "giou": box.giou, "format": format}
REWARDS: dict[str, Reward] = STRICT | published_rewards("grounding")
SETS = {
    "strict": {"iou": "iou", "format": "format"},
    "published": {"iou": "published/giou", "format": "published/format"},
}
EARNED = ("iou",)


def read(
    text: str, limit: tuple[float, float] = (1000, 1000), thinking: bool = True, native: Native | None = None
) -> Completion:
    """Parse a completion once for all rewards; `limit` is the largest x and y of the answer's frame.

    `native`: the form that was asked for, where that is not the paper's.
    """
    return Completion(text, parse(text, limit, native), thinking, native is not None)


def truth(text: str) -> Box | None:
    """The true box, None where nothing is meant, from an example's `truth`."""
    return json.loads(text)["box"]


def get(name: str) -> Reward:
    """The reward called `name`. Raises InputError naming the rewards that exist."""
    return look_up(name, REWARDS)
