"""Run folders: where a training keeps its checkpoints between attempts, and which of them may be continued.

A checkpoint counts when its marker is there, and the marker is written last. A folder counts when it was made with
the same settings and data. What a checkpoint holds belongs to the trainers.
"""

import shutil
import sys
from pathlib import Path

from vrft_core import io

FINGERPRINT, MARKER = "fingerprint.json", "complete.json"


def open_run(directory: Path, fingerprint: dict) -> Path:
    """The run folder, kept when `fingerprint` is the one it was made with and emptied when it is not.

    Other parameters are another experiment: what was begun with the old ones is removed, and one line says so.
    """
    directory = Path(directory)
    record = directory / FINGERPRINT
    if directory.exists():
        if record.is_file():
            changed = _differences(io.read_json(record), fingerprint)
            if not changed:
                return directory
            print(f"{directory}: {changed[0]} changed; starting from zero", file=sys.stderr, flush=True)
        shutil.rmtree(directory)
    io.write_json(record, fingerprint)
    return directory


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


def _differences(old: dict, new: dict, at: str = "") -> list[str]:
    """Dotted names of the values that differ."""
    names = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _differences(a, b, f"{at}{key}.")
        elif a != b:
            names.append(f"{at}{key}")
    return names
