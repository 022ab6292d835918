"""One published file: where to get it, its size and digest, and whether some bytes match.

Bringing it here belongs to `transfer`, what is here already to `download`.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vrft_core.errors import InputError
from vrft_core.sources.licences import Licence


@dataclass(frozen=True)
class File:
    """One published file. At least one of `sha256` and `check` says whether its content is right.

    `check(path)` raises InputError; it is for files without a published checksum. `urls` are tried in order; where
    there are none, a person fetches the file, and `by_hand` says from where.
    """

    source: str  # its folder in the cache
    name: str  # relative to that folder, with /
    urls: tuple[str, ...]
    licence: Licence
    size: int | None = None  # bytes
    sha256: str | None = None
    md5: str | None = None  # where no sha256 is published
    check: Callable[[Path], object] | None = None
    by_hand: str = ""
    loose: bool = False  # one of thousands, which nobody pins

    @property
    def pinned(self) -> bool:
        """Whether the content is known beforehand, so that any two copies of it are equal."""
        return bool(self.sha256 or self.md5)

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


def mirror_variable(source: str) -> str:
    return f"VRFT_MIRROR_{re.sub('[^A-Z0-9]', '_', source.upper())}"


def addresses(file: File) -> list[str]:
    """Where to get the file, the mirror of the environment first."""
    mirror = os.environ.get(mirror_variable(file.source))
    return ([f"{mirror.rstrip('/')}/{file.name}"] if mirror else []) + list(file.urls)


def verify(file: File, path: Path, published: str | None = None, named: object = None) -> dict[str, str]:
    """The file's digests. Raises InputError when size, a checksum or the content is not what it should be."""
    named = named or path
    if file.size is not None and path.stat().st_size != file.size:
        raise InputError(named, f"has {path.stat().st_size:,} bytes, {file.size:,} are right", "fetch it again")
    with open(path, "rb") as stream:
        digests = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
        if file.md5:
            stream.seek(0)
            digests["md5"] = hashlib.file_digest(stream, "md5").hexdigest()
    for kind, right in (("sha256", file.sha256), ("md5", file.md5), ("sha256", published)):
        if right and digests[kind] != right:
            raise InputError(named, f"{kind} is {digests[kind]}, {right} is right", "fetch it again")
    if file.check:
        file.check(path)
    return digests


def safe_name(name: str) -> bool:
    """Whether a name from a downloaded list stays inside the folder it is put in."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not set("\\\0:") & set(name)
