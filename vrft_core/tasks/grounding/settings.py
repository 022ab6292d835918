"""What a recipe says of grounding."""

from typing import ClassVar

from vrft_core.params import TaskSettings

VERSION = 1
RULES = ("grounding",)


class Settings(TaskSettings):
    """`rejection`: the question also offers 'No Objects', for data with expressions that mean nothing in the image."""

    MEASURED: ClassVar[tuple[str, ...]] = ("several_boxes", "no_box")

    rejection: bool = False
