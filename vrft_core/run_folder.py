"""Run folders: what a long stage keeps between attempts, for as long as settings and data stay the same.

A run is never continued with other parameters, data or packages than it was begun with. It is not refused either:
DVC and Dagster run a stage again *because* its parameters changed, and a stage that then refuses would have to be
unblocked by hand, at night too. So the old folder is moved aside with its checkpoints, one line names all that
changed, and setting the parameter back brings the folder back. Nothing is deleted here.

Checkpoints and their completeness belong to `training.checkpoints`.
"""

import sys
from pathlib import Path

from vrft_core import io
from vrft_core.provenance import fingerprint as short

FINGERPRINT = "fingerprint.json"


def open_run(directory: Path, fingerprint: dict) -> Path:
    """The run folder made with `fingerprint`: the one in place, one that was moved aside, or a new one.

    A folder in place that was made with another fingerprint is moved to `<name>-<its fingerprint>` beside it.
    """
    directory = Path(directory)
    if directory.exists():
        old = io.read_json(directory / FINGERPRINT) if (directory / FINGERPRINT).is_file() else {}
        changes = _differences(old, fingerprint)
        if not changes:
            return directory
        target = _free(_aside(directory, old))
        directory.rename(target)
        _say(directory, f"{', '.join(changes)}; starting from zero, the old run is kept as {target.name}")
    kept = _aside(directory, fingerprint)
    if (kept / FINGERPRINT).is_file() and io.read_json(kept / FINGERPRINT) == fingerprint:
        kept.rename(directory)
        _say(directory, f"back from {kept.name}, which was started with the same settings")
    else:
        io.write_json(directory / FINGERPRINT, fingerprint)
    return directory


def _say(directory: Path, what: str) -> None:
    print(f"{directory}: {what}", file=sys.stderr, flush=True)


def _aside(directory: Path, fingerprint: dict) -> Path:
    return directory.with_name(f"{directory.name}-{short(fingerprint)}")


def _free(path: Path) -> Path:
    """`path`, or the first `path.N` that does not exist."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _differences(old: dict, new: dict, at: str = "") -> list[str]:
    """One phrase for each value that differs: `settings.rft.learning_rate changed from 0.001 to 0.002`."""
    phrases = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            phrases += _differences(a, b, f"{at}{key}.")
        elif a != b:
            phrases.append(f"{at}{key} changed from {_shown(a)} to {_shown(b)}")
    return phrases


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
