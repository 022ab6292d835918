"""A file in `runs/` that says how a stage last ended: what went wrong, or how long it took."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from vrft_core import io
from vrft_core.errors import InputError


@contextlib.contextmanager
def outcome_noted(path: Path) -> Iterator[dict]:
    """Write {"error", "at"} (one line; seconds since 1970) to `path` when the block raises an error, else {"seconds"}.

    The block may add to the latter: it gets a dictionary. An interruption is not an outcome, and removes the earlier
    note. Where nothing can be written, no note is kept.
    """
    path.unlink(missing_ok=True)
    began = time.monotonic()
    more: dict = {}
    try:
        yield more
    except Exception as error:
        line = " ".join(f"{error}".split()) or type(error).__name__
        _write(path, {"error": line[:400], "at": time.time()})
        raise
    _write(path, {"seconds": round(time.monotonic() - began, 1), **more})


def outcome(path: Path) -> dict:
    """The note at `path`; empty where there is none that can be read."""
    try:
        found = io.read_json(path)
    except (InputError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, note: dict) -> None:
    with contextlib.suppress(OSError):
        io.write_json(path, note)
