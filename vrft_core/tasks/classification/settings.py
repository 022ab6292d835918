"""What a recipe says of classification: how the question is put, what answers are paid for."""

from typing import ClassVar, Literal

from vrft_core.params import TaskSettings

VERSION = 1
RULES = ("classification",)


class Settings(TaskSettings):
    """`samples` above 0 adds the metrics pass/1 and pass/`samples`.

    `class_list`: the question names all classes, or (`halves`) those of the image's half, which are the classes with
    few-shot examples or the others that are evaluated: base-to-new as in CoOp (arXiv 2109.01134). The paper's question
    names none; the small policy has not learned to read a list.
    """

    MEASURED: ClassVar[tuple[str, ...]] = ("empty", "name_length")

    class_list: bool | Literal["halves"] = False

    @property
    def validation_samples(self) -> int:
        """Checkpoints are chosen by the greedy answer."""
        return 0
