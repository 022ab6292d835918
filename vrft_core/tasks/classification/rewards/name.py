"""Reward for classification: is the named class the true one."""

from collections.abc import Sequence

from vrft_core.tasks.classification.answers import same
from vrft_core.tasks.completion import Completion


def accuracy(completion: Completion, truth: str | Sequence[str]) -> float:
    """1.0 if the answer is the class's name, or one of its synonyms (`answers.same`); else 0.0.

    Nothing else passes: no part of a name, no list of names, no empty answer (the published rule lets all three pass).

    Args:
        truth: the class's name, or all names that it goes by.
    """
    return float(same(completion.parsed.name, (truth,) if isinstance(truth, str) else truth))
