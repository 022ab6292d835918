"""MD5 of a file, as DVC records it; read once in a process for as long as the file is the same.

A file is the same while its path, number, size and time of change are. One that was changed a moment ago is read
again: a second change in that moment may leave the same time.
"""

import hashlib
import os
import time
from functools import partial
from pathlib import Path

MOMENT = 2.0  # seconds: the coarsest clock of a file system

md5 = partial(hashlib.md5, usedforsecurity=False)
_known: dict[tuple[str, int, int, int, int], str] = {}


def of_file(path: Path) -> str:
    """Raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        about, now = os.fstat(file.fileno()), time.time()
        same = (os.path.abspath(path), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        if found := _known.get(same):
            return found
        digest = hashlib.file_digest(file, md5).hexdigest()
    if abs(now - about.st_mtime) > MOMENT:
        _known[same] = digest
    return digest
