"""What a training leaves behind besides weights: its curve, its validation scores, its cost. Plain data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NotRequired, TypedDict

ROLLOUTS = "rollouts.jsonl"  # in a run folder: one row a completion
COUNTERS = (
    "wall_seconds", "cpu_seconds",
    "completions", "tokens", "completion_tokens", "images", "patches", "discarded_tokens",
    "guessed_in_vain",
)  # fmt: skip


Step = dict[str, float]  # what was logged at one step, by name; `step` among them


class Checkpoint(TypedDict):
    step: int
    score: float | None  # of the task's validation metric; None without validation images


class GuardWarning(TypedDict):
    step: int
    guard: str
    value: float


class Stop(GuardWarning):
    """Of the guard that ended the training."""

    limit: str  # what it says in words


class Description(TypedDict):
    """A training as it is described on disk: a `Record`, and what was made of it."""

    method: NotRequired[str]
    seed: NotRequired[int]
    parameters: NotRequired[dict[str, int]]  # trainable, total
    git: NotRequired[dict[str, Any] | None]
    finished: NotRequired[str]  # UTC, ISO 8601
    hardware: NotRequired[str]
    run: NotRequired[str | None]  # address of its page in MLflow
    flops: NotRequired[float]
    validation_metric: NotRequired[str]
    log: NotRequired[list[Step]]  # this one and `settings` are not in a report
    validation: list[Checkpoint]
    warnings: NotRequired[list[GuardWarning]]
    stopped: NotRequired[Stop | None]
    cost: dict[str, float]
    validation_cost: NotRequired[dict[str, float]]
    steps: int
    chosen_step: int
    checkpoint: str  # the rule it was chosen by
    settings: NotRequired[dict[str, Any]]


@dataclass
class Record:
    """Grows while training and travels with each checkpoint, so that a resumed run keeps what came before.

    `log`: one row a step. `cost` counts training alone: seconds, completions learned from, tokens, images and their
    patches, the tokens of groups that were replaced, and places of passes that wrong guesses took; `validation_cost`
    is what choosing a checkpoint took.
    """

    log: list[Step] = field(default_factory=list)
    validation: list[Checkpoint] = field(default_factory=list)
    warnings: list[GuardWarning] = field(default_factory=list)
    stopped: Stop | None = None
    cost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    validation_cost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTERS[:2], 0))

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "Record":
        """Counters that an earlier version did not know are 0."""
        return cls(**data | {"cost": dict.fromkeys(COUNTERS, 0) | data["cost"]})


class Clock:
    """Adds wall and CPU seconds of this process to a record: training's, and validation's apart."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._mark = self._now()

    def stop(self, account: dict[str, float] | None = None) -> None:
        """Book the time since the last stop, to training unless told otherwise."""
        now = self._now()
        account = self.record.cost if account is None else account
        for name, before, after in zip(COUNTERS, self._mark, now, strict=False):
            account[name] += after - before
        self._mark = now

    @contextmanager
    def validating(self) -> Iterator[None]:
        self.stop()
        yield
        self.stop(self.record.validation_cost)

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.monotonic(), time.process_time()
