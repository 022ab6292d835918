"""Reading and writing files so that equal values give equal bytes and nothing is ever half-written.

Every writer goes to a temporary name beside its target, waits until the disk has it, and renames: after a power cut a
name stands for the whole file. No knowledge of what the files mean.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vrft_core import file_kinds
from vrft_core.errors import InputError

_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
UMASK = os.umask(0o077)  # what this user keeps from others; it can only be read by setting it
os.umask(UMASK)
FEW = 64  # files that are flushed one by one; of more, the whole file system is flushed at once, which is quicker


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, accepted: str = "give a JSON file") -> Any:
    """Parse one JSON file; a byte-order mark before it is skipped.

    Raises InputError naming the file and the line where the text breaks off; for a file of another kind, what it seems
    to be, with `accepted` as the remedy.
    """
    text = _text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if kind := file_kinds.recognised(path, text.encode()):
            raise InputError(path, f"is not JSON, it seems to be {kind}", accepted) from None
        remedy = "it holds more than one JSON value" if error.msg == "Extra data" else "is the file truncated?"
        raise InputError(path, f"not valid JSON at line {error.lineno}: {error.msg}", remedy) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise InputError(path, f"not usable JSON: {error}", "replace the file") from None


def read_jsonl(path: Path, accepted: str = "give a file of JSON lines, one object a line") -> list[dict]:
    """Parse one JSON object a line; a byte-order mark before the first is skipped.

    Only a line feed ends a line: JSON text may hold other separators of Unicode. Raises InputError naming file and
    line; for a file of another kind, what it seems to be, with `accepted` as the remedy.
    """
    text = _text(path)
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not rows and (kind := file_kinds.recognised(path, text.encode())):
                raise InputError(path, f"is not JSON, it seems to be {kind}", accepted) from None
            said = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{path}:{number}", f"not valid JSON: {said}", "one object a line") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}", "not an object", "one object a line")
        rows.append(row)
    return rows


def _text(path: Path) -> str:
    """A file's text, without a byte-order mark. Raises InputError where it cannot be read as UTF-8."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(path, "no such file", "check the path") from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", "give a readable file") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if kind := file_kinds.recognised(path, content):
            raise InputError(path, f"is not UTF-8 text, it seems to be {kind}", "give JSON, saved as UTF-8") from None
        raise InputError(path, f"not UTF-8 at byte {error.start}", "save it as UTF-8") from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~UMASK)
        replace(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON; NaN and infinities are refused."""
    write_text(path, dumped(value, indent=1) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one sorted JSON object a line."""
    write_text(path, "".join(f"{dumped(row)}\n" for row in rows))


def dumped(value: Any, indent: int | None = None) -> str:
    """Sorted JSON in which characters stand as they are, but for those that no UTF-8 file or no line can hold.

    Surrogates without their other half, and U+0085, U+2028, U+2029, which many readers take for the end of a line, are
    escaped; they read back as they were. Raises ValueError for NaN and infinities.
    """
    text = json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def replace(temporary: Path, path: Path) -> None:
    """Rename a file or a directory, both on the disk first, over `path`."""
    flush(temporary)
    os.replace(temporary, path)
    _flush_entry(path.parent)


def flush(path: Path) -> None:
    """Return when a file, or a directory with all that is in it, is on the disk."""
    if not path.is_dir():
        return _flush_entry(path)
    inside = list(path.rglob("*"))
    if len(inside) > FEW:
        return _flush_file_system(path)
    for entry in [*inside, path]:
        if not entry.is_symlink():
            _flush_entry(entry)


def _flush_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot do it for a directory
            raise
    finally:
        os.close(handle)


def _flush_file_system(path: Path) -> None:
    if sys.platform != "linux":
        return os.sync()
    handle = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory that replaces `path` when the block ends well, and vanishes when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    os.chmod(temporary, 0o777 & ~UMASK)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
