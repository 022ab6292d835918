"""What runs beside a command on another machine: `python -m vrft_core.job FOLDER COMMAND …`.

It passes signals on, measures, and notes the end in FOLDER, on storage that the orchestrator sees too. Standard
library only. Where the job runs, and what its end means, is `pipelines.executors`' business.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ATTEMPTS = "attempts.jsonl"  # in FOLDER: one row a start, one an end; a queue may start the same job again
WARNINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # USR1: the time limit is near


def run(folder: Path, command: list[str]) -> int:
    """Run `command` to its end; returns its exit status, 128 + signal where one killed it.

    Each warning is passed on as SIGTERM, so that a training seals a last checkpoint; the first one is noted.
    """
    warned: list[str] = []
    process: subprocess.Popen | None = None

    def pass_on(to: subprocess.Popen) -> None:
        with suppress(ProcessLookupError):
            os.kill(to.pid, signal.SIGTERM)

    def warn(number: int, frame: object) -> None:
        warned.append(signal.Signals(number).name)
        if process:
            pass_on(process)

    for number in WARNINGS:
        signal.signal(number, warn)
    folder.mkdir(parents=True, exist_ok=True)
    _note(folder, {"event": "start", "node": os.environ.get("SLURMD_NODENAME") or platform.node()})
    began = time.monotonic()
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_leave_usr1_to_us)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        _note(folder, {"event": "end", "status": 127})
        return 127
    if warned:  # before there was a process to tell
        pass_on(process)
    _, ended, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    _note(
        folder,
        {
            "event": "end",
            "status": status,
            "warned": warned[0] if warned else None,
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_memory_mb": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
        },
    )
    return status


def _leave_usr1_to_us() -> None:
    """srun signals all processes of a step; one that does not know USR1 would end by it before its last checkpoint."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def attempts(folder: Path) -> list[dict]:
    """The rows noted so far; a line that is still being written is left out."""
    try:
        lines = (folder / ATTEMPTS).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return objects(lines)


def objects(lines: list[str]) -> list[dict]:
    """JSON objects, one a line. A line that was torn, as when storage went away or filled up, is left out."""
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    return [row for row in found if isinstance(row, dict)]


def _note(folder: Path, row: dict) -> None:
    with open(folder / ATTEMPTS, "a", encoding="utf-8") as file:
        file.write(json.dumps({**row, "time": round(time.time(), 2)}) + "\n")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
