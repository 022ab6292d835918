"""Label Studio's JSON export, a list of tasks: boxes, shapes (of which the box is taken), or one class an image."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from vrft_core.images import SUFFIXES
from vrft_core.sources.formats.labels import Item, Label, Tree, around, box

TITLE = "Label Studio JSON"
SHAPES = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
BARE = ("rectangle", "polygon", "ellipse")  # with `labels` a result of its own
NOTES = ("relation", "textarea", "taxonomy", "rating", "number", "datetime")


def mine(tree: Tree, name: str) -> bool:
    data = tree.json(name)
    return (
        isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"data", "annotations"} <= set(data[0])
    )


def read(tree: Tree) -> None:
    """Of several annotations of a task the last that was not cancelled counts.

    Choices that are made beside boxes say something of them, or of the image: they are no classes.
    """
    for file in tree.of(mine):
        tasks = list(_tasks(tree, file))
        beside = {
            str(result["from_name"])
            for _, results, _ in tasks
            if any(one.get("type") in SHAPES for one in results)
            for result in results
            if "from_name" in result
        }
        for item, results, where in tasks:
            labelled = {str(result.get("id")) for result in results if result.get("type") == "labels"}
            for place, result in enumerate(results):
                kind = result.get("type")
                noted = kind in NOTES or (kind == "choices" and str(result.get("from_name", "")) in beside)
                if not noted and not (kind in BARE and str(result.get("id")) in labelled):
                    _add(tree, item, result, f"{where}: result {place}")


def _tasks(tree: Tree, file: str) -> Iterator[tuple[Item, list[dict[str, Any]], str]]:
    """(image, results, place) of each task that somebody has labelled."""
    for number, task in enumerate(tree.json(file)):
        where = f"{tree.root / file}: task {task.get('id', number) if isinstance(task, dict) else number}"
        with tree.problems.caught(where, "must have data and annotations", "export again"):
            done = [list(map(dict, one["result"])) for one in task["annotations"] if not one.get("was_cancelled")]
            texts = [text for text in task["data"].values() if isinstance(text, str)]
            said = [unquote(text.partition("?d=")[2] or text.partition("?")[0]) for text in texts]
            meant = {tuple(images): text for text in said if (images := tree.meant(text, file))}
            named = list(meant.values()) or [text for text in said if text.lower().endswith(SUFFIXES)] or said
            tree.named.update(*meant)
            if len(named) != 1:
                remedy = "show one image a task, and export again"
                tree.problems.add(where, f"no image, or several, for {', '.join(said)[:100]!r}", remedy)
            elif done and (item := tree.labelled(named[0], file, where)):
                yield item, done[-1], where


def _add(tree: Tree, item: Item, result: dict[str, Any], where: str) -> None:
    with tree.problems.caught(where, "must have a type, one label, and its place in per cent", "export again"):
        kind, value = result["type"], result["value"]
        if value.get("rotation") or result.get("image_rotation"):
            problem = "is rotated" if value.get("rotation") else "was drawn on a rotated image"
            tree.problems.add(where, problem, "draw it upright: boxes here are parallel to the edges")
        elif kind in SHAPES:
            (name,) = value[kind]
            wide, high = item.size = int(result["original_width"]), int(result["original_height"])
            edges = around((float(x), float(y)) for x, y in _points(value))
            sides = [edge * side / 100 for edge, side in zip(edges, (wide, high, wide, high), strict=True)]
            item.labels.append(Label(str(name), box(*sides), where))
        elif kind == "choices":
            (name,) = value["choices"]
            item.labels.append(Label(str(name), None, where))
        else:
            remedy = "give it a label" if kind in BARE else "use boxes, polygons or ellipses; export brushes to COCO"
            tree.problems.add(where, f"of type {str(kind)[:40]!r} is not read here", remedy)


def _points(value: dict[str, Any]) -> list[list[float]]:
    if "points" in value:
        return value["points"]
    x, y = value["x"], value["y"]
    if "radiusX" in value:
        wide, high = value["radiusX"], value["radiusY"]
        return [[x - wide, y - high], [x + wide, y + high]]
    return [[x, y], [x + value["width"], y + value["height"]]]
