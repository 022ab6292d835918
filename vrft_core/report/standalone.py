"""A page's charts and example images as SVG files of their own, for where no page is shown: artifacts and previews.

What they show is made by `figures` and the task's `panels`; here it is put side by side.
"""

import re
from collections.abc import Sequence

from markupsafe import Markup

from vrft_core.report.page import style
from vrft_core.report.panel import Panel
from vrft_core.report.rows import Figure, Shown

CHART, GAP, HEAD = 420, 24, 26  # px: a chart's width, between blocks, a block's title
SIDE, SPACE, LINE = 132, 14, 15  # px of an image, between images, of a line
COLUMNS, MOST = 2, 6  # examples in a row, of all
LETTERS = 72  # of a line of text
MARKS = {"right": "✓", "partly": "~", "wrong": "✗"}


def charts(figures: Sequence[Figure]) -> str:
    """All in one row, each under its title."""
    sizes = [_size(one["svg"]) for one in figures]
    parts = []
    for number, (one, (_, high)) in enumerate(zip(figures, sizes, strict=True)):
        left = GAP + number * (CHART + GAP)
        parts += [_text(left, GAP, one["title"], "label"), _placed(one["svg"], left, HEAD + 8, CHART, high)]
    width = GAP + len(figures) * (CHART + GAP)
    return _file(width, HEAD + 8 + max((high for _, high in sizes), default=0) + 8, parts)


def examples(panels: Sequence[Panel]) -> str | None:
    """Some images of the galleries, half of them of few-shot categories where there are enough; None without any."""
    found = [entry for panel in panels if panel.gallery for entry in panel.gallery.entries]
    taught, others = ([one for one in found if one["few_shot"] is few] for few in (True, False))
    few = max(MOST // 2, MOST - len(others))
    chosen = [*taught[:few], *others[: MOST - len(taught[:few])]]
    if not chosen:
        return None
    width, height = 3 * (SIDE + SPACE), HEAD + SIDE + 2 * LINE
    parts = []
    for number, entry in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        parts += _block(entry, GAP + column * (width + GAP), GAP + row * (height + GAP))
    rows = -(-len(chosen) // COLUMNS)
    return _file(GAP + COLUMNS * (width + GAP), GAP + rows * (height + GAP), parts)


def _block(entry: Shown, left: int, top: int) -> list[Markup]:
    title = f"“{entry['label']}”" + (" ★ few-shot category" if entry["few_shot"] else "")
    parts = [_text(left, top + 12, title, "label"), entry["picture"]]
    top += HEAD - 6
    drawn_over = [one for one in entry["answers"] if one["svg"]]
    for number, one in enumerate(drawn_over):
        x = left + number * (SIDE + SPACE)
        parts += [
            _placed(one["svg"], x, top, SIDE, SIDE),
            _text(x, top + SIDE + LINE, f"{one['name']}: {one['caption']}", "value"),
        ]
    if not drawn_over:
        parts.append(_placed(entry["plain"], left, top, SIDE, SIDE))
        for number, one in enumerate(entry["answers"]):
            y = top + 20 + number * 3 * LINE
            parts += [
                _text(left + SIDE + 12, y, one["name"]),
                _text(left + SIDE + 12, y + LINE, f"{MARKS.get(one['mark'], '')} {one['caption']}", "label"),
            ]
    return parts


def _file(width: float, height: float, parts: Sequence[Markup]) -> str:
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0:g}" height="{1:g}" viewBox="0 0 {0:g} {1:g}">'
        '<style>{2}</style><rect width="100%" height="100%" style="fill: var(--paper)"/>'
    ).format(width, height, style())
    return head + Markup("").join(parts) + Markup("</svg>\n")


def _size(svg: Markup) -> tuple[float, float]:
    """As it stands in a row, `CHART` wide."""
    found = re.match(r'<svg [^>]*viewBox="0 0 (\S+) (\S+)"', svg)
    return (CHART, CHART * float(found[2]) / float(found[1])) if found else (CHART, 0)


def _placed(svg: Markup, x: float, y: float, width: float, height: float) -> Markup:
    """An SVG without a size of its own, at a place in another."""
    return Markup('<svg x="{:g}" y="{:g}" width="{:g}" height="{:g}" ').format(x, y, width, height) + Markup(
        svg.removeprefix("<svg ")
    )


def _text(x: float, y: float, text: str, kind: str = "axis") -> Markup:
    short = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
    return Markup('<text x="{:g}" y="{:g}" class="{}">{}</text>').format(x, y, kind, short)
