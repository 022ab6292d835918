"""Nine examples of a labelled folder on one sheet, with their boxes: wrong labels are seen before any training.

Where an image has several labels, each box bears the number of its label below the image: there are more labels than
colours that can be told apart.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from vrft_core import io, lettering
from vrft_core.annotations import xyxy
from vrft_core.images import open_rgb
from vrft_core.lettering import Letters
from vrft_core.sources.folders import Source

TILE, LINE, SIDE = 320, 18, 3  # pixels of an image's place and of a line below it; images in a row
COLOURS = (
    "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#00008b", "#000000",
)  # fmt: skip
MOST = 40  # labels of one image that are drawn


def draw(path: Path, source: Source, categories: Collection[str] | None = None) -> list[str]:
    """Write `sheet` as a PNG; returns lines on what could not be drawn (`lettering.Letters`)."""
    letters = Letters()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    sheet(source.data, source.contents, categories, letters).save(temporary, "PNG")
    temporary.replace(path)
    io.flush(path)
    return letters.lines()


def sheet(
    data: Mapping[str, Any],
    contents: Mapping[int, Path | bytes],
    categories: Collection[str] | None = None,
    letters: Letters | None = None,
) -> Image.Image:
    """Labelled images, spread over the list of them, each label in its box's colour.

    `data`: as in `annotations.json`; `contents`: image id → its file, or what such a file holds; `categories`: whose
    labels are drawn, without it all.
    """
    names = {c["id"]: c["name"] for c in data["categories"] if categories is None or c["name"] in categories}
    letters = letters or Letters()
    rows: dict[int, list[dict]] = {image["id"]: [] for image in data["images"]}
    for row in data["annotations"]:
        if row["category_id"] in names:
            rows[row["image_id"]].append(row)
    labelled = [image for image in data["images"] if rows[image["id"]]]
    count = min(SIDE * SIDE, len(labelled))
    chosen = [labelled[number * len(labelled) // count] for number in range(count)]
    tiles = [_tile(image, rows[image["id"]], contents[image["id"]], names, letters) for image in chosen]
    heights = [max(tile.height for tile in tiles[start : start + SIDE]) for start in range(0, count, SIDE)]
    whole = Image.new("RGB", (SIDE * TILE, sum(heights)), "white")
    for number, tile in enumerate(tiles):
        whole.paste(tile, (number % SIDE * TILE, sum(heights[: number // SIDE])))
    return whole


def _tile(image: dict, rows: list[dict], content: Path | bytes, names: dict[int, str], letters: Letters) -> Image.Image:
    where = Path(image["file_name"]) if isinstance(content, bytes) else content
    shown = open_rgb(where, (image["width"], image["height"]), content if isinstance(content, bytes) else None)
    scale = min((TILE - 4) / shown.width, (TILE - 4) / shown.height)
    shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    said = {name: number for number, name in enumerate(dict.fromkeys(_name(row, names) for row in rows), 1)}
    words = _legend([letters.text(name) for name in said], letters.text(Path(image["file_name"]).name))
    tile = Image.new("RGB", (TILE, TILE + LINE * (1 + max(line for line, *_ in words)) + 4), "white")
    left, top = (TILE - shown.width) // 2, (TILE - shown.height) // 2
    tile.paste(shown, (left, top))
    pen, font = ImageDraw.Draw(tile), lettering.font(12)
    for row in rows:
        number = said[_name(row, names)]
        x1, y1, x2, y2 = (value * scale for value in xyxy(row["bbox"]))
        if number > MOST or row.get("absent") or (x2 - x1, y2 - y1) == shown.size:
            continue
        x, y, colour = left + x1, top + y1, _colour(number)
        pen.rectangle((x, y, left + max(x2, x1 + 1), top + max(y2, y1 + 1)), outline=colour, width=2)
        if len(said) > 1:
            pen.rectangle((x, y, x + pen.textlength(str(number), font) + 3, y + 14), colour)
            pen.text((x + 2, y), str(number), "white", font)
    for line, across, text, colour in words:
        pen.text((across, TILE + 3 + LINE * line), text, colour, lettering.font(12, text))
    return tile


def _name(row: dict, names: dict[int, str]) -> str:
    return row.get("expression") or names[row["category_id"]]


def _colour(number: int) -> str:
    return COLOURS[(number - 1) % len(COLOURS)]


def _legend(said: list[str], file: str) -> list[tuple[int, float, str, str]]:
    """What stands below an image: line, pixels from the left, text, colour. Each label, and last the file's name."""
    placed, line, x = [], 0, 4.0
    for number, name in enumerate(said[:MOST], 1):
        short = lettering.shortened(name, 40)
        text = f"{number} {short}" if len(said) > 1 else short
        wide = lettering.font(12, text).getlength(text)
        if x > 4 and x + wide > TILE:
            line, x = line + 1, 4.0
        placed.append((line, x, text, _colour(number)))
        x += wide + 10
    if len(said) > MOST:
        line += 1
        placed.append((line, 4.0, f"and {len(said) - MOST} more labels, which are not drawn", "black"))
    return [*placed, (line + 1, 4.0, file[-44:], "grey")]
