"""YOLO as Ultralytics and Roboflow write it: `data.yaml`, and `labels/NAME.txt` for `images/NAME.jpg`, or beside it."""

import math
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from vrft_core import images, yaml_text
from vrft_core.errors import InputError
from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Label, Labelled, Tree, split_of

TITLE = "YOLO"
KEYS = {"train": "train", "val": "val", "valid": "val", "test": "eval"}


def claims(tree: Tree) -> bool:
    return _settings(tree) is not None or any(name.split("/")[-1] == "classes.txt" for name in tree.files)


def read(tree: Tree, problems: Problems) -> Labelled:
    """An image without a label file, or with an empty one, shows none of the classes; of a polygon the box is taken."""
    names, splits, found = _names(tree), _splits(tree), tree.items()
    files = set(tree.ending(".txt"))
    for image in tree.images:
        item = found.of(image, str(tree.root / image), splits(image))
        if (file := _label_file(image)) in files:
            files.discard(file)
            lines = tree.text(file).splitlines()
            size = images.size(tree.root / image) if any(map(str.strip, lines)) else (0, 0)
            for number, line in enumerate(lines, 1):
                where = f"{tree.root / file}: line {number}"
                if line.strip() and (label := _label(line.split(), names, size, where, problems)):
                    item.labels.append(label)
    for file in sorted(files):
        if "labels" in file.split("/")[:-1] and not file.endswith("classes.txt"):
            problems.add(tree.root / file, "no image belongs to these labels", "add the image, or remove the file")
    return Labelled("boxes", list(found.values()))


def _label(fields: list[str], names: dict[int, str], size: images.Size, where: str, problems: Problems) -> Label | None:
    try:
        number, values = float(fields[0]), [float(value) for value in fields[1:]]
    except ValueError:
        number, values = -1.0, []
    if (len(values) != 4 and (len(values) < 6 or len(values) % 2)) or not all(map(math.isfinite, values)):
        problems.add(where, "must be a class and x y width height, or a polygon", "correct or remove the line")
        return None
    if number not in names:
        problems.add(where, f"class {fields[0][:20]} has no name", "name it in data.yaml, or correct the line")
        return None
    x, y, w, h = values[:4]
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if len(values) > 4:
        left, right, top, bottom = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    wide, high = size
    return Label(names[int(number)], (left * wide, top * high, (right - left) * wide, (bottom - top) * high), where)


def _label_file(image: str) -> str:
    parts = list(PurePosixPath(image).with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return "/".join(parts)


def _settings(tree: Tree) -> tuple[str, dict[str, Any]] | None:
    for name in tree.ending(".yaml", ".yml"):
        try:
            data = yaml_text.parse(tree.text(name), tree.root / name)
        except InputError:
            data = {"names": None} if name.split("/")[-1] == "data.yaml" else None
        if isinstance(data, dict) and "names" in data:
            return name, data
        tree.read.discard(name)
    return None


def _names(tree: Tree) -> dict[int, str]:
    settings = _settings(tree)
    if settings and "kpt_shape" in settings[1]:
        raise InputError(tree.root / settings[0], "kpt_shape: labels of key points are not read", "export boxes")
    if settings is None:
        file = next(name for name in tree.files if name.split("/")[-1] == "classes.txt")
        return dict(enumerate(tree.text(file).splitlines()))
    names = settings[1]["names"]
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(isinstance(i, int) for i in names):
        raise InputError(tree.root / settings[0], "names: must list the classes", "for example names: [cat, dog]")
    return {number: str(name) for number, name in names.items()}


def _splits(tree: Tree) -> Callable[[str], str | None]:
    """Image → split, by data.yaml where it names folders that are there, else by the names of its own folders."""
    said = settings[1] if (settings := _settings(tree)) else {}
    listed: dict[str, set[str]] = {}
    for key, use in KEYS.items():
        entries = said.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            parts = [part for part in str(entry or "").split("/") if part not in ("", ".", "..")]
            ends = [f"{'/'.join(parts[start:])}/" for start in range(len(parts))]
            if folder := next((end for end in ends if any(image.startswith(end) for image in tree.images)), None):
                listed.setdefault(folder, set()).add(use)
    alone = {folder: uses.pop() for folder, uses in listed.items() if len(uses) == 1}

    def split(image: str) -> str | None:
        listed = [folder for folder in alone if image.startswith(folder)]
        return alone[max(listed, key=len)] if listed else split_of(image)

    return split
