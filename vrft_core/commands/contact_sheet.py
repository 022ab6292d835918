"""Nine examples of a labelled folder on one sheet, with their boxes: wrong labels are seen before any training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from vrft_core import io, lettering
from vrft_core.annotations import xyxy
from vrft_core.images import open_rgb
from vrft_core.sources.folders import Source

TILE, TEXT, SIDE = 320, 40, 3  # pixels of an image's place and of the lines below it; images in a row
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def draw(path: Path, source: Source) -> None:
    """Write `sheet` as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    sheet(source.data, source.contents).save(temporary, "PNG")
    temporary.replace(path)
    io.flush(path)


def sheet(data: Mapping[str, Any], contents: Mapping[int, Path | bytes]) -> Image.Image:
    """Labelled images, spread over the list of them, each label in its box's colour.

    `data`: as in `annotations.json`; `contents`: image id → its file, or what such a file holds.
    """
    rows: dict[int, list[dict]] = {image["id"]: [] for image in data["images"]}
    for row in data["annotations"]:
        rows[row["image_id"]].append(row)
    labelled = [image for image in data["images"] if rows[image["id"]]]
    count = min(SIDE * SIDE, len(labelled))
    chosen = [labelled[number * len(labelled) // count] for number in range(count)]
    names = {category["id"]: category["name"] for category in data["categories"]}
    whole = Image.new("RGB", (SIDE * TILE, -(-count // SIDE) * (TILE + TEXT)), "white")
    for number, image in enumerate(chosen):
        tile = _tile(image, rows[image["id"]], contents[image["id"]], names)
        whole.paste(tile, (number % SIDE * TILE, number // SIDE * (TILE + TEXT)))
    return whole


def _tile(image: dict, rows: list[dict], content: Path | bytes, names: dict[int, str]) -> Image.Image:
    where = Path(image["file_name"]) if isinstance(content, bytes) else content
    shown = open_rgb(where, (image["width"], image["height"]), content if isinstance(content, bytes) else None)
    scale = min((TILE - 4) / shown.width, (TILE - 4) / shown.height)
    shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    tile = Image.new("RGB", (TILE, TILE + TEXT), "white")
    left, top = (TILE - shown.width) // 2, (TILE - shown.height) // 2
    tile.paste(shown, (left, top))
    pen, font = ImageDraw.Draw(tile), lettering.font(12)
    said: dict[str, str] = {}
    for row in rows:
        name = row.get("expression") or names[row["category_id"]]
        colour = said.setdefault(name, COLOURS[len(said) % len(COLOURS)])
        x1, y1, x2, y2 = (value * scale for value in xyxy(row["bbox"]))
        if not row.get("absent") and (x2 - x1, y2 - y1) != shown.size:
            pen.rectangle((left + x1, top + y1, left + max(x2, x1 + 1), top + max(y2, y1 + 1)), outline=colour, width=2)
    x = 4.0
    for number, (name, colour) in enumerate(said.items()):
        text = name if len(name) <= 44 else f"{name[:43]}…"
        if x > 4 and x + pen.textlength(text, font) > TILE:
            pen.text((x, TILE + 3), f"+{len(said) - number}", "black", font)
            break
        pen.text((x, TILE + 3), text, colour, font)
        x += pen.textlength(text, font) + 10
    pen.text((4, TILE + 21), Path(image["file_name"]).name[-44:], "grey", font)
    return tile
