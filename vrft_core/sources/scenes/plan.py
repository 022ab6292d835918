"""Which categories each scene holds, so that a split has the frequencies it must have.

In train every category's number of images lies in the band its letter promises, with a long tail inside the band; in
val and eval all are about equally frequent. Where things stand in an image belongs to `composition`.
"""

import functools
import random
from dataclasses import dataclass

from vrft_core.annotations import frequency
from vrft_core.errors import InputError
from vrft_core.names import Frequency
from vrft_core.params import Scenes
from vrft_core.sources.scenes.composition import MAX_OBJECTS
from vrft_core.sources.scenes.glyphs import vocabulary

# Images in train of the most and the least frequent category of a band; the others lie evenly between on a log scale.
COMMON = (90, 20)
RARE = (10, 4)
FREQUENT_LEAST = 110
FREQUENT_STEEPNESS = 4  # most over least frequent, of what the frequent categories get beyond FREQUENT_LEAST
# Chance of a category to be the next one drawn in pretraining, relative to a frequent one.
PRETRAINING: dict[Frequency, float] = {"f": 1.0, "c": 0.4, "r": 0.12}


@dataclass(frozen=True)
class Plan:
    """Categories of the objects of one scene: each of `distinct` once, then `repeats` more of distinct[0]."""

    distinct: tuple[str, ...]
    repeats: int

    @property
    def categories(self) -> list[str]:
        return [*self.distinct, *[self.distinct[0]] * self.repeats]


def check(settings: Scenes) -> None:
    """Raises InputError when no drawing could satisfy `settings`."""
    _checked(settings.model_dump_json())


@functools.lru_cache(maxsize=8)
def _checked(key: str) -> None:
    settings = Scenes.model_validate_json(key)
    names = [name for band in ("f", "c", "r") for name in settings.categories.get(band, [])]
    if not settings.categories.get("f"):
        raise InputError(
            "params.yaml", "embedded.categories.f: no category", "name one: most of train's images show it"
        )
    for name in names:
        if name not in vocabulary():
            raise InputError(
                "params.yaml", f"embedded.categories: no glyph depicts {name!r}",
                "take lvis_name values from vrft_core/sources/glyphs.csv",
            )  # fmt: skip
        if names.count(name) > 1:
            raise InputError("params.yaml", f"embedded.categories: {name!r} is named twice", "leave one")
    if settings.max_objects > MAX_OBJECTS:
        raise InputError(
            "params.yaml", f"embedded.max_objects: {settings.max_objects} do not fit in an image", f"take {MAX_OBJECTS}"
        )
    budgets(settings, "train")


def plan(settings: Scenes, split: str, index: int) -> Plan:
    """The plan of one scene. Raises IndexError where the split has fewer; pretraining has no end."""
    if split == "pretraining":
        return _pretraining_plan(settings, index)
    return _plans(settings.model_dump_json(), split)[index]


def budgets(settings: Scenes, split: str) -> dict[str, int]:
    """Category → number of the split's images that shall hold it.

    Raises InputError where train's size cannot give the letters asked for.
    """
    slots = sum(distinct for distinct, _ in _shapes(settings, split))
    if split != "train":
        return evenly(settings.categories, slots)
    if slots < (needed := least(settings.categories)):
        images = settings.images.train
        raise InputError(
            "params.yaml",
            f"embedded.images.train: {images} images cannot hold every category often enough for its letter in "
            "embedded.categories (r 1-10, c 11-100, f more than 100 images)",
            f"take {-(-needed * images // slots)} images, or fewer categories",
        )
    return long_tail(settings.categories, slots)


