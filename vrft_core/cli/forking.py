"""The process that has imported what stages import, and forks for each that asks: see `vrft_core.warm`.

It has one thread of Python, computes nothing, and opens no file, database or GPU before it forks: what it hands on is
modules.
"""

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vrft_core import cli, provenance, tracking, warm
from vrft_core.stages import module_of

PATIENCE = 10.0  # seconds for a request to arrive whole
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# What stages import only when they get there
LATER = {
    "sft": ("peft",), "rft": ("peft",), "base_eval": ("peft",), "sft_eval": ("peft",), "rft_eval": ("peft",),
    "report": ("matplotlib.figure", "matplotlib.backends.backend_svg"),
    "study": ("matplotlib.figure", "matplotlib.backends.backend_svg"),
}  # fmt: skip


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Forks:
    """`listening`: where stages ask."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._code, self._about = provenance.source_digest(), warm.about()
        self._watched = selectors.DefaultSelector()
        self._watch(listening, self._asked)
        self._watch(sys.stdin, self._left)

    def serve(self) -> list[str] | None:
        """In a fork: the arguments of the command it is to run. In this process: None, when there is no more to do."""
        while self._watched.get_map():
            key, _ = self._watched.select()[0]  # one at a time: what it leads to may end another
            if (arguments := key.data()) is not None:
                return arguments
        return None

    def _watch(self, file: HasFileno | int, then: Callable[[], list[str] | None]) -> None:
        self._watched.register(file, selectors.EVENT_READ, then)

    def _left(self) -> None:
        """Who started this process has no more stages, or has died: only those that run are waited for."""
        for file in (self._listening, sys.stdin):
            self._watched.unregister(file)
        self._listening.close()

    def _asked(self) -> list[str] | None:
        line, _ = self._listening.accept()
        line.settimeout(PATIENCE)
        files: list[int] = []
        try:
            asked, files = warm.received(line)
            if self._good(asked):
                return self._fork(line, asked, files)
        except (OSError, ValueError, KeyError):
            pass
        finally:
            for file in files:
                os.close(file)
        line.close()
        return None

    def _good(self, asked: dict) -> bool:
        """Whether a fork would do what the asking process would do."""
        if asked["about"] != self._about or provenance.source_digest() != self._code:
            return False
        load(asked["stage"])
        return threading.active_count() == 1

    def _fork(self, line: socket.socket, asked: dict, files: list[int]) -> list[str] | None:
        gc.freeze()
        parent = os.getpid()
        if not (pid := os.fork()):
            try:
                for file in {line.fileno(), *self._watched.get_map()} - {sys.stdin.fileno()}:
                    os.close(file)
                self._watched.close()
                become(asked, files, parent)
            except BaseException:
                os._exit(1)  # never two that serve
            return asked["arguments"]
        with contextlib.suppress(OSError):  # the fork was quicker
            os.setpgid(pid, pid)
        try:
            fork = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

        def ended() -> None:
            self._watched.unregister(fork)
            os.close(fork)
            _, status = os.waitpid(pid, 0)
            if line in self._watched.get_map():
                self._watched.unregister(line)
            _say(line, status)
            line.close()

        def alone() -> None:
            """Who asked is gone, and was killed: it would have passed on any other signal."""
            self._watched.unregister(line)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

        self._watch(fork, ended)
        self._watch(line, alone)
        _say(line, pid)
        return None


def load(stage: str) -> None:
    """Import what the stage will import; what is not installed, or fails, fails in the stage."""
    for name in (module_of(stage), *LATER.get(stage, ())):
        with contextlib.suppress(Exception):
            import_module(name)
    if stage not in warm.LIGHT:
        with contextlib.suppress(Exception):
            tracking.load()


def become(asked: dict, files: list[int], parent: int) -> None:
    """In a fork: the files, folder, variables and signals of the process that asks."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should the process it is forked from be killed
    if os.getppid() != parent:
        os._exit(1)
    for place, file in enumerate(files):
        os.dup2(file, place)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    for name in warm.PLACES:
        os.environ.pop(name, None)
    sys.argv = ["vrft", *asked["arguments"]]
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr or os.isatty(1), write_through=unbuffered)  # type: ignore[union-attr]
    usual = {signal.SIGINT: signal.default_int_handler}
    for number in warm.FORWARDED:
        signal.signal(number, signal.SIG_IGN if number in asked["ignored"] else usual.get(number, signal.SIG_DFL))


def _say(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        line.sendall(f"{number}\n".encode())


def main() -> int:
    """`python -m vrft_core.cli.forking SOCKET PLACE`, by `warm.kept`. Returns in forks alone."""
    place = Path(sys.argv[2])
    cli.set_environment()
    arguments = Forks(socket.socket(fileno=int(sys.argv[1]))).serve()
    if arguments is not None:
        return cli.main(arguments)
    with contextlib.suppress(OSError):
        place.unlink()
        place.parent.rmdir()
    os._exit(0)  # taking down what was imported takes a second


if __name__ == "__main__":
    sys.exit(main())
