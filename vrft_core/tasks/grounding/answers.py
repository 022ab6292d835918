"""The parser of grounding answers: one box, or none. Text in, value and named reasons out; see `answer_span`."""

import json
import re
from collections.abc import Sequence
from typing import NotRequired

from vrft_core.families.form import Form
from vrft_core.families.formats import Native
from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.box_answers import CORNERS, MAX_BOXES, NUMBER, Detection, Parsed, accept, as_box, parsed
from vrft_core.tasks.native import read as read_native
from vrft_core.tasks.task import Example, Prediction, Written
from vrft_core.tasks.wording import NO_OBJECTS

WATCHED = ()
DIGITS = 3

_BOX_AS_ASKED = re.compile(
    rf"\s*+\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)\s*+,\s*+\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)\s*+"
)


def parse(text: str, limit: tuple[float, float] = (1000, 1000), native: Native | None = None) -> Parsed:
    """The one box of a grounding answer, as the only detection; its confidence means nothing.

    Asked for is `(x1,y1),(x2,y2)` (published prompt). Also read, with the reason `other_form`: `[x1, y1, x2, y2]`,
    `[[x1, y1], [x2, y2]]`, and either of them anywhere in JSON or text. Of several boxes the first that can be used
    counts and the others are dropped (`several_boxes`). 'No Objects', and nothing else, says that nothing is meant.
    What makes a box usable is as in detection's parser.

    `native`: the form that was asked for, where that is not the paper's; read as `tasks.native` says.
    """
    if native:
        read = read_native(text, limit, native)
        several = len(read.detections) > 1
        reasons = (*read.reasons, "several_boxes") if several else read.reasons
        return Parsed(read.detections[:1], reasons, read.says_none, read.dropped + max(0, len(read.detections) - 1))
    start, end, reasons = answer_span(text)
    if text[start:end].strip().strip("\"'.").casefold() == NO_OBJECTS.casefold():
        return Parsed((), tuple(reasons), says_none=True)
    found: list[Detection] = []
    if asked := _BOX_AS_ASKED.fullmatch(text, start, end):
        dropped = accept(as_box(asked.groups()), 1.0, limit, found, reasons)
        return parsed(found, reasons, dropped)
    dropped = 0
    for corners in CORNERS.finditer(text, start, end):
        if len(found) + dropped == MAX_BOXES:
            reasons.append("too_long")
            break
        dropped += accept(as_box(corners.groups()), 1.0, limit, found, reasons)
    if found or dropped:
        reasons.append("other_form")
    else:
        reasons.append("unparsable" if text[start:end].strip() else "empty_answer")
    if len(found) > 1:
        reasons.append("several_boxes")
        dropped += len(found) - 1
    return parsed(found[:1], reasons, dropped)


class Row(Prediction):
    """A prediction of grounding."""

    annotation_id: int  # of the expression; several may read alike
    expression: str
    box: list[float] | None  # xyxy pixels of the image
    says_none: bool
    drawn: NotRequired[list[list[float] | None]]  # boxes of sampled answers, where some were drawn
    drawn_none: NotRequired[list[bool]]


def row(example: Example, form: Form, written: Written) -> dict:
    """A completion as a prediction row keeps it."""
    frame = form.frame(example.width, example.height)
    read = parse(written.text, frame.limit, form.native)
    box = read.detections[0].box if read.detections else None
    truth = json.loads(example.truth)
    return {
        "category_id": truth["category_id"],
        "annotation_id": truth["annotation_id"],
        "expression": example.label,
        "box": None if box is None else [round(value, DIGITS) for value in frame.to_pixels(box)],
        "says_none": read.says_none,
        "reasons": list(read.reasons),
    }


def agree(row: Row, drawn: Sequence[Row]) -> None:
    """Adds what sampled answers said, for pass@k."""
    row["drawn"] = [one["box"] for one in drawn]
    row["drawn_none"] = [one["says_none"] for one in drawn]
