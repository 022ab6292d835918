"""Grounding drawn here: the settings, the expressions about a scene, and the data set on disk.

One expression has one target box, or none. A group of two or three objects of one category stands in every scene, so
that a model which ignores place, size, colour or relation is right by chance only. How a scene is laid out
and which expressions are true of it belongs to `grouping`.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vrft_core.errors import InputError
from vrft_core.params import PhraseScenes
from vrft_core.sources.scenes import grouping, saving
from vrft_core.sources.scenes.composition import Object
from vrft_core.sources.scenes.glyphs import vocabulary
from vrft_core.sources.scenes.grouping import NONE, Expression, definitions, spoken, wider

# Kind of expression → what it says of its target. The kinds are the categories of the data set.
KINDS = {
    "only": "names the only object of its category",
    "definition": "says what the only object of its category is or does, without its name",
    "left": "the object of its category that is farthest left",
    "right": "the object of its category that is farthest right",
    "top": "the object of its category that is farthest up",
    "bottom": "the object of its category that is farthest down",
    "larger": "the object of its category with the largest area",
    "smaller": "the object of its category with the smallest area",
    "colour": "the only object of its category in that colour",
    "relation": "the only object of its category on that side of another object",
    NONE: "nothing in the image is what the expression says",
}
PRESENT = tuple(kind for kind in KINDS if kind != NONE)
IDS = {kind: number for number, kind in enumerate(KINDS, 1)}
LEAST_CATEGORIES = 5  # three in a scene, others to be absent
MIRRORED = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class PhraseScene:
    """`image` is uint8[H, W, 3]; no two expressions are of one kind."""

    image: np.ndarray
    objects: list[Object]
    expressions: list[Expression]


def scene(settings: PhraseScenes, split: str, index: int) -> PhraseScene:
    """The scene number `index` of a split: train, val, eval or pretraining, which has no end.

    The same arguments draw the same bytes. Raises InputError for settings no drawing can satisfy, IndexError past the
    end of a split.
    """
    check(settings)
    if split != "pretraining" and index >= getattr(settings.images, split):
        raise IndexError(f"{split} has no scene {index}")
    rng = random.Random(f"phrase/{settings.seed}/{split}/{index}")
    kinds = _kinds(settings, split, index)
    return PhraseScene(*grouping.compose(kinds, settings.categories, settings.image_size, split, rng))


def mirrored(drawn: PhraseScene) -> PhraseScene:
    """The same scene seen in a mirror: what was left is right."""
    side = drawn.image.shape[1]
    objects = [
        Object(thing.category, (side - x2, y1, side - x1, y2), thing.mask[:, ::-1])
        for thing in drawn.objects
        for x1, y1, x2, y2 in [thing.box]
    ]
    expressions = [
        replace(
            said,
            kind=MIRRORED.get(said.kind, said.kind),
            text=" ".join(MIRRORED.get(word, word) for word in said.text.split(" ")),
        )
        for said in drawn.expressions
    ]
    return PhraseScene(drawn.image[:, ::-1], objects, expressions)


def words(settings: PhraseScenes) -> list[str]:
    """What a closed vocabulary must know, each as one token, to say every expression; spaces belong to the tokens.

    Names come without space: they are the same tokens that a detection answer has. Function words take the spaces
    around them.
    """
    names = [spoken(name) for name in settings.categories]
    defined = [definitions()[name].split(" ") for name in settings.categories]
    inner = [f"{word} " for definition in defined for word in definition[:-1]]
    last = [definition[-1] for definition in defined]
    return list(dict.fromkeys([*grouping.WORDS, *names, *inner, *last]))


def write(directory: Path, settings: PhraseScenes) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    An annotation is an expression: its category is its kind, `bbox` its target (zeros where it is `absent`).
    `candidates` are the boxes, xywh px, of the objects that share the target's category, the target's among them;
    `chance` is 1 / their number: how often looking for the category alone is right (0 where there is no target).
    `objects` counts all objects in the image. Raises InputError for settings no drawing can satisfy.
    """
    check(settings)

    def labels(drawn: PhraseScene, split: str, index: int) -> tuple[list[int], list[int], list[dict]]:
        return [], [], [_annotation(drawn, said) for said in drawn.expressions]

    def categories(images: Counter[int], instances: Counter[int]) -> list[dict]:
        return [
            saving.category(number, kind, "", [kind], KINDS[kind], images[number], instances[number])
            for kind, number in IDS.items()
        ]

    saving.save(
        directory, settings, "Drawn scenes with referring expressions",
        lambda split, index: scene(settings, split, index), labels, categories,
    )  # fmt: skip


def check(settings: PhraseScenes) -> None:
    """Raises InputError when no drawing could satisfy `settings`."""
    names = settings.categories
    heard = [spoken(name) for name in names]
    for name in names:
        if name not in vocabulary() or name not in definitions():
            raise InputError(
                "params.yaml",
                f"embedded.categories: {name!r} has no glyph or no definition",
                f"take names from {grouping.TABLE.name}",
            )
        if heard.count(spoken(name)) > 1:
            raise InputError("params.yaml", f"embedded.categories: {spoken(name)!r} is named twice", "leave one")
        if (other := wider().get(name)) in names:
            raise InputError(
                "params.yaml", f"embedded.categories: 'the {spoken(other)}' also fits {name!r}", "leave one"
            )
    if len(names) < LEAST_CATEGORIES:
        raise InputError(
            "params.yaml",
            f"embedded.categories: {len(names)} are too few for distractors and absent objects",
            f"name at least {LEAST_CATEGORIES}",
        )


def _kinds(settings: PhraseScenes, split: str, index: int) -> list[str]:
    """The kinds of one scene's expressions, evenly spread: in ten scenes each kind is dealt equally often."""
    block, place = divmod(index, len(PRESENT))
    rng = random.Random(f"kinds/{settings.seed}/{split}/{block}")
    order = rng.sample(PRESENT, len(PRESENT))
    shifts = rng.sample(range(len(PRESENT)), settings.expressions)
    kinds = [order[(place + shift) % len(PRESENT)] for shift in shifts]
    share = settings.expressions * settings.absent  # of the images: those with an expression without a target
    if int((index + 1) * share + 1e-9) > int(index * share + 1e-9):
        kinds[-1] = NONE
    return kinds


def _annotation(drawn: PhraseScene, said: Expression) -> dict:
    if said.target is None:
        where = saving.region(np.zeros(drawn.image.shape[:2], bool), (0, 0, 0, 0))
    else:
        where = saving.region(drawn.objects[said.target].mask, drawn.objects[said.target].box)
    boxes = [drawn.objects[i].box for i in said.candidates]
    return {
        "category_id": IDS[said.kind],
        "expression": said.text,
        "absent": said.target is None,
        **where,
        "candidates": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes],
        "chance": said.chance,
        "objects": len(drawn.objects),
    }
