"""Label Studio's JSON export, a list of tasks: rectangles, polygons (their boxes), choices of one class an image."""

import json
import math
import re
from typing import Any
from urllib.parse import unquote

from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Item, Label, Labelled, Tree

TITLE = "Label Studio JSON"


def claims(tree: Tree) -> bool:
    return bool(_files(tree))


def read(tree: Tree, problems: Problems) -> Labelled:
    """Of several annotations of a task the last that was not cancelled counts."""
    found, kinds = tree.items(), set[str]()
    for file in _files(tree):
        for number, task in enumerate(json.loads(tree.text(file))):
            where = f"{tree.root / file}: task {task.get('id', number) if isinstance(task, dict) else number}"
            try:
                done = [list(one["result"]) for one in task["annotations"] if not one.get("was_cancelled")]
                [said] = [v for v in task["data"].values() if isinstance(v, str) and _file_name(v, tree, file)]
            except (KeyError, TypeError, AttributeError, ValueError):
                problems.add(where, "must have annotations, and name one image of the folder in `data`", "export again")
                continue
            if not done:
                continue  # nobody has labelled it yet
            item = found.of(_file_name(said, tree, file) or "", where)
            for place, result in enumerate(done[-1]):
                kinds |= _add(item, result, f"{where}: result {place}", problems)
    if len(kinds) > 1:
        problems.add(tree.root, "has boxes as well as classes of whole images", "export one of them")
    return Labelled("classes" if kinds == {"classes"} else "boxes", list(found.values()))


def _add(item: Item, result: Any, where: str, problems: Problems) -> set[str]:
    try:
        kind, value = result["type"], result["value"]
        if kind in ("rectanglelabels", "polygonlabels"):
            if value.get("rotation"):
                problems.add(where, "is a rotated rectangle", "draw it upright: boxes here are parallel to the edges")
                return set()
            (name,) = value[kind]
            wide, high = int(result["original_width"]), int(result["original_height"])
            points = value.get("points") or [
                [value["x"], value["y"]],
                [value["x"] + value["width"], value["y"] + value["height"]],
            ]
            xs, ys = ([float(p[axis]) * side / 100 for p in points] for axis, side in ((0, wide), (1, high)))
            if not all(map(math.isfinite, xs + ys)):
                raise ValueError
            item.size = (wide, high)
            item.labels.append(Label(str(name), (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)), where))
            return {"boxes"}
        if kind == "choices":
            (name,) = value["choices"]
            item.labels.append(Label(str(name), None, where))
            return {"classes"}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        problems.add(where, "must have a type, one label, and its place in per cent", "export again")
        return set()
    problems.add(where, f"of type {str(kind)[:40]!r} is not read here", "export rectangles, polygons or choices")
    return set()


def _file_name(said: str, tree: Tree, file: str) -> str | None:
    """`/data/upload/3/1a2b3c4d-my%20cat.jpg` → the image, under the name it was exported or uploaded with."""
    plain = unquote(said.partition("?d=")[2] or said.partition("?")[0])
    return tree.image(plain, file) or tree.image(re.sub(r"(^|/)[0-9a-f]{8}-([^/]+)$", r"\1\2", plain), file)


def _files(tree: Tree) -> list[str]:
    found = []
    for name in tree.ending(".json"):
        try:
            data = json.loads(tree.text(name))
        except (ValueError, RecursionError):
            data = None
        tree.read.discard(name)
        if isinstance(data, list) and data and isinstance(data[0], dict) and {"data", "annotations"} <= set(data[0]):
            found.append(name)
    return found
