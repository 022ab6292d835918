"""`vrft predict`: a model's answers about any images.

No stages of dvc.yaml: what they write is for the user. Evaluation has its own way to the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.asking import answered
from vrft_core.families.form import Form
from vrft_core.images import SUFFIXES, size
from vrft_core.params import Params, Recipe
from vrft_core.sources import coco_json, files
from vrft_core.tasks import Task, get_task
from vrft_core.tasks.task import Example, Pair


@dataclass(frozen=True)
class Request:
    """Which model to ask about which images. `known`: the annotations are true, and not a mere list of images."""

    task: Task
    recipe: Recipe
    model: Path
    adapter: Path | None
    annotations: Annotations
    images: Path
    categories: list[int]
    known: bool = True
    subject: str | None = None  # what every image shows

    def examples(self, protocol: str | None) -> list[Example]:
        """What to ask, as `pairs`, with each image's file.

        Raises InputError for one that is not there, or not of the size that the annotations give.
        """
        pairs, form = self.pairs(protocol), Form.of(self.recipe, self.recipe.tasks.get(self.task.name), self.subject)
        names = {image: self.annotations.images[image]["file_name"] for image, _ in pairs}
        found = {image: files.find(self.images, name) for image, name in names.items()}
        for image, path in found.items():
            if path is None:
                raise InputError(self.images / names[image], "no such image", "is the image folder the right one?")
            if self.known:
                row = self.annotations.images[image]
                size(path, (row["width"], row["height"]))
        made = self.task.prompts.examples(pairs, self.annotations, self.images, form)
        return [replace(one, image=found[one.image_id]) for one in made]

    def pairs(self, protocol: str | None) -> list[Pair]:
        """What to ask: by a protocol of the task, or (None) what it asks of images in general."""
        return self.task.prompts.asked_by(protocol, self.annotations, self.categories, self.known)


def cell_request(layout: Layout, params: Params, cell: Cell, method: str, categories: Sequence[str] | None) -> Request:
    """A cell's model (base, sft or rft) and its evaluation images. Raises InputError where they were not made yet."""
    raw = layout.raw(cell)
    weights, adapter = _weights(layout, cell, method, raw)
    truth = Annotations.load(raw / "annotations.json").split("eval")
    chosen = _ids(truth, categories) if categories else truth.chosen(params.benchmark(cell).categories)
    task = get_task(params.task(cell))
    return Request(task, params.recipe(cell), weights, adapter, truth, raw / "images", chosen)


def cell_on_files_request(
    layout: Layout,
    params: Params,
    cell: Cell,
    method: str,
    images: Path,
    annotations: Path | None,
    categories: Sequence[str] | None,
) -> Request:
    """A cell's model and images of the user's, as in `files_request`; by default the categories it is evaluated on.

    Raises InputError as `cell_request` and `files_request` do.
    """
    named = categories or (None if annotations else params.benchmark(cell).categories)
    raw = layout.raw(cell)
    weights, adapter = _weights(layout, cell, method, *() if named or annotations else (raw,))
    if not named and not annotations:
        named = [row["name"] for row in Annotations.load(raw / "annotations.json").categories.values()]
    task = get_task(params.task(cell))
    return files_request(task, params.recipe(cell), weights, adapter, images, annotations, named)


def _weights(layout: Layout, cell: Cell, method: str, *data: Path) -> tuple[Path, Path | None]:
    """A cell's policy and what was trained on it (None for base); they and `data` must be there, else InputError."""
    for needed in (*data, layout.policy(cell), layout.model(cell, method)):
        if not needed.is_dir():
            command = f"vrft run {cell.key}" if cell.scope == "cell" else f"dvc repro base_eval@{cell.at('setup').key}"
            raise InputError(needed, "is not there yet", f"make it with `{command}`, or `dvc pull`")
    return layout.policy(cell), None if method == "base" else layout.model(cell, method)


def files_request(
    task: Task,
    recipe: Recipe,
    model: Path,
    adapter: Path | None,
    images: Path,
    annotations: Path | None,
    categories: Sequence[str] | None,
) -> Request:
    """A model folder and images of the user's: those a COCO or LVIS file lists, all that lie in a folder, or one file.

    Raises InputError for malformed annotations, unknown categories, and a folder without images.
    """
    if annotations:
        if images.is_file():
            raise InputError("--images", f"{images} is one image", "with --annotations give the folder of its images")
        problems = coco_json.Problems()
        data = coco_json.load(annotations, problems)
        problems.refuse()
        listed = {"images": list(data.images.values()), "annotations": data.annotations}
        known = Annotations.from_dict(listed | {"categories": list(data.categories.values())})
        chosen = _ids(known, categories) if categories else sorted(known.categories)
        return Request(task, recipe, model, adapter, known, images, chosen)
    if not categories:
        raise InputError("--categories", "no categories to look for", "name categories, or give --annotations")
    if unreadable := [name for name in categories if not name.strip() or not name.isprintable()]:
        raise InputError("--categories", f"{unreadable[0]!r} is not a printable name", "name each category as text")
    names = [{"id": number, "name": name} for number, name in enumerate(dict.fromkeys(categories), 1)]
    rows = {"images": _found(images), "annotations": [], "categories": names}
    images = images.parent if images.is_file() else images
    return Request(
        task, recipe, model, adapter, Annotations.from_dict(rows), images, [row["id"] for row in names], known=False
    )  # fmt: skip


def predict(request: Request, protocol: str | None, output: Path) -> dict:
    """Write one JSON line a question; → {"images", "questions"}.

    Beside what `evaluation.predict` gives, a row names `file_name` and `category`. What was answered before an
    interruption is not asked again.
    """
    examples = request.examples(protocol)
    images, categories = request.annotations.images, request.annotations.categories
    asked = {one.image_id: one.image for one in examples if isinstance(one.image, Path)}
    shown = [[i, path.stat().st_size, path.stat().st_mtime_ns] for i, path in asked.items()]
    run = output.parent / f".{output.name}.run"
    with answered(
        run, examples, request.task, request.recipe, request.model, request.adapter, shown, "questions answered"
    ) as rows:
        for row in rows:
            row["file_name"] = images[row["image_id"]]["file_name"]
            if row["category_id"] in categories:
                row["category"] = categories[row["category_id"]]["name"]
        io.write_jsonl(output, rows)
    return {"images": len(asked), "questions": len(rows)}


def _ids(annotations: Annotations, names: Sequence[str]) -> list[int]:
    known = {category["name"]: i for i, category in annotations.categories.items()}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 3)
            raise InputError(
                "--categories",
                f"the annotations have no category {name!r}",
                f"is it {' or '.join(close)}?" if close else "",
            )
    return sorted({known[name] for name in names})


def _found(place: Path) -> list[dict]:
    """Image rows for the files of a folder, numbered by name; or for the one file that `place` is."""
    folder, paths = place, [place]
    if place.is_file():
        folder = place.parent
    else:
        paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES) if place.is_dir() else []
    if not paths:
        raise InputError(place, "holds no images", f"files ending in {', '.join(SUFFIXES)} are looked for")
    rows = []
    for number, path in enumerate(paths, 1):
        width, height = size(path)
        name = path.relative_to(folder).as_posix()
        rows.append({"id": number, "width": width, "height": height, "file_name": name})
    return rows
