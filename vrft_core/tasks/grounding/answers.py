"""The parser of grounding answers: one box, or none. Text in, value and named reasons out; see `answer_span`."""

import re

from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.box_answers import CORNERS, MAX_BOXES, NUMBER, Detection, Parsed, accept, parsed

_BOX_AS_ASKED = re.compile(
    rf"\s*+\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)\s*+,\s*+\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)\s*+"
)


def parse(text: str, limit: tuple[float, float] = (1000, 1000)) -> Parsed:
    """The one box of a grounding answer, as the only detection; its confidence means nothing.

    Asked for is `(x1,y1),(x2,y2)` (published prompt). Also read, with the reason `other_form`: `[x1, y1, x2, y2]`,
    `[[x1, y1], [x2, y2]]`, and either of them anywhere in JSON or text. Of several boxes the first that can be used
    counts and the others are dropped (`several_boxes`). What makes a box usable is as in detection's parser.
    """
    start, end, reasons = answer_span(text)
    found: list[Detection] = []
    if asked := _BOX_AS_ASKED.fullmatch(text, start, end):
        dropped = accept(tuple(map(float, asked.groups())), 1.0, limit, found, reasons)
        return parsed(found, reasons, dropped)
    dropped = 0
    for corners in CORNERS.finditer(text, start, end):
        if len(found) + dropped == MAX_BOXES:
            reasons.append("too_long")
            break
        dropped += accept(tuple(map(float, corners.groups())), 1.0, limit, found, reasons)
    if found or dropped:
        reasons.append("other_form")
    else:
        reasons.append("unparsable" if text[start:end].strip() else "empty_answer")
    if len(found) > 1:
        reasons.append("several_boxes")
        dropped += len(found) - 1
    return parsed(found[:1], reasons, dropped)
