"""Which images of a ground truth count, where its images carry the field `split`; and which of them have no answer.

A project's `annotations.json` holds all splits, its predictions are of one. Reading and scoring belong to `command`.
"""

from pathlib import Path

import numpy as np

from vrft_core.errors import InputError


def chosen(data: dict, answered: np.ndarray, name: str | None, where: Path) -> str | None:
    """The split to evaluate; None for all images.

    Args:
        data: ground truth in the COCO or LVIS format.
        answered: ids of the images that the detections speak of.
        name: the split asked for; without it, the one that all of `answered` belong to, if there are others.
        where: the ground truth's file, for errors.

    Raises:
        InputError: for a split that no image carries.
    """
    split_of = {row["id"]: _split(row) for row in data["images"]}
    known = sorted({split for split in split_of.values() if split is not None})
    if name is not None:
        if not known:
            raise InputError("--split", f"the images of {where} carry no field `split`", "leave the option out")
        if name not in known:
            raise InputError("--split", f"{where} has no split {name!r}", f"known: {', '.join(known)}")
        return name
    touched = {split_of.get(image) for image in answered.tolist()}
    if len(touched) == 1 and len(set(split_of.values())) > 1:
        return touched.pop()
    return None


def only(data: dict, name: str) -> dict:
    """The ground truth of one split, with all categories."""
    images = [row for row in data["images"] if _split(row) == name]
    ids = {row["id"] for row in images}
    return {**data, "images": images, "annotations": [row for row in data["annotations"] if row["image_id"] in ids]}


def _split(image: dict) -> str | None:
    return image["split"] if isinstance(image.get("split"), str) else None
