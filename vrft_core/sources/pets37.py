"""Oxford-IIIT Pet: 7,349 images of 37 breeds (Parkhi et al., 2012)."""

from pathlib import Path

from vrft_core.errors import InputError
from vrft_core.sources import archives, classes, coop, writing
from vrft_core.sources.classes import Labels, Settings
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "pets37",
    "CC BY-SA 4.0; the photographers keep the copyright of the images",
    "Parkhi, Vedaldi, Zisserman and Jawahar, Cats and Dogs, CVPR 2012",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    ask=False,
)
ADDRESSES = ("https://thor.robots.ox.ac.uk/~vgg/data/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")
FILES = {
    "images": File(
        "pets37",
        "images.tar.gz",
        tuple(address + "images.tar.gz" for address in ADDRESSES),
        LICENCE,
        791_918_971,
        "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
    ),
    "annotations": File(
        "pets37",
        "annotations.tar.gz",
        tuple(address + "annotations.tar.gz" for address in ADDRESSES),
        LICENCE,
        19_173_078,
        "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
    ),
    "coop": coop.file("pets37", "split_zhou_OxfordPets.json", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"),
}
LISTS = {"train": "annotations/trainval.txt", "eval": "annotations/test.txt"}


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; both splits evaluate on the official 3,669 images.

    Officially there is no validation split: `settings.validation` of the 3,680 training images is held out. CoOp has
    one. Raises InputError as `download.fetch` and `writing.write` do, and for lists that contradict each other.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    wanted = ["images", "annotations"] + (["coop"] if settings.splits == "coop" else [])
    paths = dict(zip(wanted, fetch([FILES[name] for name in wanted], cache).values(), strict=True))
    splits, names = _lists(paths["annotations"])
    if settings.splits == "coop":
        official = splits["train"] | splits["eval"]
        splits = classes.agreed(coop.read(paths["coop"]), official, paths["coop"])
    else:
        splits = classes.with_validation(splits, settings.validation)
    ids = {image: i for i, image in enumerate(sorted(image for part in splits.values() for image in part), 1)}
    info = {"source": "pets37", "splits": settings.splits}
    return classes.content(splits, names, ids, info), archives.images((paths["images"],), "images/")


def _lists(archive: Path) -> tuple[dict[str, Labels], list[str]]:
    """Labels of both official lists, and the breeds' names: `Maine_Coon_12 23 1 9` is class 23, `maine coon`."""
    texts = dict(archives.members(archive, lambda name: name in LISTS.values()))
    splits: dict[str, Labels] = {}
    names: dict[int, str] = {}
    for split, member in LISTS.items():
        if member not in texts:
            raise InputError(archive, f"holds no file {member!r}", "is it the archive of the official layout?")
        splits[split] = {}
        for number, line in enumerate(texts[member].decode("utf-8").splitlines(), 1):
            try:
                image, label, _, _ = line.split()
                label = int(label) - 1
            except ValueError:
                raise InputError(
                    f"{archive}: {member}:{number}", "must be image, class, species, breed", "fetch it again"
                ) from None
            name = image.rpartition("_")[0].replace("_", " ").lower()
            if names.setdefault(label, name) != name:
                raise InputError(
                    f"{archive}: {member}:{number}",
                    f"class {label + 1} is {names[label]!r} and {name!r}",
                    "fetch it again",
                )
            splits[split][f"{image}.jpg"] = label
    if set(names) != set(range(len(names))):
        raise InputError(archive, f"classes must be 1 to {len(names)}", "fetch it again")
    return splits, [names[label] for label in range(len(names))]
