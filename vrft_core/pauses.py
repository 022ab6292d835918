"""Pauses of a wait that can be ended from another thread.

Signals reach the main thread alone, and an exception raised in a thread from outside may leave any lock held, such as a
log's. So who waits asks, at each pause, whether to go on.
"""

import subprocess
import threading
import time
from collections.abc import Sequence

EVERY = 0.2  # seconds between looks, where something else is waited for
_of_thread = threading.local()


def end_by(told: threading.Event, error: type[BaseException]) -> None:
    """From now on a pause of this thread raises `error`, once each time that `told` is set."""
    _of_thread.end = told, error


def pause(seconds: float) -> None:
    """Like `time.sleep`; see `end_by`."""
    told, error = getattr(_of_thread, "end", (None, None))
    if told is None or error is None:
        time.sleep(seconds)
    elif told.wait(seconds):
        told.clear()
        raise error


def answer(
    command: Sequence[str], seconds: float, given: bytes = b"", whole: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Like `subprocess.run` with its output captured, `given` on its standard input; the wait for it is a pause.

    A command whose wait is ended is killed, and one that takes longer: subprocess.TimeoutExpired. `whole`: the wait is
    no pause, since what the command does must be known.
    """
    until, put = time.monotonic() + seconds, given or None
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe if given else subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        try:
            while True:
                try:
                    out, error = process.communicate(put, timeout=EVERY)
                except subprocess.TimeoutExpired:
                    if time.monotonic() > until:
                        raise
                else:
                    return subprocess.CompletedProcess(command, process.returncode, out, error)
                put = None  # what is not read yet is kept
                if not whole:
                    pause(0)
        except BaseException:
            process.kill()
            raise
