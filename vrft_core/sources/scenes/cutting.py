"""Glyphs as they are pasted: scaled, turned, with exact masks. Where they are pasted belongs to the compositions."""

import numpy as np
from PIL import Image


def cut_out(sprite: Image.Image, longer: float, stretch: float, mirrored: bool, angle: float) -> Image.Image:
    """RGBA image of a sprite, cropped to what can be seen.

    Args:
        sprite: premultiplied RGBa.
        longer: px of its longer side before it is stretched and turned.
        stretch: width over height, relative to the sprite's own; neither side grows by it.
        angle: degrees, anticlockwise.
    """
    scale = longer / max(sprite.size)
    width, height = sprite.width * scale * min(1, stretch), sprite.height * scale * min(1, 1 / stretch)
    picture = sprite.resize((max(4, round(width)), max(4, round(height))), Image.Resampling.BILINEAR)
    if mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True).convert("RGBA")
    return picture.crop(picture.getbbox())


def mask_at(picture: Image.Image, x: int, y: int, side: int) -> tuple[np.ndarray, int]:
    """bool[side, side] of the pixels a cut-out at (x, y) covers at least half, and their number with those outside."""
    alpha = picture.getchannel("A")
    canvas = Image.new("L", (side, side))
    canvas.paste(alpha, (x, y))
    return np.asarray(canvas) >= 128, int((np.asarray(alpha) >= 128).sum())


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """xyxy px of what is true in bool[H, W]."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
