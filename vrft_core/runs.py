"""Run folders: what a long stage keeps between attempts, for as long as settings and data stay the same.

Checkpoints and their completeness belong to `training.checkpoints`.
"""

import shutil
import sys
from pathlib import Path

from vrft_core import io

FINGERPRINT = "fingerprint.json"


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
