"""Dagster Pipes by files on storage that orchestrator and job share: messages, and the job's log as it grows.

Both are read when asked to, from where reading stopped, so that storage may lag or go away for a while, and a new
orchestrator reads from the start what an earlier one has read before.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.executors.failures import LINES_SHOWN
from vrft_core.job import objects

AT_ONCE = ("log", "log_external_stream", "report_custom_message")


class GrowingFile:
    """New whole lines of a file that another machine appends to. A file that cannot be read has none now."""

    def __init__(self, path: Path) -> None:
        self.path, self._at, self._rest = path, 0, b""

    def lines(self, rest: bool = False) -> list[str]:
        """`rest`: also what follows the last line end, nothing more being expected."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            data = b""
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if rest and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]


class JobLog:
    """Passes a job's log on to this process's standard error, which Dagster shows, and keeps its end."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self.last_lines: deque[str] = deque(maxlen=LINES_SHOWN)

    def pump(self, rest: bool = False) -> None:
        for line in self._file.lines(rest):
            os.write(2, f"{line}\n".encode())
            if line.strip():
                self.last_lines.append(line)


class FileMessages(dg.PipesMessageReader):
    """Pipes messages from a file that is neither emptied nor removed, read by `pump`.

    A job that its queue starts again writes to the same file: results count only from its last start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self._held = GrowingFile(path), []

    @property
    def closed(self) -> bool:
        return any(message["method"] == "closed" for message in self._held)

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, str]]:
        self._handler, self._opened = handler, False
        try:
            yield {"path": str(self.path)}  # dagster_pipes.PipesDefaultMessageWriter.FILE_PATH_KEY
        finally:
            self.pump()
            for message in self._held:
                handler.handle_message(message)

    def pump(self) -> None:
        for message in objects(self._file.lines()):
            if message["method"] == "opened":
                self._held = []
                if self._opened:
                    continue
                self._opened = True
                self._handler.handle_message(message)
            elif message["method"] in AT_ONCE:
                self._handler.handle_message(message)
            else:
                self._held.append(message)

    @property
    def expected_writer_count(self) -> int:
        return 1

    def no_messages_debug_text(self) -> str:
        return f"Attempted to read messages from {self.path}."
