"""Locks between processes. A waiting process prints which one it waits for.

What a lock protects is said where it is taken.

The kernel holds them, so that one ends with its process, however that ends. DVC's own lock files are only read.
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vrft_core.pauses import pause

EVERY = 0.5  # seconds between tries
GLANCES, GLANCE = 3, 0.02  # `is_held` has a lock for an instant: one is tried so often, so many seconds apart
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a storage that has none
SHOWN = 120  # characters of a command line


@dataclass(frozen=True)
class Lock:
    """A lock that is held. A process that inherits its file holds it too."""

    file: IO[str]

    def fileno(self) -> int:
        return self.file.fileno()

    def held_by(self, pid: int, command: str) -> None:
        """Say who holds it, for those who wait."""
        about = {"pid": pid, "command": command[:SHOWN], "host": platform.node(), "since": time.time()}
        self.file.seek(0)
        self.file.truncate()
        json.dump(about, self.file)
        self.file.flush()


@contextlib.contextmanager
def exclusive(path: Path, what: str, remove: bool = False) -> Iterator[Lock]:
    """Wait until no other process holds the lock file `path`, without a time limit.

    While it waits, one line names each holder. `what`: what the caller waits for; `remove`: delete the file at the end.
    """
    with _taken([path], what) as lock:
        lock.held_by(os.getpid(), command_line())
        try:
            yield lock
        finally:
            if remove:
                path.unlink(missing_ok=True)  # before it is released: waiting processes see that it is gone


@contextlib.contextmanager
def some_of(paths: Sequence[Path], count: int, what: str) -> Iterator[list[Lock]]:
    """Hold `count` of the lock files; wait, with a line, while other processes hold too many.

    One collects at a time, the others wait in line: none waits for what another one waits with, and who needs many is
    not for ever overtaken by those that need few.
    """
    turn = paths[0].with_suffix(".turn")
    with contextlib.ExitStack() as held:
        locks: list[Lock] = []
        with exclusive(turn, what):
            while len(locks) < count:
                mine = [lock.file.name for lock in locks]
                locks.append(held.enter_context(_taken([path for path in paths if str(path) not in mine], what)))
                locks[-1].held_by(os.getpid(), command_line())
        yield locks


@contextlib.contextmanager
def together(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` in shared mode; wait, with a line, while a process holds it exclusively."""
    with _taken([path], what, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def alone_or_not(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` exclusively; False at once where others hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            _take(file, fcntl.LOCK_EX)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        Lock(file).held_by(os.getpid(), command_line())
        yield True


@contextlib.contextmanager
def _taken(paths: Sequence[Path], what: str, kind: int = fcntl.LOCK_EX) -> Iterator[Lock]:
    """The first of the files that is free."""
    said = None
    while True:
        holders = []
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a+", encoding="utf-8") as file:
                try:
                    _take(file, kind)
                except BlockingIOError:
                    holders.append(_holder(file))
                    continue
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
                    say(f"{path.parent}: this storage has no file locks; let nothing else work on {what} meanwhile")
                if not _is_there(path, file):
                    break
                if said:
                    say(f"{what}: continues")
                yield Lock(file)
                return
        else:
            if said not in holders:
                said = holders[0]
                say(f"{what}: waiting for {said}")
            pause(EVERY)


def _take(file: IO[str], kind: int) -> None:
    """Raises BlockingIOError where others hold it, for longer than `is_held` does."""
    for left in reversed(range(GLANCES)):
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(GLANCE)


def is_held(path: Path) -> bool:
    """Whether a process that lives holds the lock file; a file that does not exist is not held."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in (*NO_LOCKS, errno.EACCES):  # cannot be known
            return False
        raise


def command_line() -> str:
    """This process's, short and readable."""
    if not (sys.argv and sys.argv[0]):
        return "python"
    name = Path(sys.argv[0]).name
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if name == "__main__.py" and spec:  # python -m package
        name = spec.parent
    return " ".join([name, *sys.argv[1:]])


# DVC's errors: a lock for files (its rwlock), or for the whole repository, or its file of locks cut short
DVC_IS_BUSY = re.compile(
    r"is busy, it is being blocked by|Unable to acquire lock|RWLock-file .* (corrupted|format error)"
)

_BLOCKERS = re.compile(r"\(PID (\d+)\): (.*)")


def dvc_holders(root: Path, said: str) -> dict[str, str]:
    """Who holds a lock of DVC's, after an error as in DVC_IS_BUSY: process → its command line, empty if not known."""
    holders = dict(_BLOCKERS.findall(said))
    if not holders:
        with contextlib.suppress(OSError, ValueError, IndexError):
            holders = {str(int((root / ".dvc/tmp/lock").read_text().split()[0])): ""}
    return holders


def wait_for_dvc(root: Path, said: str, known: set[str]) -> None:
    """After an error of DVC's as in DVC_IS_BUSY: return when the holder of the lock has released it, or may have.

    `known` grows by the holders that a line has named. A lock file that a killed process left half written is removed:
    otherwise DVC would never work again.
    """
    folder = root / ".dvc/tmp"
    if "RWLock-file" in said:
        return _remove_torn(folder / "rwlock", folder / "rwlock.lock")
    whole, holders = not _BLOCKERS.search(said), dvc_holders(root, said)  # of the whole repository, not of some files
    named = [f"process {pid}" + (f" ({_short(command)})" if command else "") for pid, command in holders.items()]
    words = ", ".join(named) or "another process"
    if words not in known:
        known.add(words)
        say(f"DVC is busy: waiting for {words}")
    pause(EVERY)
    while is_held(folder / "lock") if whole else _named(folder / "rwlock", holders):
        pause(EVERY)


def dvc_holder(root: Path) -> str | None:
    """The process that works with DVC in this project now, in words; None if there is none."""
    folder = root / ".dvc/tmp"
    if is_held(folder / "lock"):
        return "DVC"
    try:
        text = (folder / "rwlock").read_text(encoding="utf-8")
    except OSError:
        return None
    living = sorted(pid for pid in map(int, re.findall(r'"pid": (\d+)\b', text)) if _lives(pid))
    return f"DVC, process {living[0]}" if living else None


def _short(command: str) -> str:
    """`…/site-packages/dvc/__main__.py repro x` → `dvc repro x`."""
    return re.sub(r"^\S*/(\w+)/__main__\.py\b", r"\1", command)[:SHOWN]


def _remove_torn(path: Path, guard: Path) -> None:
    pause(EVERY)
    if is_held(guard):  # it is being written
        return
    try:
        whole = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return
    except ValueError:
        whole = False
    if not whole:
        path.unlink(missing_ok=True)
        say(f"{path}: was left incomplete by a process that was killed; it is removed")


def say(line: str) -> None:
    print(f"vrft: {line}", file=sys.stderr, flush=True)


def _holder(file: IO[str]) -> str:
    try:
        file.seek(0)
        about = json.loads(file.read())
        since = time.strftime("%F %T", time.localtime(about["since"]))
        where = "" if about["host"] == platform.node() else f" on {about['host']}"
        return f"process {about['pid']}{where} ({about['command']}), which holds {file.name} since {since}"
    except (ValueError, KeyError, TypeError, OSError):  # it is just being written
        return f"the process that holds {file.name}"


def _is_there(path: Path, file: IO[str]) -> bool:
    """Whether the file is still the one at `path`, and was not removed by its former holder."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _named(path: Path, holders: dict[str, str]) -> bool:
    """Whether DVC's file of locks still names one of these processes, and it lives."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return False
    return any(re.search(rf'"pid": {pid}\b', text) and _lives(int(pid)) for pid in holders)
