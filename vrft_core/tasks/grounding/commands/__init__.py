"""What the command line does with logs of grounding answers: measure them, read solutions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.commands.boxed import Mark
from vrft_core.commands.evaluate import Measurement, Outside
from vrft_core.commands.score import frame_of, limit_of, read_log, truth_of
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks import get_task
from vrft_core.tasks.grounding.answers import parse
from vrft_core.tasks.grounding.commands.masks import logged_masks, mask_parts, sam_masks
from vrft_core.tasks.grounding.metrics.overlap import box_areas, published_ious
from vrft_core.tasks.outside import matched, pixels
from vrft_core.tasks.solutions import faults
from vrft_core.tasks.table import measured
from vrft_core.tasks.task import Example


def evaluate(wanted: Measurement) -> tuple[dict, str]:
    """Overlap of a log as `vrft score` reads it → the result as an object for JSON, and as a table to read.

    Object: `metrics` {name: {"value", "low", "high"}} and `queries`: box/mIoU and box/cIoU in the answers' frame and
    published/mIoU (the first box anywhere in the text), over rows whose solution is a box; rejection/accuracy, over
    those whose solution is 'No Objects'; where rows hold run-length masks, `mask` (predicted, null for
    none) and `target` with an optional `ignore`, also mask/gIoU and mask/cIoU by LISA's rules, and published/gIoU and
    published/cIoU, which heed no `ignore`. Given `--sam`, a folder of SAM's weights, masks are made from the answer's
    box and from the published one, in the row's `image` in the folder `--images`.

    Raises InputError on rows that cannot be used.
    """
    if not wanted.answers:
        raise InputError("--answers", "is missing", f"--rules {wanted.rules} needs a log of answers")
    if bool(wanted.sam) != bool(wanted.images):
        raise InputError("--sam, --images", "belong together", "give both or neither")
    rows = list(read_log(wanted.answers))
    task = get_task("grounding")
    truths = [truth_of(task, row, where, limit_of(row)) for where, row in rows]
    completions = [row["completion"] for _, row in rows]
    said = [parse(text, limit_of(row)) for text, (_, row) in zip(completions, rows, strict=True)]
    meant = np.array([truth is not None for truth in truths], dtype=float)
    boxes = [
        one.detections[0].box if one.detections and there else None for one, there in zip(said, meant, strict=True)
    ]
    targets = [truth or (0, 0, 0, 0) for truth in truths]
    each, intersection, union = box_areas(boxes, targets)
    published = published_ious(completions, targets, [frame_of(row) for _, row in rows])
    parts = {}
    if meant.any() or not rows:
        parts |= {
            "box/mIoU": (each, meant),
            "box/cIoU": (intersection, union),
            "published/mIoU": (published * meant, meant),
        }
    if not meant.all():
        rejected = np.array([one.says_none for one in said], dtype=float)
        parts["rejection/accuracy"] = (rejected * (1 - meant), 1 - meant)
    masks = sam_masks(rows, wanted.sam, wanted.images) if wanted.sam and wanted.images else logged_masks(rows)
    parts |= mask_parts(rows, masks)
    found, lines = measured([row for _, row in rows], parts, shares=["rejection/accuracy"])
    return {"queries": len(rows), "metrics": found}, "\n".join(lines)


def outside(path: Path, asked: Sequence[Any], truth: Annotations, settings: object) -> Outside:
    """Rows of `vrft predict`, or any JSON lines with `annotation_id` of the expression and `box`, null for none."""
    return matched(
        io.read_jsonl(path), asked, truth, path, key=["annotation_id"], keep=["annotation_id", "expression"],
        fields="annotation_id and box ([x1, y1, x2, y2] in pixels, or null where nothing is meant)", answer=_answer,
    )  # fmt: skip


def _answer(row: Mapping[str, Any]) -> dict:
    """Without an answer, nothing was rejected either."""
    box = row["box"] if row else None
    says_none = row.get("says_none", box is None) if row else False
    return {"box": None if box is None else pixels(box), "says_none": bool(says_none)}


def marks(row: Any, settings: Any) -> list[Mark]:
    """The one box; these answers state no confidence."""
    return [] if row["box"] is None else [Mark(row["expression"], row["box"], None)]


def make_map(request: Any, output: Path) -> dict:
    """There are no presence maps here. Raises InputError."""
    raise InputError("vrft presence", "makes maps of categories, and there are none here", "use a detection model")


def solution(row: dict, limit: tuple[float, float]) -> Any:
    """The true box that a logged row's solution states, None for 'No Objects'. Raises ValueError with what is wrong."""
    read = parse(row["solution"], limit)
    faults(read.reasons)
    return None if read.says_none else read.detections[0].box


def boxes(example: Example, form: Form) -> list[list[float]]:
    """The box that is meant, if any."""
    box = json.loads(example.truth)["box"]
    return [] if box is None else [form.frame(example.width, example.height).to_pixels(box)]


def contradictions(truth: Annotations) -> list[tuple[set[int], str]]:
    """An expression that means two regions of one image, case and spaces apart."""
    found = []
    for image_id, rows in truth.by_image.items():
        meant: dict[str, set] = {}
        for row in rows:
            region = None if row.get("absent") else tuple(round(value) for value in row["bbox"])
            meant.setdefault(" ".join(row["expression"].lower().split()), set()).add(region)
        file = truth.images[image_id]["file_name"]
        found += [
            ({image_id}, f"{file}: {said!r} means {len(where)} regions")
            for said, where in meant.items()
            if len(where) > 1
        ]
    return found
