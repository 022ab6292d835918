"""The one parser of model answers: training rewards and evaluation call the same functions.

Text in, value and named reasons out. No truth, no scores, no pixels: boxes stay in the frame of the answer.

What every parser here does with any text, in time linear in its length:

* never raises, never evaluates;
* the answer is the first `<answer>` block after the first `</think>`; without a closing tag it runs to the end
  (`answer_not_closed`), without an opening tag it is what follows the thought (`no_answer_tag`); a thought that is
  never closed is no answer (`thought_not_closed`) but for a block in it (`answer_in_thought`); what further tags
  enclose after the first block is not read (`several_answers`);
* only the first MAX_CHARACTERS of an answer and MAX_BOXES boxes are read (`too_long`).
"""

import math
import re
from functools import partial
from typing import NamedTuple

MAX_CHARACTERS = 100_000
MAX_BOXES = 1000
MAX_NAME = 200
MAX_REJECTION = 500

Box = tuple[float, float, float, float]


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


class Named(NamedTuple):
    """The class name an answer gives, as written but for space; empty where there is none."""

    name: str
    reasons: tuple[str, ...] = ()


_NUMBER = r"[+-]?[0-9]{1,18}+(?:\.[0-9]{0,18}+)?+"
_SLOT = r"([-+.0-9\s]++)"  # cheap to match, space included; whether it holds a number is for `_FLOATS` to say
_ITEMS = re.compile(  # of a list as asked, each with the bracket or comma before it; or else all that is left
    rf"""\s*+([\[,])\s*+\{{\s*+(["'])Position\2\s*+:\s*+\[{_SLOT},{_SLOT},{_SLOT},{_SLOT}\]"""
    rf"""\s*+,\s*+\2Confidence\2\s*+:{_SLOT}\}}\s*+(?:(?=,)|\]\s*+\Z)|.+""",
    re.DOTALL,
)
_SPACED_NUMBER = re.compile(rf"\s*+{_NUMBER}\s*+")
_ANY_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")
_OBJECT = re.compile(r"\{([^{}]*+)\}")
_POSITION = re.compile(r"""\b(position|bbox_2d|bbox|box)["']?\s*+[:=]\s*+[\[(]++([^\[\](){}]*+)[\])]""", re.IGNORECASE)
_CONFIDENCE = re.compile(r"""\b(confidence|score)["']?\s*+[:=]\s*+["']?([^"',()\[\]{}\s]*+)""", re.IGNORECASE)
_CORNERS = re.compile(
    rf"[\[(]\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+[\])]?+\s*+,\s*+[\[(]?+\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+[\])]"
)
_BOX_AS_ASKED = re.compile(
    rf"\s*+\(\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+\)\s*+,\s*+\(\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+\)\s*+"
)
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
_THEN_ANSWER = re.compile(r"</think>\s*+<answer>")
# Detection(*fields) and Parsed(*fields), in half the time
_detection, _answer = partial(tuple.__new__, Detection), partial(tuple.__new__, Parsed)


class _Floats(dict):
    """`_FLOATS[text]` is the `_NUMBER` in `text`, or NaN; ready are those that most answers are made of."""

    def __missing__(self, text: str) -> float:
        return float(text.strip()) if _SPACED_NUMBER.fullmatch(text) else math.nan


_USUAL = [*map(str, range(1001)), *(str(n / 100) for n in range(101)), *(f"{n / 100:.2f}" for n in range(101))]
_FLOATS = _Floats({space + text: float(text) for text in _USUAL for space in ("", " ")})


def answer_span(text: str) -> tuple[int, int, list[str]]:
    """Where the answer begins and ends in `text`, and the reasons why its tags are not as asked."""
    reasons = []
    thought_end = text.find("</think>")
    after_thought = thought_end + 8 if thought_end >= 0 else 0
    start = text.find("<answer>", after_thought)
    if thought_end < 0 and "<think>" in (text if start < 0 else text[:start]):
        if start < 0:
            return len(text), len(text), ["thought_not_closed"]
        reasons.append("answer_in_thought")
    if start < 0:
        start, end = after_thought, len(text)
        reasons.append("no_answer_tag")
    else:
        start += 8
        end = text.find("</answer>", start)
        if end < 0:
            end = len(text)
            reasons.append("answer_not_closed")
        elif end + 9 < len(text) and (text.find("<answer>", end) >= 0 or text.find("</answer>", end + 9) >= 0):
            reasons.append("several_answers")
    if end - start > MAX_CHARACTERS:
        end = start + MAX_CHARACTERS
        reasons.append("too_long")
    return start, end, reasons


