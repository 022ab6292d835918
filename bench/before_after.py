"""One image of what a cell's models answered: some evaluation images, a row a model, true and predicted boxes.

    python bench/before_after.py lvis-mini-1shot-s0 docs/images/before_after.png

Needs the cell's evaluations under the root. Images are chosen at random among those that show the category asked for,
half of them with a few-shot category; answers play no part in the choice.
"""

import argparse
import random
from collections.abc import Collection, Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vrft_core import io
from vrft_core.annotations import Annotations, xyxy
from vrft_core.cell import Cell, Layout
from vrft_core.images import open_rgb
from vrft_core.report.drawing import turns
from vrft_core.tasks import load_params

SIDE, GAP, HEAD, LEFT = 168, 10, 20, 46  # px: an image, between images, words above, words at the left
COLOURS = {"base": "#f0e442", "sft": "#ff8c1a", "rft": "#3db8ff"}  # bright, on a dark edge: they lie on photographs
NAMES = {"base": "Base", "sft": "SFT", "rft": "RFT"}


def draw(layout: Layout, cell: Cell, count: int, seed: int) -> Image.Image:
    truth = Annotations.load(layout.raw(cell) / "annotations.json")
    rows = {
        model: {row["id"]: row for row in io.read_jsonl(layout.evaluation(cell, model) / "predictions.jsonl")}
        for model in NAMES
    }
    present = {
        name: (row["image_id"], row["category_id"]) for name, row in rows["base"].items()
        if row["category_id"] in truth.category_ids(row["image_id"])
    }  # fmt: skip
    taught = {category["id"] for category in io.read_json(layout.few_shot(cell) / "selection.json")["categories"]}
    chosen = choose(present, taught, seed, count)
    width = LEFT + len(chosen) * (SIDE + GAP)
    sheet = Image.new("RGB", (width, HEAD + len(NAMES) * (SIDE + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, name in enumerate(chosen):
        image_id, category_id = present[name]
        left = LEFT + column * (SIDE + GAP)
        label = truth.categories[category_id]["name"].replace("_", " ") + (" *" if category_id in taught else "")
        pen.text((left, 3), label, "black", font)
        picture = open_rgb(layout.raw(cell) / "images" / truth.images[image_id]["file_name"])
        objects = [xyxy(row["bbox"]) for row in truth.by_image[image_id] if row["category_id"] == category_id]
        for line, model in enumerate(NAMES):
            top = HEAD + line * (SIDE + GAP)
            panel = _panel(picture, objects, rows[model][name]["boxes"], COLOURS[model])
            sheet.paste(panel, (left, top))
            pen.text((4, top + SIDE // 2), NAMES[model], "black", font)
    return sheet


def choose(pairs: Mapping[str, tuple[int, int]], few_shot: Collection[int], seed: int, count: int) -> list[str]:
    """`count` random examples, half of them from few-shot categories where there are enough.

    `pairs`: example → (image, category). Categories take turns, and no image comes twice.
    """
    lot = random.Random(f"pictures/{seed}")
    names = {pair: name for name, pair in pairs.items()}
    taught = turns([pair for pair in names if pair[1] in few_shot], lot)
    others = turns([pair for pair in names if pair[1] not in few_shot], lot)
    chosen: list[tuple[int, int]] = []
    for group, limit in ((taught, count // 2), (others, count), (taught, count)):
        for pair in group:
            if len(chosen) < limit and pair[0] not in {image for image, _ in chosen}:
                chosen.append(pair)
    return [names[pair] for pair in sorted(chosen, key=lambda pair: (pair[1] not in few_shot, pair[1], pair[0]))]


def _panel(picture: Image.Image, objects: list, boxes: list, colour: str) -> Image.Image:
    """The image at SIDE px with true boxes (dashed) and predicted ones; boxes are xyxy pixels of `picture`."""
    x, y = SIDE / picture.width, SIDE / picture.height
    panel = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(panel)
    for box in boxes:
        corners = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
        pen.rectangle(corners, outline="black", width=5)
        pen.rectangle(tuple(c + d for c, d in zip(corners, (1, 1, -1, -1), strict=True)), outline=colour, width=3)
    for box in objects:
        x1, y1, x2, y2 = box[0] * x, box[1] * y, box[2] * x - 1, box[3] * y - 1
        for side in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
            _dashed(pen, *side)
    return panel


def _dashed(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], dash: int = 6) -> None:
    length = max(1, round(abs(end[0] - start[0]) + abs(end[1] - start[1])))
    for number, at in enumerate(range(0, length, dash)):
        points = [
            (start[0] + (end[0] - start[0]) * step / length, start[1] + (end[1] - start[1]) * step / length)
            for step in (at, min(at + dash, length))
        ]
        pen.line(points, fill="black" if number % 2 else "white", width=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cell")
    parser.add_argument("output", type=Path)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cell = load_params(args.root / "params.yaml").parse_cell(args.cell)
    sheet = draw(Layout(args.root), cell, args.count, args.seed)
    sheet.quantize(160, dither=Image.Dither.NONE).save(args.output, optimize=True)


if __name__ == "__main__":
    main()
