"""Answers in a model family's own form of writing boxes: the same for every task whose answers hold boxes.

There are no answer tags: the answer is the whole completion, or what follows the thought where one is asked for. The
forms are read by `families.formats`; what makes a box usable is as in every other answer (`box_answers`). No form has a
confidence: every box is unstated, and no reason names that.
"""

import re

from vrft_core.families.formats import Native, Said
from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.box_answers import Box, Detection, Parsed, accept, parsed

_TAG = re.compile(r"</?+answer>")
_THOUGHT = re.compile(r"\s*+<think>(?:[^<]|<(?!/?+think>))*+</think>")


def read(text: str, limit: tuple[float, float], native: Native) -> Parsed:
    """Boxes of a completion. Never raises; takes linear time; reasons are those of `families.formats` and of boxes."""
    _, reasons, said = _said(text, native)
    reasons += said.reasons
    if said.says_none:
        return Parsed((), tuple(reasons), says_none=True)
    found: list[Detection] = []
    dropped = 0
    for item in said.items:
        if item.numbers is None:
            reasons.append("box_malformed")
            dropped += 1
        else:
            dropped += _accept(item.numbers, limit, found, reasons)
    return parsed(found, reasons, dropped)


def _accept(box: Box, limit: tuple[float, float], found: list[Detection], reasons: list[str]) -> int:
    wrong: list[str] = []
    dropped = accept(box, None, limit, found, wrong)
    reasons += [reason for reason in wrong if reason != "confidence_missing"]
    return dropped


def spans(text: str, native: Native) -> dict[Box, tuple[int, int]]:
    """Where the numbers of each box stand in a completion; the first time, for a box that is repeated."""
    start, _, said = _said(text, native)
    places: dict[Box, tuple[int, int]] = {}
    for item in said.items:
        if item.numbers is not None:
            places.setdefault(item.numbers, (start + item.start, start + item.end))
    return places


def _said(text: str, native: Native) -> tuple[int, list[str], Said]:
    """Where the answer begins, what is wrong with its tags, what it holds."""
    start, end, reasons = answer_span(text)
    reasons = [reason for reason in reasons if reason != "no_answer_tag"]
    if _TAG.search(text):
        reasons.append("answer_tag")
    return start, reasons, native.read(text[start:end])


def has_form(text: str, thinking: bool) -> bool:
    """Whether a thought stands before the answer exactly where one is asked for, and no tag anywhere else."""
    thought = _THOUGHT.match(text)
    if (thought is not None) != thinking:
        return False
    rest = text[thought.end() :] if thought else text
    return "<think>" not in rest and "</think>" not in rest and bool(rest.strip())
