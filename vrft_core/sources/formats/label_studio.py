"""Label Studio's JSON export, a list of tasks: rectangles, polygons (their boxes), choices of one class an image."""

import re
from typing import Any
from urllib.parse import unquote

from vrft_core.sources.formats.labels import Item, Label, Tree, around, box

TITLE = "Label Studio JSON"


def mine(tree: Tree, name: str) -> bool:
    data = tree.json(name)
    return (
        isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"data", "annotations"} <= set(data[0])
    )


def read(tree: Tree) -> None:
    """Of several annotations of a task the last that was not cancelled counts."""
    for file in tree.of(mine):
        for number, task in enumerate(tree.json(file)):
            where = f"{tree.root / file}: task {task.get('id', number) if isinstance(task, dict) else number}"
            problem = "must have annotations, and name one image of the folder in `data`"
            with tree.problems.caught(where, problem, "export again"):
                done = [list(one["result"]) for one in task["annotations"] if not one.get("was_cancelled")]
                [name] = filter(None, (_image(said, tree, file) for said in task["data"].values()))
                if not done:
                    continue  # nobody has labelled it yet
                item = tree.item(name, where)
                for place, result in enumerate(done[-1]):
                    _add(tree, item, result, f"{where}: result {place}")


def _add(tree: Tree, item: Item, result: Any, where: str) -> None:
    with tree.problems.caught(where, "must have a type, one label, and its place in per cent", "export again"):
        kind, value = result["type"], result["value"]
        if value.get("rotation"):
            tree.problems.add(where, "is a rotated rectangle", "draw it upright: boxes here are parallel to the edges")
        elif kind in ("rectanglelabels", "polygonlabels"):
            (name,) = value[kind]
            wide, high = item.size = int(result["original_width"]), int(result["original_height"])
            edges = around((float(x), float(y)) for x, y in _points(value))
            sides = [edge * side / 100 for edge, side in zip(edges, (wide, high, wide, high), strict=True)]
            item.labels.append(Label(str(name), box(*sides), where))
        elif kind == "choices":
            (name,) = value["choices"]
            item.labels.append(Label(str(name), None, where))
        else:
            problem = f"of type {str(kind)[:40]!r} is not read here"
            tree.problems.add(where, problem, "export rectangles, polygons or choices")


def _points(value: dict[str, Any]) -> list[list[float]]:
    x, y = value.get("x", 0), value.get("y", 0)
    return value["points"] if "points" in value else [[x, y], [x + value["width"], y + value["height"]]]


def _image(said: Any, tree: Tree, file: str) -> str | None:
    """`/data/upload/3/1a2b3c4d-my%20cat.jpg` → the image, under the name it was exported or uploaded with."""
    if not isinstance(said, str):
        return None
    plain = unquote(said.partition("?d=")[2] or said.partition("?")[0])
    return tree.image(plain, file) or tree.image(re.sub(r"(^|/)[0-9a-f]{8}-([^/]+)$", r"\1\2", plain), file)
