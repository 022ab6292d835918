"""Which class was called what, by each model."""

from collections import Counter

from vrft_core.report.panel import MODEL_NAMES, Inputs, Table
from vrft_core.report.rows import TableRow
from vrft_core.report.text import printable
from vrft_core.tasks.classification.metrics.scores import judge

SHOWN = 20
ABOUT = (
    "The wrong answers that were given most often, by the three models together: how many images of the class on the "
    "left got the name on the right. ○ marks names that the published rule would count as right."
)


def tables(inputs: Inputs) -> list[Table]:
    """One table; none where all is right."""
    counts: dict[tuple[str, str, bool], Counter[str]] = {}
    for model, rows in inputs.rows.items():
        for true, said, strict, lenient in judge(inputs.truth, rows.values()):
            if not strict:
                counts.setdefault((true, said, lenient), Counter())[model] += 1
    most = sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:SHOWN]
    shown: list[TableRow] = [
        {
            "label": f"{true} → {printable(said, 40) or '(nothing)'}{' ○' if lenient else ''}",
            "cells": [str(found[model]) for model in MODEL_NAMES],
            "note": "",
        }
        for (true, said, lenient), found in most
    ]
    head = ["True class → name given", *MODEL_NAMES.values()]
    return [Table(f"The {len(shown)} most frequent confusions, images", head, shown)] if shown else []
