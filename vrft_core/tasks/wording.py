"""Words that the questions of several tasks share (Visual-RFT, arXiv 2503.01785, Table 1 and the published scripts)."""

import re
from collections.abc import Sequence

from vrft_core.families.formats import NOTHING

THINKING_TAGS = "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
ANSWER_TAGS = "Output the final answer in <answer> </answer> tags."
THINKING_FIRST = "Output the thinking process in <think> </think> tags, and after them the final answer. "
NO_OBJECTS = NOTHING
NAME = "§"  # for a name where a text is taken to pieces: no form writes it otherwise than it is

_NUMBER = re.compile(rf"(?<!\w)\d+(?!\w)|{NAME}")


def tagged(body: str, thinking: str | None) -> str:
    """An answer in its tags; `thinking` goes between the think tags, None leaves them out."""
    answer = f"<answer>{body}</answer>"
    return answer if thinking is None else f"<think>{thinking}</think>{answer}"


def native(body: str, thinking: str | None) -> str:
    """An answer in a family's own form, which has no answer tags; `thinking` as in `tagged`."""
    return body if thinking is None else f"<think>{thinking}</think>{body}"


def native_pieces(questions: Sequence[str], answers: Sequence[str], nothing: str) -> list[str]:
    """What questions and answers about NAME in a family's own form consist of between names and numbers."""
    asked = [piece for text in questions for piece in text.split(NAME)]
    return [*asked, *(piece for text in answers for piece in _NUMBER.split(text)), nothing]
