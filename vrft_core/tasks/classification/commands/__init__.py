"""What the command line does with logs of classification answers: measure them, read solutions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.commands.boxed import Mark
from vrft_core.commands.evaluate import Measurement, Outside
from vrft_core.commands.score import limit_of, read_log, truth_of
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks import get_task
from vrft_core.tasks.classification.answers import parse
from vrft_core.tasks.classification.metrics.accuracy import accuracy, judge
from vrft_core.tasks.outside import matched
from vrft_core.tasks.solutions import faults
from vrft_core.tasks.table import measured
from vrft_core.tasks.task import Example


def evaluate(wanted: Measurement) -> tuple[dict, str]:
    """Accuracy of a log as `vrft score` reads it → the result as an object for JSON, and as a table to read.

    Object: `metrics` {name: {"value", "low", "high"}}: accuracy/strict and accuracy/lenient (Visual-RFT's rule),
    `queries`, and `confusions`. Raises InputError on rows that cannot be used.
    """
    if not wanted.answers:
        raise InputError("--answers", "is missing", f"--rules {wanted.rules} needs a log of answers")
    if wanted.sam or wanted.images:
        raise InputError("--sam, --images", "make masks, and there are none here", "leave them out")
    rows = list(read_log(wanted.answers))
    task = get_task("classification")
    truths = [truth_of(task, row, where, limit_of(row)) for where, row in rows]
    completions = [row["completion"] for _, row in rows]
    judged = [judge(completion, truth) for completion, truth in zip(completions, truths, strict=True)]
    ones = np.ones(len(rows))
    parts = {
        "accuracy/strict": ([row[2] for row in judged], ones),
        "accuracy/lenient": ([row[3] for row in judged], ones),
    }
    found, lines = measured([row for _, row in rows], parts, shares=tuple(parts))
    confusions = accuracy(completions, truths)["confusions"]
    if confusions:
        lines += ["", "   n  true → said (* right by the published rule)"]
        for row in confusions:
            lines.append(f"{row['count']:>4}  {row['true']} → {row['said'] or '(nothing)'}{' *' * row['lenient']}")
    return {"queries": len(rows), "confusions": confusions, "metrics": found}, "\n".join(lines)


def outside(path: Path, asked: Sequence[Any], truth: Annotations, settings: object) -> Outside:
    """Rows of `vrft predict`, or any JSON lines with `image_id` and `said`, a class name."""
    return matched(
        io.read_jsonl(path), asked, truth, path, key=["image_id"], fields="image_id and said (text)", answer=_answer
    )


def _answer(row: Mapping[str, Any]) -> dict:
    said = row["said"] if row else ""
    if not isinstance(said, str):
        raise TypeError(said)
    return {"said": said, "published": row.get("published", said)}


def solution(row: dict, limit: tuple[float, float]) -> Any:
    """All names of the class that a logged row's solution states. Raises ValueError with what is wrong."""
    read = parse(row["solution"])
    faults(read.reasons)
    return (read.name, *(row.get("names") or ()))


def marks(row: Any, settings: Any) -> list[Mark]:
    """The name said, with the probability with which it was written."""
    return [Mark(row["said"], None, row["certainty"])] if row["said"] else []


def make_map(request: object, output: Path) -> dict:
    """`vrft presence`: there is none."""
    raise InputError("--task", "classification asks what an image shows, not what is present", "use `vrft predict`")


def boxes(example: Example, form: Form) -> list[list[float]]:
    """A class marks nothing."""
    return []


def contradictions(truth: Annotations) -> list[tuple[set[int], str]]:
    """Images with the same bytes and another class, and images with two classes."""
    classes: dict[str, dict[int, int]] = {}
    for image_id, image in truth.images.items():
        for category in truth.category_ids(image_id):
            classes.setdefault(image["sha256"], {}).setdefault(category, image_id)
    found = []
    for named in classes.values():
        if len(named) > 1:
            said = [
                f"{truth.images[image]['file_name']} is {truth.categories[category]['name']!r}"
                for category, image in sorted(named.items())[:2]
            ]
            found.append((set(named.values()), f"{' and '.join(said)}, with the same bytes"))
    return found
