"""Which answers hit what is meant, and in what way others fail; and what the gallery shows of them."""

from vrft_core.annotations import xyxy
from vrft_core.boxes import iou, xywh
from vrft_core.report.gallery import Seen
from vrft_core.report.judged import Judged
from vrft_core.report.panel import Inputs
from vrft_core.tasks.grounding.answers import Row
from vrft_core.tasks.grounding.metrics import HIT, overlap, right, target

RIGHT = f"An answer is right if its box hits what is meant (IoU of {HIT} or more), or if it rightly says “No Objects”."
ALARM, DENIED, EMPTY = "a box where nothing is meant", "“No Objects” where something is meant", "no box"
PLACED, OTHER, NOTHING, FORM = "a box badly placed", "a box on another object", "a box on nothing", "a wrong format"
FAILURES = (OTHER, PLACED, NOTHING, DENIED, EMPTY, ALARM, FORM)
NEAR = 0.1  # IoU from which a box is about the object at all
MEANT, UNMEANT = "that fit something in their image", "that fit nothing there"


def judge(inputs: Inputs) -> dict[str, dict[str, Judged]]:
    """Model → example → whether its box is right."""
    return {model: {name: _judged(inputs, row) for name, row in rows.items()} for model, rows in inputs.rows.items()}


def _judged(inputs: Inputs, row: Row) -> Judged:
    hit, true = right(inputs.truth, row), target(inputs.truth, row)
    failures = [] if hit else [_failure(inputs, row, true)]
    if row["reasons"]:
        failures.append(FORM)
    return Judged(float(hit), tuple(failures), UNMEANT if true is None else MEANT)


def _failure(inputs: Inputs, row: Row, true: list[float] | None) -> str:
    if row["box"] is None:
        return DENIED if row["says_none"] and true is not None else EMPTY
    if true is None:
        return ALARM
    if overlap(inputs.truth, row) >= NEAR:
        return PLACED
    others = [xyxy(one["bbox"]) for one in inputs.truth.by_image[row["image_id"]] if not one.get("absent")]
    hit = float(iou(xywh([row["box"]])[:, None], xywh(others)[None]).max(initial=0)) >= HIT
    return OTHER if hit else NOTHING


def see(inputs: Inputs, model: str, name: str) -> Seen:
    """One model's box beside the true one. No score ranks it: the first box of an answer is the answer."""
    row: Row = inputs.rows[model][name]
    true, box = target(inputs.truth, row), row["box"]
    caption = "“No Objects”" if row["says_none"] else "no box"
    if box is not None:
        caption = "a box, nothing is meant" if true is None else f"IoU {overlap(inputs.truth, row):.2f}"
    return Seen(caption, [] if box is None else [(box, "")], [] if true is None else [true])
