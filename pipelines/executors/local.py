"""Runs a stage's command as a process of this machine. Its output goes to the terminal and to Dagster's logs."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import IO

import dagster as dg

from pipelines.locks import exclusive

LINES_SHOWN = 15
SECONDS_TO_STOP = 20  # enough for a training step and its checkpoint
INPUT_ERROR = 2  # the exit status `vrft` gives to a user's mistake


class LocalExecutor(dg.PipesClient):
    """`lock`: a file that lets one command run at a time, whichever run it belongs to."""

    def __init__(self, root: Path, lock: Path | None = None) -> None:
        self.root, self.lock = root, lock

    def run(
        self, *, context: dg.AssetExecutionContext, command: list[str], extras: dict | None = None
    ) -> dg.PipesClientCompletedInvocation:
        """See `Executor.run`. Exit status 2 is a user's mistake: its one line is the error, and it is not retried."""
        with (
            exclusive(self.lock) if self.lock else nullcontext(),
            dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesTempFileContextInjector(),
                message_reader=dg.PipesTempFileMessageReader(),
                extras=extras,
            ) as session,
        ):
            began = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**_environment(), **session.get_bootstrap_env_vars()},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            last_lines: deque[str] = deque(maxlen=LINES_SHOWN)
            pump = threading.Thread(target=_pump, args=(process.stderr, last_lines), daemon=True)
            pump.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:  # Dagster's interruption is one of these: a cancelled run leaves nothing running
                _stop(process)
                raise
            pump.join(timeout=5)
            if process.returncode:
                raise _failure(command, process.returncode, list(last_lines))
        cost = {
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_memory_mb": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
        }
        return dg.PipesClientCompletedInvocation(session, metadata=cost)


def _environment() -> dict[str, str]:
    """This process's environment, with the programs installed beside this Python found first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _pump(stream: IO[bytes], last_lines: deque[str]) -> None:
    """Pass a process's standard error on, line by line, and keep its end."""
    for line in stream:
        sys.stderr.flush()
        os.write(2, line)
        last_lines.append(line.decode("utf-8", "replace").rstrip())


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


def _failure(command: list[str], status: int, last_lines: list[str]) -> dg.Failure:
    if status == INPUT_ERROR and last_lines:
        return dg.Failure(last_lines[-1].removeprefix("vrft: "), allow_retries=False)
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    if status == -signal.SIGKILL:
        how += " (out of memory?)"
    return dg.Failure(f"`{shlex.join(command)}` {how}. It last said:\n" + "\n".join(last_lines))
