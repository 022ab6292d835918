"""Images on a page, each embedded once, and boxes drawn over them.

Images are shrunk and stripped of their metadata. What is said about them belongs to each task's `panels`.
"""

import base64
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape

from vrft_core.images import Size, open_rgb

LONG_SIDE = 420  # px of the embedded image
MOST_BOXES = 40  # drawn for one model in one image
SMALL, LARGE = 160, 420  # px: how wide an image stands on the page, which its lines and letters are drawn for


def turns(pairs: list[tuple[int, int]], lot: random.Random) -> list[tuple[int, int]]:
    """Shuffled, one of each category before the second of any."""
    by_category: dict[int, list[tuple[int, int]]] = {}
    for pair in sorted(pairs):
        by_category.setdefault(pair[1], []).append(pair)
    for rows in by_category.values():
        lot.shuffle(rows)
    order = sorted(by_category)
    lot.shuffle(order)
    longest = max(map(len, by_category.values()), default=0)
    return [by_category[c][i] for i in range(longest) for c in order if i < len(by_category[c])]


class Picture(NamedTuple):
    """An image as the page holds it: embedded once, drawn over by each model's panel."""

    id: str
    width: int
    height: int
    scale: float  # from the image's own pixels
    store: Markup  # hidden SVG that holds it


def picture(number: int, path: Path, listed: Size, long_side: int = LONG_SIDE) -> Picture:
    """`listed`: width and height of the image, in its own pixels. Raises InputError for a file that is not an image."""
    wide, high, uri = _embedded(path, listed, long_side)
    store = Markup(
        '<svg width="0" height="0" aria-hidden="true" class="store"><defs>'
        '<image id="picture-{}" width="{}" height="{}" href="{}"/></defs></svg>'
    ).format(number, wide, high, uri)
    return Picture(f"picture-{number}", wide, high, wide / listed[0], store)


def boxes_over(
    one: Picture,
    true: Sequence[Sequence[float]],
    said: Sequence[tuple[Sequence[float], str]],
    model: str,
    spoken: str,
    across: int = SMALL,
) -> Markup:
    """A model's panel: true boxes and predicted ones, xyxy in the image's own pixels, the latter with their labels.

    `across`: px that the panel is wide on the page, for which lines and letters are drawn.
    """
    drawn = list(said)[:MOST_BOXES]
    thin = one.width / across  # one px of the page
    parts = [Markup('<use href="#{}"/>').format(one.id)]
    parts += [_box(box, one.scale, thin, "truth") for box in true]
    parts += [_box(box, one.scale, thin, model) for box, _ in drawn]
    named = [(box, text) for box, text in drawn if text]
    parts += _labels(named, one.scale, thin, (one.width, one.height), model)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        one.width, one.height, spoken, Markup("").join(parts)
    )


def _embedded(path: Path, listed: Size, long_side: int) -> tuple[int, int, str]:
    """(width, height, data URI) of the image, at most `long_side` px; PNG when small and drawn, JPEG otherwise."""
    picture, png = open_rgb(path, listed), path.suffix.lower() == ".png"
    if shrink := max(picture.size) > long_side:
        picture.thumbnail((long_side, long_side))
    kind = "png" if png and not shrink else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return *picture.size, f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _box(box: Sequence[float], scale: float, thin: float, kind: str) -> Markup:
    """A rectangle with a dark edge around it, so that it can be seen on any image."""
    x1, y1, x2, y2 = (round(v * scale, 1) for v in box)
    shape = f'x="{x1:g}" y="{y1:g}" width="{max(x2 - x1, 0.1):.1f}" height="{max(y2 - y1, 0.1):.1f}"'
    return Markup(
        f'<rect {shape} class="halo" stroke-width="{3.4 * thin:.1f}"/><rect {shape} class="box {escape(kind)}" '
        f'stroke-width="{1.9 * thin:.1f}"'
        + (f' stroke-dasharray="{3 * thin:.1f} {2 * thin:.1f}"' if kind == "truth" else "")
        + "/>"
    )


def _labels(
    boxes: Sequence[tuple[Sequence[float], str]], scale: float, thin: float, size: tuple[int, int], kind: str
) -> list[Markup]:
    """The text of each (box, text), at a corner of its box, inside the image, none over another."""
    taken: list[tuple[float, float, float, float]] = []
    labels = []
    for box, text in boxes:
        high, wide = 12 * thin, (7 * len(text) + 3) * thin
        x, y = _free_place([value * scale for value in box], wide, high, size, taken)
        taken.append((x, y, x + wide, y + high))
        labels.append(
            Markup(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" class="plate {escape(kind)}"/>'
                f'<text x="{x + wide / 2:.1f}" y="{y + 9.6 * thin:.1f}" class="score" '
                f'style="font-size: {10.5 * thin:.1f}px">{escape(text)}</text>'
            )
        )
    return labels


def _free_place(
    box: Sequence[float], wide: float, high: float, size: tuple[int, int], taken: Sequence[tuple]
) -> tuple[float, float]:
    """Upper left corner of a label: above, below or inside its box where it covers no other, else as near as can be.

    Where the whole image is full, above its box.
    """
    x1, y1, x2, y2 = box

    def inside(x: float, y: float) -> tuple[float, float]:
        return min(max(x, 0), max(size[0] - wide, 0)), min(max(y, 0), max(size[1] - high, 0))

    def free(place: tuple[float, float]) -> bool:
        x, y = place
        return all(x + wide <= a or c <= x or y + high <= b or d <= y for a, b, c, d in taken)

    first = inside(x1, y1 - high if y1 >= high else y1)
    corners = [(x, y) for y in (y1 - high, y2, y1, y2 - high) for x in (x1, x2 - wide)]
    edges = [(x, y) for a, b, c, d in taken for x in (x1, a - wide, c) for y in (first[1], b - high, d)]
    for place in (first, *(inside(*corner) for corner in corners)):
        if free(place):
            return place
    others = [place for place in (inside(*edge) for edge in edges) if free(place)]
    return min(others, key=lambda p: abs(p[0] - first[0]) + abs(p[1] - first[1]), default=first)


def credit(image: dict, licences: dict[int, str]) -> str:
    """Source and licence of an image that names its own; empty where the data set speaks for all."""
    source = image.get("flickr_url") or image.get("coco_url") or ""
    licence = licences.get(image.get("license", -1), "") if source else ""
    return ", ".join(part for part in (source, licence) if part)
