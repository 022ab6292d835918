"""A folder for each class: `cat/1.jpg`, or `train/cat/1.jpg`. The class is the name of the folder an image lies in."""

from vrft_core.sources.formats.labels import Label, Tree, split_of

TITLE = "a folder for each class"


def fits(tree: Tree) -> bool:
    folders = {name.rpartition("/")[0] for name in tree.images}
    return "" not in folders and len({folder.split("/")[-1] for folder in folders} - {"images"}) > 1


def read(tree: Tree) -> None:
    for name in tree.images:
        where, (*above, folder, _) = str(tree.root / name), name.split("/")
        split = split_of("/".join([*above, ""]))  # a class may be called `test`
        tree.item(name, where, split).labels.append(Label(folder, None, where))
