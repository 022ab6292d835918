"""Pauses of a wait that can be ended from another thread.

Signals reach the main thread alone, and an exception raised in a thread from outside may leave any lock held, such as a
log's. So who waits asks, at each pause, whether to go on.
"""

import threading
import time

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
