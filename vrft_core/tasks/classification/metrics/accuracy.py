"""Classification accuracy: strict, and as Visual-RFT published it, with the confusions behind the difference.

What counts as the same name belongs to `rewards.name`, which training shares.
"""

import re
from collections import Counter
from collections.abc import Sequence

from vrft_core.tasks.classification.answers import parse
from vrft_core.tasks.classification.rewards.name import normalised

_PUBLISHED_ANSWER = re.compile(r"<answer>(.*?)</answer>")


def accuracy(completions: Sequence[str], truths: Sequence[str | Sequence[str]], top: int = 20) -> dict:
    """Completions and the names of their true classes (a name, or all its synonyms, the label first).

    → {"strict", "lenient" (shares in [0, 1], None without answers), "queries", "confusions": [{"true", "said",
    "count", "lenient" (whether the published rule took it for right)}, …]}, the most frequent wrong answers first.
    """
    judged = [judge(completion, truth) for completion, truth in zip(completions, truths, strict=True)]
    confusions = Counter((true, said, lenient) for true, said, strict, lenient in judged if not strict)
    most = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))[:top]
    return {
        "strict": sum(strict for *_, strict, _ in judged) / len(judged) if judged else None,
        "lenient": sum(lenient for *_, lenient in judged) / len(judged) if judged else None,
        "queries": len(judged),
        "confusions": [{"true": t, "said": s, "count": n, "lenient": p} for (t, s, p), n in most],
    }


def judge(completion: str, truth: str | Sequence[str]) -> tuple[str, str, bool, bool]:
    """(true label, name said, whether that is right strictly, whether it is by the published rule)."""
    names = (truth,) if isinstance(truth, str) else truth
    said = parse(completion).name
    right = bool(said) and normalised(said) in {normalised(name) for name in names}
    return names[0], said, right, published_match(completion, names[0])


def published_match(completion: str, label: str) -> bool:
    """Visual-RFT's rule: answer and label, without spaces and underscores, lower case; one contains the other.

    Only an answer on one line between its tags is read. An empty answer is part of every label and so is right
    (Visual-RFT, classification/Qwen2_VL_classification_infere.py).
    """
    found = _PUBLISHED_ANSWER.search(completion)
    if not found:
        return False
    said, true = (text.replace(" ", "").replace("_", "").lower() for text in (found[1], label))
    return said in true or true in said
