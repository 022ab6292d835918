"""`vrft predict` and `vrft presence`: a model's boxes, or what it claims to see, for any images.

No stages of dvc.yaml: what they write is for the user. Evaluation has its own way to the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from vrft_core import io, policy
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.asking import answered
from vrft_core.evaluation.predict import Query, build_queries
from vrft_core.params import Params, Recipe
from vrft_core.sources import coco_json, files
from vrft_core.tasks.detection.commands import presence_map as presence
from vrft_core.tasks.detection.prompts.presence import evaluated_categories, mapped, oracle, verified

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Job:
    """Whom to ask about what. `known`: the annotations are true, and not a mere list of images."""

    recipe: Recipe
    model: Path
    adapter: Path | None
    annotations: Annotations
    images: Path
    categories: list[int]
    known: bool = True

    def queries(self, protocol: str | None) -> list[Query]:
        """What to ask, as `pairs`, with each image's file. Raises InputError for one that is not there."""
        queries = build_queries(self.pairs(protocol), self.annotations, self.images, self.recipe)
        names = {query.image_id: self.annotations.images[query.image_id]["file_name"] for query in queries}
        found = {image: files.find(self.images, name) for image, name in names.items()}
        for image, path in found.items():
            if path is None:
                raise InputError(self.images / names[image], "no such image", "is the image folder the right one?")
        return [replace(query, image=found[query.image_id]) for query in queries]

    def pairs(self, protocol: str | None) -> list[tuple[int, int]]:
        """What to ask: by a presence protocol, by the map in a file, or (None) every category of every image."""
        if protocol is None:
            return [(image, category) for image in self.annotations.images for category in self.categories]
        if protocol in ("oracle", "self"):
            if not self.known:
                raise InputError("--presence", f"{protocol!r} needs to know what is there", "give --annotations")
            return {"oracle": oracle, "self": verified}[protocol](self.annotations, self.categories)
        return mapped(self.annotations, self.categories, presence.read(Path(protocol), self.annotations))


def cell_job(layout: Layout, params: Params, cell: Cell, method: str, categories: Sequence[str] | None) -> Job:
    """A cell's model (base, sft or rft) and its evaluation images. Raises InputError where they were not made yet."""
    raw = layout.raw(cell)
    for needed in (raw, layout.policy(cell), layout.model(cell, method)):
        if not needed.is_dir():
            command = f"vrft run {cell.key}" if cell.scope == "cell" else f"dvc repro base_eval@{cell.at('source').key}"
            raise InputError(needed, "is not there yet", f"make it with `{command}`, or `dvc pull`")
    truth = Annotations.load(raw / "annotations.json").split("eval")
    chosen = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    if categories:
        chosen = _ids(truth, categories)
    adapter = None if method == "base" else layout.model(cell, method)
    return Job(params.recipe(cell), layout.policy(cell), adapter, truth, raw / "images", chosen)


def files_job(
    recipe: Recipe,
    model: Path,
    adapter: Path | None,
    images: Path,
    annotations: Path | None,
    categories: Sequence[str] | None,
) -> Job:
    """A model folder and images of the user's, listed in a COCO or LVIS file or all that lie in the folder.

    Raises InputError for malformed annotations, unknown categories, and a folder without images.
    """
    if annotations:
        problems = coco_json.Problems()
        data = coco_json.load(annotations, problems)
        problems.refuse()
        listed = {"images": list(data.images.values()), "annotations": data.annotations}
        known = Annotations.from_dict(listed | {"categories": list(data.categories.values())})
        chosen = _ids(known, categories) if categories else sorted(known.categories)
        return Job(recipe, model, adapter, known, images, chosen)
    if not categories:
        raise InputError("--categories", "nothing says what to look for", "name categories, or give --annotations")
    names = [{"id": number, "name": name} for number, name in enumerate(dict.fromkeys(categories), 1)]
    rows = {"images": _found(images), "annotations": [], "categories": names}
    return Job(
        recipe, model, adapter, Annotations.from_dict(rows), images, [row["id"] for row in names], known=False
    )  # fmt: skip


def predict(job: Job, protocol: str | None, output: Path) -> dict:
    """Write one JSON line a question; → {"images", "questions", "boxes"}.

    Beside what `evaluation.predict` gives, a row names `file_name` and `category`. What was answered before an
    interruption is not asked again.
    """
    queries = job.queries(protocol)
    images, categories = job.annotations.images, job.annotations.categories
    asked = {query.image_id: query.image for query in queries}
    shown = [[i, path.stat().st_size, path.stat().st_mtime_ns] for i, path in asked.items()]
    run = output.parent / f".{output.name}.run"
    with answered(run, queries, job.recipe, job.model, job.adapter, shown, "questions answered") as rows:
        for row in rows:
            row["file_name"] = images[row["image_id"]]["file_name"]
            row["category"] = categories[row["category_id"]]["name"]
        io.write_jsonl(output, rows)
    return {"images": len(asked), "questions": len(rows), "boxes": sum(len(row["boxes"]) for row in rows)}


def make_map(job: Job, output: Path) -> dict:
    """Ask whether each category is in each image, write the presence map; → {"images", "questions", "present", …}."""
    names = {i: category["name"] for i, category in job.annotations.categories.items()}
    queries = job.queries(None)
    torch.set_num_threads(job.recipe.threads)
    model, processor = policy.load(job.model, job.adapter)
    found, unclear = presence.claim(
        model, processor, queries, names, batch_size=job.recipe.evaluation.batch_size, what="questions answered"
    )
    io.write_json(output, found)
    present = sum(map(len, found.values()))
    return {
        "images": len(found), "questions": len(queries), "present": present, "unclear": unclear,
        "sha256": io.sha256(output),
    }  # fmt: skip


def _ids(annotations: Annotations, names: Sequence[str]) -> list[int]:
    known = {category["name"]: i for i, category in annotations.categories.items()}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 3)
            raise InputError(
                "--categories", f"the annotations have no category {name!r}", close and f"is it {' or '.join(close)}?"
            )
    return sorted({known[name] for name in names})


def _found(folder: Path) -> list[dict]:
    """Image rows for the files of a folder, numbered by name."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise InputError(folder, "holds no images", f"files ending in {', '.join(SUFFIXES)} are looked for")
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(path, f"cannot be read as an image: {error}", "remove or replace it") from None
        name = path.relative_to(folder).as_posix()
        rows.append({"id": number, "width": width, "height": height, "file_name": name})
    return rows
