"""Verifiable rewards of classification. The truth is the class's name, or all names that it goes by."""

import json
from collections.abc import Sequence

from vrft_core.tasks.classification.answers import parse
from vrft_core.tasks.classification.rewards import name as names
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.format import format
from vrft_core.tasks.registry import look_up, published_rewards
from vrft_core.tasks.task import Reward

STRICT: dict[str, Reward] = {"accuracy": names.accuracy, "format": format}
REWARDS: dict[str, Reward] = STRICT | published_rewards("classification")
SETS = {
    "strict": {"accuracy": "accuracy", "format": "format"},
    "published": {"accuracy": "published/accuracy", "format": "published/format"},
}
EARNED = ("accuracy",)


def read(
    text: str, limit: tuple[float, float] = (1000, 1000), thinking: bool = True, native: object = None
) -> Completion:
    """Parse a completion once for all rewards; there are no coordinates, so `limit` is not used."""
    return Completion(text, parse(text), thinking)


def truth(text: str) -> Sequence[str]:
    """All names of the true class, the label first, from an example's `truth`."""
    return json.loads(text)["names"]


def get(name: str) -> Reward:
    """The reward called `name`. Raises InputError naming the rewards that exist."""
    return look_up(name, REWARDS)
