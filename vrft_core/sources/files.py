"""A user's own data: two annotated splits on disk → the project's raw form.

Everything is read and checked before anything is written. What a valid annotation file is belongs to `coco_json`.
"""

import hashlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vrft_core import annotations, io
from vrft_core.errors import InputError
from vrft_core.images import SizeMismatch, open_rgb
from vrft_core.params import Benchmark, Files
from vrft_core.sources import coco_json
from vrft_core.sources.coco_json import Dataset, Problems

VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Source:
    """A checked source: the content of `annotations.json`, and the file behind each image id."""

    data: dict
    files: dict[int, Path]


def write(directory: Path, benchmark: Benchmark, root: Path) -> None:
    """Make `directory` hold images/{train,val,eval}/ (the files' own bytes) and annotations.json.

    Raises InputError as `read` does; then nothing has been written.
    """
    source = read(benchmark, root)
    refuse_changed(benchmark, root)
    with io.new_directory(directory) as new:
        for image in source.data["images"]:
            target = new / "images" / image["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.files[image["id"]], target)
            if io.sha256(target) != image["sha256"]:
                raise InputError(source.files[image["id"]], "changed while it was being copied", "try again")
        io.write_json(new / "annotations.json", source.data)


def refuse_changed(benchmark: Benchmark, root: Path, name: str = "NAME") -> None:
    """Raises InputError when an annotation file is no longer the one whose digest params.yaml holds."""
    for split in ("train", "eval"):
        file = _files(benchmark, split)
        if digest(root / file.annotations) != file.sha256:
            raise InputError(
                root / file.annotations,
                "has changed since it was added to params.yaml",
                f"`vrft update {name}` takes it as it is now, and what depends on it runs again",
            )


def digest(path: Path) -> str:
    """sha256 of an annotation file. Raises InputError when it cannot be read."""
    try:
        return io.sha256(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "check the path") from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", "give a readable file") from None


def read(benchmark: Benchmark, root: Path) -> Source:
    """Check both splits with every image decoded, and set a quarter of the training images aside for validation.

    Frequency letters and counts are those of the training images that remain. Annotations are numbered again, since
    two files may use the same ids; image and category ids stay.

    Raises InputError with the first fault (file, field, remedy) and the number of further ones: unreadable or
    incomplete files, rows `coco_json` refuses, images that are missing, broken or of another size, and images that
    are in both splits, by id or by content.
    """
    problems = Problems()
    folders = {split: root / _files(benchmark, split).images for split in ("train", "eval")}
    sets = {s: coco_json.load(root / _files(benchmark, s).annotations, problems) for s in ("train", "eval")}
    problems.refuse()
    for split, folder in folders.items():
        if not folder.is_dir():
            raise InputError(folder, f"no such folder ({split}.images)", "give the folder that holds the images")
    located = {split: _locate(sets[split], folder, problems) for split, folder in folders.items()}
    problems.refuse()
    digests = {s: {i: _digest(sets[s], i, path, problems) for i, path in located[s].items()} for s in sets}
    problems.refuse()
    _compare(sets["train"], sets["eval"], digests, problems)
    problems.refuse()

    held_out = _validation(sets["train"], digests["train"])
    splits = {i: "val" if i in held_out else "train" for i in sets["train"].images} | dict.fromkeys(
        sets["eval"].images, "eval"
    )
    images = [
        {
            **image,
            "file_name": f"{splits[i]}/{located[name][i].relative_to(folders[name]).as_posix()}",
            "split": splits[i],
            "sha256": digests[name][i],
        }
        for name, dataset in sets.items()
        for i, image in sorted(dataset.images.items())
    ]
    rows = [row for d in sets.values() for row in sorted(d.annotations, key=lambda r: (r["image_id"], r["id"]))]
    data = {
        "info": {
            "sha256": {split: io.sha256(dataset.path) for split, dataset in sets.items()},
            "frequencies": False,
        },
        "licenses": _union(sets["train"].licenses + sets["eval"].licenses),
        "images": images,
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        "categories": _counted(sets, [row for row in rows if splits[row["image_id"]] == "train"]),
    }
    return Source(data, located["train"] | located["eval"])


def _files(benchmark: Benchmark, split: str) -> Files:
    found = benchmark.train if split == "train" else benchmark.eval
    assert found, "a benchmark of the user's own files has both"
    return found


def _locate(dataset: Dataset, folder: Path, problems: Problems) -> dict[int, Path]:
    """Image id → file."""
    located: dict[int, Path] = {}
    owner: dict[Path, int] = {}
    for i, image in dataset.images.items():
        name = PurePosixPath(image["file_name"])
        if name.is_absolute() or ".." in name.parts:
            problem = f"images.file_name (id {i}): {coco_json.show(str(name))} leads out of the image folder"
            problems.add(dataset.path, problem, "give a path inside it")
            continue
        path = find(folder, image["file_name"])
        if path is None:
            problems.add(
                dataset.path,
                f"images.file_name (id {i}): no file {coco_json.show(image['file_name'])} in {folder}",
                "add the image, remove its row, or give the right folder",
            )
        elif path in owner:
            problems.add(
                dataset.path,
                f"images.file_name (id {i}): {path} already belongs to image {owner[path]}",
                "remove one row",
            )
        else:
            located[i], owner[path] = path, i
    return located


def find(folder: Path, file_name: str) -> Path | None:
    """An image's file under its whole name or its last part; None where there is neither."""
    name = PurePosixPath(file_name)
    return next((path for path in (folder / name, folder / name.name) if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # for one, a name longer than any file's
        return False


def _digest(dataset: Dataset, image_id: int, path: Path, problems: Problems) -> str:
    """sha256 of an image file that decodes to the size its row gives, upright or as stored."""
    row = dataset.images[image_id]
    content = b""
    try:
        content = path.read_bytes()
        open_rgb(path, (row["width"], row["height"]), content)
    except SizeMismatch as error:
        problems.add(
            dataset.path,
            f"images.width and height (id {image_id}): {path} {error.problem}",
            "turn the image or its boxes: no EXIF rotation does" if error.turned else "correct the row or the file",
        )
    except InputError as error:
        problems.add(path, f"image {image_id} of {dataset.path.name} {error.problem}", error.remedy)
    except OSError as error:
        problems.add(path, f"image {image_id} of {dataset.path.name} cannot be read: {error.strerror}", "replace it")
    return hashlib.sha256(content).hexdigest()


def _compare(train: Dataset, evaluation: Dataset, digests: dict[str, dict[int, str]], problems: Problems) -> None:
    """Both splits must mean the same by a category id, and share no image."""
    for i in sorted(set(train.categories) & set(evaluation.categories)):
        if (one := train.categories[i]["name"]) != (other := evaluation.categories[i]["name"]):
            problems.add(
                evaluation.path,
                f"categories.name (id {i}): {other!r}, but {one!r} in {train.path}",
                "use one list for both",
            )
    names = {row["name"]: i for i, row in train.categories.items()}
    for i, row in evaluation.categories.items():
        if names.get(row["name"], i) != i:
            problems.add(
                evaluation.path,
                f"categories.id: {row['name']!r} is {i}, but {names[row['name']]} in {train.path}",
                "use one list for both",
            )
    by_content = {digest: i for i, digest in digests["train"].items()}
    for i, image in evaluation.images.items():
        if (same := by_content.get(digests["eval"][i])) is not None:
            problems.add(
                evaluation.path,
                f"images.file_name (id {i}): {image['file_name']!r} has the same content as training image {same} "
                f"({train.images[same]['file_name']!r}) of {train.path}",
                "evaluate on images that are not trained on",
            )
        elif i in train.images:
            problems.add(
                evaluation.path,
                f"images.id: {i} ({image['file_name']!r}) is also in {train.path} ({train.images[i]['file_name']!r})",
                "evaluate on other images; if they are others, give them other ids",
            )


def _validation(train: Dataset, digests: dict[int, str]) -> set[int]:
    """Training images to hold out: up to a quarter, chosen by their content alone.

    Copies of one image stay together. An image stays in training where a category would lose more than half of its
    images. Raises InputError when that leaves nothing to validate on.
    """
    shows: dict[str, set[int]] = {}
    for row in train.annotations:
        shows.setdefault(digests[row["image_id"]], set()).add(row["category_id"])
    left: dict[int, int] = {}
    for categories in shows.values():
        for category in categories:
            left[category] = left.get(category, 0) + 1
    keep = {category: math.ceil(count / 2) for category, count in left.items()}
    chosen: set[str] = set()
    for digest in sorted(shows):
        if len(chosen) < VALIDATION_SHARE * len(shows) and all(left[c] > keep[c] for c in shows[digest]):
            chosen.add(digest)
            for category in shows[digest]:
                left[category] -= 1
    if not chosen:
        raise InputError(
            train.path, "images: too few to hold some out for validation", "annotate at least two images of a category"
        )
    return {i for i, digest in digests.items() if digest in chosen}


def _counted(sets: dict[str, Dataset], training_rows: list[dict]) -> list[dict]:
    """Both splits' categories, by id, with LVIS's counts and letter over the training rows."""
    images: dict[int, set[int]] = {}
    instances: dict[int, int] = {}
    for row in training_rows:
        images.setdefault(row["category_id"], set()).add(row["image_id"])
        instances[row["category_id"]] = instances.get(row["category_id"], 0) + 1
    return [
        {
            **row,
            "frequency": annotations.frequency(len(images.get(i, ()))),
            "image_count": len(images.get(i, ())),
            "instance_count": instances.get(i, 0),
        }
        for i, row in sorted((sets["eval"].categories | sets["train"].categories).items())
    ]


def _union(rows: list[dict]) -> list[dict]:
    return list({tuple(sorted(row.items())): row for row in rows}.values())
