"""How a policy is asked and how its answers are written: its family's coordinate frame, and whether it thinks aloud."""

from dataclasses import dataclass

from vrft_core.families.frames import UNITS, Frame, frame
from vrft_core.params import Policy, Recipe


@dataclass(frozen=True)
class Form:
    """What questions, answers and rewards of every task need to know of the policy."""

    policy: Policy
    thinking: bool

    @classmethod
    def of(cls, recipe: Recipe) -> "Form":
        return cls(recipe.policy, recipe.prompts.thinking)

    @property
    def family(self) -> str:
        return self.policy.family

    @property
    def units(self) -> str:
        """What the coordinates of an answer mean, as a question puts it."""
        return UNITS[self.policy.family]

    def frame(self, width: int, height: int) -> Frame:
        """The coordinate frame of answers about an image of so many pixels."""
        return frame(self.policy, width, height)
