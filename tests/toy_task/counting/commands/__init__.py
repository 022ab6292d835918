"""What the command line does with logs of counts: measure them, read solutions."""

from pathlib import Path
from typing import Any

from vrft_core.annotations import Annotations
from vrft_core.commands.boxed import Mark
from vrft_core.commands.evaluate import Measurement
from vrft_core.commands.score import limit_of, read_log, truth_of
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks import get_task
from vrft_core.tasks.counting.answers import parse
from vrft_core.tasks.solutions import faults
from vrft_core.tasks.table import measured
from vrft_core.tasks.task import Example


def evaluate(wanted: Measurement) -> tuple[dict, str]:
    """Share of exact counts in a log as `vrft score` reads it. Raises InputError on rows that cannot be used."""
    if not wanted.answers:
        raise InputError("--answers", "is missing", f"--rules {wanted.rules} needs a log of answers")
    rows, task = list(read_log(wanted.answers)), get_task("counting")
    truths = [truth_of(task, row, where, limit_of(row)) for where, row in rows]
    right = [parse(row["completion"]).count == truth for (_, row), truth in zip(rows, truths, strict=True)]
    parts = {"count/exact": (right, [1.0] * len(rows))}
    found, lines = measured([row for _, row in rows], parts, shares=tuple(parts))
    return {"queries": len(rows), "metrics": found}, "\n".join(lines)


def marks(row: Any, settings: Any) -> list[Mark]:
    """The number said."""
    return [] if row["count"] is None else [Mark(str(row["count"]), None, None)]


def make_map(request: Any, output: Path) -> dict:
    """There are no presence maps here. Raises InputError."""
    raise InputError("vrft presence", "makes maps of categories, and there are none here", "use a detection model")


def solution(row: dict, limit: tuple[float, float]) -> int | None:
    """The count that a logged row's solution states. Raises ValueError with what is wrong."""
    read = parse(row["solution"])
    faults(read.reasons)
    return read.count


def boxes(example: Example, form: Form) -> list[list[float]]:
    """A count marks nothing."""
    return []


def contradictions(truth: Annotations) -> list[tuple[set[int], str]]:
    """None: a count is compared with the boxes themselves."""
    return []
