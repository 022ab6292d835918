"""Which of a run folder's checkpoints may be continued: those whose marker is there, and the marker is written last.

What a checkpoint holds belongs to the trainers, whose folder it is to `runs`.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vrft_core import io
from vrft_core.errors import InputError

MARKER = "complete.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# as Rust (safetensors, tokenizers) and PyTorch's archive writer put it
FULL_IN_WORDS = (
    *(f"(os error {number})" for number in FULL),
    *map(os.strerror, FULL),
    "inline_container.cc",
    "iostream error",
)


def write_marker(checkpoint: Path, content: dict) -> None:
    """Declare a checkpoint complete; `content` is what a resumed run must know besides the trainer's own state."""
    io.write_json(checkpoint / MARKER, content)


def complete_checkpoints(directory: Path) -> list[tuple[int, Path, dict]]:
    """(step, path, marker) of every complete checkpoint, ascending; unfinished ones are removed."""
    found = []
    for path in sorted(Path(directory).glob("checkpoint-*")):
        if (path / MARKER).is_file():
            found.append((int(path.name.rpartition("-")[2]), path, io.read_json(path / MARKER)))
        else:
            shutil.rmtree(path)
    return sorted(found, key=lambda row: row[0])


def drop_checkpoints(directory: Path, keep: set[int] = frozenset()) -> None:
    """Remove all checkpoints but those of the steps in `keep`."""
    for path in Path(directory).glob("checkpoint-*"):
        if int(path.name.rpartition("-")[2]) not in keep:
            (path / MARKER).unlink(missing_ok=True)  # first: a removal that is cut short leaves no seal behind
            shutil.rmtree(path)


@contextmanager
def full_disk_named(run: Path) -> Iterator[None]:
    """Turns a write that finds no room, whichever library wrote, into an InputError naming the last good checkpoint.

    What the failed write left behind is removed, so that its room is free again.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        kept = complete_checkpoints(run)
        after = f"goes on from step {kept[-1][0]}" if kept else "starts again"
        raise InputError(run, "no room left on the disk", f"free some and run the stage again: it {after}") from error


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error. Libraries that write from C++ or Rust keep only words of the cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(words in str(error) for words in FULL_IN_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
