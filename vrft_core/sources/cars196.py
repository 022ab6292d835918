"""Stanford Cars: 16,185 images of 196 cars (Krause et al., 2013)."""

from pathlib import Path

from vrft_core.errors import InputError
from vrft_core.sources import archives, classes, coop, mat, writing
from vrft_core.sources.classes import Labels, Settings
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "cars196",
    "non-commercial research; the images belong to their owners",
    "Krause, Stark, Deng and Fei-Fei, 3D Object Representations for Fine-Grained Categorization, 3dRR 2013",
    "https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer served)",
    ask=True,
)
BY_HAND = "the authors' server is gone; any copy of the original file will do, its checksum is known"


def _file(name: str, size: int, sha256: str, md5: str) -> File:
    return File("cars196", name, (), LICENCE, size, sha256, md5, by_hand=BY_HAND)


FILES = {
    "train": _file(
        "cars_train.tgz",
        979_269_282,
        "512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
        "065e5b463ae28d29e77c1b4b166cfe61",
    ),
    "test": _file(
        "cars_test.tgz",
        977_350_468,
        "bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
        "4ce7ebf6a94d07f1952d94dd34c4d501",
    ),
    "test_labels": _file(
        "cars_test_annos_withlabels.mat",
        185_758,
        "790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
        "b0a2b23655a3edd16d84508592a98d10",
    ),
    "devkit": _file(
        "car_devkit.tgz",
        330_960,
        "b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
        "c3b158d763b6e2245038c8ad08e45376",
    ),
    "coop": coop.file("cars196", "split_zhou_StanfordCars.json", "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT"),
}


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; both splits evaluate on the official 8,041 images.

    With `coop` the names are CoOp's, and the paper's: the year first. Officially there is no validation split:
    `settings.validation` of the training images is held out. Raises InputError as `download.fetch` and
    `writing.write` do, and for labels outside the list of classes.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    wanted = ["train", "test", "test_labels", "devkit"] + (["coop"] if settings.splits == "coop" else [])
    paths = dict(zip(wanted, fetch([FILES[name] for name in wanted], cache).values(), strict=True))
    devkit = dict(archives.members(paths["devkit"], lambda name: name.endswith(".mat")))
    try:
        names = [str(name) for name in mat.load(devkit["devkit/cars_meta.mat"], paths["devkit"])["class_names"]]
        train = _labels(devkit["devkit/cars_train_annos.mat"], paths["devkit"], "cars_train", len(names))
    except KeyError as error:
        raise InputError(paths["devkit"], f"holds no {error}", "is it the official development kit?") from None
    test = _labels(paths["test_labels"].read_bytes(), paths["test_labels"], "cars_test", len(names))
    if settings.splits == "coop":
        names = [year_first(name) for name in names]
        splits = classes.agreed(coop.read(paths["coop"]), train | test, paths["coop"])
    else:
        splits = classes.with_validation({"train": train, "eval": test}, settings.validation)
    ids = {image: i for i, image in enumerate(sorted(train | test), 1)}
    info = {"source": "cars196", "splits": settings.splits}
    return classes.content(splits, names, ids, info), archives.images((paths["train"], paths["test"]))


def year_first(name: str) -> str:
    """`Audi R8 Coupe 2012` → `2012 Audi R8 Coupe`."""
    rest, _, year = name.rpartition(" ")
    return f"{year} {rest}"


def _labels(data: bytes, where: Path, folder: str, number: int) -> Labels:
    rows = mat.load(data, where).get("annotations")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"fname", "class"} <= set(row) for row in rows):
        raise InputError(where, "annotations must have fname and class", "is it the file with labels?")
    labels = {f"{folder}/{row['fname']}": int(row["class"]) - 1 for row in rows}
    if not all(0 <= label < number for label in labels.values()):
        raise InputError(where, f"class must be 1 to {number}", "fetch it again")
    return labels
