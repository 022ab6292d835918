"""A queue of records for a server that may be slow, down or hanging: written to disk first, sent in order by a thread.

Putting a record never waits. Records that were not sent when the process ended stay on disk. What records mean, and how
they are sent, belongs to `tracking`.
"""

import contextlib
import fcntl
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from vrft_core.locks import say

Send = Callable[[dict], None]  # raises on failure; sending a record twice must do no harm


class Unwanted(Exception):
    """The server will never take this record."""


class Outbox:
    """One file `folder/name.jsonl`: a line `head`, then a record a line. Records of an earlier process go first.

    Where another process has that file, it is `name-1.jsonl` and so on. `pause`: seconds until the next try.
    """

    def __init__(self, folder: Path, name: str, head: dict, send: Send, pause: float) -> None:
        self.name, self._send, self._pause = head.get("name", name), send, pause
        folder.mkdir(parents=True, exist_ok=True)
        self._file = next(file for file in (_own(path) for path in _paths(folder, name)) if file)
        self.path = Path(self._file.name)
        self._file.seek(0)
        lines = self._file.readlines()
        self._put, self._sent = max(len(lines) - 1, 0), 0
        self.left_over = self._put
        if not lines:
            self._write(head)
        elif not lines[-1].endswith("\n"):  # truncated by a kill
            self._file.write("\n")
            self._file.flush()
        self._changed = threading.Condition()
        self._ending = self._hurry = self._lost = self._told = False
        self._thread = threading.Thread(target=self._work, name=f"outbox {name}", daemon=True)
        self._thread.start()

    def put(self, record: dict) -> None:
        """Never raises, never waits for the server."""
        with self._changed:
            if self._lost or self._ending:
                return
            try:
                self._write(record)
            except OSError as error:
                self._lost = True  # a half-written record stays at the end of the file
                say(f"{self.path}: {error.strerror}; records of {self.name} are lost from here on")
                return
            self._put += 1
            self._changed.notify_all()

    def flush(self, seconds: float) -> int:
        """Send what waits, as long as something has gone through in the last `seconds`; how many still wait."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            sent, since = self._sent, time.monotonic()
            while self._put > self._sent and time.monotonic() - since < seconds:
                self._changed.wait(0.1)
                if self._sent > sent:
                    sent, since = self._sent, time.monotonic()
            self._hurry = False
            return self._put - self._sent

    def close(self, seconds: float) -> int:
        """As `flush`, for the last time. The file is removed when all has been sent."""
        waiting = self.flush(seconds)
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if not waiting:
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk, again
            self._file.close()  # and its lock: the next process may send the records that wait
        return waiting

    def _work(self) -> None:
        with open(self.path, encoding="utf-8", errors="replace") as lines:
            lines.readline()
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ending or self._put > self._sent)
                    if self._ending:
                        return
                line = lines.readline()
                if not self._deliver(line):
                    return
                with self._changed:
                    self._sent += 1
                    self._changed.notify_all()

    def _deliver(self, line: str) -> bool:
        """Try until it is sent; False when the end comes before."""
        try:
            record = json.loads(line)
        except ValueError:  # cut short, as by a full disk
            return True
        told = False
        while True:
            try:
                self._send(record)
                if told:
                    say(f"MLflow answers again; records of {self.name} are sent")
                return True
            except Unwanted as error:
                say(f"a record of {self.name} is left out: {error}")
                return True
            except Exception as error:  # any exception of the client library: a training is worth more than its record
                if not told and not self._told:
                    say(f"MLflow does not answer ({first_line(error)}); records of {self.name} wait for it")
                    told = self._told = True
            with self._changed:
                self._changed.wait_for(lambda: self._ending or self._hurry, self._pause)
                if self._ending:
                    return False
                if self._hurry:
                    self._changed.wait(0.2)

    def _write(self, record: dict) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def waiting(folder: Path) -> Iterator[tuple[Path, dict]]:
    """(file, head) of each file that no process is at work on."""
    for path in sorted(folder.glob("*.jsonl")):
        with open(path, encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                head = json.loads(file.readline())
            except BlockingIOError:
                continue
            except ValueError:
                head = {}
        yield path, head if isinstance(head, dict) else {}


def first_line(error: BaseException) -> str:
    """Without names and passwords that are part of an address."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"//[^/@\s]+@", "//", line)[:200]


def _paths(folder: Path, name: str) -> Iterator[Path]:
    yield folder / f"{name}.jsonl"
    for number in range(1, 1000):
        yield folder / f"{name}-{number}.jsonl"


def _own(path: Path) -> IO[str] | None:
    """The file, opened and locked; None where another process has it."""
    file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 (it stays open)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    file.close()
    return None
