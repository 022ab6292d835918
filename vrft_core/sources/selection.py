"""Which images of a large official set are used: chosen by a hash of what names them, so that order means nothing."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping

from pydantic import BaseModel, ConfigDict

from vrft_core.errors import InputError


class Settings(BaseModel):
    """What a benchmark may say of its source; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def rank(key: Hashable) -> bytes:
    """A fixed order that looks random."""
    return hashlib.sha256(str(key).encode()).digest()


def hold_out(shows: Mapping[str, set[int]], share: float) -> set[str]:
    """`held_out`. Raises InputError when a share is asked for and none can go."""
    chosen = held_out(shows, share)
    if share and not chosen:
        raise InputError("validation", "too few training images to hold some out", "set `validation: 0`")
    return chosen


def held_out(shows: Mapping[str, set[int]], share: float, order: Callable[[str], bytes | str] = rank) -> set[str]:
    """Keys of training images to validate on: up to `share` of them, never more than half of a category's.

    `shows` maps what names an image to its categories.
    """
    left = Counter(category for categories in shows.values() for category in categories)
    keep = {category: math.ceil(count / 2) for category, count in left.items()}
    chosen: set[str] = set()
    for key in sorted(shows, key=order):
        if len(chosen) < share * len(shows) and all(left[category] > keep[category] for category in shows[key]):
            chosen.add(key)
            left.subtract(shows[key])
    return chosen


def thin(shows: Mapping[str, set[int]], per_category: int | None) -> set[str]:
    """Keys to keep so that each category has its first `per_category` images; all where that is None."""
    if per_category is None:
        return set(shows)
    count: dict[int, int] = {}
    kept: set[str] = set()
    for key in sorted(shows, key=rank):
        if any(count.get(category, 0) < per_category for category in shows[key]):
            kept.add(key)
            for category in shows[key]:
                count[category] = count.get(category, 0) + 1
    return kept


def first(keys: set[str], number: int | None) -> set[str]:
    """At most `number` of the keys."""
    return set(sorted(keys, key=rank)[:number])
