"""What a model answered about images, drawn over them or said in lines. What an answer shows belongs to each task."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from vrft_core import io, lettering
from vrft_core.images import open_rgb
from vrft_core.lettering import Letters

COLOURS = ("#d1495b", "#00798c", "#edae49", "#66a182", "#6a4c93", "#f4713f", "#2e4057", "#8d96a3")
MOST = 100  # boxes drawn in one image


class Mark(NamedTuple):
    """One thing that an answer says: `box` xyxy in pixels of the image, `score` in [0, 1]; None where there is none."""

    label: str
    box: Sequence[float] | None
    score: float | None


def caption(mark: Mark) -> str:
    """`umbrella 83 %`"""
    return mark.label if mark.score is None else f"{mark.label} {100 * mark.score:.0f} %"


def lines(file_name: str, asked: str, marks: Sequence[Mark]) -> list[str]:
    """What was answered about one image and category, a line a mark."""
    head = _printable(f"{file_name}: {asked}" if asked else file_name, 400)
    if not marks:
        return [f"{head}: nothing found"]
    said = []
    for mark in marks:
        score = "" if mark.score is None else f", {100 * mark.score:.0f} %"
        place = "" if mark.box is None else f" at {', '.join(f'{value:.0f}' for value in mark.box)}"
        what = "" if mark.label == asked else f" {_printable(mark.label)}"
        said.append(f"{head}:{what}{place}{score}")
    return said


def draw(image: Image.Image, marks: Sequence[Mark], letters: Letters | None = None) -> Image.Image:
    """A copy of an RGB image with each mark's box and caption; marks of one label share a colour.

    Captions without a box stand in the upper left corner, one under the other.
    """
    drawn, letters = image.copy(), letters or Letters()
    pen = ImageDraw.Draw(drawn)
    unit = max(max(image.size) / 400, 1.0)
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(dict.fromkeys(m.label for m in marks))}
    top = 0.0
    for mark in marks[:MOST]:
        text, colour = letters.text(_printable(caption(mark))), colours[mark.label]
        font = lettering.font(round(11 * unit), text)
        width, height = pen.textlength(text, font=font) + 6 * unit, 15 * unit
        x, y = 0.0, top
        if mark.box is not None:
            box = _inside(mark.box, image.size)
            pen.rectangle(box, outline="black", width=math.ceil(3 * unit))
            pen.rectangle(box, outline=colour, width=math.ceil(2 * unit))
            x = min(box[0], max(image.width - width, 0))
            y = box[1] - height if box[1] >= height else box[1]
        else:
            top += height
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        pen.text((x + 3 * unit, y + height / 2), text, fill=_ink(colour), font=font, anchor="lm")
    return drawn


def write_boxed(
    rows: Sequence[Mapping[str, Any]],
    marks: Sequence[Sequence[Mark]],
    paths: Mapping[int, Path],
    place: Callable[[str], Path],
    letters: Letters,
) -> list[Path]:
    """Draw every image that was asked about, with the marks of all its rows.

    `rows`: as `vrft predict` writes them; `marks`: of each row; `paths`: image id → file; `place`: the image's name
    → the file to write.
    """
    by_image: dict[int, list[Mark]] = defaultdict(list)
    names = {}
    for row, found in zip(rows, marks, strict=True):
        by_image[row["image_id"]] += found
        names[row["image_id"]] = row["file_name"]
    written = []
    for image, name in names.items():
        path = place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        draw(open_rgb(paths[image]), by_image[image], letters).save(temporary, format=FORMATS[path.suffix.lower()])
        io.replace(temporary, path)
        written.append(path)
    return written


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _inside(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    width, height = size
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return left, top, min(max(x2, left), width - 1), min(max(y2, top), height - 1)


def _ink(colour: str) -> str:
    """Black or white, whichever can be read on the colour (sRGB's relative luminance, roughly)."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _printable(text: str, limit: int = 60) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:limit])
