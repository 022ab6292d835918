"""A whole drawn data set on disk: pictures and one annotation file in the project's schema.

What a scene looks like belongs to `composition`, which categories it holds to `plan`.
"""

import hashlib
import io as bytes_io
import random
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_length

from vrft_core import io
from vrft_core.annotations import SPLITS
from vrft_core.params import Scenes
from vrft_core.sources.scenes import plan
from vrft_core.sources.scenes.composition import Object, Scene, compose
from vrft_core.sources.scenes.glyphs import vocabulary

ATTRIBUTION = (
    "Pictures contain glyphs by OpenMoji, the open-source emoji and icon project (https://openmoji.org), rotated, "
    "scaled and composited, licence CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), on photographs "
    "(CC0 or public domain) distributed with scikit-image (https://scikit-image.org); the pictures are CC BY-SA 4.0."
)
LICENSES = [{"id": 1, "name": "CC BY-SA 4.0", "url": "https://creativecommons.org/licenses/by-sa/4.0/"}]

Z_RLE = 3  # zlib: matches at distance one only, so that no processor-specific search decides the bytes
NEGATIVE_SHARE = 0.5  # of the categories in play that an image lacks: verified absent, as LVIS verifies only some
NOT_EXHAUSTIVE_SHARE = 0.1  # of the images with several instances of a frequent category: one is left unannotated
FIRST_ID = {"train": 1, "val": 1_000_001, "eval": 2_000_001}  # a split can grow without renumbering another
ANNOTATIONS_PER_IMAGE = 100  # annotation id = image id * this + position


def scene(settings: Scenes, split: str, index: int) -> Scene:
    """The scene number `index` of a split: train, val, eval or pretraining. The same arguments draw the same bytes.

    Raises InputError for settings no drawing can satisfy, IndexError past the end of a split.
    """
    plan.check(settings)
    planned = plan.plan(settings, split, index)
    rng = random.Random(f"scene/{settings.seed}/{split}/{index}")
    while True:
        drawn = compose(planned.categories, split, settings, rng)
        if {thing.category for thing in drawn.objects} == set(planned.distinct):
            return drawn


def write(directory: Path, settings: Scenes) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    Raises InputError for settings no drawing can satisfy.
    """
    with io.new_directory(directory) as new:
        (new / "images").mkdir()
        images, annotations = [], []
        for split in SPLITS:
            for index in range(getattr(settings.images, split)):
                drawn = scene(settings, split, index)
                image, rows = _rows(drawn, settings, split, index)
                data = png(drawn.image)
                (new / "images" / image["file_name"]).write_bytes(data)
                images.append(image | {"sha256": hashlib.sha256(data).hexdigest()})
                annotations += rows
        io.write_json(
            new / "annotations.json",
            {
                "info": {"description": "Drawn scenes", "attribution": ATTRIBUTION, "settings": settings.model_dump()},
                "licenses": LICENSES,
                "images": images,
                "annotations": annotations,
                "categories": _categories(settings, images, annotations),
            },
        )


def png(image: np.ndarray) -> bytes:
    """uint8[H, W, 3] → PNG. Run-length compression only: its bytes do not depend on the processor."""
    buffer = bytes_io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1, compress_type=Z_RLE)
    return buffer.getvalue()


def _rows(drawn: Scene, settings: Scenes, split: str, index: int) -> tuple[dict, list[dict]]:
    """The image's row (without its hash) and its annotations' rows."""
    rng = random.Random(f"labels/{settings.seed}/{split}/{index}")
    number = FIRST_ID[split] + index
    ids = {name: vocabulary()[name].id for names in settings.categories.values() for name in names}
    objects, not_exhaustive = drawn.objects, []
    counts = Counter(thing.category for thing in objects)
    several = [name for name in settings.categories["f"] if counts[name] > 1]
    if split != "val" and several and rng.random() < NOT_EXHAUSTIVE_SHARE:
        name = rng.choice(several)
        left_out = rng.choice([thing for thing in objects if thing.category == name])
        objects, not_exhaustive = [thing for thing in objects if thing is not left_out], [ids[name]]
    absent = sorted(ids[name] for name in ids if name not in counts)
    image = {
        "id": number,
        "file_name": f"{split}_{index:06d}.png",
        "width": settings.image_size,
        "height": settings.image_size,
        "split": split,
        "license": 1,
        "neg_category_ids": sorted(rng.sample(absent, int(NEGATIVE_SHARE * len(absent)))),
        "not_exhaustive_category_ids": not_exhaustive,
    }
    return image, [_annotation(thing, number, i, ids) for i, thing in enumerate(objects)]


def _annotation(thing: Object, image_id: int, position: int, ids: dict[str, int]) -> dict:
    x1, y1, x2, y2 = thing.box
    encoded = run_length.encode(np.asfortranarray(thing.mask, dtype=np.uint8))
    return {
        "id": image_id * ANNOTATIONS_PER_IMAGE + position,
        "image_id": image_id,
        "category_id": ids[thing.category],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(thing.mask.sum()),
        "segmentation": {"size": list(thing.mask.shape), "counts": encoded["counts"].decode("ascii")},
        "iscrowd": 0,
    }


def _categories(settings: Scenes, images: list[dict], annotations: list[dict]) -> list[dict]:
    train = {image["id"] for image in images if image["split"] == "train"}
    instances = Counter(row["category_id"] for row in annotations if row["image_id"] in train)
    pairs = Counter(c for _, c in {(r["image_id"], r["category_id"]) for r in annotations if r["image_id"] in train})
    chosen = [vocabulary()[name] for names in settings.categories.values() for name in names]
    plan.verify(settings, {category.name: pairs[category.id] for category in chosen})
    return [
        {
            "id": category.id,
            "name": category.name,
            "synset": category.synset,
            "synonyms": [category.name],
            "def": "",
            "frequency": plan.frequency(pairs[category.id]),
            "image_count": pairs[category.id],
            "instance_count": instances[category.id],
        }
        for category in sorted(chosen, key=lambda category: category.id)
    ]
