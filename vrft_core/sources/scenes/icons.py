"""Fine-grained classification drawn here: one animal an image, in families of look-alikes.

Training images are plain; validation and evaluation images turn the animal further, scale it more, shift its colours
and may cut it at the border. The glyphs are in `icons.csv`, judged by eye; backgrounds and files are those of the
detection scenes.
"""

import csv
import functools
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vrft_core.errors import InputError
from vrft_core.params import IconScenes
from vrft_core.sources.scenes import plan, saving
from vrft_core.sources.scenes.backgrounds import background
from vrft_core.sources.scenes.composition import Object, Scene
from vrft_core.sources.scenes.cutting import cut_out, extent, mask_at
from vrft_core.sources.scenes.glyphs import sprite

TABLE = Path(__file__).with_name("icons.csv")


@dataclass(frozen=True)
class Icon:
    """A class. Its `id`, `name` and `synset` are LVIS v1's where LVIS has it; ids above 2000 are our own."""

    id: int
    name: str
    family: str
    synset: str
    synonyms: tuple[str, ...]
    glyph: str


@dataclass(frozen=True)
class Look:
    """How far an image's animal may be from its glyph."""

    side: tuple[float, float]  # longer side, as a share of the image's side
    rotation: float  # degrees, either way
    gain: float  # each colour channel is multiplied by 1 ± this
    offset: int  # and this much is added or taken off, of 255
    outside: float  # share of its width and height that may lie outside the image


# A policy that has 112 pixels and a handful of images a class is right about some, not all, of the second kind.
PLAIN = Look(side=(0.42, 0.72), rotation=10, gain=0.1, offset=8, outside=0.0)
HARD = Look(side=(0.3, 0.68), rotation=25, gain=0.15, offset=15, outside=0.15)
LOOKS = {"pretraining": PLAIN, "train": PLAIN, "val": HARD, "eval": HARD}
STRETCH = (0.9, 1.11)  # width over height, relative to the glyph's own


@functools.cache
def icons() -> dict[str, Icon]:
    """Name → class, for every class of the table."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        return {row["name"]: _icon(row) for row in csv.DictReader(file)}


def _icon(row: dict[str, str]) -> Icon:
    synonyms = tuple(filter(None, row["synonyms"].split(";")))
    return Icon(int(row["id"]), row["name"], row["family"], row["synset"], synonyms, chr(int(row["codepoint"], 16)))


def look_alike(settings: IconScenes, name: str) -> str:
    """The most frequent other class of the same family that is in play; `name` where there is none."""
    family = icons()[name].family
    return next((other for other in settings.names if other != name and icons()[other].family == family), name)


def scene(settings: IconScenes, split: str, index: int) -> Scene:
    """Image number `index` of a split (train, val, eval or pretraining), with one object: its category is the label.

    The same arguments draw the same bytes. Pretraining has no end and shows every class equally often. Raises
    InputError for settings no drawing can satisfy, IndexError past the end of a split.
    """
    check(settings)
    rng = random.Random(f"icon/{settings.seed}/{split}/{index}")
    name = rng.choice(settings.names) if split == "pretraining" else _labels(settings.model_dump_json(), split)[index]
    look, side = LOOKS[split], settings.image_size
    image = background(split, side, frozenset(settings.names), rng)
    longer, stretch = rng.uniform(*look.side) * side, rng.uniform(*STRETCH)
    picture = cut_out(
        sprite(icons()[name].glyph), longer, stretch, rng.random() < 0.5, rng.uniform(-look.rotation, look.rotation)
    )
    picture = _shifted(picture, look, rng)
    x, y = (_position(length, side, look.outside, rng) for length in picture.size)
    image.paste(picture, (x, y), picture)
    mask, _ = mask_at(picture, x, y, side)
    return Scene(np.array(image), [Object(name, extent(mask), mask)])


def write(directory: Path, settings: IconScenes) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    Raises InputError for settings no drawing can satisfy.
    """
    check(settings)
    ids = {name: icons()[name].id for name in settings.names}

    def labels(drawn: Scene, split: str, index: int) -> tuple[list[int], list[int], list[dict]]:
        [thing] = drawn.objects
        negative = sorted(number for name, number in ids.items() if name != thing.category)
        return negative, [], [{"category_id": ids[thing.category]} | saving.region(thing.mask, thing.box)]

    def categories(images: Counter[int], instances: Counter[int]) -> list[dict]:
        chosen = sorted((icons()[name] for name in settings.names), key=lambda icon: icon.id)
        return [
            saving.category(i.id, i.name, i.synset, [i.name, *i.synonyms], "", images[i.id], instances[i.id])
            for i in chosen
        ]

    saving.save(
        directory, settings, "Drawn animals, one an image",
        lambda split, index: scene(settings, split, index), labels, categories,
    )  # fmt: skip


def check(settings: IconScenes) -> None:
    """Raises InputError when no drawing could satisfy `settings`."""
    _checked(settings.model_dump_json())


@functools.lru_cache(maxsize=8)
def _checked(key: str) -> None:
    settings = IconScenes.model_validate_json(key)
    names = settings.names
    if not settings.categories.get("f"):
        raise InputError(
            "params.yaml", "embedded.categories.f: no category", "name one: most of train's images show it"
        )
    for name in names:
        if name not in icons():
            raise InputError(
                "params.yaml", f"embedded.categories: no icon depicts {name!r}", f"take names from {TABLE.name}"
            )
        if names.count(name) > 1:
            raise InputError("params.yaml", f"embedded.categories: {name!r} is named twice", "leave one")
    if settings.images.train < (needed := plan.least(settings.categories)):
        raise InputError(
            "params.yaml",
            f"embedded.images.train: {settings.images.train} images cannot show every category often enough for its "
            "letter in embedded.categories (r 1-10, c 11-100, f more than 100 images)",
            f"take {needed} images, or fewer categories",
        )


@functools.lru_cache(maxsize=8)
def _labels(key: str, split: str) -> list[str]:
    """The class of each image of a split: with a long tail in train, evenly in val and eval."""
    settings = IconScenes.model_validate_json(key)
    budget = plan.long_tail if split == "train" else plan.evenly
    counts = budget(settings.categories, getattr(settings.images, split))
    labels = [name for name, count in counts.items() for _ in range(count)]
    random.Random(f"labels/{settings.seed}/{split}").shuffle(labels)
    return labels


def _shifted(picture: Image.Image, look: Look, rng: random.Random) -> Image.Image:
    """Other colours: each channel is multiplied and shifted by its own amount; black lines stay dark."""
    *colours, alpha = picture.split()
    shifted = []
    for channel in colours:
        gain, offset = rng.uniform(1 - look.gain, 1 + look.gain), rng.uniform(-look.offset, look.offset)
        shifted.append(channel.point([min(255, max(0, round(gain * value + offset))) for value in range(256)]))
    return Image.merge("RGBA", [*shifted, alpha])


def _position(length: int, side: int, outside: float, rng: random.Random) -> int:
    over = int(outside * length)
    return rng.randint(-over, max(0, side - length) + over)
