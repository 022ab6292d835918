"""A folder for each class: `cat/1.jpg`, or `train/cat/1.jpg`. The class is the name of the folder an image lies in."""

from vrft_core.sources.coco_json import Problems
from vrft_core.sources.formats.labels import Label, Labelled, Tree, split_of

TITLE = "a folder for each class"


def claims(tree: Tree) -> bool:
    classes = {name.split("/")[-2] for name in tree.images if "/" in name}
    return len(classes - {"images"}) > 1 and all("/" in name for name in tree.images)


def read(tree: Tree, problems: Problems) -> Labelled:
    found = tree.items()
    for name in tree.images:
        where = str(tree.root / name)
        *above, folder, _ = name.split("/")
        item = found.of(name, where)
        item.split = split_of("/".join([*above, ""]))  # a class may be called `test`
        item.labels.append(Label(folder, None, where))
    return Labelled("classes", list(found.values()))
