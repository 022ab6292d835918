"""FGVC-Aircraft 2013b at the level of variants: 10,000 images, 100 classes (Maji et al., 2013)."""

from io import BytesIO
from pathlib import Path

from PIL import Image, JpegImagePlugin

from vrft_core.errors import InputError
from vrft_core.sources import archives, classes, selection, writing
from vrft_core.sources.classes import Labels
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "aircraft100",
    "non-commercial research only",
    "Maji, Rahtu, Kannala, Blaschko and Vedaldi, Fine-Grained Visual Classification of Aircraft, arXiv 1306.5151",
    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    ask=True,
)
NAME = "fgvc-aircraft-2013b"
FILES = {
    "archive": File(
        "aircraft100",
        f"{NAME}.tar.gz",
        (f"https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/{NAME}.tar.gz",),
        LICENCE,
        md5="d4acdd33327262359767eeaa97a4f732",
    )
}
SPLITS = {"train": "train", "val": "val", "eval": "test"}
STRIP = 20  # pixels at the lower border that name the photographer, and with him often the aircraft


class Settings(selection.Settings):
    """Nothing to choose: CoOp and the paper use the official splits."""


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images without the copyright strip, and annotations.json: 3,334 / 3,333 / 3,333 images.

    The archive is read twice, for the lists and for the images. Raises InputError as `download.fetch` and
    `writing.write` do, and for malformed lists.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    archive = fetch([FILES["archive"]], cache)[FILES["archive"]]
    texts = dict(archives.members(archive, lambda name: name.startswith(f"{NAME}/data/") and name.endswith(".txt")))
    names = _text(archive, texts, "variants.txt").splitlines()
    splits = {split: _labels(archive, texts, f"images_variant_{theirs}.txt", names) for split, theirs in SPLITS.items()}
    ids = {image: int(image.removesuffix(".jpg")) for part in splits.values() for image in part}
    images = archives.images((archive,), f"{NAME}/data/images/")
    return classes.content(splits, names, ids, {"source": "aircraft100", "cropped_rows": STRIP}), (
        lambda rows: ((image_id, without_strip(data)) for image_id, data in images(rows))
    )


def _text(archive: Path, texts: dict[str, bytes], name: str) -> str:
    try:
        return texts[f"{NAME}/data/{name}"].decode("utf-8")
    except KeyError:
        raise InputError(archive, f"holds no data/{name}", "is it the archive of the official layout?") from None


def _labels(archive: Path, texts: dict[str, bytes], name: str, names: list[str]) -> Labels:
    """`1025794 707-320`: image and variant, which may hold spaces."""
    labels: Labels = {}
    for number, line in enumerate(_text(archive, texts, name).splitlines(), 1):
        image, _, variant = line.partition(" ")
        if not image.isdecimal() or variant not in names:
            raise InputError(f"{archive}: {name}:{number}", f"{line[:60]!r} is no image and variant", "fetch it again")
        labels[f"{image}.jpg"] = names.index(variant)
    return labels


def without_strip(data: bytes) -> bytes:
    """A JPEG without its lowest STRIP rows.

    It is saved with its own tables and sampling. Rows are cut at the end only, so that the blocks stay where they
    were: 51 dB on average over photographs, where saving at quality 95 has 46 dB and half as many bytes again.
    Raises InputError for anything but a JPEG higher than the strip.
    """
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            image.load()
            cut = image.crop((0, 0, image.width, image.height - STRIP))
            buffer = BytesIO()
            cut.save(buffer, "JPEG", qtables=image.quantization, subsampling=JpegImagePlugin.get_sampling(image))
            return buffer.getvalue()
    except Exception as error:  # whatever a broken file leads a decoder to raise
        raise InputError("an aircraft image", f"cannot be cropped: {error}", "fetch the archive again") from None
