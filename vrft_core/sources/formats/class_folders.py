"""A folder for each class: `cat/1.jpg`, or `train/cat/1.jpg`. The class is the name of the folder an image lies in."""

from vrft_core.sources.formats.labels import SPLIT_OF, Label, Tree, split_of

TITLE = "a folder for each class"


def fits(tree: Tree) -> bool:
    """Whether all images lie in folders of several names, which are not those of splits alone."""
    folders = {name.rpartition("/")[0] for name in tree.images}
    names = {folder.split("/")[-1] for folder in folders} - {"images"}
    return "" not in folders and len(names) > 1 and not names <= set(SPLIT_OF)


def read(tree: Tree) -> None:
    for name in tree.images:
        where, (*above, folder, _) = str(tree.root / name), name.split("/")
        item = tree.item(name, where)
        item.split = split_of("/".join([*above, ""]))  # a class may be called `test`
        item.labels.append(Label(folder, None, where))
