"""All tests, in three runs of pytest at once: the drills on clusters mostly wait, the others compute meanwhile.

Each run writes to build/tests/<group>.log; when it ends, its failures and its summary are printed.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = "build/tests"
GROUPS = {  # name: the markers of its tests; together they are all tests, each once
    "computing": "not slurm and not kubernetes",
    "slurm": "slurm",
    "kubernetes": "kubernetes and not slurm",
}
PROGRESS_EVERY = 30.0  # seconds


def main(root: Path = ROOT, markers: dict[str, str] = GROUPS) -> int:
    """The exit status. SIGTERM is as Ctrl-C: clusters are taken down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(root, markers)


def run(root: Path, markers: dict[str, str]) -> int:
    """The exit status: 0 if every group passed, 1 if one failed, 130 if interrupted."""
    logs = root / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    groups = {name: _start(root, name, selection) for name, selection in markers.items()}
    running, failed, next_line = set(groups), [], begin + PROGRESS_EVERY
    print(f"{', '.join(groups)}: at once, logs in {LOGS}", flush=True)
    try:
        while running:
            time.sleep(0.5)
            for name in sorted(running):
                if (status := groups[name].poll()) is not None:
                    running.remove(name)
                    failed += [name] if status else []
                    word = f"failed ({status})" if status else "passed"
                    print(f"\n==== {name}: {word} after {_minutes(begin)}\n{_conclusion(_log(logs, name))}", flush=True)
            if running and time.monotonic() >= next_line:
                state = ", ".join(f"{name} {_percent(_log(logs, name))} %" for name in sorted(running))
                print(f"{_minutes(begin)}  {state}", flush=True)
                next_line += PROGRESS_EVERY
    except KeyboardInterrupt:
        for name in running:
            groups[name].send_signal(signal.SIGINT)
        print(f"interrupted; {', '.join(sorted(running))} clean up", flush=True)
        for name in running:
            groups[name].wait()
        return 130
    print(f"\nall tests in {_minutes(begin)}: " + (f"FAILED in {', '.join(sorted(failed))}" if failed else "passed"))
    return 1 if failed else 0


def _start(root: Path, name: str, selection: str) -> subprocess.Popen:
    """In a session of its own, so that one Ctrl-C does not interrupt it twice."""
    command = [sys.executable, "-m", "pytest", "-v", "-m", selection, "-o", f"cache_dir=.pytest_cache/{name}"]
    if name == "computing":  # on two cores; the drills have deadlines and need little, so they go first
        command = ["nice", "-n", "10", *command, "-n", "2", "--dist", "loadfile"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (root / LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=_heed_interrupts,
        )  # fmt: skip


def _heed_interrupts() -> None:
    """A shell's background job ignores them, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _percent(log: str) -> str:
    found = re.findall(r"\[ *(\d+)%\]", log)
    return found[-1] if found else "0"


def _conclusion(log: str) -> str:
    """From the first failure or error on, else from the summary on, else the last lines."""
    for heading in ("ERRORS", "FAILURES", "short test summary info"):
        if found := re.search(rf"^=+ {heading} =+$", log, flags=re.MULTILINE):
            return log[found.start() :].rstrip()
    return log[-2000:].rstrip()


def _log(logs: Path, name: str) -> str:
    return (logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def _minutes(begin: float) -> str:
    seconds = int(time.monotonic() - begin)
    return f"{seconds // 60}:{seconds % 60:02d}"


if __name__ == "__main__":
    raise SystemExit(main())
