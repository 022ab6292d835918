"""Which of a run folder's checkpoints may be continued: those whose marker is there, and the marker is written last.

What a checkpoint holds belongs to the trainers, whose folder it is to `runs`.
"""

import shutil
from pathlib import Path

from vrft_core import io

MARKER = "complete.json"


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
            shutil.rmtree(path)
