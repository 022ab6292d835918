"""Which predictions tell most about a model: those where it lost or gained most against the model it started from.

Measured by the task's own rewards for what an answer earns; showing them belongs elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vrft_core.families.form import Form
from vrft_core.tasks.task import Example, Task

COUNT = 20


@dataclass(frozen=True)
class Instructive:
    """One example, what the model answered and what it earned (0 to 1), and the same of the model before."""

    example: Example
    completion: str
    earned: float
    before: str
    earned_before: float

    @property
    def gain(self) -> float:
        return self.earned - self.earned_before


def instructive(
    task: Task, form: Form, examples: Sequence[Example], rows: Sequence[Any], before: Sequence[Any], count: int = COUNT
) -> list[Instructive]:
    """Half of them where most was lost (then where least was earned), half where most was gained.

    `rows`, `before`: predictions with "id" and "completion", of the same questions. Examples without both are left out.
    """
    now, then = ({row["id"]: row["completion"] for row in kind} for kind in (rows, before))
    found = [_judged(task, form, one, now, then) for one in examples if one.id in now and one.id in then]
    worst = sorted(found, key=lambda one: (one.gain, one.earned))[: count // 2]
    taken = {one.example.id for one in worst}
    best = sorted(found, key=lambda one: (-one.gain, -one.earned))
    return worst + [one for one in best if one.example.id not in taken][: count - len(worst)]


def _judged(task: Task, form: Form, one: Example, now: Mapping[str, str], then: Mapping[str, str]) -> Instructive:
    earned = [_earned(task, form, one, texts[one.id]) for texts in (now, then)]
    return Instructive(one, now[one.id], earned[0], then[one.id], earned[1])


def _earned(task: Task, form: Form, one: Example, text: str) -> float:
    """The mean of what the rewards for the answer itself pay; those that do not apply are left out."""
    rewards = task.rewards
    completion = rewards.read(text, form.frame(one.width, one.height).limit, form.thinking, form.native)
    truth = rewards.truth(one.truth)
    paid = [value for name in rewards.EARNED if (value := rewards.get(name)(completion, truth)) is not None]
    return sum(paid) / len(paid) if paid else 0.0
