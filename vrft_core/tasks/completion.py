"""The input of a reward: one completion, parsed once. How it is read is in each task's `answers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Completion:
    """A completion's text, what it says, whether a thought was asked for, and whether the family's own form was.

    `group` holds all answers to the same question, this one among them; empty where they are not known, which only
    matters to a reward over the group. In `pairings` detection rewards share their matching of boxes:
    {gate: (truth, pairs)}.
    """

    __slots__ = ("group", "native", "pairings", "parsed", "text", "thinking")

    def __init__(self, text: str, parsed: Any, thinking: bool = True, native: bool = False) -> None:
        self.text = text
        self.parsed = parsed
        self.thinking = thinking
        self.native = native
        self.group: Sequence[Completion] = ()
        self.pairings: dict[float, tuple] = {}
