"""Which of a run folder's checkpoints may be resumed from: those with a seal that agrees with their files.

The seal is written last, when all else is on the disk; it holds each file's size and digest.

What a checkpoint holds belongs to the trainers, whose folder it is to `runs`.
"""

import shutil
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.storage import is_full

MARKER = "complete.json"


def write_marker(checkpoint: Path, content: dict) -> None:
    """Declare a checkpoint complete; `content` is what a resumed run must know besides the trainer's own state."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    io.flush(checkpoint)
    files = {path.relative_to(checkpoint).as_posix(): path for path in sorted(checkpoint.rglob("*")) if path.is_file()}
    seal = {name: [path.stat().st_size, io.sha256(path)] for name, path in files.items()}
    io.write_json(checkpoint / MARKER, {"content": content, "files": seal})


def complete_checkpoints(directory: Path, digests: bool = False) -> list[tuple[int, Path, dict]]:
    """(step, path, content) of every complete checkpoint, ascending.

    Unfinished ones are removed, and so are damaged ones, with a line. Sizes are always compared; `digests` reads every
    byte, as is right before one is continued.
    """
    found = []
    for path in sorted(Path(directory).glob("checkpoint-*")):
        if not (path / MARKER).is_file():
            shutil.rmtree(path)
        elif damage := _damage(path, digests):
            drop(path, f"is damaged: {damage}")
        else:
            found.append((int(path.name.rpartition("-")[2]), path, io.read_json(path / MARKER)["content"]))
    return sorted(found, key=lambda row: row[0])


def drop(checkpoint: Path, why: str) -> None:
    """Remove a checkpoint that cannot be used, and say so."""
    print(
        f"{checkpoint}: {why}; it is removed; training resumes from an older one, or starts again",
        file=sys.stderr,
        flush=True,
    )
    (checkpoint / MARKER).unlink(missing_ok=True)  # first: a removal that is cut short leaves no seal behind
    shutil.rmtree(checkpoint)


def _damage(checkpoint: Path, digests: bool) -> str | None:
    """What is wrong with a sealed checkpoint's files, if anything."""
    try:
        seal = io.read_json(checkpoint / MARKER)
        if not isinstance(seal["content"], dict):
            raise TypeError("content")
        for name, (size, digest) in seal["files"].items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} of {size} bytes"
            if digests and io.sha256(path) != digest:
                return f"{name} is not as it was written"
    except InputError:
        return f"{MARKER} cannot be read"
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"{MARKER} does not say what its files are"
    return None


def drop_checkpoints(directory: Path, keep: Set[int] = frozenset()) -> None:
    """Remove all checkpoints but those of the steps in `keep`."""
    for path in Path(directory).glob("checkpoint-*"):
        if int(path.name.rpartition("-")[2]) not in keep:
            (path / MARKER).unlink(missing_ok=True)  # first: a removal that is cut short leaves no seal behind
            shutil.rmtree(path)


@contextmanager
def full_disk_named(run: Path) -> Iterator[None]:
    """Turns a write to a full disk, by whichever library, into an InputError naming the last good checkpoint.

    What the failed write left behind is removed to free the space.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        kept = complete_checkpoints(run)
        after = f"resumes from step {kept[-1][0]}" if kept else "starts again"
        raise InputError(
            run, "no space left on the disk", f"free some space and run the stage again: it {after}"
        ) from error
