"""Servers as children of this process: their output goes to a file, and they end when it does, however it ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
            preexec_fn=ends_with_parent(),
        )
    return Child(name, process, log)


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
