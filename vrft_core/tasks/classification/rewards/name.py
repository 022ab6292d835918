"""Reward for classification: is the named class the true one. What counts as the same name is said here, once."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from vrft_core.tasks.completion import Completion

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
_EDGES = " \t\n.,;:!?\"'`*()[]{}<>"


def accuracy(completion: Completion, truth: str | Sequence[str]) -> float:
    """1.0 if the answer is the class's name, or one of its synonyms, after `normalised`; else 0.0.

    Nothing else passes: no part of a name, no list of names, no empty answer (the published rule lets all three pass).

    Args:
        truth: the class's name, or all names that it goes by.
    """
    names = (truth,) if isinstance(truth, str) else truth
    named = normalised(completion.parsed.name)
    return 1.0 if named and named in {normalised(name) for name in names} else 0.0


@lru_cache(maxsize=8192)
def normalised(name: str) -> str:
    """Lower case; spaces, underscores and hyphens are one space; no punctuation around, no article before."""
    plain = _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", name).casefold().strip(_EDGES)).strip()
    for article in ("a ", "an ", "the "):
        if plain.startswith(article):
            return plain[len(article) :]
    return plain
