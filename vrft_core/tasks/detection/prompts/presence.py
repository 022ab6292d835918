"""Which question is asked about which image: the presence protocols of detection evaluation.

| protocol | asked about an image                                 | what it measures                      |
|----------|------------------------------------------------------|---------------------------------------|
| `oracle` | the categories truly present                         | localising alone: an upper bound      |
| `self`   | the categories verified to be present, or absent     | the model's own 'No Objects' as well  |
| `map`    | what a stored map claims to be present (`read_map`)  | as the paper did, with its base model |

Scoring belongs to `metrics`, making a map to `commands.presence_map`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError, nearest


def oracle(annotations: Annotations, category_ids: Sequence[int]) -> list[tuple[int, int]]:
    """(image, category) pairs for the categories truly present: an upper bound that needs the truth."""
    wanted = set(category_ids)
    return [(i, c) for i in annotations.images for c in annotations.category_ids(i) if c in wanted]


def verified(annotations: Annotations, category_ids: Sequence[int], absent_share: float = 1.0) -> list[tuple[int, int]]:
    """Pairs whose answer is known: present, or listed in the image's `neg_category_ids` (protocol `self`).

    COCO annotates every category of every image, so that its absent ones all are listed (`sources.coco_json`). Of the
    absent ones a share is asked, chosen by a hash of image and category: always the same ones.
    """
    pairs = []
    for image_id, image in annotations.images.items():
        present, absent = annotations.category_ids(image_id), set(image["neg_category_ids"])
        for category in category_ids:
            if category in present or (category in absent and _drawn(image_id, category, absent_share)):
                pairs.append((image_id, category))
    return pairs


def _drawn(image_id: int, category_id: int, share: float) -> bool:
    digest = hashlib.sha256(f"absent/{image_id}/{category_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def mapped(
    annotations: Annotations, category_ids: Sequence[int], presence: dict[int, list[int]]
) -> list[tuple[int, int]]:
    """Pairs that a presence map (image → category ids) claims; see `read_map`."""
    wanted = set(category_ids)
    return [(i, c) for i in annotations.images for c in sorted(set(presence[i]) & wanted)]


def read_map(path: Path, annotations: Annotations, others: bool = False) -> dict[int, list[int]]:
    """A presence map (`commands.presence_map`): image → category ids, for the images of `annotations` alone.

    `others`: it may also name categories of the whole data set that `annotations` leave out, as the maps do that the
    paper's authors publish. Raises InputError for anything but a map, an image that it lacks, a name that no category
    has, and for a map that names no category of these at all.
    """
    data = io.read_json(path)
    if not isinstance(data, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in data.values()
    ):
        raise InputError(path, "not a presence map", "it must be an object: {image id: [category name, …]}")
    ids = {category["name"]: i for i, category in annotations.categories.items()}
    if others and any(data.values()) and not any(name in ids for names in data.values() for name in names):
        raise InputError(path, "names none of the categories asked about", "is it the map of another data set?")
    found = {}
    for image_id in annotations.images:
        if str(image_id) not in data:
            raise InputError(path, f"has no image {image_id}", "make a map of these images with `vrft presence`")
        names = data[str(image_id)]
        for name in names:
            if name not in ids and not others:
                raise InputError(f"{path}: image {image_id}", f"no category is called {name!r}", nearest(name, ids))
        found[image_id] = sorted({ids[name] for name in names if name in ids})
    return found
