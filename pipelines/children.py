"""Servers as children of this process: their output goes to a file, and they end when it does, however it ends.

At this process's death the kernel asks them to end; `leftovers` ends what does not, and what they have started.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
HOST = "127.0.0.1"
SECONDS_TO_START = 600  # a machine may have much else to do
SECONDS_TO_STOP = 20
LINES_SHOWN = 10


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen
    log: Path

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:]
        return "\n".join([f"{self.name} ended with status {self.process.returncode}; its log is {self.log}", *lines])


def start(
    name: str, command: Sequence[str], folder: Path, cwd: Path, environment: Mapping[str, str], again: bool = False
) -> Child:
    """A process group of its own, to be started from the main thread; see `ends_with_parent`. `again`: log goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with open(log, "ab" if again else "wb") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_noted(ends_with_parent()),
        )
    return Child(name, process, log)


def kill(child: Child) -> None:
    """End what is left of it and of what it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()
    _ended(child.process.pid)


def stop(children: Sequence[Child]) -> None:
    """End all and what they started: SIGTERM first, then SIGKILL."""
    for how in (signal.SIGINT, signal.SIGKILL):
        for child in children:
            try:
                os.killpg(child.process.pid, how)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < deadline and not all(child.ended for child in children):
            time.sleep(0.2)
    for child in children:
        if child.ended:
            _ended(child.process.pid)


def _noted(then: Callable[[], None] | None) -> Callable[[], None]:
    """For a Popen's `preexec_fn`: the new process tells `leftovers` of its group, so that it is never unknown there."""
    stdin = _leftovers().stdin
    assert stdin
    where = stdin.fileno()

    def note() -> None:  # between fork and exec: nothing but system calls
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _note("+", os.getpid(), where)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if then:
            then()

    return note


def _note(sign: str, group: int, where: int) -> None:
    with suppress(OSError):  # `leftovers` was killed: the kernel's own signal must do
        os.write(where, f"{sign}{group}\n".encode())


def _ended(group: int) -> None:
    stdin = _leftovers().stdin
    assert stdin
    _note("-", group, stdin.fileno())


@cache
def _leftovers() -> subprocess.Popen:
    """Its input ends with this process; in a session of its own, as no key or hang-up is meant for it."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("leftovers.py")), str(SECONDS_TO_STOP)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", start_new_session=True)


def wait_until(ready: Callable[[], bool], children: Sequence[Child], seconds: float = SECONDS_TO_START) -> bool:
    """Whether it is ready in time, and no child has ended; else what is wrong is printed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for child in children:
            if child.ended:
                print(child.last_words(), file=sys.stderr)
                return False
        if ready():
            return True
        time.sleep(0.3)
    print(f"not ready after {seconds:.0f} s; see the logs in {children[0].log.parent}", file=sys.stderr)
    return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def ends_with_parent() -> Callable[[], None] | None:
    """For a Popen's `preexec_fn`: on Linux the new process gets SIGTERM when the thread that starts it ends."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def ask() -> None:  # between fork and exec: only system calls
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it; Dagster ends its own by it
        if os.getppid() != parent:
            os._exit(1)

    return ask
