"""A user's own data: two annotated splits on disk → the project's raw form.

Everything is read and checked before anything is written. What a valid annotation file is belongs to `coco_json`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vrft_core import annotations, io
from vrft_core.errors import InputError
from vrft_core.params import Benchmark, Files
from vrft_core.sources import coco_json, own, selection
from vrft_core.sources.coco_json import Dataset, Problems
from vrft_core.sources.located import find, locate

VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Source:
    """A checked source: the content of `annotations.json`, the file behind each image id, and what was noticed.

    `digests`: of each split, as `params.yaml` holds them, see `digest`.
    """

    data: dict
    files: dict[int, Path]
    digests: dict[str, str]
    remarks: list[str]


def write(directory: Path, benchmark: Benchmark, root: Path) -> None:
    """Make `directory` hold images/{train,val,eval}/ (the files' own bytes) and annotations.json.

    Raises InputError as `read` does; then nothing has been written.
    """
    source = read(benchmark, root)
    for split, found in source.digests.items():
        _refuse_other(_files(benchmark, split), found, root)
    own.write(directory, source.data, source.files)


def refuse_changed(benchmark: Benchmark, root: Path, name: str = "NAME") -> None:
    """Raises InputError when an annotation file is not that of params.yaml, or other images are missing than were.

    Where none was missing, one that is missing now is found by `write`.
    """
    for split in ("train", "eval"):
        file = _files(benchmark, split)
        if file.sha256 != digest(root / file.annotations):  # else `write` looks for the images
            dataset = coco_json.load(root / file.annotations, Problems())
            names = {image["file_name"] for image in dataset.images.values()}
            lost = [name for name in names if not find(root / file.images, name)]
            _refuse_other(file, digest(dataset.path, lost), root, name)


def _refuse_other(file: Files, found: str, root: Path, name: str = "NAME") -> None:
    if file.sha256 != found:
        raise InputError(
            root / file.annotations,
            f"has changed, or images in {root / file.images} have, since it was added to params.yaml",
            f"`vrft update {name}` takes it as it is now, and what depends on it runs again",
        )


def digest(path: Path, missing: Iterable[str] = ()) -> str:
    """sha256 of an annotation file; where images it labels are not there, of their names too.

    Raises InputError when it cannot be read.
    """
    try:
        content = io.sha256(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "check the path") from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", "give a readable file") from None
    names = sorted(set(missing))
    both = "\n".join([content, *names]).encode(errors="replace")
    return hashlib.sha256(both).hexdigest() if names else content


def read(benchmark: Benchmark, root: Path) -> Source:
    """Check both splits with every image decoded, and set a quarter of the training images aside for validation.

    Frequency letters and counts are those of the training images that remain. Annotations are numbered again, since
    two files may use the same ids; image and category ids stay.

    Labels of images that are not there are left out, see `missing`. Raises InputError with the first fault (file,
    field, remedy) and the number of further ones: unreadable or incomplete files, rows `coco_json` refuses, images that
    are broken or of another size, and images that are in both splits, by id or by content.
    """
    problems = Problems()
    folders = {split: root / _files(benchmark, split).images for split in ("train", "eval")}
    sets = {s: coco_json.load(root / _files(benchmark, s).annotations, problems) for s in ("train", "eval")}
    problems.refuse()
    for split, folder in folders.items():
        if not folder.is_dir():
            raise InputError(folder, f"no such folder ({split}.images)", "give the folder that holds the images")
    located, missing, remarks = locate(sets, folders, problems)
    problems.refuse()
    sets = {split: dataset.of(located[split]) for split, dataset in sets.items()}
    for split, dataset in sets.items():
        if missing[split] and not dataset.annotations:
            problems.add(dataset.path, "annotations: no image that is there has an object", "add such images")
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
        "categories": annotations.counted(
            [row for _, row in sorted((sets["eval"].categories | sets["train"].categories).items())],
            (row for row in rows if splits[row["image_id"]] == "train"),
        ),
    }
    pinned = {split: digest(dataset.path, missing[split]) for split, dataset in sets.items()}
    return Source(data, located["train"] | located["eval"], pinned, remarks)


def _files(benchmark: Benchmark, split: str) -> Files:
    found = benchmark.train if split == "train" else benchmark.eval
    assert found, "a benchmark of the user's own files has both"
    return found


def _digest(dataset: Dataset, image_id: int, path: Path, problems: Problems) -> str:
    """sha256 of an image file that decodes to the size its row gives, upright or as stored."""
    row, where = dataset.images[image_id], f"{dataset.path}: images.width and height (id {image_id})"
    found = own.opened(str(path), path, (row["width"], row["height"]), where, problems)
    return found[1] if found else ""


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
    chosen = selection.held_out(shows, VALIDATION_SHARE, order=str)
    if not chosen:
        raise InputError(
            train.path, "images: too few to hold some out for validation", "annotate at least two images of a category"
        )
    return {i for i, digest in digests.items() if digest in chosen}


def _union(rows: list[dict]) -> list[dict]:
    return list({tuple(sorted(row.items())): row for row in rows}.values())
