"""Classification answers: a class name as written. Text in, value and named reasons out; and what is the same name.

Nothing is looked up here: the truth says which names a class has.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp
from typing import NamedTuple

from vrft_core.families.form import Form
from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.task import Example, Prediction, Written

MAX_NAME = 200
WATCHED = ()
DIGITS = 6

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
_ARTICLE = re.compile(r"(?:an?|the)\s++(?![_\-\u2010-\u2015])")
_EDGES = " \t\n.,;:!?\"'`*()[]{}<>"
_PUBLISHED = re.compile(r"<answer>(.*?)</answer>")


class Named(NamedTuple):
    """The class name an answer gives, as written but for space; empty where there is none."""

    name: str
    reasons: tuple[str, ...] = ()


def parse(text: str, limit: object = None, native: object = None) -> Named:
    """The class name of an answer: all that is in it, runs of white space as one space.

    No name (`empty_answer`) and more than MAX_NAME characters (`too_long`) give the empty name. `limit` and `native`
    are not used; all parsers are called alike.
    """
    start, end, reasons = answer_span(text)
    name = " ".join(text[start:end].split())
    if not name:
        reasons.append("empty_answer")
    elif len(name) > MAX_NAME:
        reasons.append("too_long")
        name = ""
    return Named(name, tuple(dict.fromkeys(reasons)))


def same(said: str, names: Iterable[str]) -> bool:
    """Whether a name is one of a class's names, each with or without the article before it; an empty one is none.

    'An 12' and 'an-12' are the class 'An-12', and '12' is not: the hyphen shows that 'An' is no article there.
    """
    return any(readings(said) & readings(name) for name in names)


def normalised(name: str) -> str:
    """The shortest of `readings`; empty where there is none."""
    return min(readings(name), key=len, default="")


@lru_cache(maxsize=8192)
def readings(name: str) -> frozenset[str]:
    """A name as it is compared, and the same without an article that white space follows; no empty one.

    Lower case; spaces, underscores and hyphens are one space; no punctuation around.
    """
    plain = unicodedata.normalize("NFKC", name).casefold().strip(_EDGES)
    article = _ARTICLE.match(plain)
    found = [plain] if article is None else [plain, plain[article.end() :]]
    return frozenset(filter(None, (_SEPARATORS.sub(" ", one).strip() for one in found)))


def published(text: str) -> str | None:
    """What Visual-RFT's evaluation reads of a completion: the first answer that stands on one line between its tags."""
    found = _PUBLISHED.search(text)
    return found[1] if found else None


class Row(Prediction):
    """A prediction of classification. `category_id` is the true class's, 0 where it is not known."""

    said: str
    published: str | None  # what the published evaluation reads of it
    certainty: float
    drawn: list[str]  # names of sampled answers, where some were drawn
    agreement: float  # share of them that are the same name


def row(example: Example, form: Form, written: Written) -> dict:
    """A completion as a prediction row keeps it."""
    read = parse(written.text)
    return {
        "category_id": json.loads(example.truth)["category_id"],
        "said": read.name,
        "published": published(written.text),
        "certainty": round(certainty(read.name, written), DIGITS),
        "reasons": list(read.reasons),
    }


def agree(row: Row, drawn: Sequence[Row]) -> None:
    """Adds the names that sampled answers gave, and the share of them that are the row's own."""
    row["drawn"] = [sample["said"] for sample in drawn]
    row["agreement"] = round(sum(same(one, [row["said"]]) for one in row["drawn"]) / len(drawn), DIGITS)


def certainty(name: str, written: Written) -> float:
    """The probability with which the model wrote a name: in the answer, or where it first stands, whichever is lower.

    A thought may already have decided on the name, so that the answer only repeats it. 0 for a name that does not
    stand in the text in one piece.
    """
    first = written.text.find(name) if name else -1
    if first < 0:
        return 0.0
    start, end, _ = answer_span(written.text)
    last = written.text.find(name, start, end)
    return min(_probability(written, place, place + len(name)) for place in {first, max(first, last)})


def _probability(written: Written, start: int, end: int) -> float:
    """Of the tokens that have a character in text[start:end], together."""
    inside = [p for (low, high), p in zip(written.places, written.logprobs, strict=True) if low < end and high > start]
    return exp(sum(inside)) if inside else 0.0
