"""Pascal VOC: one XML file an image. Coordinates are edges in pixels from 0, as labelImg and Roboflow write them."""

from xml.parsers import expat

from vrft_core.sources.formats.labels import SPLITS, Label, Tree, box, split_of

TITLE = "Pascal VOC XML"
OBJECT = "annotation/object"
EDGES = tuple(f"{OBJECT}/bndbox/{edge}" for edge in ("xmin", "ymin", "xmax", "ymax"))


def mine(tree: Tree, name: str) -> bool:
    return name.lower().endswith(".xml")


def read(tree: Tree) -> None:
    """An object that is `difficult` is neither trained on nor counted in evaluation."""
    lists = _lists(tree)
    for file in tree.of(mine):
        where, stem = str(tree.root / file), file.split("/")[-1].rpartition(".")[0]
        head, *objects = _parse(tree, file)
        if "annotation" not in head[1]:
            continue
        name = tree.image(head[1].get("annotation/filename", ""), file) or stem
        if not (item := tree.labelled(name, file, where, lists.get(stem) or split_of(file))):
            continue
        sides = [head[1].get(f"annotation/size/{side}", "") for side in ("width", "height")]
        if all(side.isdecimal() and len(side) < 10 and int(side) for side in sides):
            item.size = (int(sides[0]), int(sides[1]))
        for line, said in objects:
            problem = "an object must have a name and a bndbox of four numbers"
            with tree.problems.caught(f"{where}: line {line}", problem, "correct or remove it"):
                found, crowd = box(*(float(said[edge]) for edge in EDGES)), said.get(f"{OBJECT}/difficult") == "1"
                item.labels.append(Label(said[f"{OBJECT}/name"], found, f"{where}: line {line}", crowd=crowd))
    if crowds := sum(label.crowd for item in tree.items.values() for label in item.labels):
        tree.remarks.append(f"left out, objects marked as difficult, neither taught nor counted: {crowds}")


def _parse(tree: Tree, file: str) -> list[tuple[int, dict[str, str]]]:
    """(line, path of an element → its text) of the head and of each object; of equal paths the first counts.

    What declares entities, or is no well-formed annotation, is a problem.
    """
    found, path, parser = [(1, dict[str, list[str]]())], list[str](), expat.ParserCreate()

    def said() -> dict[str, list[str]]:
        return found[-1 if path[1:2] == ["object"] else 0][1]

    def start(tag: str, _: object) -> None:
        path.append(tag)
        if path == ["annotation", "object"]:
            found.append((parser.CurrentLineNumber, {}))
        elif "/".join(path[:5]) in said():
            path[-1] = "another"
        text("")

    def text(data: str) -> None:
        said().setdefault("/".join(path[:5]), []).append(data)

    def refuse(*_: object) -> None:
        raise ValueError("declares a document type or entities")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: path.pop()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse((tree.root / file).read_bytes(), True)
        if "annotation" not in found[0][1]:
            raise ValueError("no <annotation> at the top")
    except (expat.ExpatError, ValueError, LookupError) as error:
        where = f"{tree.root / file}: line {parser.CurrentLineNumber}"
        tree.problems.add(where, f"is not XML that is read here: {error}", "export Pascal VOC, COCO or YOLO")
        return [(1, {})]
    return [(line, {path: "".join(texts).strip() for path, texts in said.items()}) for line, said in found]


def _lists(tree: Tree) -> dict[str, str]:
    """Stem of an image → split, from `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, where there are any."""
    named = {f"imagesets/main/{word}.txt": split for split, words in SPLITS.items() for word in words}
    files = {name: split for name in tree.ending(*named) for end, split in named.items() if name.lower().endswith(end)}
    tree.read |= set(files)
    return {line.strip(): split for name, split in files.items() for line in tree.text(name).splitlines()}
