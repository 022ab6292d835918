"""Reward for classification: is the named class the true one. What counts as the same name is said here, once."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from vrft_core.tasks.completion import Completion

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
_ARTICLE = re.compile(r"(?:an?|the)\s++(?![_\-\u2010-\u2015])")
_EDGES = " \t\n.,;:!?\"'`*()[]{}<>"


def accuracy(completion: Completion, truth: str | Sequence[str]) -> float:
    """1.0 if the answer is the class's name, or one of its synonyms, as `same_name` compares them; else 0.0.

    Nothing else passes: no part of a name, no list of names, no empty answer (the published rule lets all three pass).

    Args:
        truth: the class's name, or all names that it goes by.
    """
    return 1.0 if same_name(completion.parsed.name, (truth,) if isinstance(truth, str) else truth) else 0.0


def same_name(said: str, names: Sequence[str]) -> bool:
    """Whether `said` is one of the names, each with or without the article before it; an empty one is none.

    'An 12' and 'an-12' are the class 'An-12', and '12' is not: the hyphen shows that 'An' is no article there.
    """
    return any(readings(said) & readings(name) for name in names)


@lru_cache(maxsize=8192)
def readings(name: str) -> frozenset[str]:
    """A name as it is compared, and the same without an article that white space follows; no empty one.

    Lower case; spaces, underscores and hyphens are one space; no punctuation around.
    """
    plain = unicodedata.normalize("NFKC", name).casefold().strip(_EDGES)
    article = _ARTICLE.match(plain)
    found = [plain] if article is None else [plain, plain[article.end() :]]
    return frozenset(filter(None, (_SEPARATORS.sub(" ", one).strip() for one in found)))
