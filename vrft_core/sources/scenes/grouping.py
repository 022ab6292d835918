"""Scenes to be spoken about: two or three objects of one category, others beside them, and what is true of each.

An expression is only made where it leaves no doubt: places, sizes and sides differ clearly. Which kinds of expressions
a scene is for belongs to `phrases`.
"""

import csv
import functools
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vrft_core.sources.scenes.backgrounds import background
from vrft_core.sources.scenes.composition import ROTATION, STRETCH, Object
from vrft_core.sources.scenes.cutting import cut_out, extent, mask_at
from vrft_core.sources.scenes.glyphs import sprite, vocabulary

TABLE = Path(__file__).with_name("definitions.csv")
NONE = "none"
MARGIN = 0.12  # of the image's side: how much farther left (right, ...) an object's middle is than the next one's
SIZE_RATIO = 1.6  # of visible areas, largest to next, or smallest to next
COLOURS = {"red": (235, 60, 50), "green": (80, 190, 70), "blue": (70, 120, 245), "yellow": (255, 225, 60)}
PLACES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}  # kind → axis, sign
SIDES = {" left of the ": (0, 1), " right of the ": (0, -1), " above the ": (1, 1), " below the ": (1, -1)}
SIZES = {"larger": ("larger ", "largest "), "smaller": ("smaller ", "smallest ")}  # of two, of more
WORDS = (
    "the ",
    *(f"{place} " for place in PLACES),
    *(word for both in SIZES.values() for word in both),
    *(f"{colour} " for colour in COLOURS),
    *SIDES,
)

OBJECT_SIDE = (0.25, 0.48)  # longer side of an object, as a share of the image's side
SMALLEST = {2: (0.24, 0.33), 3: (0.22, 0.26)}  # the same for the smallest of a group where sizes are spoken of
STEP = {2: (1.35, 1.55), 3: (1.32, 1.42)}  # longer side of the next larger one, relative to it
THREE = 0.4  # chance that a group has three objects
COLOURED = 0.15  # chance of a coloured group where no expression speaks of colour
COVERED = 0.1  # share of the smaller of two boxes that the other one may cover
TRIES = 40  # layouts of the same cut-outs


@dataclass(frozen=True)
class Expression:
    """What is said of a scene.

    `target` is the position in the scene's objects, None where nothing is meant. `candidates` are the positions of all
    objects of the target's category (of the named one where there is no target).
    """

    kind: str
    text: str
    target: int | None
    candidates: tuple[int, ...]

    @property
    def chance(self) -> float:
        """How often a guess among the candidates is right."""
        return 0.0 if self.target is None else 1 / len(self.candidates)


@dataclass(frozen=True)
class Placed:
    """What expressions are about: `middle` is in px, `area` in visible px; `colour` is a tint's name or None."""

    category: str
    middle: tuple[float, float]
    area: int
    colour: str | None


@functools.cache
def definitions() -> dict[str, str]:
    """Category name → a phrase that fits it and no other category of the table."""
    return {row["name"]: row["definition"] for row in _table()}


@functools.cache
def wider() -> dict[str, str]:
    """Category name → the category of the table that it is a kind of: 'the bird' may mean an owl."""
    return {row["name"]: row["kind_of"] for row in _table() if row["kind_of"]}


