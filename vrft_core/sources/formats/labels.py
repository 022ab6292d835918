"""What every format reader is given and gives back: a folder's files, and its images with their labels.

What a label file means belongs to each format; splits, ids and decoding belong to `folders`.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from vrft_core.errors import InputError
from vrft_core.images import SUFFIXES, Size
from vrft_core.sources.coco_json import Problems

Kind = Literal["boxes", "classes", "expressions"]
Box = tuple[float, float, float, float]
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "eval": ("test", "testing", "eval", "evaluation"),
}
_SPLIT = {word: split for split, words in SPLITS.items() for word in words}


@dataclass(frozen=True)
class Label:
    """`box`: xywh pixels; None where the label is about the whole image, or nothing is meant (`expression` alone)."""

    name: str
    box: Box | None
    where: str
    expression: str | None = None
    crowd: bool = False  # several objects, or one that may be missed: not trained on, not counted in evaluation


@dataclass
class Item:
    """One image. `name`: its path in the folder. `absent`: names known to be absent; None: all it has no label of."""

    name: str
    content: Path | bytes
    where: str
    split: str | None
    labels: list[Label] = field(default_factory=list)
    size: Size | None = None  # as the label file states it
    absent: frozenset[str] | None = None
    partly: frozenset[str] = frozenset()  # names of which some objects may lack a label


@dataclass
class Labelled:
    """`described`: what the format says of a category besides its name."""

    kind: Kind
    items: list[Item]
    described: dict[str, dict] = field(default_factory=dict)


class Tree:
    """The files under a folder, hidden ones left out. Names are relative, with slashes. `read`: what `text` gave."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(root, "no such folder", "give the folder that holds images and labels")
        self.root, self.read = root, set[str]()
        inside = root.resolve()
        found = [
            (Path(folder) / name).relative_to(root).as_posix()
            for folder, _, names in os.walk(root)
            for name in names
            if (Path(folder) / name).is_file()
        ]
        for name in found:
            if not name.isprintable():
                raise InputError(root, f"{name!r} is not a printable UTF-8 name", "rename the file")
            if not (root / name).resolve().is_relative_to(inside):
                raise InputError(root / name, "is a link that leaves the folder", "copy the file into the folder")
        self.files = sorted(name for name in found if not any(p.startswith((".", "__")) for p in name.split("/")))
        self.images = [name for name in self.files if name.lower().endswith(SUFFIXES)]
        self._by_last: dict[str, list[str]] = {}
        for name in self.images:
            for key in {PurePosixPath(name).name, PurePosixPath(name).stem}:
                self._by_last.setdefault(key, []).append(name)

    def ending(self, *suffixes: str) -> list[str]:
        return [name for name in self.files if name.lower().endswith(suffixes)]

    def path(self, name: str) -> Path:
        self.read.add(name)
        return self.root / name

    def text(self, name: str) -> str:
        """UTF-8, with or without a byte-order mark. Raises InputError naming the file."""
        try:
            return self.path(name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(self.root / name, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
        except OSError as error:
            raise InputError(self.root / name, f"cannot be read: {error.strerror}", "make it readable") from None

    def image(self, said: str, near: str) -> str | None:
        """The image that a label file `near` means by `said`: a path from anywhere, perhaps another machine's.

        The one with the longest common end; of equals the one nearest to the label file. None where there is none.
        """
        wanted = said.replace("\\", "/").split("/")
        here = near.split("/")[:-1]

        def fit(name: str) -> tuple[int, int]:
            parts = name.split("/")
            same_end = _common(wanted[::-1][1:], parts[::-1][1:])
            return same_end, _common(here, parts)

        ranked = sorted(self._by_last.get(wanted[-1], []), key=fit)
        if len(ranked) > 1 and fit(ranked[-1]) == fit(ranked[-2]):
            return None
        return ranked[-1] if ranked else None

    def items(self) -> "Items":
        return Items(self)


class Items(dict[str, Item]):
    """Items by the name of their image, made when they are first asked for."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree

    def of(self, name: str, where: str, split: str | None = None) -> Item:
        if name not in self:
            self[name] = Item(name, self.tree.root / name, where, split or split_of(name))
        return self[name]

    def named(self, said: str, near: str, where: str, problems: Problems, split: str | None = None) -> Item | None:
        """The item of the image that a label file names; where there is none that is a problem."""
        name = self.tree.image(said, near)
        if name is None:
            problems.add(
                where, f"no one image {said[:100]!r} in {self.tree.root}", "add the image, or remove its labels"
            )
            return None
        return self.of(name, where, split)


def split_of(name: str, last: bool = False) -> str | None:
    """train, val or eval, from the folders of a path; of a label file (`last`) from words of its own name too."""
    *folders, file = name.split("/")
    words = re.findall("[a-z]+", file.lower()) if last else []
    for word in [*words, *(re.sub(r"\d{4}$", "", folder.lower()) for folder in reversed(folders))]:
        if word in _SPLIT:
            return _SPLIT[word]
    return None


def _common(one: list[str], other: list[str]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
