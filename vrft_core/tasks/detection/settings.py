"""What a recipe says of detection: what is asked, what boxes are ranked by, what answers are paid for."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vrft_core.errors import InputError
from vrft_core.params import Natural, Prompts, Strict, TaskSettings

VERSION = 1
STATED = ("confidence", "ranking")  # how the names of rewards begin that are about stated confidences
RULES = ("lvis", "coco")


class PresenceMap(Strict):
    """A stored presence map, its path relative to the project root, and its digest: a changed one is noticed."""

    map: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Settings(TaskSettings):
    """`presence`: see `prompts.presence`; `ranking`: see `metrics.ranking`. `instructions`: a question begins with what
    annotators were told of its category, where the source knows it."""

    MEASURED: ClassVar[tuple[str, ...]] = ("repeating", "box_inflation", "confidence_zero", "confidence_one")

    presence: Literal["oracle", "self"] | PresenceMap
    absent_share: Annotated[float, Field(gt=0, le=1)] = (
        1.0  # of the questions about absent categories, at random, weighted
    )
    ranking: Literal["stated", "likelihood", "certainty", "combined", "consistency"]
    instructions: bool = False
    fitting_images: Natural = 0  # training images, the same for all models, that the ranking `combined` is fitted on

    @property
    def asked_by(self) -> str:
        """oracle, self or map"""
        return self.presence if isinstance(self.presence, str) else "map"

    def asking(self, protocol: str) -> Self:
        """`protocol`: oracle or self, about all categories. Raises InputError for another one."""
        if protocol not in ("oracle", "self"):
            raise InputError("--presence", f"no {protocol!r} here", "give oracle or self")
        return self.model_copy(update={"presence": protocol, "absent_share": 1.0})

    @model_validator(mode="after")
    def _ranking_can_be_had(self):
        if self.ranking == "consistency" and not self.samples:
            raise ValueError("ranking `consistency` needs `samples` of 1 or more")
        if self.ranking == "combined" and not self.fitting_images:
            raise ValueError("ranking `combined` needs `fitting_images` of 1 or more")
        return self

    def unsuited(self, prompts: Prompts) -> str | None:
        """A family's own form of boxes states no confidence: nothing can be paid for it, or ranked by it."""
        if prompts.format == "paper":
            return None
        paid = [name for name in self.rewards if name.startswith((*STATED, "published/"))]
        if paid:
            return f"rewards: {paid[0]!r} needs the paper's answers, and prompts.format is native; take it out"
        if self.ranking in ("stated", "combined"):
            return f"ranking: {self.ranking!r} needs stated confidences, and prompts.format is native; take certainty"
        return None

    @property
    def validation_ranking(self) -> str:
        """What boxes are ranked by when a checkpoint is chosen: `combined` is fitted once, on the model chosen."""
        return "certainty" if self.ranking == "combined" else self.ranking
