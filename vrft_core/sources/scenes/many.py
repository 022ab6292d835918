"""Many pre-training scenes: this process draws from the first on, a second one from the last, until they meet.

The second is no fork: threads may run here. It ends with this process, however that ends, since nobody reads then what
it sends. Should it fail, this process draws all.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import vrft_core
from vrft_core import machine
from vrft_core.params import Embedded, IconScenes, PhraseScenes
from vrft_core.progress import Progress
from vrft_core.sources.scenes import dataset, icons, phrases

WORTH = 300  # scenes; fewer are drawn before a second process has begun


def draw(settings: Embedded, count: int, what: str) -> Generator[tuple[int, Any]]:
    """The first `count` scenes of `pretraining`, each with its number, in any order. `what` they are, for the progress.

    Raises InputError for settings no drawing can satisfy.
    """
    progress = Progress(what, count)
    with _second(settings, count) as sent:
        begin, end = 0, count
        while begin < end:
            with contextlib.suppress(Empty):
                while begin < end:
                    number, drawn = sent.get_nowait()
                    if begin <= number:
                        end = number
                        progress.step()
                        yield number, drawn
            if begin < end:
                begin += 1
                drawn = scene(settings, begin - 1)
                progress.step()
                yield begin - 1, drawn


def scene(settings: Embedded, number: int) -> Any:
    """A scene of `pretraining`, of the kind that the settings are for."""
    if isinstance(settings, IconScenes):
        return icons.scene(settings, "pretraining", number)
    if isinstance(settings, PhraseScenes):
        return phrases.scene(settings, "pretraining", number)
    return dataset.scene(settings, "pretraining", number)


@contextlib.contextmanager
def _second(settings: Embedded, count: int) -> Iterator[SimpleQueue]:
    """What a second process sends, the last scene first; nothing where one core is all there is, or few are wanted."""
    sent: SimpleQueue = SimpleQueue()
    if count < WORTH or machine.cpus() < 2:
        yield sent
        return
    here, there = socket.socketpair()
    with here, there:
        try:
            process = _started(there)
        except OSError:  # no room for another process
            yield sent
            return
        line = Connection(here.detach())
    reader = threading.Thread(target=_read, args=(line, (settings, count), sent), daemon=True)
    reader.start()
    try:
        yield sent
    finally:
        process.kill()
        process.wait()
        reader.join()
        line.close()


def _started(there: socket.socket) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(there.fileno())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=Path(vrft_core.__file__).resolve().parents[1], pass_fds=[there.fileno()], process_group=0,
    )  # fmt: skip


def _read(line: Connection, asked: tuple[Embedded, int], sent: SimpleQueue) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.send(asked)
        while True:
            sent.put(line.recv())


def main() -> None:
    """`python -m vrft_core.sources.scenes.many SOCKET`"""
    line = Connection(int(sys.argv[1]))
    settings, count = line.recv()
    for number in reversed(range(count)):
        line.send((number, scene(settings, number)))


if __name__ == "__main__":
    try:
        main()
    except (EOFError, OSError):  # who asked is gone
        os._exit(1)
