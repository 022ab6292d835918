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

BOTH_KINDS = (
    "Read the first two rows together: a model that always says nothing is right about all that is absent, and about "
    "nothing that is present."
)
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
    asked = Counter(one.kind for one in judged["base"].values())
    kinds = sorted(asked, reverse=True)  # about what is there before what is not
    rows = []
    for kind in kinds:
        label = f"Right answers to questions {kind} ({asked[kind]:,})" if kind else "Right answers"
        rows.append(_row(label, judged, lambda one, k=kind: one.quality == 1 and one.kind == k, asked[kind]))
    if len(kinds) > 1:
        rows.append(_row("· all together", judged, lambda one: one.quality == 1, count))
    for failure in failures:
        if any(failure in one.failures for each in judged.values() for one in each.values()):
            rows.append(_row(failure[0].upper() + failure[1:], judged, lambda one, f=failure: f in one.failures, count))
    pairs: list[TableRow] = []
    for pair in PAIRS:
        compared = outcomes(judged, pair)
        for kind in kinds:
            found = Counter(said for name, said in compared.items() if judged["base"][name].kind == kind)
            cells = [f"{found[one]:,}" for one in OUTCOMES]
            pairs.append({"label": pair_name(pair), "cells": cells, "note": f"questions {kind}" if kind else ""})
    return Panel(
        "outcomes",
        "Right and wrong answers",
        [
            f"Of {count:,} questions. {right} An answer can fail in several ways at once; each is counted.",
            *([BOTH_KINDS] if len(kinds) > 1 else []),
        ],
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
