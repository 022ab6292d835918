"""Reading zip and tar files that may be hostile: names, kinds of members and sizes are checked before any byte is used.

Nothing is unpacked wholesale: a source takes the members it needs, and chooses itself where they go. Whether an archive
is the published one belongs to `download`.
"""

import contextlib
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from vrft_core.errors import InputError
from vrft_core.sources.published import safe_name


@dataclass(frozen=True)
class Bounds:
    """What an archive may unpack to, skipped members included."""

    bytes: int = 60 * 10**9
    ratio: float = 100  # of the archive's own size; JSON of polygons reaches about 4
    slack: int = 50 * 10**6  # bytes that are always allowed: a ratio says nothing about tiny files


BOUNDS = Bounds()


def members(
    archive: Path, wanted: Callable[[str], bool] = lambda name: True, bounds: Bounds = BOUNDS
) -> Iterator[tuple[str, bytes]]:
    """Name and content of every wanted file, in the archive's order.

    Raises InputError naming the archive for what is neither zip nor tar, is cut short or damaged, holds a name that
    leads outside, a name twice, a link, a device, or unpacks to more than `bounds` allow.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            yield from _zip_members(archive, wanted, bounds)
        else:
            yield from _tar_members(archive, wanted, bounds)


def read(archive: Path, name: str, bounds: Bounds = BOUNDS) -> bytes:
    """Content of one file. Raises InputError when it is not there, and as `members` does."""
    for _, data in members(archive, lambda member: member == name, bounds):
        return data
    raise _absent(archive, name)


def images(
    paths: Iterable[Path], prefix: str = "", bounds: Bounds = BOUNDS
) -> Callable[[list[dict]], Iterator[tuple[int, bytes]]]:
    """A function that gives id and bytes of rows of images from archives, where they lie as `prefix` + file_name."""

    def contents(rows: list[dict]) -> Iterator[tuple[int, bytes]]:
        ids = {prefix + row["file_name"]: row["id"] for row in rows}
        for path in paths:
            for name, data in members(path, ids.__contains__, bounds):
                yield ids[name], data

    return contents


@contextlib.contextmanager
def stream(archive: Path, name: str, bounds: Bounds = BOUNDS) -> Iterator[IO[bytes]]:
    """One file of a zip, open for reading in pieces. Raises InputError as `read` does."""
    with _readable(archive), zipfile.ZipFile(archive) as file:
        _refuse_size(archive, sum(info.file_size for info in file.infolist()), bounds)
        if name not in file.namelist():
            raise _absent(archive, name)
        with file.open(name) as member:
            yield member


def _absent(archive: Path, name: str) -> InputError:
    return InputError(archive, f"holds no file {name!r}", "is it the archive of the official layout?")


def _zip_members(archive: Path, wanted: Callable[[str], bool], bounds: Bounds) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        names = set()
        for info in file.infolist():
            kind = info.external_attr >> 16 & 0o170000
            if kind not in (0, 0o100000, 0o040000):
                raise InputError(archive, f"member {info.filename[:100]!r} is a link or a device", "do not use it")
            _refuse_name(archive, info.filename, names)
        # A member gives no more bytes than its header says, so the headers' sum is a bound.
        _refuse_size(archive, sum(info.file_size for info in file.infolist()), bounds)
        for info in file.infolist():
            if not info.is_dir() and wanted(info.filename):
                yield info.filename, file.read(info)


def _tar_members(archive: Path, wanted: Callable[[str], bool], bounds: Bounds) -> Iterator[tuple[str, bytes]]:
    names: set[str] = set()
    with (
        _decompressed(archive) as raw,
        # tarfile only reads from it
        tarfile.open(fileobj=cast(IO[bytes], _Counted(raw, archive, bounds)), mode="r|") as file,
    ):
        for member in file:
            name = member.name.removeprefix("./")
            if member.isdir():
                continue
            if not member.isreg():
                raise InputError(archive, f"member {name[:100]!r} is a link or a device", "do not use it")
            _refuse_name(archive, name, names)
            if wanted(name) and (content := file.extractfile(member)):  # a regular file always has some
                yield name, content.read()


@contextlib.contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with open(archive, "rb") as plain:
        magic = plain.read(2)
        plain.seek(0)
        if magic != b"\x1f\x8b":
            yield plain
            return
        with gzip.open(plain) as file:
            yield file


class _Counted:
    """The unpacked stream, refused once it grows beyond the bounds."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, archive: Path, bounds: Bounds) -> None:
        self.stream, self.archive, self.bounds, self.count = stream, archive, bounds, 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.count += len(data)
        _refuse_size(self.archive, self.count, self.bounds)
        return data


def _refuse_size(archive: Path, unpacked: int, bounds: Bounds) -> None:
    if unpacked > bounds.bytes or unpacked > max(bounds.slack, bounds.ratio * archive.stat().st_size):
        raise InputError(
            archive, f"unpacks to {unpacked:,} bytes or more", "it is not a plain data archive; do not use it"
        )


def _refuse_name(archive: Path, name: str, names: set[str]) -> None:
    if not safe_name(name):
        raise InputError(archive, f"member {name[:100]!r} leads outside the archive's folder", "do not use it")
    if name in names:
        raise InputError(archive, f"holds {name[:100]!r} twice", "do not use it")
    names.add(name)


@contextlib.contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            archive, f"is damaged, truncated or not an archive: {error}", "delete it, and it is downloaded again"
        ) from None
