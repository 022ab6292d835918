"""A fixed set of answers that try to get too much reward, or to break something, with the value each reward must give.

The cases and their golden rewards lie beside each task's rewards (adversarial.json): `strict` is the specification,
`published` what the published code pays for the same (null: not a number). Changing a golden value changes what
training pays.
"""

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict

from vrft_core.tasks.task import Task

TOLERANCE = 1e-5


class Case(TypedDict):
    name: str
    truth: Any
    completion: str
    strict: dict[str, float]  # by reward
    published: dict[str, float | None]


class Mismatch(TypedDict):
    case: str
    reward: str
    golden: float | None
    paid: float | None


class Rescored(TypedDict):
    """How many answers find nothing, and to how many of these either set of rewards pays more than half of what there
    is to earn besides the format."""

    cases: int
    mismatches: list[Mismatch]
    worthless: int
    strict_overpaid: int
    published_overpaid: int


@cache
def cases(task: Task) -> list[Case]:
    place = files(f"{task.package}.rewards").joinpath("adversarial.json")
    return json.loads(place.read_text(encoding="utf-8"))


def rescore(task: Task) -> Rescored:
    """Every case of a task rewarded again."""
    rewards = task.rewards
    overpaid = {"strict": 0, "published": 0}
    mismatches: list[Mismatch] = []
    worthless = 0
    for case in cases(task):
        completion = rewards.read(case["completion"])
        for kind, prefix in (("strict", ""), ("published", "published/")):
            for name, golden in case[kind].items():
                paid = rewards.get(prefix + name)(completion, case["truth"])
                paid = None if paid is None or math.isnan(paid) else paid
                if (paid is None) != (golden is None) or (
                    paid is not None and golden is not None and abs(paid - golden) > TOLERANCE
                ):
                    mismatches.append(
                        {"case": case["name"], "reward": prefix + name, "golden": golden, "paid": paid},
                    )
        earned = [case["strict"][name] for name in rewards.EARNED]
        if not any(earned):
            worthless += 1
            for kind in overpaid:
                paid = [value for name, value in case[kind].items() if name != "format"]
                paid = paid if kind == "published" else earned
                overpaid[kind] += sum(value or 0 for value in paid) > len(paid) / 2
    return {
        "cases": len(cases(task)),
        "mismatches": mismatches,
        "worthless": worthless,
        "strict_overpaid": overpaid["strict"],
        "published_overpaid": overpaid["published"],
    }
