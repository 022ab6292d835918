"""What exact counts hide: answers without a number, one number for everything."""

from collections import Counter
from collections.abc import Mapping, Sequence

from vrft_core.annotations import Annotations
from vrft_core.evaluation.statistics import mean
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.counting.answers import Row

GUARDS = {"no_number": "counts/none"}  # guard → the metric it watches
LIVE = {"counts/none": "no number"}


def diagnose(rows: Sequence[Row], truth: Annotations) -> dict:
    """Shares lie in [0, 1]; None where there is nothing to measure."""
    said = [row["count"] for row in rows]
    return {
        "queries": len(rows),
        "no_number": mean([count is None for count in said]),
        "one_number": max(Counter(said).values()) / len(said) if said else None,
    }


def health(completions: Sequence[Completion], truths: Sequence[int]) -> dict[str, float]:
    """`counts/none`: share of a generation batch without a number."""
    return {"counts/none": mean([one.parsed.count is None for one in completions]) or 0.0}


def measured(found: Mapping) -> dict[str, float | None]:
    """The values that `checks.LIMITS` are about."""
    return {name: found[name] for name in ("no_number", "one_number")}