def _table() -> list[dict[str, str]]:
    with open(TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def spoken(name: str) -> str:
    """A category's name as it is said: `giant_panda` → giant panda, `octopus_(animal)` → octopus."""
    return re.sub(r"_\(.*\)$", "", name).replace("_", " ")


def compose(
    kinds: Sequence[str], categories: list[str], side: int, split: str, rng: random.Random
) -> tuple[np.ndarray, list[Object], list[Expression]]:
    """Image uint8[side, side, 3], its objects, and one expression of each kind, in the order of `kinds`."""
    while True:
        count = 3 if rng.random() < THREE else 2
        group, *others = rng.sample(categories, 2 if count == 3 else rng.randint(2, 3))
        names = [group] * count + others
        coloured = "colour" in kinds or rng.random() < COLOURED
        colours = [*rng.sample(list(COLOURS), count)] if coloured else [None] * count
        colours += [None] * len(others)
        longer = _sides(count, "larger" in kinds or "smaller" in kinds, rng)
        longer += [rng.uniform(*OBJECT_SIDE) for _ in others]
        pictures = [
            cut_out(
                _sprite(name, colour), share * side, rng.uniform(*STRETCH), rng.random() < 0.5,
                rng.uniform(-ROTATION, ROTATION),
            )
            for name, colour, share in zip(names, colours, longer, strict=True)
        ]  # fmt: skip
        for _ in range(TRIES):
            corners = [_corner(picture, side, rng) for picture in pictures]
            boxes = [(x, y, x + p.width, y + p.height) for (x, y), p in zip(corners, pictures, strict=True)]
            if any(_covers(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
                continue
            front_to_back = rng.sample(range(len(pictures)), len(pictures))
            masks = _masks(pictures, corners, front_to_back, side)
            objects = [Object(name, extent(mask), mask) for name, mask in zip(names, masks, strict=True)]
            placed = [_placed(thing, colour) for thing, colour in zip(objects, colours, strict=True)]
            options = {kind: expressions(kind, placed, side) for kind in kinds if kind != NONE}
            if all(options.values()):
                image = background(split, side, frozenset(categories), rng)
                for i in reversed(front_to_back):
                    image.paste(pictures[i], corners[i], pictures[i])
                said = [
                    nothing(placed, categories, rng) if kind == NONE else rng.choice(options[kind]) for kind in kinds
                ]
                return np.array(image), objects, said


def expressions(kind: str, placed: Sequence[Placed], side: int) -> list[Expression]:
    """Every expression of a kind that is true of one object and clearly false of all others."""
    counts = Counter(thing.category for thing in placed)
    if kind in ("only", "definition"):
        return [
            Expression(kind, f"the {spoken(name)}" if kind == "only" else definitions()[name], i, (i,))
            for i, name in enumerate(thing.category for thing in placed)
            if counts[name] == 1
        ]
    return [
        Expression(kind, text, target, members)
        for name, count in counts.items()
        if count > 1
        for members in [tuple(i for i, thing in enumerate(placed) if thing.category == name)]
        for text, target in _told_apart(kind, placed, members, side)
    ]


def _told_apart(kind: str, placed: Sequence[Placed], members: tuple[int, ...], side: int) -> list[tuple[str, int]]:
    """Texts and targets among several objects of one category."""
    name = spoken(placed[members[0]].category)
    if kind in PLACES:
        axis, sign = PLACES[kind]
        first, second = sorted(members, key=lambda i: sign * placed[i].middle[axis])[:2]
        clear = abs(placed[second].middle[axis] - placed[first].middle[axis]) >= MARGIN * side
        return [(f"the {kind} {name}", first)] if clear else []
    if kind in SIZES:
        first, second = sorted(members, key=lambda i: placed[i].area, reverse=kind == "larger")[:2]
        small, large = sorted([placed[first].area, placed[second].area])
        return [(f"the {SIZES[kind][len(members) > 2]}{name}", first)] if large >= SIZE_RATIO * small else []
    if kind == "colour":
        if any(placed[i].colour is None for i in members):
            return []
        worn = Counter(placed[i].colour for i in members)
        return [(f"the {placed[i].colour} {name}", i) for i in members if worn[placed[i].colour] == 1]
    counts = Counter(thing.category for thing in placed)
    return [
        (f"the {name}{words}{spoken(other.category)}", there[0])
        for other in placed
        if counts[other.category] == 1
        for words, (axis, sign) in SIDES.items()
        for distance in [{i: sign * (other.middle[axis] - placed[i].middle[axis]) for i in members}]
        for there in [[i for i in members if distance[i] >= MARGIN * side]]
        if len(there) == 1 and all(distance[i] <= -MARGIN * side for i in members if i not in there)
    ]


def nothing(placed: Sequence[Placed], categories: list[str], rng: random.Random) -> Expression:
    """An expression that fits nothing in the scene: an absent category in words of any kind, or an absent colour."""
    present = list(dict.fromkeys(thing.category for thing in placed))
    missing = rng.choice([name for name in categories if name not in present])
    worn = {thing.colour for thing in placed if thing.category == present[0]}
    if None not in worn and rng.random() < 0.5:
        colour = rng.choice([colour for colour in COLOURS if colour not in worn])
        members = tuple(i for i, thing in enumerate(placed) if thing.category == present[0])
        return Expression(NONE, f"the {colour} {spoken(present[0])}", None, members)
    return Expression(NONE, absent(missing, present, rng), None, ())


def absent(missing: str, present: Sequence[str], rng: random.Random) -> str:
    """A text about the category `missing`; `present`: a group's category, then those that stand once."""
    word = rng.choice([f"{place} " for place in PLACES] + [pair[0] for pair in SIZES.values()])
    return rng.choice(
        [
            f"the {spoken(missing)}",
            definitions()[missing],
            f"the {word}{spoken(missing)}",
            f"the {spoken(missing)}{rng.choice(list(SIDES))}{spoken(rng.choice(present[1:]))}",
        ]
    )


@functools.cache
def _sprite(name: str, colour: str | None) -> Image.Image:
    """A category's plainest glyph in premultiplied RGBa; in shades of one colour where that is given."""
    glyph = sprite(vocabulary()[name].glyphs[0])
    if colour is None:
        return glyph
    plain = glyph.convert("RGBA")
    # dark parts are lifted, or a wolf would be black in every colour
    shades = [plain.convert("L").point([round(c * math.sqrt(v / 255)) for v in range(256)]) for c in COLOURS[colour]]
    return Image.merge("RGBA", [*shades, plain.getchannel("A")]).convert("RGBa")


def _sides(count: int, spread: bool, rng: random.Random) -> list[float]:
    """Longer sides of a group's objects, as shares of the image's side; clearly different where `spread`."""
    if not spread:
        return [rng.uniform(*OBJECT_SIDE) for _ in range(count)]
    sides = [rng.uniform(*SMALLEST[count])]
    for _ in range(count - 1):
        sides.append(sides[-1] * rng.uniform(*STEP[count]))
    rng.shuffle(sides)
    return sides


def _covers(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two xyxy boxes share more than COVERED of the smaller one."""
    common = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return common > COVERED * min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def _corner(picture: Image.Image, side: int, rng: random.Random) -> tuple[int, int]:
    """A random place for its upper left corner, at which it lies inside."""
    return rng.randint(0, max(0, side - picture.width)), rng.randint(0, max(0, side - picture.height))


def _masks(
    pictures: list[Image.Image], corners: list[tuple[int, int]], front_to_back: list[int], side: int
) -> list[np.ndarray]:
    """bool[side, side] of the visible part of each image."""
    seen: dict[int, np.ndarray] = {}
    taken = np.zeros((side, side), bool)
    for i in front_to_back:
        whole, _ = mask_at(pictures[i], *corners[i], side)
        seen[i] = whole & ~taken
        taken = taken | whole
    return [seen[i] for i in range(len(pictures))]


def _placed(thing: Object, colour: str | None) -> Placed:
    x1, y1, x2, y2 = thing.box
    return Placed(thing.category, ((x1 + x2) / 2, (y1 + y2) / 2), int(thing.mask.sum()), colour)
