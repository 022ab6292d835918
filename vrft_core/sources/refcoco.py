"""RefCOCO, RefCOCO+ and RefCOCOg: expressions for single objects in COCO photographs (Yu et al., Mao et al., 2016).

The original lists are Python pickles, which run code when they are read; they are refused. Used are the same refs as
parquet tables (splits unc, and umd for RefCOCOg), checked by their number. The photographs are COCO's train2014, all of
which are in train2017.
"""

import json
from pathlib import Path
from typing import Literal

from vrft_core.errors import InputError
from vrft_core.sources import coco, hub, selection, writing
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images, box_inside

LICENCE = Licence(
    "refcoco",
    "CC BY 4.0 (RefCOCOg); for RefCOCO and RefCOCO+ none is stated",
    "Yu et al., Modeling Context in Referring Expressions, ECCV 2016; Mao et al., Generation and Comprehension of "
    "Unambiguous Object Descriptions, CVPR 2016",
    "https://github.com/lichengunc/refer",
    ask=True,
)
TABLES = {
    "refcoco": {
        "train": "train-00000-of-00001-94431d5f4bd5b93f.parquet",
        "val": "validation-00000-of-00001-bfeafdc84ca37aa2.parquet",
        "testA": "test-00000-of-00001-82af0c1b600890ac.parquet",
        "testB": "testB-00000-of-00001-60990e4598892dc1.parquet",
    },
    "refcocoplus": {
        "train": "train-00000-of-00001-7294665695c630ee.parquet",
        "val": "validation-00000-of-00001-8c57d66282bc60c9.parquet",
        "testA": "test-00000-of-00001-2b8e5d26906553b9.parquet",
        "testB": "testB-00000-of-00001-4f1178d399f1874a.parquet",
    },
    "refcocog": {
        "train": "train-00000-of-00001-4fe3e6340cfb69ed.parquet",
        "val": "validation-00000-of-00001-15168dfe7b5961e5.parquet",
        "test": "test-00000-of-00001-2316f36b19cd7f72.parquet",
    },
}
# Objects referred to, as the papers count them; every copy of a split must have as many.
REFS = {
    "refcoco": {"train": 42_404, "val": 3_811, "testA": 1_975, "testB": 1_810},
    "refcocoplus": {"train": 42_278, "val": 3_805, "testA": 1_975, "testB": 1_798},
    "refcocog": {"train": 42_226, "val": 2_573, "test": 5_023},
}


class Settings(selection.Settings):
    """`variant`; `evaluate`: the official split to evaluate (testA and testB, but test for refcocog; val is what is
    validated on). `train_images`: at most that many photographs to train on, since each is a download."""

    variant: Literal["refcoco", "refcocoplus", "refcocog"] = "refcoco"
    evaluate: Literal["testA", "testB", "test"] = "testA"
    train_images: int | None = None
    val_images: int | None = 500


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; an annotation is one expression with its box, and one target has several.

    Raises InputError as `download.fetch` and `writing.write` do, and for a split that the variant does not have.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    if settings.evaluate not in TABLES[settings.variant]:
        known = ", ".join(name for name in TABLES[settings.variant] if name.startswith("test"))
        raise InputError("evaluate", f"{settings.variant} has no split {settings.evaluate}", f"it has {known}")
    files = {
        "train": table_file(settings.variant, "train"),
        "val": table_file(settings.variant, "val"),
        "eval": table_file(settings.variant, settings.evaluate),
    }
    paths = fetch(list(files.values()), cache)
    limits = {"train": settings.train_images, "val": settings.val_images, "eval": None}
    images: dict[int, dict] = {}
    annotations: list[dict] = []
    for split, file in files.items():
        theirs = settings.evaluate if split == "eval" else split
        rows = _rows(paths[file], REFS[settings.variant][theirs])
        kept = selection.first({str(row["image_id"]) for row in rows}, limits[split])
        for row in rows:
            if str(row["image_id"]) in kept:
                image, found = _annotated(row, paths[file])
                if images.setdefault(image["id"], image | {"split": split})["split"] != split:
                    raise InputError(paths[file], f"image {image['id']} is in two splits", "fetch it again")
                annotations += found
    content = Content(
        list(images.values()),
        annotations,
        [{"id": 1, "name": "expression"}],
        {"source": "refcoco", **settings.model_dump()},
    )
    return content, coco.photographs(cache)


def table_file(variant: str, split: str) -> File:
    return hub.file("refcoco", f"jxu124/{variant}", f"data/{TABLES[variant][split]}", LICENCE)


def _rows(path: Path, number: int) -> list[dict]:
    columns = ["image_id", "ann_id", "sentences", "raw_anns", "raw_image_info"]
    rows = hub.table(path, columns).to_pylist()
    if len(rows) != number:
        raise InputError(path, f"has {len(rows):,} refs, {number:,} are right", "fetch it again")
    return rows


def _annotated(row: dict, where: Path) -> tuple[dict, list[dict]]:
    """One ref: its photograph, and an annotation for each of its expressions."""
    try:
        photo, target = json.loads(row["raw_image_info"]), json.loads(row["raw_anns"])
        image = {
            "id": int(row["image_id"]),
            "file_name": f"train2017/{int(row['image_id']):012d}.jpg",
            "width": int(photo["width"]),
            "height": int(photo["height"]),
        }
        bbox = box_inside(target["bbox"], image["width"], image["height"])
        if bbox is None:
            return image, []
        shared = {
            "image_id": image["id"],
            "category_id": 1,
            "bbox": bbox,
            "area": target["area"],
            "segmentation": target["segmentation"],
            "target": int(row["ann_id"]),
        }
        return image, [shared | {"expression": str(sentence["sent"])} for sentence in row["sentences"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            where, f"a row is not as published: {type(error).__name__} {error}", "fetch it again"
        ) from None
