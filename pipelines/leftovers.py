"""`python leftovers.py SECONDS`: ends process groups once the process that started them is gone.

Standard library only. `children` starts it, and names groups on its standard input, a line each: `+GROUP`, and `-GROUP`
for one that has ended. When that input ends, so does every group that is left: politely, then after SECONDS not.

The kernel's own signal at a parent's death goes to a child alone, not to what that has started; and a code server of
Dagster's that is asked to end waits for its runs, and for ever where the database has gone before it.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

EVERY = 0.2  # seconds


def read(lines: Iterable[str]) -> set[int]:
    """The groups that are left when the lines end."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    return groups


def end(groups: Iterable[int], seconds: float) -> None:
    left = {group for group in groups if _signal(group, signal.SIGINT)}
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(EVERY)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """False where there is no such group any more."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user's processes: somebody else's by now
        return False
    return True


if __name__ == "__main__":
    end(read(sys.stdin), float(sys.argv[1]))
