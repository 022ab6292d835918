"""How a policy is asked and how its answers are written: its family's coordinate frame, and whether it thinks aloud.

What the question is about comes with it: the noun for what the images show, and what the recipe says of the task.
"""

from dataclasses import dataclass

from vrft_core.families.frames import UNITS, Frame, frame
from vrft_core.params import Policy, Recipe, TaskSettings


@dataclass(frozen=True)
class Form:
    """What questions, answers and rewards of every task need to know of the policy.

    `subject`: what every image shows, where the benchmark says so. `settings`: the task's, which questions may follow.
    """

    policy: Policy
    thinking: bool
    subject: str | None = None
    settings: TaskSettings | None = None

    @classmethod
    def of(cls, recipe: Recipe, settings: TaskSettings | None = None, subject: str | None = None) -> "Form":
        """Who only reads answers needs neither settings nor subject."""
        return cls(recipe.policy, recipe.prompts.thinking, subject, settings)

    @property
    def family(self) -> str:
        return self.policy.family

    @property
    def units(self) -> str:
        """What the coordinates of an answer mean, as a question puts it."""
        return UNITS[self.policy.family]

    def frame(self, width: int, height: int, where: object = "image") -> Frame:
        """The coordinate frame of answers about an image of that many pixels. Raises InputError as `frames.frame`."""
        return frame(self.policy, width, height, where)
