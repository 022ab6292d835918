"""What the command line does with detection files: evaluate them, read solutions, make presence maps."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft_core.annotations import Annotations
from vrft_core.commands.boxed import Mark
from vrft_core.commands.evaluate import Measurement
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks.detection.answers import parse
from vrft_core.tasks.detection.commands.evaluate import evaluate_files
from vrft_core.tasks.detection.commands.outside import outside
from vrft_core.tasks.solutions import faults
from vrft_core.tasks.task import Example

if TYPE_CHECKING:
    from vrft_core.commands.predict import Request


__all__ = ["boxes", "contradictions", "evaluate", "make_map", "marks", "outside", "solution"]


def evaluate(wanted: Measurement) -> tuple[dict, str]:
    """`vrft evaluate` of a detections file."""
    if not (wanted.ground_truth and wanted.detections):
        raise InputError("--ground-truth, --detections", "are missing", f"--rules {wanted.rules} needs both")
    return evaluate_files(
        wanted.rules,
        wanted.ground_truth,
        wanted.detections,
        wanted.categories,
        wanted.published_lvis,
        wanted.ranked_by,
        wanted.split,
    )


def make_map(request: "Request", output: Path) -> dict:
    """`vrft presence`."""
    from vrft_core.tasks.detection.commands.presence_map import make_map as make

    return make(request, output)


def marks(row: Any, settings: Any) -> list[Mark]:
    """Boxes with the scores that rank them in evaluation, where a row has these; else what it states."""
    scores = row.get("rankings", {}).get(settings.ranking) or row["scores"]
    found = [Mark(row.get("category", ""), box, score) for box, score in zip(row["boxes"], scores, strict=True)]
    return sorted(found, key=lambda mark: -(mark.score or 0))


def solution(row: dict, limit: tuple[float, float]) -> Any:
    """The true boxes that a logged row's solution states. Raises ValueError with what is wrong."""
    read = parse(row["solution"], limit)
    faults(read.reasons)
    return [detection.box for detection in read.detections]


def boxes(example: Example, form: Form) -> list[list[float]]:
    """The true boxes."""
    frame = form.frame(example.width, example.height)
    return [frame.to_pixels(box) for box in json.loads(example.truth)["boxes"]]


def contradictions(truth: Annotations) -> list[tuple[set[int], str]]:
    """Two categories with the same box, to half a pixel, in one image."""
    found = []
    for image_id, rows in truth.by_image.items():
        places: dict[tuple, set[int]] = {}
        for row in rows:
            places.setdefault(tuple(round(2 * value) for value in row["bbox"]), set()).add(row["category_id"])
        for categories in places.values():
            if len(categories) > 1:
                named = " and ".join(repr(truth.categories[i]["name"]) for i in sorted(categories)[:2])
                found.append(({image_id}, f"{truth.images[image_id]['file_name']}: one box is {named}"))
    return found
