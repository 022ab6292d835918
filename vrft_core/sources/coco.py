"""COCO 2017: annotations of 80 categories, and the photographs, which LVIS and RefCOCO use too (Lin et al., 2014)."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from vrft_core.errors import InputError
from vrft_core.sources import archives, boxes, lvis_json, writing
from vrft_core.sources.boxes import Settings
from vrft_core.sources.download import fetch, present
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "coco",
    "CC BY 4.0 (annotations)",
    "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    "https://cocodataset.org/#termsofuse",
    ask=False,
)
PHOTOS = Licence(
    "coco-images",
    "photographs from Flickr, each under its own licence (`license` of its row), many of them non-commercial",
    "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    "https://cocodataset.org/#termsofuse",
    ask=True,
)
# The certificate of images.cocodataset.org does not name it; the same objects are served with TLS here.
ADDRESSES = ("https://s3.amazonaws.com/images.cocodataset.org/", "http://images.cocodataset.org/")


def _file(name: str, folder: str, licence: Licence, size: int, sha256: str) -> File:
    return File("coco2017", name, tuple(f"{address}{folder}/{name}" for address in ADDRESSES), licence, size, sha256)


FILES = {
    "annotations": _file(
        "annotations_trainval2017.zip",
        "annotations",
        LICENCE,
        252_907_541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    "train2017": _file(
        "train2017.zip",
        "zips",
        PHOTOS,
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017": _file(
        "val2017.zip",
        "zips",
        PHOTOS,
        815_585_330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
}
# From this many photographs of a folder on, its archive is fetched, else each alone: about a third of the archive.
WHOLE = {"train2017": 40_000, "val2017": 1_500}


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; train2017 is trained and validated on, val2017 evaluated.

    Raises InputError as `download.fetch` and `writing.write` do, and for categories that are not among the 80.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    archive = fetch([FILES["annotations"]], cache)[FILES["annotations"]]
    data = {}
    for split in ("train2017", "val2017"):
        with archives.stream(archive, f"annotations/instances_{split}.json") as stream:
            data[split] = lvis_json.load(stream, archive)
            for row in data[split]["images"]:
                row["file_name"] = f"{split}/{row['file_name']}"
    categories = boxes.choose(data["train2017"]["categories"], settings.categories, "COCO")
    ids = {row["id"] for row in categories}
    (train, bad), (evaluation, worse) = (
        boxes.read(data.pop(split), ids, archive) for split in ("train2017", "val2017")
    )
    info = {"source": "coco", "unusable_boxes": bad + worse}
    rows = [{"id": row["id"], "name": row["name"]} for row in categories]
    return boxes.content(train, evaluation, rows, settings, info), photographs(cache)


def photographs(cache: Path) -> Images:
    """Bytes of photographs named `train2017/000000000009.jpg`.

    They come from the folder's archive if it is there already or many of them are needed, else one by one.
    """
    return lambda rows: _photographs({row["file_name"]: row["id"] for row in rows}, cache)


def _photographs(ids: dict[str, int], cache: Path) -> Iterator[tuple[int, bytes]]:
    for folder in sorted({name.split("/")[0] for name in ids}):
        names = [name for name in ids if name.startswith(f"{folder}/")]
        absent = [name for name in names if present(photograph(name), cache) is None]
        if absent and (present(FILES[folder], cache) or len(absent) >= WHOLE[folder]):
            archive = fetch([FILES[folder]], cache)[FILES[folder]]
            for name, data in archives.members(archive, ids.__contains__):
                yield ids[name], data
        else:
            for file, path in fetch([photograph(name) for name in names], cache).items():
                yield ids[file.name], path.read_bytes()


def photograph(name: str) -> File:
    return File("coco2017", name, tuple(address + name for address in ADDRESSES), PHOTOS, check=decodes, loose=True)


def decodes(path: Path) -> None:
    """Raises InputError for a file that is no whole image."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            image.load()
    except Exception as error:  # whatever a broken file leads a decoder to raise
        raise InputError(path, f"does not decode: {error}", "fetch it again") from None
