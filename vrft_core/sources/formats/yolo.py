"""YOLO as Ultralytics and Roboflow write it: `data.yaml`, and `labels/NAME.txt` for `images/NAME.jpg`, or beside it."""

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from vrft_core import images, yaml_text
from vrft_core.errors import InputError
from vrft_core.sources.formats.labels import Box, Label, Tree, around, box

TITLE = "YOLO"
KEYS = {"train": "train", "val": "val", "valid": "val", "test": "eval"}
LISTS = ("classes.txt", "obj.names", "_darknet.labels")  # a name a line: Label Studio, CVAT, Roboflow


def mine(tree: Tree, name: str) -> bool:
    """`data.yaml`, whatever it is called, or a list of names."""
    last = name.split("/")[-1]
    if not last.endswith((".yaml", ".yml")):
        return last in LISTS
    try:
        return "names" in _yaml(tree, name)
    except InputError:
        return last == "data.yaml"


def read(tree: Tree) -> None:
    """An image without a label file, or with an empty one, shows none of the classes; of a polygon the box is taken."""
    names, uses = _settings(tree)
    files = set(tree.ending(".txt"))
    for image in tree.images:
        paths = (image, *map(str, PurePosixPath(image).parents))
        split = next((use for path in paths if len(uses.get(path, ())) == 1 for use in uses[path]), None)
        item, file = tree.item(image, str(tree.root / image), split), _label_file(image)
        if file not in files:
            continue
        files.discard(file)
        tree.read.add(file)
        tree.named.add(image)
        lines = [line.split() for line in tree.text(file).splitlines()]
        size = images.size(tree.root / image) if any(lines) else (0, 0)
        for number, fields in enumerate(lines, 1):
            where = f"{tree.root / file}: line {number}"
            with tree.problems.caught(where, "must be a class and x y width height, or a polygon", "correct the line"):
                if not fields:
                    continue
                found, name = _box([float(value) for value in fields[1:]], *size), names.get(float(fields[0]))
                if name is None:
                    problem = f"class {fields[0][:20]} has no name"
                    tree.problems.add(where, problem, "name it in data.yaml, or correct the line")
                else:
                    item.labels.append(Label(name, found, where))
    for file in sorted(files):
        if "labels" in file.split("/")[:-1] and not mine(tree, file):
            tree.missing[file.removesuffix(".txt")] = str(tree.root / file)


def _box(values: list[float], wide: int, high: int) -> Box:
    """Of centre and size, or of a polygon's points, in parts of the image."""
    if len(values) == 4:
        x, y, w, h = values
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = around(zip(values[::2], values[1::2], strict=True))
    return box(left * wide, top * high, right * wide, bottom * high)


def _label_file(image: str) -> str:
    parts = list(PurePosixPath(image).with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return "/".join(parts)


def _yaml(tree: Tree, name: str) -> dict[str, Any]:
    data = yaml_text.parse(yaml_text.read(tree.root / name), tree.root / name)
    return data if isinstance(data, dict) else {}


def _settings(tree: Tree) -> tuple[dict[float, str], dict[str, set[str]]]:
    """The names of the classes, and `_uses`. Of lists and data.yaml the latter counts; of equals all must agree."""
    files = sorted(tree.of(mine), key=lambda name: name.endswith(LISTS))
    listed = files[0].endswith(LISTS)
    first, *others = [file for file in files if file.endswith(LISTS) == listed]
    names = _names(tree, first)
    if other := next((file for file in others if _names(tree, file) != names), None):
        raise InputError(tree.root / other, f"names other classes than {first}", "leave one of them in the folder")
    return names, _uses(tree, {key: f"{key}.txt" for key in KEYS} if listed else _yaml(tree, first))


def _names(tree: Tree, file: str) -> dict[float, str]:
    if file.endswith(LISTS):
        return dict(enumerate(tree.text(file).splitlines()))
    said = _yaml(tree, file)
    if "kpt_shape" in said:
        raise InputError(tree.root / file, "kpt_shape: labels of key points are not read", "export boxes")
    names = said.get("names")
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(isinstance(i, int) for i in names):
        raise InputError(tree.root / file, "names: must list the classes", "for example names: [cat, dog]")
    return {number: str(name) for number, name in names.items()}


def _uses(tree: Tree, said: dict[str, Any]) -> dict[str, set[str]]:
    """Each end of a path that data.yaml names → the splits it is named for; of a list of images, of the paths in it."""
    uses, texts = defaultdict[str, set[str]](set), set(tree.ending(".txt"))
    for key, use in KEYS.items():
        for entry in said[key] if isinstance(said.get(key), list) else [said.get(key) or ""]:
            lists = [end for end in _ends(str(entry)) if end in texts]
            tree.read |= set(lists)
            for path in tree.text(lists[0]).splitlines() if lists else [str(entry)]:
                for end in _ends(path):
                    uses[end].add(use)
    return uses


def _ends(path: str) -> list[str]:
    """The path from each of its folders on, the longest first."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return ["/".join(parts[start:]) for start in range(len(parts))]
