"""What every format reader is given and fills: a folder's files, and its images with their labels.

What a label file means belongs to each format; splits, ids and decoding belong to `folders`.
"""

import contextlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote

from vrft_core import io
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
UPLOADED = "\0"  # before a name as Label Studio stores it: no file has it in its name
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


@dataclass(frozen=True)
class Label:
    """`box`: xywh pixels; None where the label is about the whole image, or nothing is meant (`expression` alone)."""

    name: str
    box: Box | None
    where: str
    expression: str | None = None
    crowd: bool = False  # several objects, or one that may be missed: not trained on, not counted in evaluation

    @property
    def kind(self) -> Kind:
        return "expressions" if self.expression is not None else "boxes" if self.box else "classes"


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

    @property
    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Tree:
    """The files under a folder, hidden ones left out, and what a format reader finds in them.

    Names are relative, with slashes. `items`: by the name of their image; `described`: what the format says of a
    category besides its name; `read`: label files that were read; `problems`: what is wrong in them; `broken`:
    what is wrong with files that may be label files; `named`: images that labels name; `missing`: what labels name and
    the folder lacks, with the place that names it first; `remarks`: what else a user should know.
    """

    def __init__(self, root: Path) -> None:
        """Raises InputError where there is no such folder, or where a link leaves it."""
        if not root.is_dir():
            problem = "is a file" if root.exists() else "no such folder"
            raise InputError(root, problem, "give the folder that holds images and labels")
        self.root, self.files = root, list[str]()
        self.items, self.described, self.missing = dict[str, Item](), dict[str, dict](), dict[str, str]()
        self.read, self.named, self.problems = set[str](), set[str](), Problems()
        self.remarks, self.broken, self._json = list[str](), list[InputError](), dict[str, Any]()
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith((".", "__"))]
            for path in (Path(folder) / name for name in [*folders, *names] if not name.startswith((".", "__"))):
                name = path.relative_to(root).as_posix()
                if not name.isprintable():
                    raise InputError(root, f"{name!r} is not a printable UTF-8 name", "rename the file")
                if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(root.resolve())):
                    problem = "is a link that leaves the folder, or to nothing"
                    raise InputError(path, problem, "put the files themselves there")
                if path.is_file():
                    self.files.append(name)
        self.files.sort()
        self.images = self.ending(*SUFFIXES)
        self._images, self._called = frozenset(self.images), defaultdict[str, list[str]](list)
        for name in self.images:
            last = PurePosixPath(name).name
            # As Django, and so Label Studio, stores it: no spaces, of other signs only - _ and the full stop.
            stored = re.sub(r"[^-\w.]", "", last.strip().replace(" ", "_"))
            for key in {last, PurePosixPath(name).stem, f"{UPLOADED}{stored}"}:
                self._called[key].append(name)

    def ending(self, *suffixes: str) -> list[str]:
        return [name for name in self.files if name.lower().endswith(suffixes)]

    def of(self, mine: Callable[["Tree", str], bool]) -> Iterator[str]:
        """The label files of a format. Raises InputError where others like them break off: they may be some."""
        for name in self.files:
            if mine(self, name):
                self.read.add(name)
                yield name
        self.refuse_broken()

    def text(self, name: str) -> str:
        """UTF-8, with or without a byte-order mark. Raises InputError naming the file."""
        try:
            return (self.root / name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(self.root / name, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
        except OSError as error:
            raise InputError(self.root / name, f"cannot be read: {error.strerror}", "make it readable") from None

    def json(self, name: str) -> Any:
        """What a JSON file holds; of JSON lines a list; None for any other file, and for JSON that breaks off."""
        if name not in self._json and name.lower().endswith((".json", ".jsonl")):
            path, found = self.root / name, None
            try:
                found = io.read_jsonl(path) if name.lower().endswith("l") else io.read_json(path)
            except InputError as error:
                with contextlib.suppress(InputError):  # `datasets` calls JSON lines .json, too
                    found = io.read_jsonl(path)
                self.broken += [error] if found is None else []
            self._json[name] = found
        return self._json.get(name)

    def refuse_broken(self) -> None:
        """Raises the first InputError of files that were looked into: they may have held labels."""
        for error in self.broken:
            raise error

    def meant(self, said: str, near: str) -> list[str]:
        """The images that a label file `near` may mean by `said`: a path from anywhere, perhaps another machine's.

        Those with the longest common end; of equals those nearest to the label file. Where none has that name: those
        that Label Studio calls `/data/upload/1/1a2b3c4d-my_c%C3%A4t.jpg`.
        """
        said = said.replace("\\", "/")
        folder, _, last = unquote(said).rpartition("/")
        tried, here = [said, unquote(said)], near.split("/")[:-1]
        if "upload" in folder.split("/"):
            stored = re.sub(r"^[0-9a-f]{8}-", "", last)
            tried += [stored, f"{UPLOADED}{stored}"]
        for *folders, last in (one.split("/") for one in tried):
            if (beside := "/".join([*here, *folders, last])) in self._images:
                return [beside]
            fits = defaultdict[tuple[int, int], list[str]](list)
            for name in self._called.get(last, ()):
                parts = name.split("/")[:-1]
                fits[_common(folders[::-1], parts[::-1]), _common(here, parts)].append(name)
            if fits:
                return fits[max(fits)]
        return []

    def item(self, name: str, where: str, split: str | None = None) -> Item:
        """The item of an image, made when it is first asked for."""
        return self.items.setdefault(name, Item(name, self.root / name, where, split or split_of(name)))

    def labelled(self, said: str, near: str, where: str, split: str | None = None) -> Item | None:
        """The item of the image that a label file names; None, with a note, where there is none, or several."""
        match self.meant(said, near):
            case [name]:
                self.named.add(name)
                return self.item(name, where, split)
            case []:
                self.missing.setdefault(said, where)
            case _:
                problem = f"several images in {self.root} could be {said[:100]!r}"
                self.problems.add(where, problem, "give them different names, or keep one")
        return None

    def kind(self) -> Kind:
        """What the labels are; where they are of two kinds that is a problem."""
        kinds: set[Kind] = {label.kind for item in self.items.values() for label in item.labels}
        if len(kinds) > 1:
            self.problems.add(self.root, f"its labels are {' and '.join(sorted(kinds))}", "keep one kind in the folder")
        return kinds.pop() if len(kinds) == 1 else "boxes"


def box(left: float, top: float, right: float, bottom: float) -> Box:
    """xywh. Raises ValueError where an edge is not finite."""
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("not finite")
    return left, top, right - left, bottom - top


def around(points: Iterable[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of some points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def split_of(name: str, last: bool = False) -> str | None:
    """train, val or eval, from the folders of a path; of a label file (`last`) from words of its own name too."""
    *folders, file = name.split("/")
    words = re.findall("[a-z]+", file.lower()) if last else []
    for word in [*words, *(re.sub(r"\d{4}$", "", folder.lower()) for folder in reversed(folders))]:
        if word in SPLIT_OF:
            return SPLIT_OF[word]
    return None


def _common(one: list[str], other: list[str]) -> int:
    """How many parts are equal from the first on."""
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))
