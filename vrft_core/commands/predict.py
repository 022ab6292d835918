"""`vrft predict`: a model's answers about any images.

No stages of dvc.yaml: what they write is for the user. Evaluation has its own way to the same functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.commands import boxed
from vrft_core.errors import InputError, nearest
from vrft_core.evaluation.asking import answered
from vrft_core.families.form import Form
from vrft_core.images import SUFFIXES, size
from vrft_core.lettering import Letters
from vrft_core.params import Benchmark, Params, Recipe
from vrft_core.policy.loading import is_adapter
from vrft_core.sources import coco_json, located
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
    benchmark: Benchmark | None = None  # of the cell, where the question follows it

    def examples(self, protocol: str | None) -> list[Example]:
        """What to ask, as `pairs`, with each image's file.

        Raises InputError for one that is not there, or not of the size that the annotations give.
        """
        pairs, form = self.pairs(protocol), Form.of(self.recipe, self.recipe.tasks.get(self.task.name), self.benchmark)
        names = {image: self.annotations.images[image]["file_name"] for image, _ in pairs}
        found = {image: located.find(self.images, name) for image, name in names.items()}
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
    benchmark = params.benchmark(cell)
    return Request(task, params.recipe(cell), weights, adapter, truth, raw / "images", chosen, benchmark=benchmark)


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
    request = files_request(task, params.recipe(cell), weights, adapter, images, annotations, named)
    one_list = {"taught": "all", "categories": None}  # these images may show other categories than the cell's
    return replace(request, benchmark=params.benchmark(cell).model_copy(update=one_list))


def _weights(layout: Layout, cell: Cell, method: str, *data: Path) -> tuple[Path, Path | None]:
    """A cell's policy and what was trained on it (None for base); they and `data` must be there, else InputError."""
    for needed in (*data, layout.policy(cell), layout.model(cell, method)):
        if not needed.is_dir():
            command = f"vrft run {cell.key}" if cell.scope == "cell" else f"dvc repro base_eval@{cell.at('setup').key}"
            raise InputError(needed, "is not there yet", f"make it with `{command}`, or `dvc pull`")
    return layout.policy(cell), None if method == "base" else layout.model(cell, method)


def trained_by(layout: Layout, params: Params, model: Path) -> tuple[str, str] | None:
    """Cell and method (sft or rft) whose training left this folder; None for a folder from elsewhere.

    Raises InputError for LoRA weights from elsewhere, which are no model without the one they belong to.
    """
    for cell in params.cells():
        for method in ("sft", "rft"):
            if layout.model(cell, method).resolve() == model.resolve():
                return cell.key, method
    if is_adapter(model):
        raise InputError(
            model, "holds LoRA weights alone", f"name the model they belong to: --model MODEL --adapter {model}"
        )
    return None


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
    with _answers(request, protocol, output) as (asked, rows):
        io.write_jsonl(output, rows)
    return {"images": len(asked), "questions": len(rows)}


def predict_lines(request: Request, protocol: str | None) -> list[str]:
    """The answers as lines to read; nothing is written."""
    settings = request.recipe.tasks[request.task.name]
    with TemporaryDirectory() as folder, _answers(request, protocol, Path(folder) / "answers") as (_, rows):
        return [
            line
            for row in rows
            for line in boxed.lines(
                row["file_name"], row.get("category", ""), request.task.commands.marks(row, settings)
            )
        ]


def predict_boxed(request: Request, protocol: str | None, output: Path) -> dict:
    """Draw the answers over the images; → {"images", "questions", "boxes" (drawn), "marks" (those, and answers that
    have none), "files": [path], "undrawn": lines on letters that no font has}.

    `output`: the file to write for one image, or a folder, which gets an image for each one asked about, under its own
    name, and the answers themselves as `predictions.jsonl`. Raises InputError for a file and several images.
    """
    settings, one_file = request.recipe.tasks[request.task.name], is_image(output)
    if one_file and len(request.annotations.images) > 1:
        raise InputError(
            "--out", f"{output} is one image, and {len(request.annotations.images)} images are asked about",
            "name a folder, or a file ending in .jsonl",
        )  # fmt: skip
    _refuse_own(request, output)
    with _answers(request, protocol, output) as (asked, rows):

        def place(name: str) -> Path:
            path = output if one_file else output / Path(name)
            return path if path.suffix.lower() in boxed.FORMATS else path.with_name(f"{path.name}.png")

        marks = [request.task.commands.marks(row, settings) for row in rows]
        files = boxed.write_boxed(rows, marks, asked, place, letters := Letters())
        if not one_file:
            io.write_jsonl(output / "predictions.jsonl", rows)
    shown = [mark for found in marks for mark in found]
    counts = {"boxes": sum(mark.box is not None for mark in shown), "marks": len(shown)}
    return {"images": len(asked), "questions": len(rows), **counts, "files": [str(path) for path in files],
            "undrawn": letters.lines()}  # fmt: skip


def is_image(path: Path) -> bool:
    """Whether a path to be written names an image."""
    return path.suffix.lower() in boxed.FORMATS


def _refuse_own(request: Request, output: Path) -> None:
    """Boxes are never drawn into the images that were asked about."""
    own = {(request.images / image["file_name"]).resolve() for image in request.annotations.images.values()}
    if output.resolve() in own or output.resolve() == request.images.resolve():
        raise InputError("--out", f"{output} holds what is asked about", "give another name")


@contextmanager
def _answers(request: Request, protocol: str | None, output: Path) -> Iterator[tuple[dict[int, Path], list[Any]]]:
    """Image id → file of all images asked about, and the rows with their names; kept beside `output` meanwhile."""
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
        yield asked, rows


def _ids(annotations: Annotations, names: Sequence[str]) -> list[int]:
    known = {category["name"]: i for i, category in annotations.categories.items()}
    for name in names:
        if name not in known:
            raise InputError("--categories", f"the annotations have no category {name!r}", nearest(name, known))
    return sorted({known[name] for name in names})


def _found(place: Path) -> list[dict]:
    """Image rows for the files of a folder, numbered by name; or for the one file that `place` is."""
    folder, paths = place, [place]
    if place.is_file():
        folder = place.parent
    elif place.is_dir():
        paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    else:
        raise InputError(place, "no such file or folder", "check the path")
    if not paths:
        raise InputError(place, "holds no images", f"files ending in {', '.join(SUFFIXES)} are looked for")
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            width, height = size(path)
        except InputError as error:  # these are not a data set's: nothing has to go
            raise InputError(path, error.problem, "name images that can be opened") from None
        name = path.relative_to(folder).as_posix()
        rows.append({"id": number, "width": width, "height": height, "file_name": name})
    return rows
