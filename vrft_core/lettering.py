"""The letters that names are drawn with on images: DejaVu Sans, which has accents, Greek, Cyrillic and Arabic.

Pillow's own font has little beyond ASCII. Chinese, Japanese and Korean have no letters here; pages show them.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont


@cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """`size`: pixels. The file is one of matplotlib's; to import that takes half a second, which is not needed."""
    found = find_spec("matplotlib")
    assert found and found.origin, "matplotlib is a dependency"
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)
