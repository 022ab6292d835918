"""Oxford Flowers-102: 8,189 images of 102 flowers (Nilsback and Zisserman, 2008)."""

import re
from pathlib import Path

import numpy as np

from vrft_core.errors import InputError
from vrft_core.sources import archives, classes, coop, mat, writing
from vrft_core.sources.classes import Labels, Settings
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "flowers102",
    "no licence is stated; published for research",
    "Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ask=True,
)
ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
FILES = {
    "images": File(
        "flowers102",
        "102flowers.tgz",
        (ADDRESS + "102flowers.tgz",),
        LICENCE,
        344_862_509,
        "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    ),
    "labels": File(
        "flowers102",
        "imagelabels.mat",
        (ADDRESS + "imagelabels.mat",),
        LICENCE,
        502,
        md5="e0620be6f572b9609742df49c70aed4d",
    ),
    "splits": File(
        "flowers102", "setid.mat", (ADDRESS + "setid.mat",), LICENCE, 14_989, md5="a5357ecc9cb78c4bef273ce3793fc85c"
    ),
    "coop": coop.file("flowers102", "split_zhou_OxfordFlowers.json", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"),
}
SPLITS = {"train": "trnid", "val": "valid", "eval": "tstid"}

# The published files number the classes only; their names stand on the page of the data set, in this order.
NAMES = """pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily,
moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea, spear thistle,
yellow iris, globe-flower, purple coneflower, peruvian lily, balloon flower, giant white arum lily, fire lily,
pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers, stemless gentian,
artichoke, sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine sea holly,
ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil, sword lily,
poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common dandelion, petunia, wild pansy,
primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow dahlia,
cautleya spicata, japanese anemone, black-eyed susan, silverbush, californian poppy, osteospermum, spring crocus,
bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose, thorn apple, morning glory, passion flower,
lotus, toad lily, anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree mallow, magnolia, cyclamen,
watercress, canna lily, hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow, mexican petunia,
bromelia, blanket flower, trumpet creeper, blackberry lily"""
CLASSES = re.split(r",\s+", NAMES)


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; the split `official` has 6,149 images to evaluate on, `coop` 2,463.

    Raises InputError as `download.fetch` and `writing.write` do, and for labels outside 1 to 102.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    wanted = ["images", "labels"] + (["splits"] if settings.splits == "official" else ["coop"])
    paths = dict(zip(wanted, fetch([FILES[name] for name in wanted], cache).values(), strict=True))
    official = _labels(paths["labels"])
    if settings.splits == "official":
        splits, names = _splits(paths["splits"], official), CLASSES
    else:
        rows = coop.read(paths["coop"])
        splits, names = classes.agreed(rows, official, paths["coop"]), coop_names(rows, len(CLASSES), paths["coop"])
    ids = {image: _number(image) for image in official}
    info = {"source": "flowers102", "splits": settings.splits}
    return classes.content(splits, names, ids, info), archives.images((paths["images"],), "jpg/")


def coop_names(rows: dict[str, list[coop.Row]], number: int, where: object) -> list[str]:
    """Class names in the order of their labels, `_` as spaces. Raises InputError where a label has none or two."""
    found: dict[int, set[str]] = {}
    for items in rows.values():
        for _, label, name in items:
            found.setdefault(label, set()).add(name.replace("_", " "))
    if set(found) != set(range(number)) or any(len(names) > 1 for names in found.values()):
        raise InputError(where, f"must name each of {number} classes in one way", "fetch it by hand")
    return [found[label].pop() for label in range(number)]


def _labels(path: Path) -> Labels:
    labels = np.ravel(mat.load(path.read_bytes(), path)["labels"])
    if not labels.size or labels.min() < 1 or labels.max() > len(CLASSES):
        raise InputError(path, "labels must be 1 to 102", "fetch it again")
    return {f"image_{number:05d}.jpg": int(label) - 1 for number, label in enumerate(labels, 1)}


def _splits(path: Path, official: Labels) -> dict[str, Labels]:
    data = mat.load(path.read_bytes(), path)
    names = {s: [f"image_{number:05d}.jpg" for number in np.ravel(data[key])] for s, key in SPLITS.items()}
    return {split: {image: official[image] for image in images} for split, images in names.items()}


def _number(image: str) -> int:
    return int(image.removeprefix("image_").removesuffix(".jpg"))
