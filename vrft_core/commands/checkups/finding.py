"""What a check of `vrft doctor` gives back."""

from dataclasses import dataclass
from typing import Literal

OK, WARN, FAIL = "ok", "warn", "fail"
Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """`said`: one sentence with the numbers. `remedy`: what to do, where something is to be done."""

    level: Level
    said: str
    remedy: str = ""


def graded(value: float, warn: float, fail: float) -> Level:
    """More is worse: `warn` above the first bound, `fail` above the second."""
    return FAIL if value > fail else WARN if value > warn else OK
