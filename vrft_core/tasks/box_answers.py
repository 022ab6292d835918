"""Boxes in answers: what makes one usable. Shared by the tasks whose answers hold boxes; no tags and no keys here.

Boxes are xyxy in the frame of the answer. Nothing is swapped or clipped.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_BOXES = 1000
NUMBER = r"[+-]?[0-9]{1,18}+(?:\.[0-9]{0,18}+)?+"
CORNERS = re.compile(
    rf"[\[(]\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+[\])]?+\s*+,\s*+[\[(]?+\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+[\])]"
)

Box = tuple[float, float, float, float]


def as_box(numbers: Iterable[str | float]) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2


class Detection(NamedTuple):
    """One box, xyxy in the answer's frame, and the confidence in [0, 1] that the answer states for it.

    Where the answer states none that can be used, `confidence` is 0.0 (the box ranks last) and `stated` is False.
    """

    box: Box
    confidence: float
    stated: bool = True


class Parsed(NamedTuple):
    """What an answer says, in the order in which it says it.

    `says_none` is True for 'No Objects' or an empty list. `dropped` counts what was offered as a box and refused:
    no detection comes of it, but a reward may count it as a wrong one. `reasons` names, once each, everything that
    was repaired or dropped; it is empty exactly when the answer is written as the prompt asks, or as a JSON list.
    """

    detections: tuple[Detection, ...]
    reasons: tuple[str, ...] = ()
    says_none: bool = False
    dropped: int = 0


def accept(
    box: Box, confidence: float | None, limit: tuple[float, float], found: list[Detection], reasons: list[str]
) -> int:
    """Add one detection to `found`, or return 1 for the dropped box; names what is wrong with either."""
    x1, y1, x2, y2 = box
    if min(box) < 0 or max(x1, x2) > limit[0] or max(y1, y2) > limit[1]:
        reasons.append("box_out_of_range")
        return 1
    if x1 > x2 or y1 > y2:
        reasons.append("box_inverted")
        return 1
    if x1 == x2 or y1 == y2:
        reasons.append("box_empty")
        return 1
    kept, stated = 0.0, False
    if confidence is None:
        reasons.append("confidence_missing")
    elif confidence != confidence:
        reasons.append("confidence_not_a_number")
    elif not 0 <= confidence <= 1:
        reasons.append("confidence_out_of_range")
    else:
        kept, stated = confidence, True
    found.append(Detection(box, kept, stated))
    return 0


def parsed(found: list[Detection], reasons: list[str], dropped: int) -> Parsed:
    """Equal boxes become one, the most confident; equal reasons become one."""
    best: dict[Box, Detection] = {}
    for detection in found:
        if best.setdefault(detection.box, detection)[1:] < detection[1:]:
            best[detection.box] = detection
    if repeated := len(found) - len(best):
        reasons.append("duplicate_box")
    return Parsed(tuple(best.values()), tuple(dict.fromkeys(reasons)), False, dropped + repeated)
