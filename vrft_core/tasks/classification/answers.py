"""The parser of classification answers: a class name as written. Text in, value and named reasons out."""

from typing import NamedTuple

from vrft_core.tasks.answer_span import answer_span

MAX_NAME = 200


class Named(NamedTuple):
    """The class name an answer gives, as written but for space; empty where there is none."""

    name: str
    reasons: tuple[str, ...] = ()


def parse(text: str, limit: object = None) -> Named:
    """The class name of an answer: all that is in it, runs of white space as one space.

    Nothing is looked up: which names mean the same class is for the reward to know. No name (`empty_answer`) and more
    than MAX_NAME characters (`too_long`) give the empty name. `limit` is not used; all parsers are called alike.
    """
    start, end, reasons = answer_span(text)
    name = " ".join(text[start:end].split())
    if not name:
        reasons.append("empty_answer")
    elif len(name) > MAX_NAME:
        reasons.append("too_long")
        name = ""
    return Named(name, tuple(dict.fromkeys(reasons)))
