"""Runs a stage's command as a process of this machine. Its output goes to the terminal and to Dagster's logs."""

import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import nullcontext, suppress
from pathlib import Path
from queue import Full, Queue
from typing import IO

import dagster as dg

from pipelines.children import ends_with_parent
from pipelines.executors.failures import LINES_SHOWN, own_failure
from pipelines.executors.work import Work
from vrft_core.locks import command_line, exclusive

SECONDS_TO_STOP = 20  # enough for a training step and its checkpoint
LINES_WAITING = 1000  # for Dagster's log, which may be slower than the process


class LocalExecutor(dg.PipesClient):
    """`lock`: a file that lets one command run at a time, whichever run it belongs to."""

    def __init__(self, root: Path, lock: Path | None = None) -> None:
        self.root, self.lock = root, lock

    def run(self, *, context: dg.AssetExecutionContext, work: Work) -> dg.PipesClientCompletedInvocation:
        """See `Executor.run`. This machine is as it is: `resources` and `inputs` change nothing here."""
        with (
            exclusive(self.lock, "one GPU stage at a time") if self.lock else nullcontext() as lock,
            dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesTempFileContextInjector(),
                message_reader=dg.PipesTempFileMessageReader(),
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
                pass_fds=(lock.fileno(),) if lock else (),
            )
            if lock:
                lock.held_by(process.pid, f"{shlex.join(work.command)}, started by {command_line()}")
            last_lines: deque[str] = deque(maxlen=LINES_SHOWN)
            pump = threading.Thread(target=_pump, args=(process.stderr, last_lines, context.log), daemon=True)
            pump.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
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


def _environment() -> dict[str, str]:
    """This process's environment, with the programs installed beside this Python found first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _pump(stream: IO[bytes], last_lines: deque[str], log: logging.Logger) -> None:
    """Pass a process's standard error on, line by line, to Dagster's log too, and keep its end.

    Where Dagster's database hangs, its log lacks lines and the process goes on.
    """
    waiting: Queue[str | None] = Queue(LINES_WAITING)
    logger = threading.Thread(target=_log_lines, args=(waiting, log), daemon=True)
    logger.start()
    for line in stream:
        with suppress(OSError):  # a terminal that is gone
            sys.stderr.flush()
            os.write(2, line)
        last_lines.append(line.decode("utf-8", "replace").rstrip())
        with suppress(Full):
            waiting.put_nowait(last_lines[-1])
    with suppress(Full):
        waiting.put(None, timeout=1)
        logger.join(timeout=3)


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
