"""The one downloader: files from the cache, from a folder filled by hand, or else from where they are published.

It knows no data set. A file appears under its name only once it is whole and verified; what is half fetched ends in
`.part` and is resumed (`transfer`). Unpacking belongs to `archives`, terms of use to `licences`.

Environment:

- `VRFT_DATA_DIR`: a folder of files fetched by hand, as `SOURCE/NAME`; they are verified, and used where they lie.
- `VRFT_MIRROR_<SOURCE>`: an address that stands before all others; `<it>/NAME` is asked first.
  SOURCE in capitals, other characters as `_`.
- `VRFT_ACCEPT_LICENCES`: see `licences`.
"""

import contextlib
import datetime
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.sources import licences
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File, verify
from vrft_core.sources.transfer import Http, Transfer, size_of

PATIENT = Http()


def fetch(files: Sequence[File], cache: Path, http: Http = PATIENT) -> dict[File, Path]:
    """Every file's path, whole and verified: from the cache, from VRFT_DATA_DIR, or else downloaded into the cache.

    The cache has a folder for each source, in which `record.json` says what came from where, under which licence.
    Two processes do not fetch the same source at once: the second waits.

    Raises InputError, in one line, when a licence is not accepted, a file given by hand is not the right one, the
    disk is full, or files cannot be fetched; it then names them and where to place them. What has been fetched stays.
    """
    cache = Path(cache)
    found: dict[File, Path] = {}
    for source in dict.fromkeys(file.source for file in files):
        wanted = [file for file in dict.fromkeys(files) if file.source == source]
        with _locked(cache / source):
            found |= _fetch_source(cache / source, wanted, http)
    return found


def present(file: File, cache: Path) -> Path | None:
    """Where the file lies already, unverified: in the cache or in VRFT_DATA_DIR."""
    path = Path(cache) / file.source / file.name
    return path if path.is_file() else _given(file)


def _fetch_source(folder: Path, files: list[File], http: Http) -> dict[File, Path]:
    record = _Record(folder)
    found: dict[File, Path] = {}
    for file in files:
        path = folder / file.name
        if path.is_file() and (record.knows(file, path) or _verified_or_removed(file, path, record)):
            found[file] = path
        elif (path := _given(file)) is not None:
            _verify_given(file, path, record)
            found[file] = path
    missing = [file for file in files if file not in found]
    if missing:
        licences.require({file.licence for file in missing if file.licence.name not in record.accepted})
        record.accept({file.licence for file in missing})
        _require_space(folder, missing)
        try:
            Transfer(folder, missing, record.add, http).run()
        finally:
            record.save()
        found |= {file: folder / file.name for file in missing}
    record.save()
    return {file: found[file] for file in files}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{folder}: another process downloads into it; waiting", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _given(file: File) -> Path | None:
    """The file in VRFT_DATA_DIR."""
    root = os.environ.get("VRFT_DATA_DIR")
    path = Path(root) / file.source / file.name if root else None
    return path if path and path.is_file() else None


class _Record:
    """`record.json` of a source's folder: licences, and of each verified file its digest, size, time and origin."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "record.json"
        data = io.read_json(self.path) if self.path.is_file() else {}
        self.files: dict[str, dict] = data.get("files", {})
        self.licences: dict[str, dict] = data.get("licences", {})
        self.changed = False
        self.guard = threading.Lock()

    @property
    def accepted(self) -> set[str]:
        return set(self.licences)

    def accept(self, items: set[Licence]) -> None:
        for item in items:
            self.licences[item.name] = {"terms": item.terms, "attribution": item.attribution, "url": item.url}
            self.changed = True

    def knows(self, file: File, path: Path) -> bool:
        """Whether these very bytes were verified before against what is expected now."""
        with self.guard:
            row = self.files.get(str(path))
        stat = path.stat()
        return (
            row is not None
            and (row["size"], row["modified_ns"]) == (stat.st_size, stat.st_mtime_ns)
            and (file.sha256 is None or row["sha256"] == file.sha256)
            and (file.md5 is None or row.get("md5") == file.md5)
        )

    def add(self, file: File, path: Path, digests: dict[str, str], origin: str, published: bool = False) -> None:
        stat = path.stat()
        row = {
            **digests,
            "size": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "origin": origin,
            "licence": file.licence.name,
            "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with self.guard:
            self.files[str(path)] = row
            self.changed = True
        if not (file.pinned or file.loose or published or origin == "by hand"):
            print(f"{file}: no checksum is published; sha256 {digests['sha256']} to pin it", file=sys.stderr)

    def save(self) -> None:
        with self.guard:
            if self.changed:
                io.write_json(self.path, {"licences": self.licences, "files": self.files})
                self.changed = False


def _verified_or_removed(file: File, path: Path, record: _Record) -> bool:
    """Whether a file in the cache is right; a wrong one is deleted, to be fetched again."""
    try:
        record.add(file, path, verify(file, path), "found in the cache")
    except InputError as error:
        print(f"{error}: downloading it again", file=sys.stderr, flush=True)
        path.unlink()
        return False
    return True


def _verify_given(file: File, path: Path, record: _Record) -> None:
    if not record.knows(file, path):
        record.add(file, path, verify(file, path), "by hand")


def _require_space(folder: Path, files: list[File]) -> None:
    left = sum((file.size or 0) - size_of(folder / f"{file.name}.part") for file in files)
    free = shutil.disk_usage(folder).free
    if left > free:
        raise InputError(
            folder, f"{left / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free", "free some space or move the cache"
        )
