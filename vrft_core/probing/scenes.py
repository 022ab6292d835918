"""Scenes that are not square, with one animal to find: they tell frames and orders of axes apart.

No image is square, sides are no multiples of a patch, half of the images are larger than the model takes, and the
animal is neither near the diagonal nor near the first corner: read in a wrong convention, its box lies elsewhere.
"""

import random
from dataclasses import dataclass

from PIL import Image

from vrft_core.sources.scenes.backgrounds import background
from vrft_core.sources.scenes.cutting import cut_out
from vrft_core.sources.scenes.glyphs import sprite, vocabulary

NAMES = ("cat", "dog", "bear", "cow", "bird", "fish", "horse", "frog")
RATIOS = (4 / 3, 3 / 4, 16 / 9, 9 / 16, 3 / 2, 2 / 3)
AREAS = (0.72, 1.55)  # of the pixels that the model takes at most
SIDE = (0.42, 0.6)  # longer side of an animal, as a share of the image's shorter one
FAR = 0.25  # how far off the diagonal its middle is, as a share of the image


@dataclass(frozen=True)
class Shown:
    """An image, what is asked about, and its box: xyxy pixels."""

    picture: Image.Image
    name: str
    box: tuple[int, int, int, int]


def draw(count: int, pixels: int, seed: int = 0) -> list[Shown]:
    """`count` scenes for a model that takes images of at most so many pixels. The same arguments draw the same ones."""
    return [_scene(number, pixels, random.Random(f"probe/{seed}/{number}")) for number in range(count)]


def _scene(number: int, pixels: int, rng: random.Random) -> Shown:
    area, ratio = pixels * AREAS[number % len(AREAS)], RATIOS[number % len(RATIOS)]
    width, height = round((area * ratio) ** 0.5) | 1, round((area / ratio) ** 0.5) | 1
    name, other = rng.sample(NAMES, 2)
    picture = background("train", max(width, height), frozenset(NAMES), rng).crop((0, 0, width, height))
    glyph = _animal(name, min(width, height), rng)
    while True:
        x, y = rng.randint(0, width - glyph.width), rng.randint(0, height - glyph.height)
        across, down = (x + glyph.width / 2) / width, (y + glyph.height / 2) / height
        if abs(across - down) > FAR and max(across, down) > 0.55:
            break
    rival = _animal(other, min(width, height) * 0.8, rng)
    corners = [(0, 0), (width - rival.width, 0), (0, height - rival.height)]
    corners.append((width - rival.width, height - rival.height))
    for left, top in rng.sample(corners, len(corners)):
        if left + rival.width <= x or x + glyph.width <= left or top + rival.height <= y or y + glyph.height <= top:
            picture.paste(rival, (left, top), rival)
            break
    picture.paste(glyph, (x, y), glyph)
    return Shown(picture, name, (x, y, x + glyph.width, y + glyph.height))


def _animal(name: str, side: float, rng: random.Random) -> Image.Image:
    """RGBA, cropped to what can be seen."""
    glyph = cut_out(sprite(vocabulary()[name].glyphs[0]), rng.uniform(*SIDE) * side, 1.0, rng.random() < 0.5, 0.0)
    seen = glyph.getchannel("A").point([255 * (value >= 128) for value in range(256)]).getbbox()
    return glyph.crop(seen)
