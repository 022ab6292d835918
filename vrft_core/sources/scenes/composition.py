"""One scene: objects pasted on a background, each with its exact modal mask and box.

Which categories a scene holds belongs to `plan`; what is written to disk, to `dataset`.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrft_core.params import Scenes
from vrft_core.sources.scenes.backgrounds import background
from vrft_core.sources.scenes.cutting import cut_out, extent, mask_at
from vrft_core.sources.scenes.glyphs import sprite, vocabulary

# How hard a scene is. A policy of 1.5 M parameters learns from scenes near these in minutes, and hardly from scenes
# with smaller objects, more of them behind one another, or turned freely.
OBJECT_SIDE = (0.29, 0.54)  # longer side of an object, as a share of the image's side (32 to 60 of 112 px)
STRETCH = (0.88, 1.14)  # width over height, relative to the glyph's own
ROTATION = 15  # degrees, either way
BORDER_CROP = 0.1  # chance that an object may stand across the image's border
BORDER_SHARE = 0.3  # of an object's side that may then lie outside
MIN_VISIBLE = 0.85  # share of an object's pixels that must be seen; an object that leaves less of another is left out
MAX_OBJECTS = 5  # of these sizes hardly more find room
PLACEMENTS = 40  # tries to place an object before it is left out


@dataclass(frozen=True)
class Object:
    """A visible object. `box` is xyxy px, the extent of `mask`: bool[H, W], true where it is seen."""

    category: str
    box: tuple[int, int, int, int]
    mask: np.ndarray


@dataclass(frozen=True)
class Scene:
    """`image` is uint8[H, W, 3]."""

    image: np.ndarray
    objects: list[Object]


def compose(categories: list[str], split: str, settings: Scenes, rng: random.Random) -> Scene:
    """Draw one object for each name in `categories`, later ones in front.

    Objects that cannot be placed without hiding too much of another are left out, the last first.
    """
    side = settings.image_size
    picture = background(split, side, frozenset(name for names in settings.categories.values() for name in names), rng)
    placed: list[tuple[str, np.ndarray, np.ndarray]] = []  # category, whole mask inside the image, visible mask
    for category in categories:
        for _ in range(PLACEMENTS):
            glyph = _cut_out(vocabulary()[category].glyphs[: settings.glyphs], side, rng)
            x, y = _position(glyph, side, rng)
            mask, full = mask_at(glyph, x, y, side)
            if mask.sum() >= (MIN_VISIBLE - BORDER_SHARE) * full and all(
                (seen & ~mask).sum() >= MIN_VISIBLE * whole.sum() for _, whole, seen in placed
            ):
                placed = [(name, whole, seen & ~mask) for name, whole, seen in placed]
                placed.append((category, mask, mask))
                picture.paste(glyph, (x, y), glyph)
                break
    objects = [Object(name, extent(seen), seen) for name, _, seen in placed]
    return Scene(np.array(picture), objects)


def _cut_out(glyphs: tuple[str, ...], side: int, rng: random.Random) -> Image.Image:
    """RGBA image of one of `glyphs`, scaled, stretched, mirrored and turned at random."""
    glyph = sprite(rng.choice(glyphs))
    longer, stretch = rng.uniform(*OBJECT_SIDE) * side, rng.uniform(*STRETCH)
    return cut_out(glyph, longer, stretch, rng.random() < 0.5, rng.uniform(-ROTATION, ROTATION))


def _position(glyph: Image.Image, side: int, rng: random.Random) -> tuple[int, int]:
    outside = BORDER_SHARE if rng.random() < BORDER_CROP else 0
    over_x, over_y = int(outside * glyph.width), int(outside * glyph.height)
    x = rng.randint(-over_x, max(0, side - glyph.width) + over_x)
    return x, rng.randint(-over_y, max(0, side - glyph.height) + over_y)
