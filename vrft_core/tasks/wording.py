"""Words that the questions of several tasks share (Visual-RFT, arXiv 2503.01785, Table 1 and the published scripts)."""

THINKING_TAGS = "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
ANSWER_TAGS = "Output the final answer in <answer> </answer> tags."
THINKING_FIRST = "Output the thinking process in <think> </think> tags, and after them the final answer. "
NO_OBJECTS = "No Objects"


def tagged(body: str, thinking: str | None) -> str:
    """An answer in its tags; `thinking` goes between the think tags, None leaves them out."""
    answer = f"<answer>{body}</answer>"
    return answer if thinking is None else f"<think>{thinking}</think>{answer}"
