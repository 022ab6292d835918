"""`vrft show`: some training examples of a cell as one sheet, each with its question, the answer expected, its boxes.

Names come from other people's files: in HTML they are escaped, in an image drawn as text.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from PIL import Image, ImageDraw

from vrft_core import io, lettering
from vrft_core.cell import Cell, Layout
from vrft_core.commands.cell_examples import Subject, spread
from vrft_core.errors import InputError
from vrft_core.lettering import Letters
from vrft_core.params import Params
from vrft_core.report import drawing
from vrft_core.report.text import printable
from vrft_core.tasks.task import Example

SIDE, MARGIN, COLUMNS = 360, 12, 3  # px of an image's longer side at most, and around it
LETTERS = 58  # a line under an image
LONGEST = 1200  # characters of a question or an answer
SUFFIXES = (".png", ".html")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 24px; color: #1a1d21; background: #fff; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 28px; }
svg.shown, main svg:not(.store) { display: block; width: 100%; height: auto; background: #f5f6f8; }
svg .halo { fill: none; stroke: #000; } svg .box { fill: none; stroke: #ffd400; stroke-dasharray: none; }
.store { position: absolute; }
h2 { font-size: 1rem; margin: 8px 0 4px; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 6px; font: .82rem/1.4 ui-monospace, monospace; }
.answer { background: #f5f6f8; padding: 6px 8px; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<main>
{% for one in shown %}<article>
{{ one.picture.store }}{{ one.svg }}
<h2>{{ one.label }}</h2>
<pre>{{ one.question }}</pre>
<pre class="answer">{{ one.answer }}</pre>
</article>
{% endfor %}</main>
</body>
</html>
"""


def show(layout: Layout, params: Params, cell: Cell, count: int = 9, out: Path | None = None) -> list[str]:
    """Write the sheet; returns lines that say what it shows. Without `out`, `reports/KEY-examples.png` of the project.

    Raises InputError for a suffix other than `.png` and `.html`, and while the cell has no raw data.
    """
    if cell.scope != "cell":
        raise InputError(cell.key, f"names a {cell.scope}, and a cell is needed", "give the whole key")
    if count < 1:
        raise InputError("--n", f"must be at least 1, is {count}", "for example --n 9")
    out = out or layout.root / "reports" / f"{cell.key}-examples.png"
    if out.suffix.lower() not in SUFFIXES:
        raise InputError("--out", f"{out} is neither an image nor a page", f"end it in {' or '.join(SUFFIXES)}")
    subject = Subject(layout, params, cell)
    examples = subject.examples(spread(subject.pairs, count))[:count]
    boxes = [subject.task.commands.boxes(one, subject.form) for one in examples]
    different = len(set(subject.pairs))
    images = len({image for image, _ in subject.pairs})
    title = f"{cell.key}: {len(examples)} of {different} training questions, on {images} training images"
    letters = Letters()
    if out.suffix.lower() == ".html":
        io.write_text(out, page(title, examples, boxes))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.new")
        sheet(title, examples, boxes, letters).save(temporary, "PNG")
        io.replace(temporary, out)
    twice = len(subject.pairs) - different
    again = f"; with repeats training has {len(subject.pairs)}" if twice else ""
    return [f"{out}: {title}{again}" + (", boxes of the expected answer drawn" if any(boxes) else ""), *letters.lines()]


def page(title: str, examples: Sequence[Example], boxes: Sequence[list[list[float]]]) -> str:
    """One HTML file without scripts or references; every text in it is escaped."""
    shown = []
    for number, (one, drawn) in enumerate(zip(examples, boxes, strict=True)):
        assert isinstance(one.image, Path)
        picture = drawing.picture(number, one.image, (one.width, one.height))
        texts = {name: printable(getattr(one, name), LONGEST) for name in ("label", "question", "answer")}
        svg = drawing.boxes_over(picture, drawn, [], "truth", f"A training image: {texts['label']}.", SIDE)
        shown.append({**texts, "picture": picture, "svg": svg})
    return Environment(autoescape=True).from_string(PAGE).render(title=title, shown=shown)


def sheet(title: str, examples: Sequence[Example], boxes: Sequence[list[list[float]]], letters: Letters) -> Image.Image:
    """The examples in rows of three, RGB."""
    tiles = [_tile(one, drawn, letters) for one, drawn in zip(examples, boxes, strict=True)]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    wide = max(len(row) for row in rows) * (SIDE + MARGIN) + MARGIN
    head = _text([*textwrap.wrap(title, max(LETTERS, wide // 7))], 14)
    high = head.height + MARGIN + sum(max(tile.height for tile in row) + MARGIN for row in rows)
    whole = Image.new("RGB", (wide, high + MARGIN), "white")
    whole.paste(head, (MARGIN, MARGIN))
    top = head.height + 2 * MARGIN
    for row in rows:
        for column, tile in enumerate(row):
            whole.paste(tile, (MARGIN + column * (SIDE + MARGIN), top))
        top += max(tile.height for tile in row) + MARGIN
    return whole


def _tile(example: Example, boxes: list[list[float]], letters: Letters) -> Image.Image:
    picture = example.picture()
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for box in boxes[: drawing.MOST_BOXES]:
        corners = [value * scale for value in box]
        draw.rectangle(corners, outline="black", width=4)
        draw.rectangle(corners, outline="#ffd400", width=2)
    lines: list[str] = []
    for said in (example.label, example.question, example.answer):
        shown = letters.text(printable(said, LONGEST))
        lines += [part for line in shown.split("\n") for part in lettering.wrapped(line, LETTERS)] + [""]
    text = _text(lines[:-1], 11)
    tile = Image.new("RGB", (SIDE, picture.height + 6 + text.height), "white")
    tile.paste(picture, (0, 0))
    tile.paste(text, (0, picture.height + 6))
    return tile


def _text(lines: list[str], size: int) -> Image.Image:
    fonts = [lettering.font(size, line) for line in lines]
    wide = max((round(font.getlength(line)) for font, line in zip(fonts, lines, strict=True)), default=1)
    image = Image.new("RGB", (max(1, wide), max(1, len(lines) * (size + 4))), "white")
    draw = ImageDraw.Draw(image)
    for number, (font, line) in enumerate(zip(fonts, lines, strict=True)):
        draw.text((0, number * (size + 4)), line, "black", font)
    return image
