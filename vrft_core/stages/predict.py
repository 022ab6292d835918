"""`vrft predict` and `vrft presence`: a model's boxes, or what it claims to see, for any images.

No stages of dvc.yaml: what they write is for the user. Evaluation has its own way to the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import torch

from vrft_core import io, policy
from vrft_core.annotations import Annotations
from vrft_core.benchmarks import coco_json, files
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation import presence
from vrft_core.evaluation.asking import answered
from vrft_core.evaluation.predict import Query, build_queries
from vrft_core.evaluation.queries import evaluated_categories, mapped, oracle, verified
from vrft_core.images import SUFFIXES, size
from vrft_core.params import Params, Recipe


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
        """What to ask, as `pairs`, with each image's file.

        Raises InputError for one that is not there, or not of the size that the annotations give.
        """
        queries = build_queries(self.pairs(protocol), self.annotations, self.images, self.recipe)
        names = {query.image_id: self.annotations.images[query.image_id]["file_name"] for query in queries}
        found = {image: files.find(self.images, name) for image, name in names.items()}
        for image, path in found.items():
            if path is None:
                raise InputError(self.images / names[image], "no such image", "is the image folder the right one?")
            if self.known:
                row = self.annotations.images[image]
                size(path, (row["width"], row["height"]))
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
    policy_folder, adapter = _weights(layout, cell, method, raw)
    truth = Annotations.load(raw / "annotations.json").split("eval")
    chosen = evaluated_categories(truth, params.benchmarks[cell.benchmark])
    if categories:
        chosen = _ids(truth, categories)
    return Job(params.recipe(cell), policy_folder, adapter, truth, raw / "images", chosen)


def cell_on_files_job(
    layout: Layout,
    params: Params,
    cell: Cell,
    method: str,
    images: Path,
    annotations: Path | None,
    categories: Sequence[str] | None,
) -> Job:
    """A cell's model and images of the user's, as in `files_job`; by default the categories the cell is evaluated on.

    Raises InputError as `cell_job` and `files_job` do.
    """
    named = categories or (None if annotations else params.benchmarks[cell.benchmark].categories)
    raw = layout.raw(cell)
    policy_folder, adapter = _weights(layout, cell, method, *() if named or annotations else (raw,))
    if not named and not annotations:
        named = [row["name"] for row in Annotations.load(raw / "annotations.json").categories.values()]
    return files_job(params.recipe(cell), policy_folder, adapter, images, annotations, named)


def _weights(layout: Layout, cell: Cell, method: str, *data: Path) -> tuple[Path, Path | None]:
    """A cell's policy and what was trained on it (None for base); they and `data` must be there, else InputError."""
    for needed in (*data, layout.policy(cell), layout.model(cell, method)):
        if not needed.is_dir():
            command = f"vrft run {cell.key}" if cell.scope == "cell" else f"dvc repro base_eval@{cell.at('source').key}"
            raise InputError(needed, "is not there yet", f"make it with `{command}`, or `dvc pull`")
    return layout.policy(cell), None if method == "base" else layout.model(cell, method)


def files_job(
    recipe: Recipe,
    model: Path,
    adapter: Path | None,
    images: Path,
    annotations: Path | None,
    categories: Sequence[str] | None,
) -> Job:
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
        return Job(recipe, model, adapter, known, images, chosen)
    if not categories:
        raise InputError("--categories", "nothing says what to look for", "name categories, or give --annotations")
    if unreadable := [name for name in categories if not name.strip() or not name.isprintable()]:
        raise InputError("--categories", f"{unreadable[0]!r} is no printable name", "name each category as text")
    names = [{"id": number, "name": name} for number, name in enumerate(dict.fromkeys(categories), 1)]
    rows = {"images": _found(images), "annotations": [], "categories": names}
    images = images.parent if images.is_file() else images
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
