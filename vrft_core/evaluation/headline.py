"""The numbers of an evaluation or a comparison that `dvc metrics` shows: the deciding metric with its interval.

Everything else is in the `metrics.json` beside it, and in the report.
"""

from vrft_core.evaluation.scores import Ends


def headline(title: str, found: Ends) -> dict[str, str | float | None]:
    """`metric`, and in points of 100 `points`, `points from`, `points to`; None where it is undefined.

    One set of names serves all tasks, so that a table of several has four columns. DVC sorts columns by name.
    """
    names = {"points": "value", "points from": "low", "points to": "high"}
    values = {name: found[end] for name, end in names.items()}
    return {"metric": title} | {name: None if one is None else round(100 * one, 2) for name, one in values.items()}
