"""The forms in which models write boxes of their own accord: text in, items out, and back.

What every reader does with any text: it never raises, takes linear time, swaps and clips nothing. It gives the four
numbers of each item as xyxy, or None where they are not four numbers. Whether a box is usable, and what it is worth,
belongs to the tasks; what its numbers mean, to `frames`.

| name       | looks like                                                                  | where there is nothing |
|------------|-----------------------------------------------------------------------------|------------------------|
| `bbox_2d`  | `[{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}]`                            | `[]`                   |
| `box_2d`   | `[{"box_2d": [y1, x1, y2, x2], "label": "cat"}]`                             | `[]`                   |
| `box_tags` | `<|object_ref_start|>cat<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>` | `No Objects`     |
| `ref_box`  | `<ref>cat</ref><box>[[x1, y1, x2, y2]]</box>`                                | `No Objects`           |
| `loc_4`    | `<loc0012><loc0034><loc0567><loc0890> cat ; …`                               | `No Objects`           |
| `loc_n`    | `cat<loc_12><loc_34><loc_567><loc_890>`                                      | `No Objects`           |

Tokens around a box that are special in a tokenizer (`<ref>`, `<|box_start|>`) are left out when an answer is decoded,
so a reader does not miss them.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vrft_core.families.family import FormatName, Order

MAX_ITEMS = 1000
LONGEST_NAME = 200  # characters of a name; what is longer is prose
NOTHING = "No Objects"
NO_LIST = "{}"  # what is left of objects that stand in no list

Numbers = tuple[float, float, float, float]

_NUMBER = r"[+-]?[0-9]{1,18}+(?:\.[0-9]{0,18}+)?+"
_FOUR = rf"\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+"
_OBJECT = re.compile(r"\{([^{}]*+)\}")
_FENCES = re.compile(r"```(?:json)?+")
_LABEL = re.compile(r'"label"\s*+:\s*+"((?:[^"\\]|\\.)*+)"')
_TAGS = re.compile(r"<\|(?:object_ref|box)_(?:start|end)\|>|<\|(?:begin|end)_of_box\|>|</?(?:ref|box)>")
_PAIRS = re.compile(rf"\(\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+\)\s*+,\s*+\(\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+\)")
_NESTED = re.compile(r"\[\s*+((?:\[[^\[\]]*+\]\s*+,?\s*+)++)\]")
_INNER = re.compile(r"\[([^\[\]]*+)\]")
_EXACTLY_FOUR = re.compile(_FOUR)
_LOC_4 = re.compile(r"((?:<loc[0-9]{4}>)++)\s*+([^<;]*+);?+")
_LOC_N = re.compile(r"(?:<loc_[0-9]{1,4}>)++")
_DIGITS = re.compile(r"[0-9]+")


class Item(NamedTuple):
    """One box of an answer: xyxy in the answer's frame, or None; its name, if any; where its numbers stand."""

    numbers: Numbers | None
    label: str | None
    start: int
    end: int


class Said(NamedTuple):
    """What an answer holds, in its order. `reasons` names what is not as the form has it; empty where all is."""

    items: tuple[Item, ...]
    reasons: tuple[str, ...] = ()
    says_none: bool = False


@dataclass(frozen=True)
class Form:
    """How one form is written, found again, and asked for.

    `item`: a box as the question shows it. `find` gives the items of a text with numbers as they stand, and what is
    left of the text. `ask`: the question of models that understand no other, with {} for the name.
    """

    write: Callable[[Sequence[Sequence[str]], str], str]  # boxes of four numbers in their order, name
    find: Callable[[str], tuple[list[Item], str]]
    nothing: str = NOTHING
    ask: str | None = None


@dataclass(frozen=True)
class Native:
    """A form with the order of its numbers: how a policy writes boxes where its recipe asks for its own way."""

    name: FormatName
    order: Order

    @property
    def nothing(self) -> str:
        """What is written where there is nothing."""
        return FORMS[self.name].nothing

    @property
    def ask(self) -> str | None:
        """The question that models of this form understand, with {} for the name; None: any."""
        return FORMS[self.name].ask

    def example(self, name: str) -> str:
        """The form as a question shows it."""
        corners = ("x1", "y1", "x2", "y2") if self.order == "xyxy" else ("y1", "x1", "y2", "x2")
        return FORMS[self.name].write([corners], name)

    def write(self, boxes: Sequence[Sequence[float]], name: str) -> str:
        """The text of some boxes (xyxy in the answer's frame) that bear one name."""
        if not boxes:
            return self.nothing
        return FORMS[self.name].write([[str(value) for value in _turned(box, self.order)] for box in boxes], name)

    def read(self, text: str) -> Said:
        """What a text holds; see the module."""
        bare = text.strip().strip("\"'.").strip()
        if not bare:
            return Said((), ("empty_answer",))
        if _FENCES.sub("", bare).strip().casefold() in ("[]", NOTHING.casefold()):
            return Said((), (), says_none=True)
        found, rest = FORMS[self.name].find(text)
        reasons = []
        if len(found) > MAX_ITEMS:
            found = found[:MAX_ITEMS]
            reasons.append("too_long")
        items = [one._replace(numbers=one.numbers and _numbers(_turned(one.numbers, self.order))) for one in found]
        if not items:
            reasons.append("unparsable")
        elif any(len(item.label or "") > LONGEST_NAME for item in items):
            reasons.append("text_around")
        elif rest:
            reasons.append("other_form" if rest == NO_LIST else "truncated" if _breaks_off(rest) else "text_around")
        return Said(tuple(items), tuple(reasons))


