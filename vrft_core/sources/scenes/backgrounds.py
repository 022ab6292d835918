"""What stands behind the objects: crops of photographs, and drawn patterns.

Splits share nothing: neither a photograph nor a kind of pattern. Pretraining uses train's. All photographs are files
of the scikit-image wheel that are CC0 or in the public domain.
"""

import functools
import random
from collections.abc import Callable
from pathlib import Path

import skimage
from PIL import Image, ImageDraw

# file → the drawable categories it shows; a photograph is left out when one of them is in play
PHOTOGRAPHS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "brick.png": (),
        "cell.png": (),
        "clock_motion.png": ("clock",),
        "coffee.png": ("mug", "spoon", "teacup"),
        "hubble_deep_field.jpg": (),
        "text.png": (),
    },
    "val": {
        "gravel.png": (),
        "rocket.jpg": (),
    },
    "eval": {
        "astronaut.png": ("helmet", "person", "space_shuttle"),
        "camera.png": ("camcorder", "camera", "coat", "person"),
        "grass.png": (),
        "retina.jpg": (),
    },
}

PATTERN_SHARE = 0.4  # of the backgrounds; the others are photographs
PHOTOGRAPH_SIDE = 448  # px of the shorter side a photograph is kept at
FLATTENING = 0.55  # share of a flat colour blended in: what a policy of 1.5 M parameters can see through
FLAT_COLOUR = (60, 200)  # range of each channel of that colour


def background(split: str, side: int, shown: frozenset[str], rng: random.Random) -> Image.Image:
    """An RGB image of `side` px. No photograph shows a category of `shown`."""
    split = "train" if split == "pretraining" else split
    photographs = [name for name, things in PHOTOGRAPHS[split].items() if not shown & set(things)]
    if photographs and rng.random() >= PATTERN_SHARE:
        picture = _crop(_photograph(rng.choice(photographs)), side, rng)
    else:
        picture = rng.choice(PATTERNS[split])(side, rng)
    return Image.blend(picture, Image.new("RGB", picture.size, _colour(rng, *FLAT_COLOUR)), FLATTENING)


@functools.cache
def _photograph(name: str) -> Image.Image:
    with Image.open(Path(skimage.__file__).parent / "data" / name) as file:
        picture = file.convert("RGB")
    scale = PHOTOGRAPH_SIDE / min(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR)


def _crop(photograph: Image.Image, side: int, rng: random.Random) -> Image.Image:
    window = rng.randint(min(side, PHOTOGRAPH_SIDE), PHOTOGRAPH_SIDE)
    x, y = rng.randint(0, photograph.width - window), rng.randint(0, photograph.height - window)
    picture = photograph.resize((side, side), Image.Resampling.BILINEAR, (x, y, x + window, y + window))
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture


def _colour(rng: random.Random, low: int = 0, high: int = 255) -> tuple[int, int, int]:
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def _gradient(side: int, rng: random.Random) -> Image.Image:
    """Two colours, one fading into the other across the image."""
    ramp = Image.linear_gradient("L").rotate(rng.randrange(0, 360, 90)).resize((side, side))
    return Image.composite(
        Image.new("RGB", (side, side), _colour(rng)), Image.new("RGB", (side, side), _colour(rng)), ramp
    )


def _clouds(side: int, rng: random.Random) -> Image.Image:
    """Smooth random patches."""
    cells = rng.randint(3, 9)
    return Image.frombytes("RGB", (cells, cells), rng.randbytes(3 * cells * cells)).resize(
        (side, side), Image.Resampling.BICUBIC
    )


def _stripes(side: int, rng: random.Random) -> Image.Image:
    """Slanted stripes of two colours."""
    picture = Image.new("RGB", (side, side), _colour(rng))
    draw, colour = ImageDraw.Draw(picture), _colour(rng)
    pitch, slant = rng.randint(8, 28) * side // 112, rng.randint(-side, side)
    for x in range(-side, 2 * side, max(2, pitch)):
        draw.line([(x, 0), (x + slant, side)], fill=colour, width=max(1, pitch // 2))
    return picture


def _checks(side: int, rng: random.Random) -> Image.Image:
    """A board of two colours."""
    cells, first, second = rng.randint(4, 12), _colour(rng), _colour(rng)
    board = Image.new("RGB", (cells, cells))
    board.putdata([first if (i % cells + i // cells) % 2 else second for i in range(cells * cells)])
    return board.resize((side, side), Image.Resampling.NEAREST)


def _halo(side: int, rng: random.Random) -> Image.Image:
    """Two colours, one fading into the other from the middle outwards."""
    ramp = Image.radial_gradient("L").resize((side, side))
    return Image.composite(
        Image.new("RGB", (side, side), _colour(rng)), Image.new("RGB", (side, side), _colour(rng)), ramp
    )


def _dots(side: int, rng: random.Random) -> Image.Image:
    """Discs of one colour, strewn at random."""
    picture = Image.new("RGB", (side, side), _colour(rng))
    draw, colour = ImageDraw.Draw(picture), _colour(rng)
    for _ in range(rng.randint(12, 40)):
        x, y, r = rng.randint(0, side), rng.randint(0, side), rng.randint(3, 12) * side // 112
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture


def _tiles(side: int, rng: random.Random) -> Image.Image:
    """Squares of random colours."""
    cells = rng.randint(3, 8)
    return Image.frombytes("RGB", (cells, cells), rng.randbytes(3 * cells * cells)).resize(
        (side, side), Image.Resampling.NEAREST
    )


PATTERNS: dict[str, tuple[Callable[[int, random.Random], Image.Image], ...]] = {
    "train": (_gradient, _clouds, _stripes),
    "val": (_checks, _halo),
    "eval": (_dots, _tiles),
}
