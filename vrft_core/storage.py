"""Folders that cannot be written, disks that are full: found before anything is spent, and named in one line.

What is written, and how, belongs to `io` and to the libraries; here are only their errors' words.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path

from vrft_core.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# as Rust (safetensors, tokenizers), PyTorch's archive writer and SQLite put it
FULL_IN_WORDS = (
    *(f"(os error {number})" for number in FULL),
    *map(os.strerror, FULL),
    "inline_container.cc",
    "iostream error",
    "database or disk is full",
)
CLOSED_IN_WORDS = (
    *(f"(os error {number})" for number in CLOSED),
    os.strerror(errno.EROFS),
    "attempt to write a readonly database",
    "unable to open database file",
)
LITTLE = 32 * 2**20  # bytes that any stage may need
PROBE = 2**20  # bytes that are really written: nothing else detects a quota


def refuse_unwritable(folders: Iterable[Path], need: int = LITTLE) -> None:
    """Raises InputError for the first folder that cannot be written, or has less than `need` bytes free.

    A folder that is not there yet is looked at where it would be made.
    """
    for folder in folders:
        place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            if not place.is_dir():
                raise InputError(place, "is not a folder", "move it away")
            with tempfile.TemporaryFile(dir=place, prefix=".vrft-") as file:
                file.write(b"\0" * PROBE)
                file.flush()
                os.fsync(file.fileno())
            free = shutil.disk_usage(place).free
        except OSError as error:
            raise InputError(folder, f"cannot be written: {error.strerror}", _remedy(error)) from None
        if free < need:
            raise InputError(folder, f"{_size(free)} are free, {_size(need)} are needed", "free some")


def project_folders(root: Path) -> list[Path]:
    """What a run through DVC writes in, DVC's cache among it."""
    cache = root / ".dvc/cache"
    for name in ("config", "config.local"):
        settings = ConfigParser(interpolation=None)
        with contextlib.suppress(ConfigError, OSError, UnicodeDecodeError):
            settings.read(root / ".dvc" / name, encoding="utf-8")
            if named := settings.get("cache", "dir", fallback=None):
                cache = root / ".dvc" / named
    return [root, *(root / name for name in ("data", "models", "reports", "runs", ".dvc/tmp")), cache]


def training_need(policy: Path, adapter: bool) -> int:
    """Bytes that two checkpoints and the kept weights take, from the policy's 16-bit weights: each parameter in 32 bits
    and Adam's two moments."""
    weights = sum(path.stat().st_size for path in policy.glob("*.safetensors"))
    return LITTLE if adapter else LITTLE + weights * (2 * 6 + 2)


@contextlib.contextmanager
def trouble_named(folder: Path) -> Iterator[None]:
    """Turns a write that fails for lack of space or rights, in whichever library, into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_full(error):
            raise InputError(folder, "no space left on the disk", "free some space and start again") from error
        if place := _closed(error):
            raise InputError(
                place, "cannot be read or written", "mount it for writing, or change its rights"
            ) from error
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error. Libraries that write from C++ or Rust keep only words of the cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(words in str(error) for words in FULL_IN_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _closed(error: BaseException | None) -> str | None:
    """The file or folder that could not be written, if that is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in CLOSED:
            return str(error.filename or error.strerror)
        if any(words in str(error) for words in CLOSED_IN_WORDS):
            return str(error).strip().splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def _remedy(error: OSError) -> str:
    return "free some" if error.errno in FULL else "mount it for writing, or change its rights"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
