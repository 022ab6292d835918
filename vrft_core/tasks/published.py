"""The rewards of the published code, faults included, for comparison runs only; written from their behaviour.

Functions of (completion text, solution text) as in github.com/Liuziyu77/Visual-RFT (HEAD of May 2025, files grpo.py,
grpo_classification.py, grpo_lisa.py): the same floating-point operations in the same order, so equal to the bit.
Values can be NaN and, for grounding, anything. Never train with them unless the comparison is the point. What pays here
that should not: see the tests. Nothing of the strict rewards is shared but the rule for tags.

One thing is restated instead of called: each of them first asks the library math_verify whether completion and solution
are "equal", which compares one number of either (see `same_number`).
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from vrft_core.tasks.answer_span import has_form
from vrft_core.tasks.box_answers import Box

# \d: the published code and the library it asks take the digits of any script.
_NUMBER = (
    r"(?:\*\*)?[$€£¥]?((?>-?\d{1,3}(?:[ ,]\d{3})+(?:\.\d+)?|-?\d+[.,]\d+|\.\d+|-?\d+))"
    r"(?![-+*/^][\d.]++(?:[,:\s)$]|$))"
)
# What looks like an expression to the library but closes a bracket that it does not open, as '135) ' in '(451, 135) ,':
# it is taken before the number it begins with, and comes to nothing.
_UNBALANCED = r"(?:\*\*)?-?\d[\d.\s+\-*×/^÷]*+\)[\d.\s+\-*×/^()÷]+?(?:\*\*)?(?:[.,:\s)$]|$)"
_NUMBER_AFTER_ANSWER = re.compile(rf"answer.{{0,50}}?[\s=](?:{_UNBALANCED}|{_NUMBER})", re.IGNORECASE)
_NUMBER_ANYWHERE = re.compile(rf"(?:^|[\s=]){_NUMBER}")
_POINTS = re.compile(r"\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)\s*+,\s*+\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)")


def detection_solution(truth: Sequence[Box]) -> str:
    """The solution text of the published data sets for these true boxes."""
    listed = [{"Position": _whole(box), "Confidence": 1} for box in truth]
    return f"<answer>{listed if listed else 'No Objects'}</answer>"


def classification_solution(truth: str | Sequence[str]) -> str:
    """The solution text for a class; of several names the first."""
    return f"<answer>{truth if isinstance(truth, str) else truth[0]}</answer>"


def grounding_solution(truth: Box | None) -> str:
    """The solution text for one true box; the published data know no expression without one."""
    if truth is None:
        return "<answer>No Objects</answer>"
    x1, y1, x2, y2 = _whole(truth)
    return f"<answer>({x1},{y1}),({x2},{y2})</answer>"


def _whole(box: Box) -> list[float]:
    return [int(v) if v == int(v) else v for v in box]


def format(text: str, solution: str = "") -> float:
    """1.0 for the tags of thought and answer around anything, the empty text included."""
    return 1.0 if has_form(text) else 0.0


def iou(text: str, solution: str) -> float:
    """Sum of IoU above 0.5 / max(true, predicted); 1.0 if the first y1 is the true one; 0.0 if anything goes wrong."""
    return 1.0 if same_number(text, solution) else _matched(text, solution)[0]


def confidence(text: str, solution: str) -> float:
    """Mean over predictions of c if matched, else 1 - c; 1.0 if the first y1 is the true one; NaN if a c is NaN."""
    return 1.0 if same_number(text, solution) else _matched(text, solution)[1]


def accuracy(text: str, solution: str) -> float:
    """1.0 if answer or class name contains the other, without spaces and underscores, in lower case; else 0.0."""
    if same_number(text, solution):
        return 1.0
    said, true = (_answer_on_one_line(t).replace(" ", "").replace("_", "").lower() for t in (text, solution))
    return 1.0 if true in said or said in true else 0.0


def giou(text: str, solution: str) -> float:
    """GIoU + 1 of the boxes that the first two points of either list make; 2.0 for the same string; else 0.0.

    The list is all first corners, then all second ones, so that two boxes give the first corners of both.
    """
    if same_number(text, solution):
        return 1.0
    start = text.find("<answer>")
    end = text.find("</answer>", start + 8) if start >= 0 else -1
    said = (text[start + 8 : end] if end >= 0 else text).strip()
    true = _answer_on_one_line(solution)
    if said == true:
        return 2.0
    try:
        return _generalised_iou(_points(true), _points(said)) + 1
    except (IndexError, ValueError, OverflowError):
        return 0.0


def _points(text: str) -> list[tuple[float, float]]:
    boxes = [[int(number) / 1000 for number in found] for found in _POINTS.findall(text)]
    return [(box[0], box[1]) for box in boxes] + [(box[2], box[3]) for box in boxes]


def _generalised_iou(true: Sequence[tuple[float, float]], said: Sequence[tuple[float, float]]) -> float:
    """No check of the corners' order: two negative sides make a positive area."""
    (tx1, ty1), (tx2, ty2) = true[0], true[1]
    (x1, y1), (x2, y2) = said[0], said[1]
    common = max(0, min(tx2, x2) - max(tx1, x1)) * max(0, min(ty2, y2) - max(ty1, y1))
    union = (tx2 - tx1) * (ty2 - ty1) + (x2 - x1) * (y2 - y1) - common
    iou = common / union if union > 0 else 0
    hull = (max(tx2, x2) - min(tx1, x1)) * (max(ty2, y2) - min(ty1, y1))
    return iou - (hull - union) / hull if hull > 0 else iou


