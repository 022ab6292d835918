"""What a recipe says of classification: how the question is put, what answers are paid for."""

from typing import ClassVar

from vrft_core.params import TaskSettings

VERSION = 1
RULES = ("classification",)


class Settings(TaskSettings):
    """`samples` above 0 adds the metrics pass/1 and pass/`samples`.

    `class_list`: the question names all classes. The paper's does not; the small policy has not learned to read one.
    """

    MEASURED: ClassVar[tuple[str, ...]] = ("empty", "name_length")

    class_list: bool = False

    @property
    def validation_samples(self) -> int:
        """Checkpoints are chosen by the greedy answer."""
        return 0
