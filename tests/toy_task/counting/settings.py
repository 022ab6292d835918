"""What a recipe says of counting."""

from typing import ClassVar

from vrft_core.params import TaskSettings

VERSION = 1
RULES = ("counting",)


class Settings(TaskSettings):
    """Nothing but what every task has."""

    MEASURED: ClassVar[tuple[str, ...]] = ("no_number",)
