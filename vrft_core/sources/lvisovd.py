"""COCO's categories taught, LVIS's evaluated: open-vocabulary detection over two official sets that share photos."""

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from vrft_core.errors import InputError
from vrft_core.sources import boxes, coco, lvis, writing
from vrft_core.sources.writing import Content, Images

APART = 1000  # added to LVIS's category ids, which would mean others among COCO's 1 to 90
LICENCE = lvis.LICENCE


class Settings(boxes.Settings):
    """`taught`: COCO's names, of the training images; `categories`: LVIS's, of the evaluation images."""

    taught: list[str] = Field(min_length=1)
    categories: list[str] = Field(min_length=1)


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; COCO's train2017 is trained and validated on, LVIS's val evaluated.

    LVIS's val has 15,000 photos of train2017: those are not trained on. Raises InputError as the two sources do, and
    for a name that both give to a category.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    if both := sorted(set(settings.taught) & set(settings.categories)):
        raise InputError("taught", f"{both[0]!r} is also one of `categories`", "name it in one of the two")
    shared = {"train_per_category": settings.train_per_category, "validation": settings.validation}
    taught, images = coco.content(boxes.Settings(categories=settings.taught, eval_images=1, **shared), cache)
    limits = {"train_per_category": 1, "validation": 0, "eval_images": settings.eval_images}
    scored, _ = lvis.content(boxes.Settings(categories=settings.categories, **limits), cache)
    evaluated = [_moved(row) for row in scored.images if row["split"] == "eval"]
    held_out = {row["id"] for row in evaluated}
    kept = [row for row in taught.images if row["split"] != "eval" and row["id"] not in held_out]
    ids = {row["id"] for row in kept}
    annotations = [row for row in taught.annotations if row["image_id"] in ids]
    annotations += [
        row | {"category_id": row["category_id"] + APART} for row in scored.annotations if row["image_id"] in held_out
    ]
    categories = taught.categories + [row | {"id": row["id"] + APART} for row in scored.categories]
    unusable = sum(one.info["unusable_boxes"] for one in (taught, scored))
    info = {"source": "lvisovd", "unusable_boxes": unusable, "counts": "official"}
    return replace(taught, images=kept + evaluated, annotations=annotations, categories=categories, info=info), images


def _moved(row: dict) -> dict:
    names = ("neg_category_ids", "not_exhaustive_category_ids")
    return row | {name: [i + APART for i in row[name]] for name in names}