def evenly(categories: dict[Frequency, list[str]], slots: int) -> dict[str, int]:
    """Category → number of images, all about the same, `slots` in all."""
    names = [name for band in ("f", "c", "r") for name in categories.get(band, [])]
    return {name: slots // len(names) + (i < slots % len(names)) for i, name in enumerate(names)}


def least(categories: dict[Frequency, list[str]]) -> int:
    """The fewest slots with which `long_tail` gives every category its letter."""
    return FREQUENT_LEAST * len(categories["f"]) + sum(_tail(categories).values())


def long_tail(categories: dict[Frequency, list[str]], slots: int) -> dict[str, int]:
    """Category → number of train's images, as its letter promises, `slots` (not less than `least`) in all."""
    frequent, tail = categories["f"], _tail(categories)
    weights = _falling(frequent, 100 * FREQUENT_STEEPNESS, 100)
    spare = slots - least(categories)
    head = {name: FREQUENT_LEAST + spare * weight // sum(weights.values()) for name, weight in weights.items()}
    head[frequent[0]] += slots - sum(tail.values()) - sum(head.values())
    return head | tail


def _tail(categories: dict[Frequency, list[str]]) -> dict[str, int]:
    return _falling(categories.get("c", []), *COMMON) | _falling(categories.get("r", []), *RARE)


def verify(settings: Scenes, image_counts: dict[str, int]) -> None:
    """Raises InputError when a category's number of train images does not give the letter it stands under."""
    for band, names in settings.categories.items():
        for name in names:
            if (letter := frequency(image_counts[name])) != band:
                raise InputError(
                    "params.yaml",
                    f"embedded.categories.{band}: {name!r} is {letter!r} with its {image_counts[name]} images in train",
                    "change embedded.images.train, or move it",
                )


def _falling(names: list[str], most: int, least: int) -> dict[str, int]:
    """Numbers from `most` down to `least`, evenly spaced on a log scale."""
    last = max(1, len(names) - 1)
    return {name: round(most * (least / most) ** (i / last)) for i, name in enumerate(names)}


@functools.lru_cache(maxsize=8)
def _plans(key: str, split: str) -> list[Plan]:
    settings = Scenes.model_validate_json(key)
    rng = random.Random(f"plan/{settings.seed}/{split}")
    shapes = _shapes(settings, split)
    held: list[list[str]] = [[] for _ in shapes]
    # The scarcest first: only the most frequent ones can then find too few images that still lack them.
    for name, wanted in sorted(budgets(settings, split).items(), key=lambda item: item[1]):
        free = [i for i, (distinct, _) in enumerate(shapes) if len(held[i]) < distinct]
        lucky = rng.sample(free, min(wanted, len(free)))
        for i in lucky:
            held[i].append(name)
        _swap_in(name, wanted - len(lucky), held, [i for i in free if len(held[i]) < shapes[i][0]], rng)
    for names in held:
        rng.shuffle(names)
    return [Plan(tuple(names), sum(shape) - len(names)) for names, shape in zip(held, shapes, strict=True)]


def _swap_in(name: str, missing: int, held: list[list[str]], free: list[int], rng: random.Random) -> None:
    """Give `name` to `missing` more images that hold something else, which moves to an image with a free place."""
    lacking = [j for j, names in enumerate(held) if name not in names and names]
    rng.shuffle(lacking)
    for i in free[:missing]:
        for position, j in enumerate(lacking):
            if movable := [other for other in held[j] if other not in held[i]]:
                held[j].remove(movable[0])
                held[j].append(name)
                held[i].append(movable[0])
                del lacking[position]
                break


def _shapes(settings: Scenes, split: str) -> list[tuple[int, int]]:
    """For each image of a split: how many distinct categories, and how many repeats of the first."""
    rng = random.Random(f"shapes/{settings.seed}/{split}")
    return [_shape(settings, rng) for _ in range(getattr(settings.images, split))]


def _shape(settings: Scenes, rng: random.Random) -> tuple[int, int]:
    further = rng.randint(0, settings.max_objects - 1)
    repeats = sum(rng.random() < settings.same_category for _ in range(further))
    distinct = min(1 + further - repeats, sum(map(len, settings.categories.values())))
    return distinct, 1 + further - distinct


def _pretraining_plan(settings: Scenes, index: int) -> Plan:
    rng = random.Random(f"plan/{settings.seed}/pretraining/{index}")
    distinct, repeats = _shape(settings, rng)
    weights = {name: weight for band, weight in PRETRAINING.items() for name in settings.categories.get(band, [])}
    names: list[str] = []
    for _ in range(distinct):
        names += rng.choices(list(weights), list(weights.values()))
        del weights[names[-1]]
    return Plan(tuple(names), repeats)
