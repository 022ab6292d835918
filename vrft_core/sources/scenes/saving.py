"""A drawn data set on disk: images and one annotation file in the project's schema, whatever is drawn.

What a scene looks like and what is asked about it belong to the sources: `dataset` (detection), `icons`, `phrases`.
"""

import hashlib
import io as bytes_io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
from PIL import Image
from pycocotools import mask as run_length

from vrft_core import io
from vrft_core.annotations import SPLITS, frequency
from vrft_core.params import Embedded

ATTRIBUTION = (
    "Pictures contain glyphs by OpenMoji, the open-source emoji and icon project (https://openmoji.org), rotated, "
    "scaled and composited, licence CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), on photographs "
    "(CC0 or public domain) distributed with scikit-image (https://scikit-image.org); the pictures are CC BY-SA 4.0."
)
LICENSES = [{"id": 1, "name": "CC BY-SA 4.0", "url": "https://creativecommons.org/licenses/by-sa/4.0/"}]

Z_RLE = 3  # zlib: matches at distance one only, so that no processor-specific search decides the bytes
FIRST_ID = {"train": 1, "val": 1_000_001, "eval": 2_000_001}  # a split can grow without renumbering another
ANNOTATIONS_PER_IMAGE = 100  # annotation id = image id * this + position


class Drawn(Protocol):
    """What every source draws: `image` is uint8[H, W, 3]."""

    @property
    def image(self) -> np.ndarray: ...


D = TypeVar("D", bound=Drawn)
# drawing, split, index → the image's negative and not exhaustively annotated categories, its annotations without ids
Labels = Callable[[D, str, int], tuple[list[int], list[int], list[dict]]]
# training images, training instances; both by category id → the rows of the categories
Categories = Callable[[Counter[int], Counter[int]], list[dict]]


def save(
    directory: Path,
    settings: Embedded,
    description: str,
    draw: Callable[[str, int], D],
    labels: Labels[D],
    categories: Categories,
) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    `settings` goes into the file as it is.
    """
    with io.new_directory(directory) as new:
        (new / "images").mkdir()
        images, annotations = [], []
        for split in SPLITS:
            for index in range(getattr(settings.images, split)):
                drawn = draw(split, index)
                number = FIRST_ID[split] + index
                negative, not_exhaustive, rows = labels(drawn, split, index)
                data = png(drawn.image)
                height, width = drawn.image.shape[:2]
                name = f"{split}_{index:06d}.png"
                (new / "images" / name).write_bytes(data)
                images.append(
                    {
                        "id": number,
                        "file_name": name,
                        "width": width,
                        "height": height,
                        "split": split,
                        "license": 1,
                        "neg_category_ids": negative,
                        "not_exhaustive_category_ids": not_exhaustive,
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
                )
                annotations += [
                    {"id": number * ANNOTATIONS_PER_IMAGE + position, "image_id": number} | row
                    for position, row in enumerate(rows)
                ]
        io.write_json(
            new / "annotations.json",
            {
                "info": {"description": description, "attribution": ATTRIBUTION, "settings": settings.model_dump()},
                "licenses": LICENSES,
                "images": images,
                "annotations": annotations,
                "categories": categories(*_training_counts(images, annotations)),
            },
        )


def png(image: np.ndarray) -> bytes:
    """uint8[H, W, 3] → PNG. Run-length compression only: its bytes do not depend on the processor."""
    buffer = bytes_io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1, compress_type=Z_RLE)
    return buffer.getvalue()


def region(mask: np.ndarray, box: tuple[int, int, int, int]) -> dict:
    """An annotation's fields about where: `mask` is bool[H, W], `box` xyxy px."""
    x1, y1, x2, y2 = box
    encoded = run_length.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": cast(bytes, encoded["counts"]).decode("ascii")},
        "iscrowd": 0,
    }


def category(
    number: int, name: str, synset: str, synonyms: list[str], definition: str, images: int, instances: int
) -> dict:
    """A category's row; `images` and `instances` are those of the training split."""
    return {
        "id": number,
        "name": name,
        "synset": synset,
        "synonyms": synonyms,
        "def": definition,
        "frequency": frequency(images),
        "image_count": images,
        "instance_count": instances,
    }


def _training_counts(images: list[dict], annotations: list[dict]) -> tuple[Counter[int], Counter[int]]:
    train = {image["id"] for image in images if image["split"] == "train"}
    rows = [row for row in annotations if row["image_id"] in train]
    pairs = {(row["image_id"], row["category_id"]) for row in rows}
    return Counter(number for _, number in pairs), Counter(row["category_id"] for row in rows)
