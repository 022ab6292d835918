"""Images that a materialization shows: drawn from what a stage left, kept under data_docs/previews, shown by links.

Links and not the bytes themselves: a page of Dagster's loads the metadata of a hundred runs at once.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipelines.pages import address
from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params

FOLDER = "data_docs/previews"
WIDEST = 720  # pixels


def raw(layout: Layout, params: Params, cell: Cell) -> bytes:
    """Labelled images, spread over all splits."""
    return _sheet(io.read_json(layout.raw(cell) / "annotations.json"), layout.raw(cell) / "images")


def few_shot(layout: Layout, params: Params, cell: Cell) -> bytes:
    """The images that are taught from."""
    return _sheet(io.read_json(layout.few_shot(cell) / "annotations.json"), layout.raw(cell) / "images")


def sft(layout: Layout, params: Params, cell: Cell) -> bytes:
    return _learning(layout, cell, "sft")


def rft(layout: Layout, params: Params, cell: Cell) -> bytes:
    return _learning(layout, cell, "rft")


def learning(layout: Layout, params: Params, cell: Cell) -> bytes:
    return (layout.report(cell) / "learning.svg").read_bytes()


def examples(layout: Layout, params: Params, cell: Cell) -> bytes:
    return (layout.report(cell) / "examples.svg").read_bytes()


Draw = Callable[[Layout, Params, Cell], bytes]
# stage → name of the metadata entry → ending of the file, how it is made
OF: dict[str, dict[str, tuple[str, Draw]]] = {
    "raw": {"images": ("jpg", raw)},
    "few_shot": {"images": ("jpg", few_shot)},
    "sft": {"learning curve": ("svg", sft)},
    "rft": {"learning curve": ("svg", rft)},
    "report": {"learning curve": ("svg", learning), "examples": ("svg", examples)},
}


def of(layout: Layout, params: Params, cell: Cell, stage: str) -> dict[str, str]:
    """Name → Markdown that shows the image. What cannot be drawn is left out: a preview fails no run."""
    found = {}
    for name, (ending, draw) in OF.get(stage, {}).items():
        path = layout.root / FOLDER / cell.key / f"{stage}-{name.replace(' ', '-')}.{ending}"
        if (where := address(layout.root, path)) is None:
            continue
        try:
            content = draw(layout, params, cell)
            _write(path, content)
        except Exception as error:
            print(f"no preview `{name}` of {stage} {cell.key}: {error}", flush=True)
            continue
        found[name] = f"![{name} of {cell.key}]({where}?{hashlib.sha256(content).hexdigest()[:12]})"
    return found


def _learning(layout: Layout, cell: Cell, method: str) -> bytes:
    from vrft_core.report import figures, standalone

    record = io.read_json(layout.training(cell, method))
    return standalone.charts(figures.drawn(figures.learning_of(method, record))).encode()


def _sheet(data: dict, images: Path) -> bytes:
    from vrft_core.commands.contact_sheet import sheet

    drawn = sheet(data, {image["id"]: images / image["file_name"] for image in data["images"]})
    drawn.thumbnail((WIDEST, 2 * WIDEST))
    with tempfile.SpooledTemporaryFile() as file:
        drawn.save(file, "JPEG", quality=85)
        file.seek(0)
        return file.read()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)