def _breaks_off(rest: str) -> bool:
    """Whether what is left of an answer is the beginning of an item."""
    return any(rest.count(opening) > rest.count(closing) for opening, closing in ("{}", "[]", "()", "<>"))


def _turned(box: Sequence[float], order: Order) -> Sequence[float]:
    """x and y swapped, where the order says so: from xyxy or to it."""
    return box if order == "xyxy" else (box[1], box[0], box[3], box[2])


def _numbers(values: Sequence[str | float]) -> Numbers:
    a, b, c, d = map(float, values)
    return a, b, c, d


def _named(pattern: re.Pattern[str], text: str) -> tuple[list[tuple[re.Match[str], str | None]], str]:
    """Each match with the name before it, and what stands behind the last; a name may stand for several in a row."""
    found, end = [], 0
    label: str | None = None
    for one in pattern.finditer(text):
        label = _TAGS.sub("", text[end : one.start()]).strip(" ,;\n") or label
        found.append((one, label))
        end = one.end()
    return found, _TAGS.sub("", text[end:]).strip()


def _list(parts: Sequence[str]) -> str:
    return f"[{', '.join(parts)}]"


def _json(key: str) -> Form:
    """A JSON list of objects with a box under `key`. A code fence around it is as good."""
    box = re.compile(rf'"{key}"\s*+:\s*+\[{_FOUR}\]')

    def write(boxes: Sequence[Sequence[str]], name: str) -> str:
        mark, label = f'"{key}"', f'"label": {json.dumps(name, ensure_ascii=False)}'
        return _list([f"{{{mark}: {_list(numbers)}, {label}}}" for numbers in boxes])

    def find(text: str) -> tuple[list[Item], str]:
        items = []
        for one in _OBJECT.finditer(text):
            numbers, label = box.search(one[1]), _LABEL.search(one[1])
            start = one.start(1)
            items.append(
                Item(
                    _numbers(numbers.groups()) if numbers else None,
                    label[1] if label else None,
                    start + (numbers.start(1) if numbers else 0),
                    start + (numbers.end(4) if numbers else 0),
                )
            )
        if not any(item.numbers for item in items):
            items = []  # objects of another form
        rest = "".join(_FENCES.sub("", _TAGS.sub("", _OBJECT.sub("", text))).split()).replace(",", "")
        return items, "" if rest == "[]" else rest or NO_LIST

    return Form(write, find, "[]")


def _box_tags() -> Form:
    def write(boxes: Sequence[Sequence[str]], name: str) -> str:
        return "".join(
            f"<|object_ref_start|>{name}<|object_ref_end|><|box_start|>({a},{b}),({c},{d})<|box_end|>"
            for a, b, c, d in boxes
        )

    def find(text: str) -> tuple[list[Item], str]:
        named, rest = _named(_PAIRS, text)
        return [Item(_numbers(one.groups()), label, one.start(1), one.end(4)) for one, label in named], rest

    return Form(write, find)


def _ref_box() -> Form:
    def write(boxes: Sequence[Sequence[str]], name: str) -> str:
        return f"<ref>{name}</ref><box>{_list([_list(numbers) for numbers in boxes])}</box>"

    def find(text: str) -> tuple[list[Item], str]:
        named, rest = _named(_NESTED, text)
        items = []
        for one, label in named:
            for inner in _INNER.finditer(one[1]):
                four, start = _EXACTLY_FOUR.fullmatch(inner[1]), one.start(1) + inner.start(1)
                items.append(Item(_numbers(four.groups()) if four else None, label, start, start + len(inner[1])))
        return items, rest

    return Form(write, find)


def _located(tokens: str, start: int, label: str | None) -> Iterator[Item]:
    """Location tokens in fours; what is left over makes an item without numbers."""
    places = list(_DIGITS.finditer(tokens))
    for i in range(0, len(places), 4):
        four = places[i : i + 4]
        numbers = _numbers([place[0] for place in four]) if len(four) == 4 else None
        yield Item(numbers, label, start + four[0].start(), start + four[-1].end())


def _loc_4() -> Form:
    def write(boxes: Sequence[Sequence[str]], name: str) -> str:
        return " ; ".join(f"{''.join(f'<loc{place:0>4}>' for place in numbers)} {name}" for numbers in boxes)

    def find(text: str) -> tuple[list[Item], str]:
        items = [
            item for one in _LOC_4.finditer(text) for item in _located(one[1], one.start(1), one[2].strip() or None)
        ]
        return items, _LOC_4.sub("", text).strip()

    return Form(write, find, ask="detect {}")


def _loc_n() -> Form:
    def write(boxes: Sequence[Sequence[str]], name: str) -> str:
        return name + "".join(f"<loc_{place}>" for numbers in boxes for place in numbers)

    def find(text: str) -> tuple[list[Item], str]:
        named, rest = _named(_LOC_N, text)
        return [item for one, label in named for item in _located(one[0], one.start(), label)], rest

    return Form(write, find, ask="Locate {} in the image.")


FORMS: dict[FormatName, Form] = {
    "bbox_2d": _json("bbox_2d"),
    "box_2d": _json("box_2d"),
    "box_tags": _box_tags(),
    "ref_box": _ref_box(),
    "loc_4": _loc_4(),
    "loc_n": _loc_n(),
}
