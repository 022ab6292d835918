"""Pascal VOC: one XML file an image. Coordinates are edges in pixels from 0, as labelImg and Roboflow write them."""

import math
from dataclasses import dataclass, field
from xml.parsers import expat

from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import SPLITS, Item, Label, Labelled, Tree, split_of

TITLE = "Pascal VOC XML"
EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class Node:
    """An element with its line. `first(...)`: the first child so called."""

    tag: str
    line: int
    text: str = ""
    children: list["Node"] = field(default_factory=list)

    def first(self, tag: str) -> "Node | None":
        return next((child for child in self.children if child.tag == tag), None)

    def said(self, tag: str) -> str:
        child = self.first(tag)
        return child.text.strip() if child else ""


def claims(tree: Tree) -> bool:
    return bool(tree.ending(".xml"))


def read(tree: Tree, problems: Problems) -> Labelled:
    """An object that is `difficult` is neither trained on nor counted in evaluation."""
    found, lists = tree.items(), _lists(tree)
    for file in tree.ending(".xml"):
        root = _parse(tree, file, problems)
        if root is None:
            continue
        stem = file.split("/")[-1].rpartition(".")[0]
        said = root.said("filename")
        name = tree.image(said, file) if said else None
        split = lists.get(stem) or split_of(file)
        item = found.of(name, str(tree.root / file), split) if name else found.named(
            stem, file, str(tree.root / file), problems, split
        )  # fmt: skip
        if item is None:
            continue
        if size := root.first("size"):
            wide, high = size.said("width"), size.said("height")
            known = wide.isdecimal() and high.isdecimal() and max(len(wide), len(high)) < 10 and int(wide) > 0
            item.size = (int(wide), int(high)) if known else None
        for node in root.children:
            if node.tag == "object":
                _add(item, node, f"{tree.root / file}: line {node.line}", problems)
    return Labelled("boxes", list(found.values()))


def _add(item: Item, node: Node, where: str, problems: Problems) -> None:
    name, box = node.said("name"), node.first("bndbox")
    try:
        left, top, right, bottom = (float(box.said(edge)) for edge in EDGES) if box else [math.nan] * 4
    except ValueError:
        left = top = right = bottom = math.nan
    if not name or not all(map(math.isfinite, (left, top, right, bottom))):
        problems.add(where, "an object must have a name and a bndbox of four numbers", "correct or remove it")
        return
    label = Label(name, (left, top, right - left, bottom - top), where, crowd=node.said("difficult") == "1")
    item.labels.append(label)


def _parse(tree: Tree, file: str, problems: Problems) -> Node | None:
    """The <annotation> of a file. What declares entities, or is no well-formed annotation, is a problem."""
    top = Node("", 0)
    stack, parser = [top], expat.ParserCreate()

    def start(tag: str, _: dict) -> None:
        node = Node(tag, parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_: object) -> None:
        raise ValueError("declares a document type or entities")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(tree.path(file).read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        problems.add(f"{tree.root / file}: line {parser.CurrentLineNumber}", f"is not XML that is read here: {error}",
                     "export it again")  # fmt: skip
        return None
    if (root := top.first("annotation")) is None:
        problems.add(tree.root / file, "has no <annotation> at the top", "leave only Pascal VOC files in the folder")
    return root


def _lists(tree: Tree) -> dict[str, str]:
    """Stem of an image → split, from `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, where there are any."""
    return {
        stem: split
        for split, words in SPLITS.items()
        for name in tree.ending(*(f"imagesets/main/{word}.txt" for word in words))
        for stem in tree.text(name).split()
    }
