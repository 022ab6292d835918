"""Training examples as TRL wants them. Reading and writing them belongs to `examples`."""

from datasets import Dataset


def sft_columns(examples: Dataset, targets: str = "as_asked") -> Dataset:
    """prompt, completion, image; and the example's id, for messages. Targets `answer_only` leave the thought out."""

    def target(row: dict) -> str:
        answer = row["answer"]
        if targets == "as_asked" or "</think>" not in answer:
            return answer
        return answer[answer.index("</think>") + len("</think>") :]

    return examples.map(
        lambda row: {"prompt": _turn("user", row["question"]), "completion": _turn("assistant", target(row))}
    ).select_columns(["prompt", "completion", "image", "id"])


GRPO_COLUMNS = ("prompt", "image", "truth", "width", "height", "id", "label")


def grpo_columns(examples: Dataset) -> Dataset:
    """prompt, image; and what the rewards and the rollouts need."""
    asked = examples.map(lambda row: {"prompt": _turn("user", row["question"])})
    return asked.select_columns(list(GRPO_COLUMNS))


def _turn(role: str, text: str) -> list[dict]:
    return [{"role": role, "content": text}]
