"""The splits of CoOp (Zhou et al. 2022), which most few-shot work, the paper's included, evaluates on.

One JSON file a data set: {"train" | "val" | "test": [[image, label from 0, class name], ...]}. They lie on a personal
drive and have no published checksum; so a source compares every label with the official annotations.
"""

from pathlib import Path

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File

LICENCE = Licence(
    "coop",
    "splits published with CoOp's code, MIT",
    "Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022",
    "https://github.com/KaiyangZhou/CoOp",
    ask=False,
)
SPLITS = {"train": "train", "val": "val", "test": "eval"}

Row = tuple[str, int, str]  # image, label from 0, class name


def file(source: str, name: str, drive: str) -> File:
    """The record of one split file; `drive` is its id."""
    return File(
        source,
        name,
        (f"https://drive.usercontent.google.com/download?id={drive}&export=download&confirm=t",),
        LICENCE,
        check=read,
        by_hand=f"{name}: https://drive.google.com/file/d/{drive}/view",
    )


def read(path: Path) -> dict[str, list[Row]]:
    """Rows of train, val and eval. Raises InputError for anything else than such a file."""
    data = io.read_json(path)
    if not isinstance(data, dict) or set(data) != set(SPLITS):
        raise InputError(path, "is not a CoOp split: it must hold train, val and test", "fetch it by hand")
    for name, rows in data.items():
        if not isinstance(rows, list) or not rows or not all(map(_is_row, rows)):
            raise InputError(path, f"{name}: must be rows of image, label and class name", "fetch it by hand")
    return {ours: [tuple(row) for row in data[theirs]] for theirs, ours in SPLITS.items()}


def _is_row(row: object) -> bool:
    return isinstance(row, list) and [type(value) for value in row] == [str, int, str]
