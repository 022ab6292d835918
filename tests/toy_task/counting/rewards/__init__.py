"""Verifiable rewards of counting. The truth is the count."""

import json

from vrft_core.tasks.completion import Completion
from vrft_core.tasks.counting.answers import parse
from vrft_core.tasks.format import format
from vrft_core.tasks.registry import look_up
from vrft_core.tasks.task import Reward


def count(completion: Completion, truth: int) -> float:
    """1.0 for the right number, else 0.0."""
    return float(completion.parsed.count == truth)


REWARDS: dict[str, Reward] = {"count": count, "format": format}
SETS: dict[str, dict[str, str]] = {"strict": {"count": "count", "format": "format"}, "published": {}}
EARNED = ("count",)


def read(
    text: str, limit: tuple[float, float] = (1000, 1000), thinking: bool = True, native: object = None
) -> Completion:
    """Parse a completion once for all rewards; there are no coordinates, so `limit` and `native` are not used."""
    return Completion(text, parse(text), thinking)


def truth(text: str) -> int:
    """The count, from an example's `truth`."""
    return json.loads(text)["count"]


def get(name: str) -> Reward:
    """The reward called `name`. Raises InputError naming the rewards that exist."""
    return look_up(name, REWARDS)
