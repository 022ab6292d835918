"""SIGTERM to `vrft run`: the stage that runs is told, so that it seals a last checkpoint, and then the run ends.

What a stage does when it is told is in `training.interruption`. Ctrl-C needs none of this: a terminal tells all.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from vrft_core.errors import STOPPED

STATUS = 128 + signal.SIGTERM
EVERY = 0.05  # seconds between two looks at what DVC has started
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")


class Termination:
    """Notes the signal. `noted`: what runs was told, and ends soon; its reader waits for that."""

    noted = False

    def __init__(self) -> None:
        self._running = self._by_dvc = False
        self._process: subprocess.Popen | None = None

    @contextlib.contextmanager
    def of(self, start: Callable[[], subprocess.Popen], by_dvc: bool = False) -> Iterator[subprocess.Popen]:
        """While the block runs, the signal is for the process started here, a stage's; `by_dvc`: for the stages that
        it starts in its turn."""
        self._by_dvc, self._running = by_dvc, True
        try:
            self._process = start()
            if self.noted:
                self._tell()
            yield self._process
        finally:
            self._running, self._process = False, None

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler. Raises SystemExit where nothing runs that would have to be waited for."""
        again, self.noted = self.noted, True
        if not self._running:
            self.end()
        elif self._process and not again:
            self._tell()

    def end(self) -> None:
        """Say that the same command resumes; raises SystemExit."""
        print(f"vrft: {STOPPED}", file=sys.stderr, flush=True)
        raise SystemExit(STATUS)

    def _tell(self) -> None:
        threading.Thread(target=_tell, args=(self._process, self._by_dvc), daemon=True).start()


@contextlib.contextmanager
def heeded() -> Iterator[Termination]:
    """SIGTERM is noted while the block runs; in the main thread alone, as Python has it."""
    found = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.signal(signal.SIGTERM, found.note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(process: subprocess.Popen, by_dvc: bool) -> None:
    if not by_dvc:
        process.terminate()
        return
    import psutil  # DVC needs it

    told: set[int] = set()
    interrupted = False
    with contextlib.suppress(psutil.NoSuchProcess):
        dvc = psutil.Process(process.pid)
        while process.poll() is None:  # DVC may be about to start a stage
            stages = _stages(dvc)
            for one in stages:
                if one.pid not in told:
                    told.add(one.pid)
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.terminate()
            if not stages and not told and not interrupted:  # with a stage that ends so it ends itself
                interrupted = True
                process.send_signal(signal.SIGINT)  # it releases its locks, unless that comes while it writes them
            time.sleep(EVERY)


def _stages(parent):
    """What DVC has started, or what its shell has, where that waits for it. A psutil.Process each."""
    import psutil

    found = []
    for one in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            below = one.children() if one.name().lstrip("-") in SHELLS else []
            found += below or [one]
    return found
