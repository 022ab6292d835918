"""LVIS v1: 1,203 categories on COCO's photographs, each image annotated for some of them (Gupta et al., 2019)."""

from pathlib import Path

from vrft_core.sources import archives, boxes, coco, lvis_json, writing
from vrft_core.sources.boxes import Settings
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "lvis",
    "CC BY 4.0 (annotations)",
    "Gupta, Dollar and Girshick, LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019",
    "https://www.lvisdataset.org/",
    ask=False,
)
ADDRESSES = ("https://dl.fbaipublicfiles.com/LVIS/", "https://s3-us-west-2.amazonaws.com/dl.fbaipublicfiles.com/LVIS/")


def _file(name: str, size: int, sha256: str) -> File:
    return File("lvis", name, tuple(address + name for address in ADDRESSES), LICENCE, size, sha256)


FILES = {
    "train": _file(
        "lvis_v1_train.json.zip", 350_264_821, "334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba"
    ),
    "val": _file(
        "lvis_v1_val.json.zip", 64_026_968, "5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5"
    ),
}
KEPT = ("id", "name", "synset", "synonyms", "def", "frequency", "image_count", "instance_count")


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; LVIS's train is trained and validated on, its val evaluated.

    Evaluated are the images whose answer is known for at least one category: annotated, absent, or in part. Counts
    and letters of the categories are LVIS's own. Raises InputError as `download.fetch` and `writing.write` do, and
    for names that are no LVIS category.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    paths = fetch(list(FILES.values()), cache)
    splits, unusable = {}, 0
    with lvis_json.uncollected():
        for name, file in FILES.items():
            with archives.stream(paths[file], file.name.removesuffix(".zip")) as stream:
                data = lvis_json.load(stream, paths[file])
            categories = boxes.choose(data["categories"], settings.categories, "LVIS v1")
            splits[name], bad = boxes.read(data, {row["id"] for row in categories}, paths[file])
            unusable += bad
    info = {"source": "lvis", "unusable_boxes": unusable, "counts": "official"}
    rows = [{key: row[key] for key in KEPT} for row in categories]
    return boxes.content(splits["train"], splits["val"], rows, settings, info), coco.photographs(cache)
