"""How a policy is asked and how its answers are written: its family's coordinate frame, and whether it thinks aloud.

What the question is about comes with it: what the benchmark and the recipe say of the task.
"""

from dataclasses import dataclass

from vrft_core.families import registry
from vrft_core.families.formats import Native
from vrft_core.families.frames import Frame, frame, units
from vrft_core.params import Benchmark, FewShot, Policy, Recipe, TaskSettings


@dataclass(frozen=True)
class Form:
    """What questions, answers and rewards of every task need to know of the policy.

    `native`: its own way of writing boxes, where the recipe asks for that; None: the paper's. `settings`, of the task,
    `benchmark` and `few_shot`: what questions may follow.
    """

    policy: Policy
    thinking: bool
    settings: TaskSettings | None = None
    native: Native | None = None
    benchmark: Benchmark | None = None
    few_shot: FewShot | None = None

    @classmethod
    def of(cls, recipe: Recipe, settings: TaskSettings | None = None, benchmark: Benchmark | None = None) -> "Form":
        """Who only reads answers needs neither settings nor benchmark."""
        native = native_of(recipe.policy) if recipe.prompts.format == "native" else None
        return cls(recipe.policy, recipe.prompts.thinking, settings, native, benchmark, recipe.few_shot)

    @property
    def subject(self) -> str | None:
        """What every image shows, where the benchmark says so."""
        return self.benchmark.subject if self.benchmark else None

    @property
    def family(self) -> str:
        return self.policy.family

    @property
    def units(self) -> str:
        """What the coordinates of an answer mean, as a question puts it."""
        return units(self.policy)

    def frame(self, width: int, height: int, where: object = "image") -> Frame:
        """The coordinate frame of answers about an image of that many pixels. Raises InputError as `frames.frame`."""
        return frame(self.policy, width, height, where)


def native_of(policy: Policy) -> Native:
    """How the policy writes boxes of its own accord: as its parameters say, or as its family does."""
    if policy.convention:
        return Native(policy.convention.native, policy.convention.order)
    family = registry.get(policy.family)
    assert family.native, "parameters without a convention are refused when they are read"
    return Native(family.native, family.order)
