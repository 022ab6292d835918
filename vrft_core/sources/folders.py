"""A folder of labelled images, in any of `formats` → the project's raw form, whatever the format.

Ids follow from names alone, boxes are rounded to hundredths of a pixel, and categories are those that occur: the same
labels in another format give the same bytes. Everything is read and checked before anything is written.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vrft_core import annotations, io, near_duplicates
from vrft_core.errors import InputError
from vrft_core.params.benchmarks import Folder
from vrft_core.sources import formats, own
from vrft_core.sources.coco_json import TOLERANCE, Problems
from vrft_core.sources.division import Image, divide
from vrft_core.sources.formats.labels import Box, Kind, Label, Tree
from vrft_core.sources.missing import left_out

DECIMALS = 2  # of a box, in pixels


@dataclass(frozen=True)
class Source:
    """A checked folder: the content of `annotations.json`, what each image id's file holds, and what was noticed."""

    data: dict
    contents: dict[int, Path | bytes]
    kind: Kind
    remarks: list[str]


def write(directory: Path, folder: Folder, root: Path) -> None:
    """Make `directory` hold images/{train,val,eval}/ (the files' own bytes) and annotations.json.

    Raises InputError as `read` does, and where the folder is not as it was added; then nothing has been written.
    """
    refuse_changed(folder, root)
    source = read(root / folder.path, folder.format)
    own.write(directory, source.data, source.contents)


def digest(folder: Path, format: str) -> str:
    """sha256 over the names and contents of a folder's images and label files."""
    tree = Tree(folder)
    formats.get(format).read(tree)
    total = hashlib.sha256()
    for name in sorted(tree.read | set(tree.images)):
        total.update(f"{name}\n{io.sha256(folder / name)}\n".encode())
    return total.hexdigest()


def refuse_changed(folder: Folder, root: Path, name: str = "NAME") -> None:
    """Raises InputError when images or labels are no longer those whose digest params.yaml holds."""
    if digest(root / folder.path, folder.format) != folder.sha256:
        raise InputError(
            root / folder.path,
            "has changed since it was added to params.yaml",
            f"`vrft update {name}` takes it as it is now, and what depends on it runs again",
        )


def read(folder: Path, format: str) -> Source:
    """Check all labels, decode all images, and give each a split (`division`).

    Raises InputError with the first fault (file, line, remedy) and the number of further ones.
    """
    tree = Tree(folder)
    formats.get(format).read(tree)
    problems, kind = tree.problems, tree.kind()
    tree.remarks += left_out(tree.missing, tree.named, set(tree.images) - tree.named, folder, problems)
    problems.refuse()
    if not any(item.labels for item in tree.items.values()):
        raise InputError(folder, "no image has a label", "label some")
    images = []
    for item in tree.items.values():
        if found := own.opened(item.name, item.content, item.size, item.where, problems):
            images.append(Image(item, found[1], *found[0].size, near_duplicates.looks(found[0])))
    problems.refuse()
    for image in images:
        _check(image, kind, problems)
    problems.refuse()
    boxed = [(label.box, label.where) for image in images for label in image.item.labels if label.box]
    if boxed and max(max(x + w, y + h) for (x, y, w, h), _ in boxed) <= 1:
        raise InputError(boxed[0][1], "this box, like all others, lies within one pixel", "give boxes in pixels")
    images, remarks = divide(sorted(images, key=lambda image: image.item.name), folder)
    if empty := sum(not image.item.labels for image in images):
        remarks.insert(0, f"{empty} images have no label: they count as showing none of the categories")
    _name(images)
    return Source(*_document(images, tree.described, kind), kind, [*tree.remarks, *remarks])


def _check(image: Image, kind: Kind, problems: Problems) -> None:
    """Names, and boxes: rounded, and clipped where they reach over the border by no more than TOLERANCE."""
    checked = []
    for label in image.item.labels:
        name, box = label.name.strip(), None
        if not name or not name.isprintable() or len(name) > 100:
            problems.add(label.where, f"label {name[:40]!r} must be printable, of 1 to 100 characters", "rename it")
        if label.expression is not None and (len(label.expression) > 1000 or not label.expression.strip()):
            problems.add(label.where, "an expression must have 1 to 1000 characters", "correct it")
        if label.box is not None:
            box = _inside(label.box, label.where, image, problems)
            if box is None:
                continue
        checked.append(Label(name, box, label.where, label.expression, label.crowd))
    image.item.labels = checked
    if kind == "classes" and len({label.name for label in checked}) > 1:
        first, second = sorted({label.name for label in checked})[:2]
        problems.add(checked[0].where, f"{image.item.name} has two classes, {first!r} and {second!r}", "leave one")