def same_number(text: str, solution: str) -> bool:
    """What math_verify's parse and verify come to on these texts.

    Each text is reduced to the last number that follows the word 'answer' within 50 characters of its line, behind
    white space or '='; failing that, to the last such number anywhere. In a list of boxes written with spaces this is
    y1 of the first box; in `<answer>BAE 146-300</answer>` it is 146. Expressions and LaTeX, which the library also
    evaluates, are left out.
    """
    said = _number(text)
    return said is not None and said == _number(solution)


def _number(text: str) -> float | None:
    found = [number for number in _NUMBER_AFTER_ANSWER.findall(text) if number] or _NUMBER_ANYWHERE.findall(text)
    if not found or not found[-1].isascii():  # digits of other scripts stop the library
        return None
    number = found[-1]
    thousands = re.fullmatch(r"-?[0-9]{1,3}(?:[ ,][0-9]{3})+(?:\.[0-9]+)?", number)
    return float(re.sub("[ ,]", "", number) if thousands else number.replace(",", "."))


def _answer_on_one_line(text: str) -> str:
    """The first answer whose tags stand on one line, else the whole text (a regular expression without DOTALL)."""
    for line in text.split("\n"):
        start = line.find("<answer>")
        end = line.find("</answer>", start + 8) if start >= 0 else -1
        if end >= 0:
            return line[start + 8 : end].strip()
    return text.strip()


def _boxes(text: str) -> Any:
    """What JSON makes of the text between the first tags, cut back to the last '},' if it does not end in ']'."""
    content = text[text.find("<answer>") + 8 : text.find("</answer>")]
    if not content.endswith("]"):
        content = content.rsplit("},", 1)[0] + "}]"
    return json.loads(content.replace("'", '"'))


def _matched(text: str, solution: str) -> tuple[float, float]:
    """Both detection rewards; whatever fails on the way, from JSON to arithmetic, makes both 0.0."""
    try:
        wrapped = f"<answer>{_answer_on_one_line(text)}</answer>".replace("[[", "[").replace("]]", "]")
        true = _boxes(solution.strip())
        said = _boxes(wrapped.replace("\n", ""))
        if type(said[0]) is not dict:
            return 0.0, 0.0
        unique = {}
        for item in said:
            unique.setdefault(tuple(item["Position"]), item)
        free = list(true)
        overlaps = stated = 0.0
        for item in sorted(unique.values(), key=lambda item: item["Confidence"], reverse=True):
            best, taken = 0, -1
            for index, other in enumerate(free):
                overlap = _iou(other["Position"], item["Position"])
                if overlap > best:
                    best, taken = overlap, index
            if best > 0.5:
                del free[taken]
                overlaps += best
                stated += item["Confidence"]
            else:
                stated += 1 - item["Confidence"]
        overlaps /= max(len(true), len(unique))
        stated /= len(unique)
    except Exception:  # the published code catches everything here
        return 0.0, 0.0
    return 1.0 if overlaps > 1 else overlaps, 1.0 if stated > 1 else 0.0 if stated < 0 else stated


def _iou(true: Sequence[float], said: Sequence[float]) -> float:
    tx1, ty1, tx2, ty2 = true
    x1, y1, x2, y2 = said
    left, top, right, bottom = max(tx1, x1), max(ty1, y1), min(tx2, x2), min(ty2, y2)
    if right <= left or bottom <= top:
        return 0.0
    common = (right - left) * (bottom - top)
    return common / ((tx2 - tx1) * (ty2 - ty1) + (x2 - x1) * (y2 - y1) - common)


REWARDS = {
    "detection": {"iou": iou, "confidence": confidence, "format": format},
    "classification": {"accuracy": accuracy, "format": format},
    "grounding": {"giou": giou, "format": format},
}
SOLUTIONS = {
    "detection": detection_solution,
    "classification": classification_solution,
    "grounding": grounding_solution,
}
