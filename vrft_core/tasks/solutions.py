"""Solution texts of logs, read by the parser that reads completions."""

from collections.abc import Sequence

HARMLESS = {"no_answer_tag", "other_form", "other_key", "confidence_missing", "duplicate_box"}


def faults(reasons: Sequence[str]) -> None:
    """Raises ValueError where a solution states nothing that can be used."""
    if found := [reason for reason in reasons if reason not in HARMLESS]:
        raise ValueError(", ".join(found))