def _inside(box: Box, where: str, image: Image, problems: Problems) -> Box | None:
    x, y, w, h = box
    right, bottom = x + w, y + h
    shown = ", ".join(f"{value:g}" for value in (x, y, right, bottom))
    out = min(x, y) < -TOLERANCE or right > image.width + TOLERANCE or bottom > image.height + TOLERANCE
    left, top = max(round(x, DECIMALS), 0.0), max(round(y, DECIMALS), 0.0)
    right, bottom = min(round(right, DECIMALS), image.width), min(round(bottom, DECIMALS), image.height)
    if w <= 0 or h <= 0:
        problem = "has no area"
    elif out:
        problem = f"reaches out of the {image.width}x{image.height} image"
    elif right <= left or bottom <= top:
        problem = "has no area inside the image"
    else:
        corners = left, top, round(right - left, DECIMALS), round(bottom - top, DECIMALS)
        x, y, w, h = (float(value) + 0.0 for value in corners)  # no integers, no −0.0
        return x, y, w, h
    problems.add(where, f"box {shown} (left, top, right, bottom) {problem}", "correct or remove it")
    return None


def _name(images: Sequence[Image]) -> None:
    """File names without folders where that leaves them apart."""
    short = [PurePosixPath(image.item.name).name for image in images]
    if len(set(short)) == len(short):
        for image, name in zip(images, short, strict=True):
            image.item.name = name


def _document(
    images: Sequence[Image], described: Mapping[str, dict], kind: Kind
) -> tuple[dict, dict[int, Path | bytes]]:
    """The content of annotations.json, and what holds each image."""
    names = sorted({label.name for image in images for label in image.item.labels})
    ids = {name: number for number, name in enumerate(names, 1)}
    ordered = sorted(images, key=lambda image: image.item.name)
    rows = [
        row
        for number, image in enumerate(ordered, 1)
        for row in sorted((_row(number, image, label, ids) for label in image.item.labels if not label.crowd), key=_key)
    ]
    data = {
        "info": {"source": "own", "labels": kind, "frequencies": False},
        "licenses": [],
        "images": [_image(number, image, ids, kind) for number, image in enumerate(ordered, 1)],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, 1)],
        "categories": annotations.counted(
            [
                {"synset": n, "synonyms": [n], "def": n, **described.get(n, {}), "id": i, "name": n}
                for n, i in ids.items()
            ],
            (row for row in rows if ordered[row["image_id"] - 1].split == "train"),
        ),
    }
    return data, {number: image.item.content for number, image in enumerate(ordered, 1)}


def _row(number: int, image: Image, label: Label, ids: dict[str, int]) -> dict:
    absent = label.expression is not None and label.box is None
    whole = (0.0, 0.0, float(image.width), float(image.height))
    bbox = list((0.0, 0.0, 0.0, 0.0) if absent else label.box or whole)
    row = {"image_id": number, "category_id": ids[label.name], "bbox": bbox, "area": bbox[2] * bbox[3]}
    row |= {"segmentation": [], "iscrowd": 0}
    return row | ({} if label.expression is None else {"expression": label.expression, "absent": absent})


def _key(row: dict) -> tuple:
    return row["category_id"], row["bbox"], row.get("expression", "")


def _image(number: int, image: Image, ids: dict[str, int], kind: Kind) -> dict:
    shown = {label.name for label in image.item.labels if not label.crowd}
    partly = (image.item.partly | {label.name for label in image.item.labels if label.crowd}) & set(ids)
    absent = set(ids) - shown - partly if image.item.absent is None else image.item.absent & set(ids) - shown
    return {
        "id": number,
        "width": image.width,
        "height": image.height,
        "file_name": f"{image.split}/{image.item.name}",
        "neg_category_ids": [] if kind == "expressions" else sorted(ids[name] for name in absent),
        "not_exhaustive_category_ids": sorted(ids[name] for name in partly),
        "split": image.split,
        "sha256": image.sha256,
    }