def has_form(text: str, thinking: bool = True) -> bool:
    """Whether the whole text is `<think>…</think> <answer>…</answer>`, or without thinking `<answer>…</answer>`.

    The same texts as a full match of `<think>.*?</think>\\s*<answer>.*?</answer>` with DOTALL, in linear time.
    """
    if not text.endswith("</answer>"):
        return False
    if not thinking:
        return text.startswith("<answer>") and len(text) >= 17
    if not text.startswith("<think>"):
        return False
    thought_end = text.find("</think>", 7)
    if text.startswith(("\n<answer>", "<answer>", " <answer>"), thought_end + 8):  # the usual forms, without a search
        return thought_end >= 0 and len(text) >= thought_end + 25
    middle = _THEN_ANSWER.search(text, thought_end)
    return middle is not None and middle.end() + 9 <= len(text)


def parse_detection(text: str, limit: tuple[float, float] = (1000, 1000)) -> Parsed:
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
    like and goes on, if at all, with their kind or place, and with nothing that could take it back: no question, and
    outside quotation marks no 'not', 'but', 'except', 'if', 'false', 'missing' or the like. 'It is not true that there
    are no objects', 'I cannot say; no objects?' and the question's own 'If no object belonging …' do not.

    Args:
        text: a completion, or the bare answer.
        limit: largest x and y of the answer's frame.
    """
    start, end, reasons = answer_span(text)
    return _as_asked(text, start, end, reasons, limit) or _tolerant(text[start:end], reasons, limit)


def parse_grounding(text: str, limit: tuple[float, float] = (1000, 1000)) -> Parsed:
    """The one box of a grounding answer, as the only detection; its confidence means nothing.

    Asked for is `(x1,y1),(x2,y2)` (published prompt). Also read, with the reason `other_form`: `[x1, y1, x2, y2]`,
    `[[x1, y1], [x2, y2]]`, and either of them anywhere in JSON or text. Of several boxes the first that can be used
    counts and the others are dropped (`several_boxes`). What makes a box usable is as in `parse_detection`.
    """
    start, end, reasons = answer_span(text)
    found: list[Detection] = []
    if asked := _BOX_AS_ASKED.fullmatch(text, start, end):
        dropped = _accept(tuple(map(float, asked.groups())), 1.0, limit, found, reasons)
        return _parsed(found, reasons, dropped)
    dropped = 0
    for corners in _CORNERS.finditer(text, start, end):
        if len(found) + dropped == MAX_BOXES:
            reasons.append("too_long")
            break
        dropped += _accept(tuple(map(float, corners.groups())), 1.0, limit, found, reasons)
    if found or dropped:
        reasons.append("other_form")
    else:
        reasons.append("unparsable" if text[start:end].strip() else "empty_answer")
    if len(found) > 1:
        reasons.append("several_boxes")
        dropped += len(found) - 1
    return _parsed(found[:1], reasons, dropped)


def parse_classification(text: str, limit: object = None) -> Named:
    """The class name of an answer: all that is in it, runs of white space as one space.

    Nothing is looked up: which names mean the same class is for the reward to know. No name (`empty_answer`) and more
    than MAX_NAME characters (`too_long`) give the empty name. `limit` is not used; all parsers are called alike.
    """
    start, end, reasons = answer_span(text)
    name = " ".join(text[start:end].split())
    if not name:
        reasons.append("empty_answer")
    elif len(name) > MAX_NAME:
        reasons.append("too_long")
        name = ""
    return Named(name, tuple(dict.fromkeys(reasons)))


def _as_asked(text: str, start: int, end: int, reasons: list[str], limit: tuple[float, float]) -> Parsed | None:
    """What an answer says in which nothing is amiss but equal boxes; None where something is."""
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
        for corners in _CORNERS.finditer(content):
            if len(found) + dropped == MAX_BOXES:
                reasons.append("too_long")
                break
            dropped += _accept(tuple(map(float, corners.groups())), None, limit, found, reasons)
        if found or dropped:
            reasons.append("bare_boxes")
        elif _rejects(content):
            return Parsed((), tuple([*reasons, "text_around"]), says_none=True)
        else:
            reasons.append("truncated" if "{" in content else "unparsable")
    if reasons == written:
        reasons.append("other_form")
    return _parsed(found, reasons, dropped)


def _rejects(content: str) -> bool:
    """Whether prose clearly says that there is no object; the rule stands in `parse_detection`."""
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
    return _accept(tuple(map(float, numbers)), stated, limit, found, reasons)


def _accept(
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
    stated = False
    if confidence is None:
        reasons.append("confidence_missing")
    elif confidence != confidence:
        reasons.append("confidence_not_a_number")
    elif not 0 <= confidence <= 1:
        reasons.append("confidence_out_of_range")
    else:
        stated = True
    found.append(Detection(box, confidence if stated else 0.0, stated))
    return 0


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


def _parsed(found: list[Detection], reasons: list[str], dropped: int) -> Parsed:
    """Equal boxes become one, the most confident; equal reasons become one."""
    best: dict[Box, Detection] = {}
    for detection in found:
        if best.setdefault(detection.box, detection)[1:] < detection[1:]:
            best[detection.box] = detection
    if repeated := len(found) - len(best):
        reasons.append("duplicate_box")
    return Parsed(tuple(best.values()), tuple(dict.fromkeys(reasons)), False, dropped + repeated)
