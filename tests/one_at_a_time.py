"""A lock on this machine: test processes that run at once must not install Debian packages at the same time."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Waits until no other process holds the lock `what`; the kernel frees it when its holder dies."""
    with (Path(tempfile.gettempdir()) / f"vrft-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
