"""Classification accuracy: strict, and as Visual-RFT published it, with the confusions behind the difference.

What counts as the same name belongs to `answers`, which training shares.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from vrft_core.tasks.classification.answers import parse, published, same

Judged = tuple[str, str, bool, bool]  # true label, name said, right strictly, right by the published rule


class Confusion(TypedDict):
    true: str
    said: str
    count: int
    lenient: bool  # whether the published rule took it for right


class Accuracy(TypedDict):
    strict: float | None  # shares in [0, 1], None without answers
    lenient: float | None
    queries: int
    confusions: list[Confusion]


def accuracy(completions: Sequence[str], truths: Sequence[str | Sequence[str]], top: int = 20) -> Accuracy:
    """Completions and the names of their true classes (a name, or all its synonyms, the label first).

    `top`: how many of the most frequent wrong answers are kept.
    """
    judged = [judge(completion, truth) for completion, truth in zip(completions, truths, strict=True)]
    return {
        "strict": sum(strict for *_, strict, _ in judged) / len(judged) if judged else None,
        "lenient": sum(lenient for *_, lenient in judged) / len(judged) if judged else None,
        "queries": len(judged),
        "confusions": confusions(judged, top),
    }


def confusions(judged: Iterable[Judged], top: int) -> list[Confusion]:
    """The most frequent wrong answers."""
    wrong = Counter((true, said, lenient) for true, said, strict, lenient in judged if not strict)
    most = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:top]
    return [{"true": true, "said": said, "count": n, "lenient": lenient} for (true, said, lenient), n in most]


def judge(completion: str, truth: str | Sequence[str]) -> Judged:
    names = (truth,) if isinstance(truth, str) else truth
    said = parse(completion).name
    return names[0], said, same(said, names), published_match(completion, names[0])


def published_match(completion: str, label: str) -> bool:
    """Visual-RFT's rule about a completion and the true class's label; see `published_same`."""
    return published_same(published(completion), label)


def published_same(said: str | None, label: str) -> bool:
    """Answer and label without spaces and underscores, lower case; one contains the other. None: no answer was found.

    An empty answer is part of every label and so is right (Visual-RFT,
    classification/Qwen2_VL_classification_infere.py).
    """
    if said is None:
        return False
    plain, true = (text.replace(" ", "").replace("_", "").lower() for text in (said, label))
    return plain in true or true in plain
