"""Pascal VOC: one XML file an image. Coordinates are edges in pixels from 0, as labelImg and Roboflow write them."""

import re
from itertools import chain, repeat
from xml.etree import ElementTree

from vrft_core.sources.formats.labels import SPLITS, Label, Tree, box, split_of

TITLE = "Pascal VOC XML"
EDGES = ("xmin", "ymin", "xmax", "ymax")


def mine(tree: Tree, name: str) -> bool:
    return name.lower().endswith(".xml")


def read(tree: Tree) -> None:
    """An object that is `difficult` is neither trained on nor counted in evaluation."""
    lists, crowds = _lists(tree), 0
    for file in tree.of(mine):
        where, stem = str(tree.root / file), file.split("/")[-1].rpartition(".")[0]
        content = (tree.root / file).read_bytes()
        if (found := _parse(tree, where, content)) is None:
            continue
        name = _said(found, "filename")
        split = lists.get(stem) or split_of(file)
        if not (item := tree.labelled(name if len(tree.meant(name, file)) == 1 else stem, file, where, split)):
            continue
        wide, high = _said(found, "size/width"), _said(found, "size/height")
        if all(side.isdecimal() and len(side) < 10 and int(side) for side in (wide, high)):
            item.size = (int(wide), int(high))
        starts = (n for n, line in enumerate(content.splitlines(), 1) for _ in re.findall(rb"<object\b", line))
        for line, one in zip(chain(starts, repeat(1)), found.findall("object"), strict=False):
            place, problem = f"{where}: line {line}", "an object must have a name and a bndbox of four numbers"
            with tree.problems.caught(place, problem, "correct or remove it"):
                edges, crowd = [float(_said(one, f"bndbox/{edge}")) for edge in EDGES], _said(one, "difficult") == "1"
                item.labels.append(Label(_said(one, "name"), box(*edges), place, crowd=crowd))
                crowds += crowd
    if crowds:
        tree.remarks.append(f"left out, objects marked as difficult, neither taught nor counted: {crowds}")


class _Elements(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        raise ValueError("declares a document type or entities")


def _parse(tree: Tree, where: str, content: bytes) -> ElementTree.Element | None:
    """The annotation; what is none, or declares entities, is a problem."""
    try:
        found = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Elements()))
        if found.tag != "annotation":
            raise ValueError("no <annotation> at the top")
        return found
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        line, _ = getattr(error, "position", (1, 0))
        problem = f"is not XML that is read here: {error}"
        tree.problems.add(f"{where}: line {line}", problem, "export Pascal VOC, COCO or YOLO")
    return None


def _said(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _lists(tree: Tree) -> dict[str, str]:
    """Stem of an image → split, from `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, where there are any."""
    named = {f"imagesets/main/{word}.txt": split for split, words in SPLITS.items() for word in words}
    files = {name: split for name in tree.ending(*named) for end, split in named.items() if name.lower().endswith(end)}
    tree.read |= set(files)
    return {line.strip(): split for name, split in files.items() for line in tree.text(name).splitlines()}
