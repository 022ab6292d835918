"""Which answers are right, how right, and what is wrong with the others: for the gallery and the counts beside it.

A task judges each answer (`Judged`); here answers of two models to one question are compared, and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vrft_core.report.panel import MODEL_NAMES, Panel, Table
from vrft_core.report.rows import TableRow
from vrft_core.report.summary import pair_name
from vrft_core.report.text import share
from vrft_core.report.verdict import PAIRS

OUTCOMES = ("better", "worse", "right", "wrong")


@dataclass(frozen=True)
class Judged:
    """One answer. `failures`: what is wrong with it, in words of a list that the task keeps."""

    quality: float  # in [0, 1]; 1: all of it is right
    failures: tuple[str, ...] = ()
    kind: str = ""  # of question, such as about something absent

    @property
    def mark(self) -> str:
        """In a word."""
        return "right" if self.quality == 1 else "partly" if self.quality > 0 else "wrong"


Judgements: TypeAlias = Mapping[str, Mapping[str, Judged]]  # model → example


def outcome(one: Judged, other: Judged) -> str:
    """Of OUTCOMES: whether one answer is better or worse than another, or alike: all right, or not."""
    if one.quality != other.quality:
        return "better" if one.quality > other.quality else "worse"
    return "right" if one.quality == 1 else "wrong"


def outcome_label(pair: str, kind: str) -> str:
    """What an outcome of `rft-sft` is called."""
    first, second = (MODEL_NAMES[name] for name in pair.split("-"))
    return {
        "better": f"{first} better than {second}",
        "worse": f"{first} worse than {second}",
        "right": "both right",
        "wrong": "alike, not all right",
    }[kind]


def outcomes(judged: Judgements, pair: str) -> dict[str, str]:
    """Example → its outcome."""
    first, second = (judged[name] for name in pair.split("-"))
    return {name: outcome(one, second[name]) for name, one in first.items()}


def panel(judged: Judgements, right: str, failures: Sequence[str]) -> Panel:
    """Counts of right answers and of each failure by model, and how answers to the same question compare.

    `right`: when an answer is all right, in a sentence. `failures`: all that the task knows, in its order.
    """
    count = len(judged["base"])
    kinds = sorted({one.kind for one in judged["base"].values() if one.kind})
    rows = [_row("Right answers", judged, lambda one: one.quality == 1, count)]
    for kind in kinds:
        of = sum(one.kind == kind for one in judged["base"].values())
        label = f"· questions {kind} ({of:,})"
        rows.append(_row(label, judged, lambda one, k=kind: one.quality == 1 and one.kind == k, of))
    for failure in failures:
        if any(failure in one.failures for each in judged.values() for one in each.values()):
            rows.append(_row(failure[0].upper() + failure[1:], judged, lambda one, f=failure: f in one.failures, count))
    pairs: list[TableRow] = []
    for pair in PAIRS:
        found = Counter(outcomes(judged, pair).values())
        pairs.append({"label": pair_name(pair), "cells": [f"{found[kind]:,}" for kind in OUTCOMES], "note": ""})
    return Panel(
        "outcomes",
        "Right and wrong answers",
        [f"Of {count:,} questions. {right} An answer can fail in several ways at once; each is counted."],
        [
            Table("Questions by outcome, with their share", ["", *MODEL_NAMES.values()], rows),
            Table(
                "The same question, answered by two models: how often the first one's answer is",
                ["", "better", "worse", "alike, right", "alike, not all right"],
                pairs,
            ),
        ],
    )


def _row(label: str, judged: Judgements, counts, of: int) -> TableRow:
    numbers = [sum(counts(one) for one in judged[model].values()) for model in MODEL_NAMES]
    cells = [
        f"{number:,} ({share(number / of)})".replace(" %", "\N{NO-BREAK SPACE}%") if of else "–" for number in numbers
    ]
    return {"label": label, "cells": cells, "note": ""}
