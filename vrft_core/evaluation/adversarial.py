"""A fixed set of answers that try to be overpaid, or to break something, with what the rewards must make of each.

The cases and their golden rewards are in adversarial.json: `strict` is the specification, `published` what the
published code pays for the same (null: not a number). Whoever changes a golden value changes what training pays.
"""

import json
import math
from functools import cache
from importlib.resources import files

from vrft_core import rewards

TOLERANCE = 1e-5
_HALF = {"detection": ("iou", "confidence"), "classification": ("accuracy",), "grounding": ("iou",)}


@cache
def cases() -> list[dict]:
    """[{"name", "task", "truth", "completion", "strict": {reward: value}, "published": {reward: value}}, …]"""
    return json.loads(files("vrft_core.evaluation").joinpath("adversarial.json").read_text(encoding="utf-8"))


def rescore() -> dict:
    """Every case rewarded again.

    → {"cases", "mismatches": [{"case", "reward", "golden", "paid"}], "worthless", "strict_overpaid",
    "published_overpaid"}: how many answers find nothing, and to how many of these either set pays more than half of
    what there is to earn besides the format.
    """
    mismatches, worthless, overpaid = [], 0, {"strict": 0, "published": 0}
    for case in cases():
        task, completion = case["task"], rewards.read(case["completion"], case["task"])
        for kind, prefix in (("strict", ""), ("published", "published/")):
            for name, golden in case[kind].items():
                paid = rewards.get(prefix + name, task)(completion, case["truth"])
                paid = None if paid is None or math.isnan(paid) else paid
                if (paid is None) != (golden is None) or (paid is not None and abs(paid - golden) > TOLERANCE):
                    mismatches.append(
                        {"case": case["name"], "reward": prefix + name, "golden": golden, "paid": paid},
                    )
        earned = [case["strict"][name] for name in _HALF[task]]
        if not any(earned):
            worthless += 1
            for kind in overpaid:
                paid = [value for name, value in case[kind].items() if name != "format"]
                paid = paid if kind == "published" else earned
                overpaid[kind] += sum(value or 0 for value in paid) > len(paid) / 2
    return {
        "cases": len(cases()),
        "mismatches": mismatches,
        "worthless": worthless,
        **{f"{kind}_overpaid": count for kind, count in overpaid.items()},
    }
