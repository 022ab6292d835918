"""`vrft init FOLDER`: finds out what a folder of labelled images is, adds it to params.yaml, draws nine examples."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from vrft_core.annotations import SPLITS, Annotations
from vrft_core.commands import contact_sheet
from vrft_core.commands.grid_text import examples
from vrft_core.commands.init import add_benchmark, cells_of, stored_path
from vrft_core.commands.init_categories import some
from vrft_core.errors import InputError
from vrft_core.sources import folders, formats
from vrft_core.sources.formats.labels import Tree
from vrft_core.tasks import DEFAULT, get_task, names


def init_folder(
    root: Path,
    folder: Path,
    name: str | None,
    recipe: str,
    shots: int,
    seeds: Sequence[int],
    categories: Sequence[str] | None,
    task: str | None,
) -> list[str]:
    """Add a labelled folder, whose format is found out, as `init` does; also draws nine examples.

    Without `name` the benchmark is called as the folder, without `task` the labels decide. Raises InputError as
    `init`, for what `formats.find` and `folders.read` refuse, and for labels that do not fit the task.
    """
    name = name or _called(folder)
    params, cells = cells_of(root, name, recipe, shots, seeds)
    format = formats.find(Tree(folder))
    found = folders.read(folder, format)
    task = task or _task_for(found.kind)
    if found.kind != get_task(task).checks.LABELS:
        raise InputError(
            "--task", f"{task!r} needs {get_task(task).checks.LABELS}, the folder has {found.kind}", "leave it out"
        )
    stored = {"path": stored_path(root, folder), "format": format, "sha256": folders.digest(folder, format)}
    source = Annotations.from_dict(found.data)
    benchmark: dict = {"task": task, "folder": stored}
    added = add_benchmark(root, params, cells, benchmark, source, categories)
    sheet = examples(root, name)
    undrawn = contact_sheet.draw(sheet, found, benchmark["categories"])
    return [
        _found(folder, format, source, found.kind),
        *found.remarks,
        *added[:-2],
        f"look at your labels: {sheet}",
        *undrawn,
        *added[-2:],
    ]


def _task_for(labels: str) -> str:
    """The task that images with these labels (boxes, classes or expressions) are for."""
    return next(name for name in (DEFAULT, *names()) if labels == get_task(name).checks.LABELS)


def _found(folder: Path, format: str, source: Annotations, kind: str) -> str:
    """What a folder holds, in one line."""
    rows, names = sum(map(len, source.by_image.values())), [row["name"] for row in source.categories.values()]
    what = (
        f"{rows} {kind}" if kind == "expressions" else f"{rows} boxes" if kind == "boxes" else f"{len(names)} classes"
    )
    of = "" if kind == "expressions" else f" ({some(names)})"
    splits = ", ".join(f"{len(source.split(split).images)} {split}" for split in SPLITS)
    return f"{folder}: {formats.get(format).TITLE}, {len(source.images)} images, {what}{of}; {splits}"


def _called(folder: Path) -> str:
    """A benchmark's name from that of a folder."""
    words = re.findall("[a-z0-9]+", Path(os.path.abspath(folder)).name.lower())
    name = "-".join(words)[:40].strip("-")
    return name if re.match("[a-z]", name) else f"data-{name}".strip("-")
