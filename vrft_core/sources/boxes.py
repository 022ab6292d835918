"""What the sources of detection share: official rows of one set → content to write.

Polygons are left out: nothing here scores masks, and they are nine tenths of the files. `area` stays the mask's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from vrft_core.errors import InputError
from vrft_core.sources import selection
from vrft_core.sources.writing import Content, box_inside

KEPT = ("id", "width", "height", "license", "coco_url", "flickr_url")


class Settings(selection.Settings):
    """`categories`: names to keep, in training and evaluation alike; all without it. `train_per_category`: enough
    training images to give each category that many, and no more; it bounds the download. `validation`: the share of
    training images held out, never more than half of a category's. `eval_images`: at most that many, for a quick
    look; the official metric wants all."""

    categories: list[str] | None = Field(default=None, min_length=1)
    train_per_category: int | None = Field(default=None, ge=1)
    validation: float = Field(default=0.25, ge=0, le=0.5)
    eval_images: int | None = Field(default=None, ge=1)


@dataclass
class Split:
    """Rows of one annotation file, of the chosen categories only. `boxes` maps image ids to annotation rows."""

    images: dict[int, dict]
    boxes: dict[int, list[dict]]

    def shows(self) -> dict[str, set[int]]:
        """File name → categories, for the images that have boxes."""
        return {
            self.images[i]["file_name"]: {row["category_id"] for row in rows} for i, rows in self.boxes.items() if rows
        }


def choose(categories: list[dict], names: list[str] | None, where: object) -> list[dict]:
    """The official category rows with these names. Raises InputError for a name there is not."""
    if names is None:
        return categories
    known = {row["name"]: row for row in categories}
    if unknown := sorted(set(names) - set(known)):
        raise InputError("categories", f"{where} has no category {unknown[0]!r}", "check its spelling")
    return [known[name] for name in dict.fromkeys(names)]


def read(data: dict, chosen: Iterable[int], where: object, shift: int = 0) -> tuple[Split, int]:
    """Images and boxes of a COCO or LVIS file, and how many boxes were unusable: empty or outside their image.

    In LVIS, images name what is absent and what is annotated in part only. COCO annotates everything, so the other
    chosen categories are absent; a crowd region is left out, and its category then is annotated in part only.
    Category ids in `chosen` are those written; the file's are higher by `shift`. `data["annotations"]` is used up, so
    that a file of full size is not in memory twice. Raises InputError naming what is missing in a row.
    """
    chosen = set(chosen)
    split, unusable = Split({}, {}), 0
    crowds: dict[int, set[int]] = {}
    try:
        for row in data["images"]:
            name = row.get("file_name") or "/".join(row["coco_url"].split("/")[-2:])
            split.images[row["id"]] = {key: row[key] for key in KEPT if key in row} | {"file_name": name}
            if "neg_category_ids" in row:
                split.images[row["id"]] |= {
                    key: sorted(chosen & set(row[key])) for key in ("neg_category_ids", "not_exhaustive_category_ids")
                }
            split.boxes[row["id"]] = []
        annotations = data["annotations"]
        annotations.reverse()
        while annotations:
            row = annotations.pop()
            category = row["category_id"] - shift
            if category not in chosen:
                continue
            image = split.images[row["image_id"]]
            if row.get("iscrowd"):
                crowds.setdefault(row["image_id"], set()).add(category)
            elif (bbox := box_inside(row["bbox"], image["width"], image["height"])) is None:
                unusable += 1
            else:
                split.boxes[row["image_id"]].append(
                    {
                        "image_id": row["image_id"],
                        "category_id": category,
                        "bbox": bbox,
                        "area": row.get("area") or bbox[2] * bbox[3],
                    }
                )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            where, f"a row is not as published: {type(error).__name__} {error}", "fetch it again"
        ) from None
    for image_id, image in split.images.items():
        if "neg_category_ids" not in image:
            partly = crowds.get(image_id, set())
            present = {row["category_id"] for row in split.boxes[image_id]} | partly
            image["neg_category_ids"] = sorted(chosen - present)
            image["not_exhaustive_category_ids"] = sorted(partly)
    return split, unusable


def content(train: Split, evaluation: Split, categories: list[dict], settings: Settings, info: dict) -> Content:
    """Training images that show a chosen category, some of them held out, and evaluation images that know of one."""
    shows = train.shows()
    kept = selection.thin(shows, settings.train_per_category)
    held_out = selection.hold_out({name: shows[name] for name in kept}, settings.validation)
    scored = {
        i
        for i, image in evaluation.images.items()
        if evaluation.boxes[i] or image["neg_category_ids"] or image["not_exhaustive_category_ids"]
    }
    limited = selection.first({evaluation.images[i]["file_name"] for i in scored}, settings.eval_images)
    taught = kept - held_out
    chosen = [
        (train, {i for i, image in train.images.items() if image["file_name"] in taught}, "train"),
        (train, {i for i, image in train.images.items() if image["file_name"] in held_out}, "val"),
        (evaluation, {i for i in scored if evaluation.images[i]["file_name"] in limited}, "eval"),
    ]
    return Content(
        [split.images[i] | {"split": name} for split, ids, name in chosen for i in sorted(ids)],
        [row for split, ids, _ in chosen for i in sorted(ids) for row in split.boxes[i]],
        categories,
        info,
    )
