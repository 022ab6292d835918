"""A file in `runs/` that says how a stage last failed, so that `vrft status` can. One that ends well removes it."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from vrft_core import io


@contextlib.contextmanager
def failure_noted(path: Path) -> Iterator[None]:
    """Write {"error", "at"} (one line; seconds since 1970) to `path` when the block raises an error.

    An interruption is no failure. Where nothing can be written, the error itself is what counts.
    """
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        line = " ".join(f"{error}".split()) or type(error).__name__
        with contextlib.suppress(OSError):
            io.write_json(path, {"error": line[:400], "at": time.time()})
        raise
