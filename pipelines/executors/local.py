"""Runs a stage's command as a process of this machine. Its output goes to the terminal and to Dagster's logs."""

import logging
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from io import BufferedReader
from pathlib import Path
from queue import Full, Queue
from typing import cast

import dagster as dg

from pipelines.children import ends_with_parent
from pipelines.executors.failures import LINES_SHOWN, own_failure
from pipelines.executors.pipes_files import FileMessages
from pipelines.executors.room import needed, parts
from pipelines.executors.work import Work
from vrft_core.locks import Lock, command_line, some_of
from vrft_core.pauses import pause

SECONDS_TO_STOP = 20  # enough for a training step and its checkpoint
EVERY = 0.1  # seconds between looks at a process
LINES_WAITING = 1000  # for Dagster's log, which may be slower than the process


class LocalExecutor(dg.PipesClient):
    """`lock`: a file that lets one command run at a time, or with more of them beside it, as many as the CPUs and the
    memory of a machine without a GPU serve; see `room`."""

    def __init__(self, root: Path, lock: Path | None = None) -> None:
        self.root, self.lock = root, lock

    def run(self, *, context: dg.AssetExecutionContext, work: Work) -> dg.PipesClientCompletedInvocation:
        """See `Executor.run`. Of `resources` only the memory counts here, and no `inputs`."""
        with (
            self._place(work) as locks,
            tempfile.TemporaryDirectory() as folder,
            dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesTempFileContextInjector(),
                message_reader=FileMessages(Path(folder) / "messages"),  # read at the end: no thread that polls
            ) as session,
        ):
            work.prepare()
            began = time.monotonic()
            process = subprocess.Popen(
                work.command,
                cwd=self.root,
                env={**_environment(), **session.get_bootstrap_env_vars()},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                # Should this process be killed, the command ends as well, with a last checkpoint where it trains;
                # until it has ended it holds the lock.
                preexec_fn=ends_with_parent(),
                pass_fds=[lock.fileno() for lock in locks],
            )
            for lock in locks:
                lock.held_by(process.pid, f"{shlex.join(work.command)}, started by {command_line()}")
            last_lines: deque[str] = deque(maxlen=LINES_SHOWN)
            said = cast(BufferedReader, process.stderr)
            pump = threading.Thread(target=_pump, args=(said, last_lines, context.log), daemon=True)
            pump.start()
            try:
                usage = _ended(process)
            except BaseException:  # Dagster's interruption is one of these: a cancelled run leaves nothing running
                _stop(process)
                raise
            pump.join(timeout=5)
            if process.returncode:
                killed = " (out of memory?)" if process.returncode == -signal.SIGKILL else ""
                raise own_failure(work.command, process.returncode, list(last_lines), killed)
        cost = {
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_memory_mb": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
        }
        work.commit()
        return dg.PipesClientCompletedInvocation(session, metadata=cost)

    def _place(self, work: Work) -> AbstractContextManager[list[Lock]]:
        """Held while the command runs."""
        if not self.lock:
            return nullcontext([])
        every, count = parts(self.lock), needed(work.threads, work.resources.memory_mb)
        what = f"{count} of {len(every)} CPUs" if len(every) > 1 else "one GPU stage at a time"
        return some_of(every, count, what)


def _ended(process: subprocess.Popen) -> resource.struct_rusage:
    """Wait for its end; what it used."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        pause(EVERY)


def _environment() -> dict[str, str]:
    """This process's environment, with the programs installed beside this Python found first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _pump(stream: BufferedReader, last_lines: deque[str], log: logging.Logger) -> None:
    """Pass a process's standard error on, in whole lines, to Dagster's log too, and keep its end.

    Lines that come together stay together: other stages' may be shown meanwhile. Where Dagster's database hangs, its
    log lacks lines and the process goes on.
    """
    waiting: Queue[str | None] = Queue(LINES_WAITING)
    logger = threading.Thread(target=_log_lines, args=(waiting, log), daemon=True)
    logger.start()
    for lines in _together(stream):
        with suppress(OSError):  # a terminal that is gone
            sys.stderr.flush()
            os.write(2, lines)
        for line in lines.removesuffix(b"\n").split(b"\n"):
            last_lines.append(line.decode("utf-8", "replace").rstrip())
            with suppress(Full):
                waiting.put_nowait(last_lines[-1])
    with suppress(Full):
        waiting.put(None, timeout=1)
        logger.join(timeout=3)


def _together(stream: BufferedReader) -> Iterator[bytes]:
    """Whole lines, as many as have come."""
    rest = b""
    while some := stream.read1(2**16):
        lines, end, rest = (rest + some).rpartition(b"\n")
        if end:
            yield lines + end
    if rest:
        yield rest


def _log_lines(waiting: "Queue[str | None]", log: logging.Logger) -> None:
    while (line := waiting.get()) is not None:
        with suppress(Exception):  # Dagster's own trouble stops no stage
            log.info(line)


def _stop(process: subprocess.Popen) -> None:
    """End the process and all it started: politely, then not."""
    for stop in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, stop)
            process.wait(SECONDS_TO_STOP)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
