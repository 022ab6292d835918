"""The one parser of detection answers: training rewards and evaluation call the same function.

Text in, value and named reasons out. No truth, no scores, no pixels: boxes stay in the frame of the answer. What every
parser does with any text is said in `answer_span`; of an answer's boxes only the first MAX_BOXES are read (`too_long`).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from vrft_core.boxes import iou, xywh
from vrft_core.families.form import Form
from vrft_core.families.formats import Native
from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.box_answers import CORNERS, MAX_BOXES, NUMBER, Detection, Parsed, accept, as_box, parsed
from vrft_core.tasks.native import read as read_native
from vrft_core.tasks.native import spans
from vrft_core.tasks.task import Example, Prediction, Written
from vrft_core.tasks.wording import NO_OBJECTS

WATCHED = (NO_OBJECTS, "0 ")  # how an answer, and a thought that counts, begin where there is nothing
DIGITS, SCORE_DIGITS = 3, 6
MAX_REJECTION = 500

_SLOT = r"([-+.0-9\s]++)"  # cheap to match, space included; `_FLOATS` decides whether it holds a number
_ITEMS = re.compile(  # of a list as asked, each with the bracket or comma before it; or else all that is left
    rf"""\s*+([\[,])\s*+\{{\s*+(["'])Position\2\s*+:\s*+\[{_SLOT},{_SLOT},{_SLOT},{_SLOT}\]"""
    rf"""\s*+,\s*+\2Confidence\2\s*+:{_SLOT}\}}\s*+(?:(?=,)|\]\s*+\Z)|.+""",
    re.DOTALL,
)
_SPACED_NUMBER = re.compile(rf"\s*+{NUMBER}\s*+")
_ANY_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")
_OBJECT = re.compile(r"\{([^{}]*+)\}")
_POSITION = re.compile(r"""\b(position|bbox_2d|bbox|box)["']?\s*+[:=]\s*+[\[(]++([^\[\](){}]*+)[\])]""", re.IGNORECASE)
_CONFIDENCE = re.compile(r"""\b(confidence|score)["']?\s*+[:=]\s*+["']?([^"',()\[\]{}\s]*+)""", re.IGNORECASE)
_PICTURE = r"(?:the|this)\s++(?:image|picture|photo)"
_REJECTION = re.compile(
    r"(?:\A|[.!\n])[\W_]*+"  # a sentence begins
    r"(?:(?:so|therefore|thus|hence|since|as|because|yes|no)[,\s]++(?!objects?\b))?"
    r"(?:(?:the\s++)?(?:final\s++)?answer(?:\s++is)?+\W++)?"
    rf"(?:in\s++{_PICTURE}[,\s]++)?"
    rf"(?:there(?:['’]s|\s++(?:is|are|was|were))\s++|(?:{_PICTURE}|it)\s++(?:shows|contains|has)\s++"
    r"|(?:i|we)\s++(?:can\s++)?(?:see|find|found|detect|detected)\s++)?"
    r"no\s++objects?\b"
    r"(?:[\W_]*+\Z|\s*+[.!,;:\n\"'`*)\]]"  # and says no more about them, or where and of which kind they are not
    r"|\s++(?:(?:is|are|was|were|has\s++been|have\s++been|can\s++be|could\s++be)\s++)?"
    r"(?:belong(?:s|ing)?|of|in|on|from|for|here|like|exist|that\s++(?:belong|match)|match(?:ing)?|present|visible"
    r"|found|detected|seen|identified|located|shown|to\s++(?:detect|find|locate|report))\b)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"\?|n['’]t\b|\b(?:not|cannot|never|but|except|excluding|other\s++than|besides|apart\s++from|however|although|though"
    r"|unless|if|whether|false|wrong|untrue|incorrect|doubt|deny|missing|absent|lacking)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"(?<!\w)(['\"‘“`])[^'\"’”`\n]*+['\"’”`](?!\w)")
# Detection(*fields) and Parsed(*fields), in half the time
_detection, _answer = partial(tuple.__new__, Detection), partial(tuple.__new__, Parsed)


class _Floats(dict):
    """`_FLOATS[text]` is the `NUMBER` in `text`, or NaN; ready are those that most answers are made of."""

    def __missing__(self, text: str) -> float:
        return float(text.strip()) if _SPACED_NUMBER.fullmatch(text) else math.nan


_USUAL = [*map(str, range(1001)), *(str(n / 100) for n in range(101)), *(f"{n / 100:.2f}" for n in range(101))]
_FLOATS = _Floats({space + text: float(text) for text in _USUAL for space in ("", " ")})


def parse(text: str, limit: tuple[float, float] = (1000, 1000), native: Native | None = None) -> Parsed:
    """Boxes with confidences from any text.

    Asked for is `[{'Position': [x1, y1, x2, y2], 'Confidence': c}, ...]` or 'No Objects' (published prompt); a JSON
    list is as good, and `[]` says 'No Objects'. Also read, each with its reason: the keys bbox, bbox_2d, box and score
    in any case (`other_key`), lists without objects (`bare_boxes`), code fences, text around, trailing '...', lists
    that break off (`truncated`: complete items are kept), any other spelling (`other_form`).

    A box is accepted if it has four finite numbers, x1 < x2, y1 < y2, and lies in [0, limit]: nothing is swapped or
    clipped, the rest is dropped (`box_malformed`, `box_inverted`, `box_empty`, `box_out_of_range`, `no_box`). Of equal
    boxes the most confident is kept and the others are dropped (`duplicate_box`). A box whose confidence is missing,
    not a number, or outside [0, 1] is kept with confidence 0.0 and stated=False (`confidence_missing`,
    `confidence_not_a_number`, `confidence_out_of_range`).

    Prose without a box says 'No Objects' (`text_around`) only where it says so clearly: in at most MAX_REJECTION
    characters, with a sentence that begins 'No objects', 'There are no objects', 'The image shows no objects' or the
    like and goes on, if at all, with their kind or place, and with nothing that could contradict it: no question, and
    outside quotation marks no 'not', 'but', 'except', 'if', 'false', 'missing' or the like. 'It is not true that there
    are no objects', 'I cannot say; no objects?' and the question's own 'If no object belonging …' do not.

    Args:
        text: a completion, or the bare answer.
        limit: largest x and y of the answer's frame.
        native: the form that was asked for, where that is not the paper's; read as `tasks.native` says.
    """
    if native:
        return read_native(text, limit, native)
    start, end, reasons = answer_span(text)
    return _as_asked(text, start, end, reasons, limit) or _tolerant(text[start:end], reasons, limit)


class Row(Prediction):
    """A prediction of detection. Boxes are xyxy pixels of the image; `scores` are the confidences stated."""

    boxes: list[list[float]]
    scores: list[float]
    rankings: dict[str, list[float]]  # ranking → each box's score


def row(example: Example, form: Form, written: Written) -> dict:
    """A completion as a prediction row keeps it: its boxes in pixels, and every free ranking's score of each."""
    frame = form.frame(example.width, example.height)
    read = parse(written.text, frame.limit, form.native)
    boxes = [detection.box for detection in read.detections]
    return {
        "category_id": json.loads(example.truth)["category_id"],
        "boxes": [[round(v, DIGITS) for v in frame.to_pixels(box)] for box in boxes],
        "scores": [detection.confidence for detection in read.detections],
        "rankings": token_scores(written, boxes, form.native),
        "reasons": list(read.reasons),
    }


def agree(row: Row, drawn: Sequence[Row]) -> None:
    """Adds the ranking `consistency`: each box's mean overlap with the nearest box of every sampled answer."""
    own = xywh(row["boxes"])[:, None]
    highest = [iou(own, xywh(sample["boxes"])[None]).max(axis=1, initial=0) for sample in drawn]
    row["rankings"]["consistency"] = [round(float(value), SCORE_DIGITS) for value in np.mean(highest, axis=0)]


def token_scores(
    written: Written, boxes: Sequence[Sequence[float]], native: Native | None = None
) -> dict[str, list[float]]:
    """{"likelihood", "certainty"} of each box, from the tokens that spell its coordinates; see `metrics.ranking`.

    `boxes` are as the parser read them, in the answer's frame. A box whose numbers cannot be found in the text in one
    piece gets 0: it ranks last.
    """
    places: Mapping[tuple[float, ...], tuple[int, int]] = (
        {box: place for box, place in spans(written.text, native).items()} if native else _corners(written)
    )
    scores: dict[str, list[float]] = {"likelihood": [], "certainty": []}
    for box in boxes:
        span = places.get(as_box(box))
        tokens = [i for i, (start, end) in enumerate(written.places) if span and start < span[1] and end > span[0]]
        for name, values in (("likelihood", written.logprobs), ("certainty", [-e for e in written.entropies])):
            total = sum(values[i] for i in tokens)
            scores[name].append(round(float(np.exp(total / 4)), SCORE_DIGITS) if tokens else 0.0)
    there = something(written, ("<think>", "</think>") if native else ("<think>", "<answer>"))
    scores["certainty"] = [round(value * there, SCORE_DIGITS) for value in scores["certainty"]]
    return scores


def _corners(written: Written) -> dict[tuple[float, ...], tuple[int, int]]:
    found: dict[tuple[float, ...], tuple[int, int]] = {}
    for corners in CORNERS.finditer(written.text):
        found.setdefault(tuple(map(float, corners.groups())), (corners.start(1), corners.end(4)))
    return found


def something(written: Written, tags: Sequence[str] = ("<think>", "<answer>")) -> float:
    """Probability, as the model saw it, that there is anything to answer with: 1 - that of WATCHED where it decided.

    It decides at the first token of the thought, where a count may stand, and at the first token of the answer.
    """
    begins = [at + len(tag) for tag in tags if (at := written.text.find(tag)) >= 0] or [0]
    there = 1.0
    for begin in begins:
        after = [i for i, (start, _) in enumerate(written.places) if start >= begin]
        there *= 1.0 - written.watched[after[0]] if after else 1.0
    return max(there, 0.0)


def _as_asked(text: str, start: int, end: int, reasons: list[str], limit: tuple[float, float]) -> Parsed | None:
    """An answer that is written as asked, equal boxes allowed; None for any other."""
    items = _ITEMS.findall(text, start, end)
    if not items or items[0][0] != "[" or len(items) > MAX_BOXES:
        return None
    max_x, max_y = limit
    floats, best = _FLOATS, {}
    for _, _, x1, y1, x2, y2, confidence in items:
        box = x1, y1, x2, y2 = floats[x1], floats[y1], floats[x2], floats[y2]
        confidence = floats[confidence]
        if not (0.0 <= x1 < x2 <= max_x and 0.0 <= y1 < y2 <= max_y and 0.0 <= confidence <= 1.0):
            return None  # also what is left, which has no numbers
        detection = box, confidence, True
        if best.setdefault(box, detection)[1] < confidence:
            best[box] = detection
    if repeated := len(items) - len(best):
        reasons.append("duplicate_box")
    return _answer((tuple(map(_detection, best.values())), tuple(reasons), False, repeated))


def _tolerant(content: str, reasons: list[str], limit: tuple[float, float]) -> Parsed:
    """What can be read of an answer that is not written as asked."""
    bare = content.strip().strip("\"'.").strip()
    if not bare:
        return Parsed((), tuple([*reasons, "empty_answer"]))
    if bare.casefold() == "no objects" or (bare[0] == "[" and bare[-1] == "]" and not bare[1:-1].strip()):
        return Parsed((), tuple(reasons), says_none=True)
    found: list[Detection] = []
    dropped = objects = 0
    written = list(reasons)
    for item in _OBJECT.finditer(content):
        objects += 1
        if objects > MAX_BOXES:
            reasons.append("too_long")
            break
        dropped += _accept_object(item[1], limit, found, reasons)
    if objects:
        _name_residue(_OBJECT.sub(" ", content), reasons)
    else:
        for corners in CORNERS.finditer(content):
            if len(found) + dropped == MAX_BOXES:
                reasons.append("too_long")
                break
            dropped += accept(as_box(corners.groups()), None, limit, found, reasons)
        if found or dropped:
            reasons.append("bare_boxes")
        elif _rejects(content):
            return Parsed((), tuple([*reasons, "text_around"]), says_none=True)
        else:
            reasons.append("truncated" if "{" in content else "unparsable")
    if reasons == written:
        reasons.append("other_form")
    return parsed(found, reasons, dropped)


def _rejects(content: str) -> bool:
    """Whether prose clearly says that there is no object; the rule stands in `parse`."""
    return (
        len(content) <= MAX_REJECTION
        and _REJECTION.search(content) is not None
        and _TAKEN_BACK.search(_QUOTED.sub(" ", content)) is None
    )


def _accept_object(body: str, limit: tuple[float, float], found: list[Detection], reasons: list[str]) -> int:
    """Add one `{...}`'s detection to `found`, or return 1 for the dropped item."""
    position = _POSITION.search(body)
    if not position:
        reasons.append("no_box")
        return 1
    confidence = _CONFIDENCE.search(body)
    if position[1] != "Position" or (confidence and confidence[1] != "Confidence"):
        reasons.append("other_key")
    numbers = [part.strip() for part in position[2].split(",", 5)]
    if len(numbers) != 4 or not all(_ANY_NUMBER.fullmatch(number) for number in numbers):
        reasons.append("box_malformed")
        return 1
    stated: float | None = None
    if confidence:
        stated = float(confidence[2]) if _ANY_NUMBER.fullmatch(confidence[2]) else float("nan")
    return accept(as_box(numbers), stated, limit, found, reasons)


def _name_residue(rest: str, reasons: list[str]) -> None:
    """Name what an answer holds besides its objects."""
    rest = "".join(rest.split()).replace(",", "")
    if "{" in rest or ("[" in rest and "]" not in rest):
        reasons.append("truncated")
        rest = rest.partition("{")[0]
    for mark, name in (("...", "ellipsis"), ("…", "ellipsis"), ("```json", "code_fence"), ("```", "code_fence")):
        if mark in rest:
            reasons.append(name)
            rest = rest.replace(mark, "")
    if rest.strip("[]"):
        reasons.append("text_around")
