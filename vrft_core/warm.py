"""Stages as forks of a process that has imported PyTorch, transformers and MLflow; `vrft run`, `make demo` keep one.

Their imports cost eight CPU seconds a stage, more than a small stage computes. A second process forks the stages that
need none of them, so that these never wait for an import. This is the side that asks; the process that forks is
`cli.forking`. `vrft stage` stays what DVC started and waits for its fork: signals go on to it, it ends as
the fork ends, and the fork is killed when it is. Where there is no such process, or it declines, the stage runs in
`vrft stage` itself.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import vrft_core
from vrft_core import machine

PLACE, LIGHT_PLACE = PLACES = "VRFT_WARM", "VRFT_WARM_LIGHT"  # environment variables: the sockets
LIGHT = ("raw", "few_shot", "prompts", "study", "comparison")  # stages without a model and without MLflow
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
OWN = ("VRFT_ACCELERATE", "RANK")  # a training over several processes starts them by itself
# Beginnings of variables that DVC, Dagster or a shell set for a command, and of ours, which are read when needed
APART = ("DVC_", "DAGSTER_", "VRFT_", "OLDPWD", "PATH", "PWD", "PYTHONUNBUFFERED", "SHLVL", "_")
LEAVE = 10.0  # seconds to end in; longer only where a stage has lost who waited for it
IMPORTS = 120.0  # seconds for all imports; a stage that has waited longer runs by itself
SIZE = 8  # bytes of a request's length
Told = tuple[dict, list[int]]  # a request, and the three files of the process that asks


@contextlib.contextmanager
def kept() -> Iterator[dict[str, str]]:
    """Keep such processes; yields variables for the environment of processes that start stages.

    They import nothing before a stage asks. When the block ends, or this process, each ends as soon as its forks have.
    """
    # a process that has looked at a GPU cannot be forked
    able = sys.platform == "linux" and hasattr(os, "pidfd_open") and not machine.has_gpu()
    with contextlib.ExitStack() as started:
        found = {name: started.enter_context(_kept()) for name in PLACES} if able else {}
        yield {name: str(place) for name, place in found.items() if place}


@contextlib.contextmanager
def _kept() -> Iterator[Path | None]:
    """One of them, by its socket."""
    started = _started()
    if started is None:
        yield None
        return
    process, place = started
    assert process.stdin
    try:
        yield place
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE)
            shutil.rmtree(place.parent, ignore_errors=True)  # it was killed


def _started() -> tuple[subprocess.Popen, Path] | None:
    """The process and its socket; None where there can be no socket, as in a folder with a long name."""
    try:
        folder = tempfile.mkdtemp(prefix="vrft-")
    except OSError:
        return None
    place = Path(folder) / "stages"
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(place))
            listening.listen()
            command = [sys.executable, "-m", "vrft_core.cli.forking", str(listening.fileno()), str(place)]
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_home(),
                env=dict(os.environ), pass_fds=[listening.fileno()], start_new_session=True,
            ), place  # fmt: skip
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return None


def stage(name: str, arguments: Sequence[str]) -> int | None:
    """Run `vrft` with these arguments, which run the stage `name`, as a fork; its exit status, None where it must run
    here. A fork that a signal ended ends this process by the same signal."""
    place = os.environ.get(LIGHT_PLACE if name in LIGHT else PLACE)
    if not place or any(one in os.environ for one in OWN):
        return None
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
        try:
            line.settimeout(IMPORTS)
            line.connect(place)
            _ask(line, name, arguments)
            first = answers.readline()
            line.settimeout(None)
        except OSError:
            return None
        if not first:
            return None
        with _forwarding(int(first)):
            last = answers.readline()
    if not last:
        print(f"vrft: {name}: the process it was forked from was killed", file=sys.stderr)
        return 1
    status = os.waitstatus_to_exitcode(int(last))
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def about() -> dict:
    """What two processes have to have in common, so that one may do the other's work.

    Any variable may decide something at an import, but those in `APART`.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(APART)}
    return {"code": str(_home()), "python": sys.prefix, "environment": variables}


def received(line: socket.socket) -> Told:
    """What `stage` asks for. Raises OSError or ValueError where it does not come."""
    size, files, _, _ = socket.recv_fds(line, SIZE, 3)
    try:
        with line.makefile("rb") as rest:
            return json.loads(rest.read(int.from_bytes(size, "big"))), files
    except (OSError, ValueError):
        for file in files:
            os.close(file)
        raise


def _home() -> Path:
    return Path(vrft_core.__file__).resolve().parents[1]


def _ask(line: socket.socket, name: str, arguments: Sequence[str]) -> None:
    ignored = [number for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN]
    asked = {"stage": name, "arguments": list(arguments), "folder": os.getcwd(), "variables": dict(os.environ)}
    sent = json.dumps(asked | {"about": about(), "ignored": ignored}).encode()
    socket.send_fds(line, [len(sent).to_bytes(SIZE, "big")], [0, 1, 2])
    line.sendall(sent)


@contextlib.contextmanager
def _forwarding(pid: int) -> Iterator[None]:
    """Signals that come meanwhile go to the fork; one that stops this process stops both."""
    try:
        fork = os.pidfd_open(pid)
    except ProcessLookupError:  # it has ended
        yield
        return

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fork, number)

    def stop(number: int, frame: FrameType | None) -> None:
        forward(signal.SIGSTOP, frame)
        os.kill(os.getpid(), signal.SIGSTOP)

    handlers = {number: forward for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN}
    handlers |= {signal.SIGTSTP: stop, signal.SIGCONT: forward}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(fork)
