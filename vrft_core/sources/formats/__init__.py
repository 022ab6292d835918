"""Formats in which people have labelled images: one small module each.

A module has `TITLE`; `mine(tree, name)`, whether a file of the folder holds labels in this format (class folders
have `fits(tree)`); and `read(tree)`, which gives the images their labels (`labels.Tree`). What is wrong goes into
`tree.problems`, with its line; a file that cannot be read at all raises InputError. Everything read is hostile: no
entities, no pickles, no path outside the folder.
"""

import importlib
from types import ModuleType

from vrft_core.errors import InputError
from vrft_core.sources.formats.labels import Tree

NAMES = ("coco", "yolo", "voc", "label-studio", "table", "questions", "class-folders")


def get(name: str) -> ModuleType:
    """Raises InputError for a format there is not."""
    if name not in NAMES:
        raise InputError("params.yaml", f"folder.format: no format {name!r}", f"known: {', '.join(NAMES)}")
    return importlib.import_module(f"vrft_core.sources.formats.{name.replace('-', '_')}")


def find(tree: Tree) -> str:
    """The format of a folder. Raises InputError where it has none, or several."""
    if not tree.images and not tree.ending(".parquet", ".arrow"):
        raise InputError(tree.root, "holds no image", "give the folder that holds images and labels")
    claimed = [name for name in NAMES[:-1] if any(get(name).mine(tree, file) for file in tree.files)]
    if not claimed and get(NAMES[-1]).fits(tree):
        claimed = [NAMES[-1]]
    titles = [get(name).TITLE for name in claimed]
    if len(claimed) > 1:
        raise InputError(tree.root, f"holds labels of {' and of '.join(titles)}", "leave one of them in the folder")
    if not claimed:
        tree.refuse_broken()
        known = ", ".join(get(name).TITLE for name in NAMES)
        raise InputError(tree.root, "holds images, but no labels that are known here", f"known: {known}")
    return claimed[0]
