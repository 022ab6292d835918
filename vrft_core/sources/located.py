"""Where the images of two annotation files lie: each in its folder, under its whole name or its last part."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from vrft_core.images import SUFFIXES
from vrft_core.sources.coco_json import Dataset, Problems, show
from vrft_core.sources.missing import left_out


def locate(
    sets: Mapping[str, Dataset], folders: Mapping[str, Path], problems: Problems
) -> tuple[dict[str, dict[int, Path]], dict[str, list[str]], list[str]]:
    """Of each split image id → file, and the names of the images that are not there; what a user should know of these.

    What `missing.left_out` refuses is a problem, as are names that lead out of the folder and files of two rows.
    """
    located = {split: _located(dataset, folders[split], problems) for split, dataset in sets.items()}
    gone, remarks = {}, []
    for split, dataset in sets.items():
        lost = {i: row["file_name"] for i, row in dataset.images.items() if i not in located[split]}
        gone[split] = list(lost.values())
        if lost and not problems.found:
            missing = {name: f"{dataset.path}: images.file_name (id {i})" for i, name in lost.items()}
            remarks += left_out(missing, located[split], _others(folders, located), folders[split], problems)
    return located, gone, remarks


def find(folder: Path, file_name: str) -> Path | None:
    """An image's file under its whole name or its last part; None where there is neither."""
    name = PurePosixPath(file_name)
    return next((path for path in (folder / name, folder / name.name) if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # for one, a name longer than any file's
        return False


def _located(dataset: Dataset, folder: Path, problems: Problems) -> dict[int, Path]:
    located: dict[int, Path] = {}
    owner: dict[Path, int] = {}
    for i, image in dataset.images.items():
        name, where = PurePosixPath(image["file_name"]), f"images.file_name (id {i})"
        if name.is_absolute() or ".." in name.parts:
            problem = f"{where}: {show(str(name))} leads out of the image folder"
            problems.add(dataset.path, problem, "give a path inside it")
        elif path := find(folder, image["file_name"]):
            if path in owner:
                problems.add(dataset.path, f"{where}: {path} already belongs to image {owner[path]}", "remove one row")
            located[i], owner[path] = path, i
    return located


def _others(folders: Mapping[str, Path], located: Mapping[str, Mapping[int, Path]]) -> set[str]:
    """Names of images that lie in one of the folders and belong to no row."""
    used = {path.resolve() for files in located.values() for path in files.values()}
    found = (path for folder in folders.values() for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return {path.name for path in found if path.resolve() not in used}
